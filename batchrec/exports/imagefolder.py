"""imagefolder: metadata.jsonl and images/, for `load_dataset("imagefolder", data_dir=...)`.

Images are numbered: a name such as `test_01.jpg` would make `datasets` a split of its own and drop all other images.
`log_id` is text: numbers of 20 digits become floating point there. Every column has one type in all lines.
"""

from typing import Any

from ..exact_json import dumps
from ..language import _
from ..values import Row
from .boxes import name_of
from .exporter import Export

_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jp2", ".j2k", ".ico", ".ppm", ".avif"}
)
"""Suffixes that `datasets` takes for images."""


def write_imagefolder(export: Export) -> None:
    """Put the selected images into the folder, with a line of metadata each."""
    (export.folder / "images").mkdir()
    with (export.folder / "metadata.jsonl").open("wb") as file:
        for number, image in enumerate(export.by_image(), start=1):
            _stem, suffix = export.images.file_name(image.image)
            if suffix.lower() not in _SUFFIXES:
                export.leave_out(_("images with a suffix that datasets does not take for an image"))
                continue
            name = f"images/{number:08d}{suffix.lower()}"
            if not export.images.place(image.image, export.folder / name, export.target / name):
                export.leave_out(export.images.absence(image.image))
                continue
            results = [_result(export, row) for row in image.rows]
            first = next((label for result in results for label in result["labels"]), {"name": "", "score": None})
            line = {
                "file_name": name,
                "path": export.images.named(image.image),
                "label": first["name"],
                "score": first["score"],
                "results": results,
                "error": " ".join(str(failure["code"]) for failure in image.failures),
            }
            file.write(dumps(line) + b"\n")
            export.written += 1


def _result(export: Export, row: Row) -> dict[str, Any]:
    labels = [{"name": name_of(label), "score": label.get("score")} for label in export.labels(row)]
    log_id = row["response"].get("log_id")
    return {
        "step": row["step"],
        "service": row["service"],
        "labels": labels,
        "log_id": "" if log_id is None else str(log_id),
        "answered_at": row["answered_at"],
    }
