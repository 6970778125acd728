"""labelstudio: config.xml, and tasks-0001.json and so on with a prediction for each step.

An export has all labels of an image as choices. A data set to be corrected has one choice an image, its top label, and
config.xml offers the labels of all results of its step.

Label Studio imports files of up to 200 MB and refuses labels that its configuration lacks, so tasks come in parts and
config.xml has every label. Boxes are in percent of the image as displayed. Images are served by Label Studio from local
files: `/data/local-files/?d=PATH`, relative to its document root.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ..exact_json import dumps
from ..journal.results import ImageResults
from ..language import _
from ..values import Row
from .boxes import box_of, name_of
from .exporter import Export
from .images import is_address
from .names import safe_name

_MOST_TASKS = 50_000
"""Tasks of a file: 100,000 a project are about what Label Studio bears."""

_MOST_BYTES = 190_000_000
"""Bytes of a file: imports take 200 MB."""

_CHOICES, _RECTANGLES = "Choices", "RectangleLabels"


class _Config:
    """Labels of config.xml: a control for the choices of a step, and one for its boxes.

    `single`: an image has one choice.
    """

    def __init__(self, *, single: bool) -> None:
        self.single = single
        self._names: dict[str, str] = {}
        self._controls: dict[tuple[str, str], dict[str, None]] = {}

    def control(self, step: str, kind: str, label: str) -> str:
        """The name of a step's control of a kind, which gets the label."""
        if step not in self._names:
            name = safe_name(step)
            taken = name in self._names.values()
            self._names[step] = f"{name}_{len(self._names) + 1}" if taken else name
        self._controls.setdefault((step, kind), {})[label] = None
        return self._names[step] + ("_boxes" if kind == _RECTANGLES else "")

    def write(self, path: Path) -> None:
        """Write the file."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write('<View>\n  <Image name="image" value="$image"/>\n')
            for (step, kind), labels in self._controls.items():
                name = self._names[step] + ("_boxes" if kind == _RECTANGLES else "")
                choice = "single" if self.single else "multiple"
                entry, more = ("Choice", f' choice="{choice}"') if kind == _CHOICES else ("Label", "")
                file.write(f'  <{kind} name={quoteattr(name)} toName="image"{more}>\n')
                for label in labels:
                    file.write(f"    <{entry} value={quoteattr(label)}/>\n")
                file.write(f"  </{kind}>\n")
            file.write("</View>\n")


class _Parts:
    """Files of tasks, each a JSON array; a new one is begun where the last one is full."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder, self._opened = folder, opened
        self._file: BinaryIO | None = None
        self._number = self._tasks = self._bytes = 0

    def add(self, task: dict[str, Any]) -> None:
        """One more task."""
        text = dumps(task)
        if self._file is None or self._tasks == _MOST_TASKS or self._bytes + len(text) > _MOST_BYTES:
            self.begin()
        assert self._file is not None
        self._bytes += self._file.write((b",\n" if self._tasks else b"") + text)
        self._tasks += 1

    def begin(self) -> None:
        """Begin a file."""
        self.end()
        self._number += 1
        self._tasks, self._bytes = 0, 0
        self._file = self._opened.enter_context((self._folder / f"tasks-{self._number:04d}.json").open("wb"))
        self._file.write(b"[\n")

    def end(self) -> None:
        """End the last file; the first one is made where there was no task."""
        if self._file is not None:
            self._file.write(b"\n]\n")
            self._file.close()
            self._file = None

    @property
    def none(self) -> bool:
        """Whether no file was begun."""
        return self._number == 0


def write_labelstudio(export: Export, chosen: Iterable[ImageResults] | None = None) -> None:
    """Write a task for each image with a selected result, or with `--failed` a selected failure.

    `chosen`: images in the order of their tasks, in place of these, each with one choice.
    """
    config = _Config(single=chosen is not None)
    if chosen is not None:
        _add_labels(config, export)
    with ExitStack() as opened:
        parts = _Parts(export.folder, opened)
        for image in export.by_image() if chosen is None else chosen:
            if not is_address(image.image) and not export.images.there(image.image):
                export.leave_out(_("images that are not there any more"))
                continue
            parts.add(_task(export, config, image))
            export.written += 1
        if parts.none:
            parts.begin()
        parts.end()
    config.write(export.folder / "config.xml")
    root = export.images.located("").anchor if export.images.absolute else str(export.images.base)
    export.notes.append(
        _(
            "Label Studio serves the images where it is started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}"
        ).format(root=root)
    )


def _add_labels(config: _Config, export: Export) -> None:
    """Add the labels of all results of the step, so that a person can choose one that no chosen image has."""
    for row in export.results.rows():
        if row["step"] == export.selection.step:
            for label in row["labels"]:
                config.control(row["step"], _RECTANGLES if label.get("box") else _CHOICES, _clean(name_of(label)))


def _task(export: Export, config: _Config, image: ImageResults) -> dict[str, Any]:
    data = {"image": _address(export, image.image), "path": export.images.named(image.image)}
    data["base"] = str(export.results.base)
    data["log_id"] = " ".join(str(row["response"]["log_id"]) for row in image.rows if "log_id" in row["response"])
    if image.failures:
        data["error"] = " ".join(str(failure["code"]) for failure in image.failures)
    return {"data": data, "predictions": [_prediction(export, config, row) for row in image.rows]}


def _address(export: Export, key: str) -> str:
    """The address of an image for Label Studio, percent-encoded."""
    if is_address(key):
        return key
    path = export.images.located(key)
    wanted = path.relative_to(path.anchor).as_posix() if export.images.absolute else key
    return "/data/local-files/?d=" + quote(wanted)


def _prediction(export: Export, config: _Config, row: Row) -> dict[str, Any]:
    labels = list(export.labels(row))
    size = export.images.size(row["image"]) if any(label.get("box") for label in labels) else None
    chosen = list(dict.fromkeys(_clean(name_of(label)) for label in labels if not label.get("box")))
    chosen = chosen[:1] if config.single else chosen
    result = list(_regions(export, config, row, labels, size))
    if chosen:
        for name in chosen:
            control = config.control(row["step"], _CHOICES, name)
        result.insert(0, {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": chosen}})
    prediction: dict[str, Any] = {"model_version": " ".join(filter(None, (row["service"], row.get("model"))))}
    if labels and (score := _score(labels[0])) is not None:
        prediction["score"] = score
    return {**prediction, "result": result}


def _regions(
    export: Export, config: _Config, row: Row, labels: list[Row], size: tuple[int, int] | None
) -> Iterator[dict[str, Any]]:
    for label in labels:
        if not label.get("box"):
            continue
        box = None if size is None else box_of(label, size)
        if box is None or size is None:
            export.leave_out(_("labels with a box outside of the image, or of an image that cannot be read"))
            continue
        name = _clean(name_of(label))
        shares = {"x": box.left / size[0], "y": box.top / size[1]}
        shares |= {"width": box.width / size[0], "height": box.height / size[1]}
        value = {side: min(100.0, round(100 * share, 4)) for side, share in shares.items()}
        region = {
            "from_name": config.control(row["step"], _RECTANGLES, name),
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "value": {**value, "rotation": 0, "rectanglelabels": [name]},
        }
        score = _score(label)
        yield region if score is None else {**region, "score": score}


def _score(label: Row) -> float | None:
    """The score of a label, from 0 to 1: Label Studio refuses others."""
    score = label.get("score")
    return min(1.0, max(0.0, float(score))) if isinstance(score, int | float) else None


def _clean(name: str) -> str:
    """The name of a label without characters that XML has not."""
    return "".join(each if each >= " " and each not in "\ufffe\uffff" else " " for each in name).strip() or "_"
