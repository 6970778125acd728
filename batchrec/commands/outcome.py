"""Outcome of a job: counts of images, labels, a sample of the results, and failures by code.

One pass over results.jsonl, of 5 to 10 s for a million rows (CPU); memory does not grow with them.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from zlib import crc32

import orjson

from ..exact_json import dumps, loads
from ..journal import JOB_FILE, Reader, reading
from ..journal.lines import beginning_of
from ..journal.results import Results, results_of
from ..values import Row

MOST_TOP_LABELS = 10
"""Labels of a step that are listed with their counts."""

MOST_SAMPLES = 10
"""Images of the table of results."""

LOW_SCORE = 0.3
"""Score under which a top label is counted as low: most of these are wrong with the embedded model."""

_MOST_FOLDERS = 512
"""Folders of which images are kept for the sample."""

_MOST_GROUPS = 8
"""Codes of failures that are listed."""

_EXAMPLES = 3
"""Images named for each code."""

_Head = tuple[bytes, bytes, bytes | None, bytes | None]
"""Image, step, and name and score of the top label, as JSON; None where there is no label."""


@dataclass(frozen=True, slots=True)
class StepLabels:
    """Labels of one step.

    `top`: the most frequent top labels with their counts; `others`: how many different ones there are beside these;
    `low`: top labels with a score under LOW_SCORE; `unlabelled`: images without a label.
    """

    step: str
    results: int
    top: tuple[tuple[str, int], ...]
    others: int
    low: int
    unlabelled: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its rows, in the order of the steps."""

    image: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Images that failed with one code; `examples` are the first of them in input order."""

    code: int | str
    kind: str
    message: str
    images: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """State of a job: each image is done, failed, or remains at some step.

    `results` counts rows, of images and steps. `more_codes`: codes that failures have beside the listed ones.
    """

    images: int
    done: int
    failed: int
    remaining: int
    results: int = 0
    labels: tuple[StepLabels, ...] = ()
    samples: tuple[Sample, ...] = ()
    failures: tuple[FailureGroup, ...] = ()
    more_codes: int = 0


@dataclass(frozen=True, slots=True)
class LastRun:
    """Figures of a run for its last lines; `yuan` None: no price is known, or nothing was paid."""

    calls: int = 0
    seconds: float = 0.0
    yuan: float | None = None
    stopped_by: str | None = None
    resume_at: str | None = None
    earlier: int = 0
    ignored_by_kind: Mapping[str, int] | None = None


def outcome_of(directory: Path) -> Outcome:
    """Read the outcome of an output directory, also while a run writes there.

    Raises JobError where it is none, OutputFailed where it cannot be read.
    """
    with results_of(directory) as results:
        labels, samples, rows = _scan(results.lines(), results.steps)
        images = results.journal.images()
        remaining, failed = results.journal.remaining(), results.journal.overview.failed_images()
        groups, more = _groups(results)
        return Outcome(images, images - remaining - failed, failed, remaining, rows, labels, samples, groups, more)


def job_file_of(directory: Path) -> Path | None:
    """The job file that a directory was made by, where it is still there."""
    with reading(directory) as journal:
        way = journal.note(JOB_FILE)
    path = Path(os.path.normpath(directory.resolve() / way)) if way else None
    return path if path is not None and path.is_file() else None


def calls_of(journal: Reader) -> dict[str, int]:
    """By service: calls of the job that the service may have counted, of all runs."""
    calls: Counter[str] = Counter()
    for key, counted in journal.calls():
        calls[key.service.partition("/")[0]] += counted
    return calls


def _groups(results: Results) -> tuple[tuple[FailureGroup, ...], int]:
    groups = results.journal.overview.failure_groups()
    listed = (
        FailureGroup(code, kind, message, images, tuple(results.journal.overview.failed_at(code, _EXAMPLES)))
        for code, kind, message, images in groups[:_MOST_GROUPS]
    )
    return tuple(listed), max(0, len(groups) - _MOST_GROUPS)


def _scan(lines: Iterable[bytes], steps: tuple[str, ...]) -> tuple[tuple[StepLabels, ...], tuple[Sample, ...], int]:
    """Count the labels, choose the sample; returns both, and the number of rows."""
    names: Counter[tuple[bytes, bytes | None]] = Counter()
    low: Counter[bytes] = Counter()
    spread = _Spread()
    count = 0
    for line in lines:
        image, step, name, score = _head(line)
        count += 1
        names[step, name] += 1
        if score is not None and score != b"null" and float(score) < LOW_SCORE:
            low[step] += 1
        spread.add(image, step, line)
    order = {dumps(step): number for number, step in enumerate(steps)}
    found = sorted({step for step, _ in names}, key=lambda step: (order.get(step, len(order)), step))
    return tuple(_labels(step, names, low[step]) for step in found), tuple(spread.chosen(order)), count


def _head(line: bytes) -> _Head:
    """Image, step and top label of a row, without reading the rest of it."""
    if found := beginning_of(line):
        image, step, name, score = found.groups()
        return image, step, name, score
    row = loads(line)
    best = row["labels"][0] if row["labels"] else None
    head = dumps(row["image"]), dumps(row["step"])
    return (*head, None, None) if best is None else (*head, dumps(best["name"]), dumps(best.get("score")))


def _labels(step: bytes, names: Counter[tuple[bytes, bytes | None]], low: int) -> StepLabels:
    """Labels of one step; a name of null is a box without a name."""
    here = {name: count for (of, name), count in names.items() if of == step}
    named = {name: count for name, count in here.items() if name is not None and name != b"null"}
    top = sorted(named.items(), key=lambda each: (-each[1], each[0]))[:MOST_TOP_LABELS]
    return StepLabels(
        orjson.loads(step),
        sum(here.values()),
        tuple((orjson.loads(name), count) for name, count in top),
        len(named) - len(top),
        low,
        here.get(None, 0),
    )


class _Folder:
    """The first images of one folder, by name, each with its rows by step."""

    __slots__ = ("full", "images", "last")

    def __init__(self) -> None:
        self.images: dict[bytes, dict[bytes, bytes]] = {}
        self.last = b""
        self.full = False

    def add(self, image: bytes, step: bytes, line: bytes) -> None:
        """Keep a row whose image is not behind the last of a full folder.

        An image behind it will never be among the first, so that its other rows need no place.
        """
        kept = self.images.get(image)
        if kept is not None:
            kept[step] = line
            return
        if self.full:
            del self.images[self.last]
        self.images[image] = {step: line}
        self.last = max(self.images)
        self.full = len(self.images) >= MOST_SAMPLES


class _Spread:
    """Sample of rows that is spread over the folders, and the same in whatever order the rows come."""

    def __init__(self) -> None:
        self._folders: dict[bytes, _Folder] = {}
        self._highest: int | None = None

    def add(self, image: bytes, step: bytes, line: bytes) -> None:
        """Keep the row if it may be in the sample."""
        name = image[: max(image.rfind(b"/"), 0)]
        folder = self._folders.get(name)
        if folder is None:
            if not self._has_room(name):
                return
            folder = self._folders[name] = _Folder()
        elif folder.full and image > folder.last:
            return
        folder.add(image, step, line)

    def _has_room(self, name: bytes) -> bool:
        """Whether a folder is kept: of too many, those with the lowest checksums, which lie anywhere."""
        if len(self._folders) < _MOST_FOLDERS:
            return True
        if self._highest is None:
            self._highest = max(map(crc32, self._folders))
        if crc32(name) >= self._highest:
            return False
        del self._folders[max(self._folders, key=crc32)]
        self._highest = None
        return True

    def chosen(self, order: Mapping[bytes, int]) -> Iterator[Sample]:
        """The sample, sorted by image: each folder in turn gives one, from first to last."""
        queues = [sorted(folder.images) for _, folder in sorted(self._folders.items())]
        if len(queues) > MOST_SAMPLES:
            queues = [queues[number * len(queues) // MOST_SAMPLES] for number in range(MOST_SAMPLES)]
        taken = [queue[turn] for turn in range(MOST_SAMPLES) for queue in queues if turn < len(queue)][:MOST_SAMPLES]
        for image in sorted(taken, key=lambda image: (image.rpartition(b"/")[0], image)):
            rows = self._folders[image.rpartition(b"/")[0]].images[image]
            steps = sorted(rows, key=lambda step: order.get(step, len(order)))
            yield Sample(orjson.loads(image), tuple(loads(rows[step]) for step in steps))


def common_folder(images: Iterable[str]) -> str:
    """The folder that all images are below, with its slash; empty where there is none."""
    parts = [image.split("/")[:-1] for image in images]
    shared = takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    return "".join(f"{level[0]}/" for level in shared)
