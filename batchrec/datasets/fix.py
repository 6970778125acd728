"""Mended copy of a data set: images upright and within the limits, classes renamed, the rest left out.

What EasyDL takes is copied byte for byte. Copies of an image stay, unless their bytes are the same: whether two similar
images are one too many is for a person to decide. A data set for detection is written with EasyData's annotations.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .. import images
from ..errors import JobError, OutputFailed
from ..language import _, os_reason
from ..values import Failure, ImageLimits, Treatment
from .check import Checked, Told
from .classes import MAPPING, Sample
from .easydata import easydata_json
from .findings import UNKNOWN_BOXES, Finding
from .look import Looked
from .names import new_names, read_names, write_names
from .rules import rules

_MENDED = {"unsupported", "too_large", "lying", "colours"}
_LEFT_OUT = {"unreadable", "empty", "not_an_image", "torn", "too_small", "too_long", "same_bytes"}
_WAY = Treatment(repair=True, upright=True)
_SUFFIXES = ((b"\x89PNG", ".png"), (b"BM", ".bmp"), (b"", ".jpg"))


@dataclass(slots=True)
class Fixed:
    """Result of a fix: files copied and re-encoded, those left out with the reason, new names of classes."""

    copied: int = 0
    mended: int = 0
    left_out: list[Finding] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def fix(checked: Checked, out: Path, names: Path | None, told: Told = lambda done, all: None) -> Fixed:
    """Write a mended copy of a checked data set to a new folder.

    Raises JobError where the folder is there already or lies within the data set, and where names do not fit;
    OutputFailed where it cannot be written.
    """
    dataset, taken = checked.dataset, rules()
    given = read_names(names, dataset.labels, taken)
    fixed = Fixed(names=new_names(dataset.labels, given, taken))
    if dataset.root.resolve() in (out.resolve(), *out.resolve().parents):
        raise JobError(_("--fix {path}: lies within the data set; give a folder beside it").format(path=out))
    refused = _refused(checked)
    with new_folder(out) as folder:
        used: set[str] = set()
        for number, (sample, each) in enumerate(zip(dataset.samples, checked.looked, strict=True), start=1):
            if sample.key in refused:
                fixed.left_out.append(refused[sample.key])
            else:
                _place(checked, folder, sample, each, fixed, used)
            told(number, len(dataset.samples))
        if any(old != new for old, new in fixed.names.items()):
            write_names(folder / MAPPING, fixed.names)
    return fixed


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Folder to write into, which is `out` at the end of the block, and gone after an error.

    Raises JobError where `out` is there already and not empty, OutputFailed where it cannot be written.
    """
    if os.path.lexists(out) and not (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        raise JobError(_("{path}: is there already; give a new folder").format(path=out))
    new = out.with_name(f".{out.name}.batchrec-new-{os.getpid()}")
    try:
        new.mkdir(parents=True)
        yield new
        with suppress(FileNotFoundError):
            out.rmdir()
        os.rename(new, out)
    except OSError as exc:
        raise OutputFailed(_("{path}: cannot be written: {reason}").format(path=out, reason=os_reason(exc))) from exc
    finally:
        shutil.rmtree(new, ignore_errors=True)


def free_name(used: set[str], folder: str, stem: str, suffix: str) -> str:
    """A key that no other file has, but for capital letters; it is noted. `folder` may be empty."""
    start = f"{folder}/{stem}" if folder else stem
    key, number = start + suffix, 1
    while key.casefold() in used:
        number += 1
        key = f"{start}-{number}{suffix}"
    used.add(key.casefold())
    return key


def suffix_of(data: bytes) -> str:
    """The suffix for bytes that EasyDL takes."""
    return next(suffix for start, suffix in _SUFFIXES if data.startswith(start))


def _refused(checked: Checked) -> dict[str, Finding]:
    """The finding by which each file is left out; the first of several with the same bytes stays."""
    return {each.where: each for each in reversed(checked.findings) if each.kind in _LEFT_OUT | UNKNOWN_BOXES}


def _place(checked: Checked, folder: Path, sample: Sample, each: Looked, fixed: Fixed, used: set[str]) -> None:
    try:
        data = checked.dataset.read(sample)
    except OSError as error:
        fixed.left_out.append(Finding("unreadable", sample.key, error.strerror or ""))
        return
    mend = any(kind in _MENDED for kind, _detail in each.findings)
    if mend:
        made = _mended(data, rules().image)
        if isinstance(made, Failure):
            fixed.left_out.append(Finding("torn" if made.code == "torn" else "unsupported", sample.key, made.message))
            return
        data = made
    stem = sample.name.rpartition(".")[0] or sample.name
    if checked.dataset.detection:
        stem = free_name(used, "", stem, "")  # of the annotation too, so that no other image may have it
        key = stem + suffix_of(data)
        _annotate(checked, folder / f"{stem}.json", sample, each, fixed.names, data)
    else:
        key = free_name(used, fixed.names[sample.label], stem, suffix_of(data))
    (folder / key).parent.mkdir(exist_ok=True)
    (folder / key).write_bytes(data)
    fixed.mended += mend
    fixed.copied += not mend


def _annotate(checked: Checked, path: Path, sample: Sample, each: Looked, names: dict[str, str], data: bytes) -> None:
    """Write the boxes of an image in EasyData's form, scaled to the image as it is written."""
    size = images.displayed_size(data)
    if each.size is None or size is None:
        return
    across, down = size[0] / each.size[0], size[1] / each.size[1]
    boxes = [
        box._replace(label=names[box.label], box=box.box.scaled(across, down)) for box in checked.boxes(sample, each)
    ]
    if boxes:
        path.write_bytes(easydata_json(boxes, size))


def _mended(data: bytes, limits: ImageLimits) -> bytes | Failure:
    made = images.prepare(data, limits, _WAY)
    return made if isinstance(made, Failure) else made.data
