"""Data set: its files and classes. For classification it is a folder of folders, one a class.

    fruit/
      apple/      1.jpg 2.png
      pear/       a.jpg more/b.jpg

Images may lie deeper within the folder of their class. Hidden files and folders, and those that systems make
(`Thumbs.db`, `__MACOSX`, `@eaDir`), are no part of a data set.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError
from ..language import _, os_reason
from ..sources.folder import is_system_name
from .boxes import Annotation
from .findings import Finding

OTHER = "[default]"
"""Class of images of other things, as EasyDL is said to name it in results."""

MAPPING = "mapping.toml"
"""File of a mended data set, beside the folders of classes: old and new names of classes."""

_NONE = Annotation("", ())


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """A file of a data set. `key` is its path within the data set, with `/` between names.

    `label` is empty in a data set for detection.
    """

    label: str
    key: str

    @property
    def name(self) -> str:
        """The name of the file, without folders."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files of a data set in order of class and key; `labels` are all classes, also those without a file.

    `loose`: keys of files that lie beside the folders of classes, and so belong to none. `annotations`: of a data set
    for detection, by the key of the image; None: it is for classification. `findings`: what reading them has found.
    """

    root: Path
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    loose: tuple[str, ...] = ()
    annotations: Mapping[str, Annotation] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def detection(self) -> bool:
        """Whether it is for detection."""
        return self.annotations is not None

    def path(self, sample: Sample) -> Path:
        """The path of a file."""
        return self.root / sample.key

    def read(self, sample: Sample) -> bytes:
        """The bytes of a file. Raises OSError."""
        return self.path(sample).read_bytes()

    def annotation(self, sample: Sample) -> Annotation:
        """The annotation of an image; one without boxes where there is none."""
        return (self.annotations or {}).get(sample.key, _NONE)

    def labels_of(self, sample: Sample) -> set[str]:
        """The class of an image, or the classes of its boxes."""
        return {each.label for each in self.annotation(sample).boxes} if self.detection else {sample.label}

    def counts(self) -> dict[str, int]:
        """Number of images by class, in order of the classes; an image has as many classes as its boxes have."""
        counts = dict.fromkeys(self.labels, 0)
        for sample in self.samples:
            for label in self.labels_of(sample):
                counts[label] += 1
        return counts


def load_classes(root: Path) -> DataSet:
    """List the files of a data set. Nothing is opened.

    Raises JobError where the folder is none, cannot be read, or has no folder of a class.
    """
    try:
        entries = sorted((entry for entry in os.scandir(root) if not is_system(entry.name)), key=lambda each: each.name)
        labels = tuple(entry.name for entry in entries if entry.is_dir())
        samples = tuple(Sample(label, key) for label in labels for key in sorted(_files(root / label, label)))
    except OSError as exc:
        raise JobError(
            _(
                "{path}: cannot be read: {reason}; expected a folder that holds a folder of images for each class"
            ).format(path=exc.filename or root, reason=os_reason(exc))
        ) from exc
    if not labels:
        raise JobError(
            _("{path}: has no folder of a class; put the images of each class into a folder with its name").format(
                path=root
            )
        )
    loose = tuple(entry.name for entry in entries if not entry.is_dir() and entry.name != MAPPING)
    return DataSet(root, labels, samples, loose)


def load_folder(folder: Path, label: str) -> DataSet:
    """List the files of one folder, at any depth, as a data set of one class. Nothing is opened.

    Raises JobError where the folder cannot be read.
    """
    whole = folder.resolve()
    try:
        samples = tuple(Sample(label, key) for key in sorted(_files(whole, whole.name)))
    except OSError as exc:
        raise JobError(
            _("{path}: cannot be read: {reason}; expected a folder of images").format(
                path=exc.filename or folder, reason=os_reason(exc)
            )
        ) from exc
    return DataSet(whole.parent, (label,), samples)


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or made by a system."""
    return name.startswith(".") or is_system_name(name)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(contents: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> str:
    """The SHA-256 of a data set, from the class and the SHA-256 of each file; names of files do not count."""
    text = "".join(f"{digest} {label}\n" for label, digest in sorted(contents))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _files(folder: Path, key: str) -> Iterator[str]:
    """Keys of the files within the folder of a class. Links to folders are not followed. Raises OSError."""
    for entry in os.scandir(folder):
        if is_system(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{key}/{entry.name}")
        elif entry.is_file() or entry.is_symlink():
            yield f"{key}/{entry.name}"
