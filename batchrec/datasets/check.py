"""Check of a data set: every file, every class, every box, copies within and across classes."""

import os
import stat
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..errors import JobError, OutputFailed
from ..language import _, os_reason
from . import copies
from .annotations import has_annotations, load_annotations
from .boxes import Labelled, box_faults, placed
from .classes import DataSet, Sample, digest_of, is_system, load_classes
from .copies import Pair
from .findings import Finding, Severity
from .look import Looked, Seen, hashed, see
from .rules import Rules, rules

_AT_ONCE_FILES = 32  # that a thread looks at, one after the other: their hashes are found together
_AHEAD_FILES = 256
_FEWEST_CLASSES = 2  # a model of one class has nothing to decide

CLASSIFICATION, DETECTION = "classification", "detection"
"""Types of data sets."""

Told = Callable[[int, int], None]
"""Told of the images that are done, and of all."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A data set and all that was found. `looked` are the results for its samples, in their order."""

    dataset: DataSet
    findings: tuple[Finding, ...]
    looked: tuple[Looked, ...]
    deep: bool

    @property
    def digest(self) -> str:
        """The digest of the data set: its classes, boxes and contents, whatever the names of files."""
        pairs = list(zip(self.dataset.samples, self.looked, strict=True))
        if not self.dataset.detection:
            return digest_of((sample.label, each.sha256) for sample, each in pairs)
        boxes = (sorted((each.label, *each.box.sides.values()) for each in self.boxes(*pair)) for pair in pairs)
        return digest_of((repr(found), each.sha256) for found, (_sample, each) in zip(boxes, pairs, strict=True))

    def boxes(self, sample: Sample, each: Looked) -> list[Labelled]:
        """Boxes of an image in pixels of the image upright, cut at its edges; none where it cannot be read."""
        annotation = self.dataset.annotation(sample)
        return [] if each.size is None else placed(annotation, each.size, each.orientation)

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop `pack`, `upload` and `train`."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)


def load(root: Path, type: str | None = None) -> DataSet:
    """Load a data set for `classification` or `detection`; None: as its files tell.

    With annotations it is for detection.
    Raises JobError where the folder is none, or has fewer than two classes for classification.
    """
    if type == DETECTION or (type is None and has_annotations(root)):
        return load_annotations(root)
    dataset = load_classes(root)
    if len(dataset.labels) < _FEWEST_CLASSES:
        raise JobError(
            _("{path}: has one class, {label}; training needs two or more, each in a folder").format(
                path=root, label=dataset.labels[0]
            )
        )
    return dataset


def check(root: Path, type: str | None = None, *, deep: bool = False, told: Told = lambda done, all: None) -> Checked:
    """Check a data set, which is loaded as `load` does.

    `deep`: also by the features of the embedded network, and each JPEG for missing pixels. Raises JobError as `load`.
    """
    dataset, taken = load(root, type), rules()
    findings = [*_of_names(dataset, taken), *(Finding("loose", key) for key in dataset.loose), *dataset.findings]
    findings += _system_files(root)
    unread = {each.where for each in dataset.findings}
    looked = []
    for number, (sample, each) in enumerate(_each(dataset, taken, thorough=deep), start=1):
        looked.append(each)
        findings += (Finding(kind, sample.key, detail) for kind, detail in each.findings)
        if dataset.detection:
            findings += _of_boxes(dataset, sample, each, unread)
        elif sample.key.count("/") > 1:
            findings.append(Finding("nested", sample.key))
        told(number, len(dataset.samples))
    findings += _of_copies(dataset.samples, looked, _features(dataset, looked) if deep else ())
    findings += _of_counts(dataset, findings, taken)
    return Checked(dataset, tuple(findings), tuple(looked), deep)


def name_fault(label: str, taken: Rules) -> str:
    """The fault of a class's name; empty where EasyDL takes it."""
    if (size := len(label.encode(errors="surrogateescape"))) > taken.label_bytes:
        return f"{size} bytes > {taken.label_bytes}"
    return "" if taken.takes_label(label) else "digits, letters, - and _ only"


def _of_names(dataset: DataSet, taken: Rules) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for label in dataset.labels:
        if fault := name_fault(label, taken):
            yield Finding("class_name", label + "/", fault)
        if (other := seen.setdefault(label.casefold(), label)) != label:
            yield Finding("class_twice", label + "/", other)


def _of_boxes(dataset: DataSet, sample: Sample, each: Looked, unread: set[str]) -> Iterator[Finding]:
    """Findings about the boxes of an image. `unread`: keys of images whose annotation could not be read."""
    annotation = dataset.annotation(sample)
    faults = list(annotation.faults)
    if each.size is not None:
        faults += box_faults(annotation, each.size, each.orientation)
    if not annotation.boxes and not faults and sample.key not in unread:
        faults.append(("no_boxes", ""))
    yield from (Finding(kind, sample.key, detail) for kind, detail in faults)


def _system_files(root: Path) -> Iterator[Finding]:
    for folder, folders, names in os.walk(root):
        for name in sorted((*names, *folders)):
            if is_system(name):
                yield Finding("system_file", (Path(folder) / name).relative_to(root).as_posix())
        folders[:] = [name for name in folders if not is_system(name)]


def _each(dataset: DataSet, taken: Rules, *, thorough: bool) -> Iterator[tuple[Sample, Looked]]:
    """The images with what was found, in order; some are looked at ahead, one a core at a time."""

    def work(samples: Sequence[Sample]) -> list[Looked]:
        return hashed([_seen(dataset, sample, taken, thorough=thorough) for sample in samples])

    def results(samples: Sequence[Sample], future: Future[list[Looked]]) -> Iterator[tuple[Sample, Looked]]:
        return zip(samples, future.result(), strict=True)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        ahead: deque[tuple[Sequence[Sample], Future[list[Looked]]]] = deque()
        for start in range(0, len(dataset.samples), _AT_ONCE_FILES):
            samples = dataset.samples[start : start + _AT_ONCE_FILES]
            ahead.append((samples, threads.submit(work, samples)))
            if len(ahead) * _AT_ONCE_FILES > _AHEAD_FILES:
                yield from results(*ahead.popleft())
        for each in ahead:
            yield from results(*each)


def _seen(dataset: DataSet, sample: Sample, taken: Rules, *, thorough: bool) -> Seen:
    try:
        if not stat.S_ISREG(os.stat(dataset.path(sample)).st_mode):
            return Seen(Looked("", (("unreadable", "no regular file"),)))
        data = dataset.read(sample)
    except OSError as error:
        return Seen(Looked("", (("unreadable", error.strerror or str(error)),)))
    return see(data, sample.name, taken.image, thorough=thorough)


def _features(dataset: DataSet, looked: list[Looked]) -> Iterator[Pair]:
    """Pairs of images that the embedded network takes for the same, mirrored and cropped ones among them."""
    from .features import DIMENSIONS, FeatureNetwork

    network, numbers = FeatureNetwork(), list[int]()
    with tempfile.TemporaryFile() as file:
        found = copies.VectorFile(file, DIMENSIONS)
        for number, each in enumerate(looked):
            if each.hash is None:
                continue
            try:
                vector = network.of_bytes(dataset.read(dataset.samples[number]))
            except (OSError, SyntaxError, ValueError, ArithmeticError, LookupError):
                continue  # of a format that the network's reader lacks
            try:
                found.append(vector)
            except OSError as exc:
                raise OutputFailed(
                    _("{path}: cannot be written: {reason}").format(path=tempfile.gettempdir(), reason=os_reason(exc))
                ) from exc
            numbers.append(number)
        yield from copies.by_features(found, numbers)


def _of_copies(samples: tuple[Sample, ...], looked: list[Looked], more: Iterable[Pair]) -> Iterator[Finding]:
    """Copies within a class, named at the later image, and across classes, named at both."""
    first: dict[tuple[str, str], int] = {}
    same: dict[int, int] = {}
    for number, (sample, each) in enumerate(zip(samples, looked, strict=True)):
        if each.sha256 and (other := first.setdefault((sample.label, each.sha256), number)) != number:
            same[number] = other
    within: dict[int, int] = {}
    across: dict[int, int] = {}
    labels = [sample.label for sample in samples]
    twins: dict[int, int] = {}  # of the same hash: of these only the first is paired with images of other classes
    for one, other, far in chain(copies.by_hash([each.hash for each in looked], labels), more):
        if labels[one] == labels[other]:
            within.setdefault(other, one)
            if not far:
                twins.setdefault(other, one)
        else:
            across.setdefault(other, one)
            across.setdefault(one, other)
    across |= {other: across[one] for other, one in twins.items() if one in across and other not in across}
    for number, sample in enumerate(samples):
        if number in across:
            yield Finding("copy_across", sample.key, samples[across[number]].key)
        if number in same:
            yield Finding("same_bytes", sample.key, samples[same[number]].key)
        elif number in within:
            yield Finding("copy", sample.key, samples[within[number]].key)


def _of_counts(dataset: DataSet, findings: list[Finding], taken: Rules) -> Iterator[Finding]:
    """Findings about numbers: of images that have no error, and are there once."""
    lost = {each.where for each in findings if each.severity is Severity.ERROR or each.kind == "same_bytes"}
    kept = (sample for sample in dataset.samples if sample.key not in lost)
    counts = Counter(label for sample in kept for label in dataset.labels_of(sample))
    for label in dataset.labels:
        if not counts[label]:
            yield Finding("empty_class", label + "/")
        elif (count := counts[label]) < taken.better_images:
            least = taken.least_images if count < taken.least_images else taken.better_images
            yield Finding("few_images", label + "/", f"{count} < {least}")
    if len(dataset.labels) > taken.most_classes:
        yield Finding("too_many_classes", "", f"{len(dataset.labels):,} > {taken.most_classes:,}")
    if len(dataset.samples) > taken.most_images:
        yield Finding("too_many_images", "", f"{len(dataset.samples):,} > {taken.most_images:,}")
