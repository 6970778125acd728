"""Zip archives of a data set: the same bytes each time, each archive below 4 GiB.

Images are stored, since compression saves 0.6 % of a JPEG at ten times the CPU. EasyDL adds what a second archive holds
to the data set, so a large one comes in parts.

    folders     apple/1.jpg                                             classification
    easydata    1.jpg, 1.json                                           detection
    voc         Images/1.jpg, Annotations/1.xml                         detection
    coco        Images/1.jpg, Annotations/coco_info.json                detection
"""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import JobError, OutputFailed
from ..language import _, os_reason
from .boxes import Labelled
from .check import Checked
from .classes import Sample
from .coco import ListedImage, coco_json
from .easydata import easydata_json
from .fix import free_name, suffix_of
from .rules import rules
from .voc import voc_xml

FOLDERS, EASYDATA, VOC, COCO = "folders", "easydata", "voc", "coco"
"""Formats of archives: the first is for classification, the others are for detection."""

FORMATS = (FOLDERS, EASYDATA, VOC, COCO)

_ENTRY_BYTES = 200
"""Bytes of an archive for each file beside its content and twice its name: headers, rounded up."""

_BOX_BYTES = 300
"""Bytes of a box in an annotation, rounded up."""

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can have
_UNIX, _RIGHTS = 3, 0o100644 << 16  # as zip files have them


class Archive(NamedTuple):
    """An archive that was written: its path, its SHA-256, and the number of its images."""

    path: Path
    sha256: str
    images: int


class _Packed(NamedTuple):
    """An image in an archive: its name there, its file, its boxes in pixels, its size upright."""

    name: str
    sample: Sample
    boxes: list[Labelled]
    size: tuple[int, int]


def pack(checked: Checked, out: Path, format: str | None = None, *, most: int | None = None) -> list[Archive]:
    """Write a checked data set as one archive, or as several: `NAME-1.zip`, `NAME-2.zip` and so on.

    `format`: None for the first one that fits. `most`: bytes of an archive, EasyDL's limit by default. Raises JobError
    where the format does not fit or a target is there already, OutputFailed where it cannot be written.
    """
    format = check_format(format, detection=checked.dataset.detection)
    try:
        parts = _parts(checked, format, most or rules().zip_bytes)
    except OSError as exc:
        raise JobError(_("{path}: cannot be read: {reason}").format(path=exc.filename, reason=os_reason(exc))) from exc
    paths = (
        [out] if len(parts) == 1 else [out.with_name(f"{out.stem}-{n}{out.suffix}") for n in range(1, len(parts) + 1)]
    )
    for path in paths:
        if os.path.lexists(path):
            raise JobError(_("{path}: is there already; give a new file").format(path=path))
    return [_write(checked, path, format, part) for path, part in zip(paths, parts, strict=True)]


def check_format(format: str | None, *, detection: bool) -> str:
    """The format of an archive. Raises JobError where it does not fit the type of the data set."""
    fitting = FORMATS[1:] if detection else FORMATS[:1]
    if format is None:
        return fitting[0]
    if format not in fitting:
        raise JobError(
            _("--format {format}: this data set is for {type}; expected one of: {formats}").format(
                format=format, type="detection" if detection else "classification", formats=", ".join(fitting)
            )
        )
    return format


def _parts(checked: Checked, format: str, most: int) -> list[list[_Packed]]:
    """The images of each archive, sorted by name."""
    dataset, used = checked.dataset, set[str]()
    named = []
    for sample, each in zip(dataset.samples, checked.looked, strict=True):
        with dataset.path(sample).open("rb") as file:
            suffix = suffix_of(file.read(4))
        stem = sample.name.rpartition(".")[0] or sample.name
        if dataset.detection:
            name = free_name(used, "", stem, "") + suffix  # of the annotation too
        else:
            name = free_name(used, sample.label, stem, suffix)
        named.append(_Packed(name, sample, checked.boxes(sample, each), each.size or (0, 0)))
    parts: list[list[_Packed]] = [[]]
    total = 0
    for packed in sorted(named, key=lambda each: each.name):
        entries = 1 + (format != FOLDERS)
        size = os.stat(dataset.path(packed.sample)).st_size + len(packed.boxes) * _BOX_BYTES
        size += entries * (3 * len(packed.name.encode()) + _ENTRY_BYTES)
        if parts[-1] and total + size > most:
            parts.append([])
            total = 0
        parts[-1].append(packed)
        total += size
    return parts


def _annotations(format: str, part: list[_Packed], labels: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the annotations of an archive; an image without a box has none."""
    if format == COCO:
        listed = [ListedImage(each.name, each.size, each.boxes) for each in part]
        yield "Annotations/coco_info.json", coco_json(listed, labels)
    for each in part if format in (EASYDATA, VOC) else ():
        if each.boxes:
            stem = each.name.rpartition(".")[0]
            if format == VOC:
                yield f"Annotations/{stem}.xml", voc_xml(each.name, each.boxes, each.size)
            else:
                yield f"{stem}.json", easydata_json(each.boxes, each.size)


def _write(checked: Checked, path: Path, format: str, part: list[_Packed]) -> Archive:
    new = path.with_name(f".{path.name}.batchrec-new-{os.getpid()}")
    folder = "Images/" if format in (VOC, COCO) else ""
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            for packed in part:
                archive.writestr(_entry(folder + packed.name), checked.dataset.read(packed.sample))
            for name, content in _annotations(format, part, checked.dataset.labels):
                archive.writestr(_entry(name), content)
        with new.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(new, path)
    except OSError as exc:
        reason = os_reason(exc)
        raise OutputFailed(_("{path}: cannot be written: {reason}").format(path=path, reason=reason)) from exc
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    return Archive(path, digest, len(part))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system, entry.external_attr = _UNIX, _RIGHTS
    return entry
