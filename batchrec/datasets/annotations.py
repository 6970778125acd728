"""Data set for detection: images, and annotations in one of five formats, found by their content.

COCO (one file or several), Pascal VOC, YOLO, LabelMe and EasyData's JSON. Images may lie anywhere below the folder: one
is found by the path that its annotation has, or by the name of the annotation.

The readers are our own: globox ends at the first box of negative size without naming it, knows no class that is missing
and no image that is, and has no reader for EasyData's JSON.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import JobError
from ..language import _
from .boxes import Annotation, BadAnnotation, Entry
from .classes import MAPPING, DataSet, Sample
from .coco import is_coco, parse_coco
from .easydata import is_easydata, parse_easydata
from .findings import Finding
from .labelme import is_labelme, parse_labelme
from .tree import Tree
from .voc import parse_voc
from .yolo import NAMES, parse_names, parse_yolo

_JSON = {"COCO": is_coco, "LabelMe": is_labelme, "EasyData": is_easydata}
_LOOKED_AT_FILES = 100  # JSON files that are read to find the format
_DOCUMENTS = ("readme", "license", "requirements")


@dataclass(slots=True)
class _Reading:
    """A data set as far as it is read. `annotations` are by the key of the image."""

    tree: Tree
    labels: dict[str, None] = field(default_factory=dict)
    annotations: dict[str, Annotation] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def add(self, file: str, entry: Entry, *, of_one: bool = True) -> None:
        """Take an annotation of a file: it belongs to an image, or becomes a finding.

        `of_one`: the file is of one image, so that its own name counts for more than the one within it.
        """
        self.used.add(file)
        self.labels.update(dict.fromkeys(each.label for each in entry.annotation.boxes))
        key = self.tree.of_stem(file) if of_one else None
        key = key or (self.tree.named(entry.image, file) if entry.image else None)
        if key is None:
            self.findings.append(Finding("no_image", file, entry.image or _("of the same name")))
        elif key in self.annotations:
            self.findings.append(Finding("annotation_twice", key, f"{self.annotations[key].file}, {file}"))
        else:
            self.annotations[key] = entry.annotation

    def fail(self, file: str, reason: object) -> None:
        """Note that a file is no annotation; its image, if it has one by name, has none."""
        self.used.add(file)
        key = self.tree.of_stem(file)
        self.findings.append(Finding("bad_annotation", key or file, f"{file}: {reason}"))


def has_annotations(root: Path) -> bool:
    """Whether a folder is a data set for detection, by its files. Raises JobError where it cannot be read."""
    return bool(_formats(Tree.walk(root)))


def load_annotations(root: Path) -> DataSet:
    """Read a data set for detection; nothing is known of the images yet but their names.

    Raises JobError where there are no annotations, or of several formats, and where a file that holds those of many
    images cannot be read.
    """
    tree = Tree.walk(root)
    formats = _formats(tree)
    if len(formats) != 1:
        told = ", ".join(f"{name} ({file})" for name, file in formats.items())
        raise JobError(
            _("{path}: has annotations in several formats: {formats}; keep those of one").format(
                path=root, formats=told
            )
            if formats
            else _(
                "{path}: has no annotations; expected COCO, Pascal VOC, LabelMe or EasyData files, or YOLO's with "
                "data.yaml or classes.txt"
            ).format(path=root)
        )
    reading = _Reading(tree)
    _READERS[next(iter(formats))](reading)
    others = (key for key in tree.others if key not in reading.used and key.rpartition("/")[2] not in (MAPPING, *NAMES))
    reading.findings += (Finding("other_file", key) for key in others)
    samples = tuple(Sample("", key) for key in tree.images)
    labels = tuple(reading.labels)
    return DataSet(root, labels, samples, (), reading.annotations, tuple(reading.findings))


def _formats(tree: Tree) -> dict[str, str]:
    """Formats of which there are annotations, each with a file."""
    found: dict[str, str] = {}
    for key in tree.ending(".json")[:_LOOKED_AT_FILES]:
        try:
            content = _json(tree.path(key).read_bytes())
        except (OSError, BadAnnotation):
            continue
        for name, fits in _JSON.items():
            if fits(content):
                found.setdefault(name, key)
    xml = tree.ending(".xml")
    if any(b"<annotation" in _head(tree.path(key)) for key in xml[:_LOOKED_AT_FILES]):
        found["VOC"] = xml[0]
    if names := _names_file(tree):
        found["YOLO"] = names
    return found


def _names_file(tree: Tree) -> str:
    """The file with YOLO's names of classes, where there are text files beside it; else empty."""
    names = [key for key in tree.others if key.rpartition("/")[2].lower() in NAMES]
    return names[0] if names and any(not _is_document(key) for key in tree.ending(".txt")) else ""


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1000)
    except OSError:
        return b""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadAnnotation(f"no JSON: {error}") from error


def _each(reading: _Reading, files: Iterable[str], parse: Callable[[str, bytes], Entry]) -> None:
    for file in files:
        try:
            entry = parse(file, reading.tree.path(file).read_bytes())
        except OSError as error:
            reading.fail(file, error.strerror)
        except BadAnnotation as error:
            reading.fail(file, error)
        else:
            reading.add(file, entry)


def _read_json(parse: Callable[[str, Any], Entry], reading: _Reading) -> None:
    _each(reading, reading.tree.ending(".json"), lambda file, data: parse(file, _json(data)))


def _read_voc(reading: _Reading) -> None:
    _each(reading, reading.tree.ending(".xml"), parse_voc)


def _read_yolo(reading: _Reading) -> None:
    file = _names_file(reading.tree)
    names = _whole(reading.tree, file, parse_names)
    reading.labels.update(dict.fromkeys(names))
    texts = (key for key in reading.tree.ending(".txt") if not _is_document(key))
    _each(reading, texts, lambda key, data: parse_yolo(key, data, names))


def _is_document(key: str) -> bool:
    """Whether a text file is none of labels: a list of names or images, or words for people."""
    name = key.rpartition("/")[2].lower()
    return name in (*NAMES, "train.txt", "val.txt", "test.txt") or name.startswith(_DOCUMENTS)


def _read_coco(reading: _Reading) -> None:
    for file in reading.tree.ending(".json"):
        coco = _whole(reading.tree, file, lambda file, data: parse_coco(file, _json(data)))
        reading.used.add(file)
        reading.labels.update(dict.fromkeys(coco.labels))
        for entry in coco.entries:
            reading.add(file, entry, of_one=False)
        reading.findings += (Finding(kind, file, detail) for kind, detail in coco.faults)


def _whole(tree: Tree, file: str, parse: Callable[[str, bytes], Any]) -> Any:
    """The content of a file that is needed for all images. Raises JobError where it cannot be read."""
    try:
        return parse(file, tree.path(file).read_bytes())
    except OSError as error:
        reason: object = error.strerror
    except BadAnnotation as error:
        reason = error
    raise JobError(_("{path}: cannot be read: {reason}").format(path=tree.path(file), reason=reason))


_READERS: dict[str, Callable[[_Reading], None]] = {
    "COCO": _read_coco,
    "VOC": _read_voc,
    "YOLO": _read_yolo,
    "LabelMe": partial(_read_json, parse_labelme),
    "EasyData": partial(_read_json, parse_easydata),
}
