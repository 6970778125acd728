"""coco: annotations.json, results.json and images.txt, of labels with boxes.

Ids count from 1: pycocotools takes the annotation 0 for no match. results.json holds the boxes with a score, in the
form that `COCO.loadRes` reads; it is left out where it would be empty, which `loadRes` does not read. Boxes are in
pixels of the image as displayed. Annotations are gathered in a temporary file: memory holds the names of classes alone.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..exact_json import dumps
from ..language import _
from .boxes import boxed
from .exporter import Export


class _Array:
    """A JSON array in a file, an object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def add(self, value: object) -> None:
        """One more object."""
        self._file.write((b",\n" if self.count else b"\n") + dumps(value))
        self.count += 1


def write_coco(export: Export) -> None:
    """Write the images with a selected result, and their labels with boxes."""
    folder, parts = export.folder, export.folder / "annotations.part"
    categories: dict[str, dict[str, Any]] = {}
    with (
        (folder / "annotations.json").open("wb") as whole,
        _array(parts) as annotations,
        _array(folder / "results.json", b"[", b"\n]\n") as results,
        (folder / "images.txt").open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as listed,
    ):
        whole.write(b'{"info": ' + dumps({"description": "batchrec", **export.origin}) + b',\n"images": [')
        images = _Array(whole)
        for image in export.by_image():
            size = export.images.size(image.image)
            if size is None:
                export.leave_out(_("images that cannot be read, so that their size is not known"))
                continue
            number, name = images.count + 1, export.images.named(image.image)
            images.add({"id": number, "file_name": name, "width": size[0], "height": size[1]})
            listed.write(name.replace("\n", "\ufffd").replace("\r", "\ufffd") + "\n")
            for row in image.rows:
                for label in boxed(export, row, size):
                    category = _category(categories, label.name, label.label)
                    found = {"image_id": number, "category_id": category, "bbox": list(label.box.sides.values())}
                    score = label.label.get("score")
                    more = {"id": annotations.count + 1, "area": label.box.area, "iscrowd": 0, "segmentation": []}
                    annotations.add({**found, **more, "score": score, "step": row["step"]})
                    if score is not None:
                        results.add({**found, "score": score})
            export.written += 1
    _finish(folder, parts, categories, scored=results.count > 0)
    if not annotations.count:
        export.notes.append(_("annotations.json holds no annotation: no selected label has a box"))


def _category(categories: dict[str, dict[str, Any]], name: str, label: dict[str, Any]) -> int:
    """The number of a class, which is made where it is new."""
    if name not in categories:
        root = label.get("root")
        categories[name] = {"id": len(categories) + 1, "name": name, "supercategory": str(root) if root else ""}
    return int(categories[name]["id"])


def _finish(folder: Path, parts: Path, categories: dict[str, dict[str, Any]], *, scored: bool) -> None:
    """Put annotations and categories behind the images."""
    with (folder / "annotations.json").open("ab") as whole, parts.open("rb") as gathered:
        whole.write(b'\n],\n"annotations": [')
        shutil.copyfileobj(gathered, whole)
        whole.write(b'\n],\n"categories": ' + dumps(list(categories.values())) + b"}\n")
    parts.unlink()
    if not scored:
        (folder / "results.json").unlink()


@contextmanager
def _array(path: Path, start: bytes = b"", end: bytes = b"") -> Iterator[_Array]:
    with ExitStack() as opened:
        file = opened.enter_context(path.open("wb"))
        file.write(start)
        yield _Array(file)
        file.write(end)
