"""Comparison of two results: of two steps, of two models, or of two output directories.

Images are matched by their bytes (SHA-256), so that folders may have been moved or renamed in between.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from ..errors import JobError
from ..language import _
from ..values import Row
from .entries import Directory, Entry, entries_of


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a step of an output directory, with service and model of its rows."""

    directory: str
    job: str
    step: str
    service: str | None = None
    model: str | None = None


class Difference(NamedTuple):
    """An image whose top labels differ. A label is None where the service found nothing."""

    image: str
    other_image: str
    label: str | None
    score: float | None
    other_label: str | None
    other_score: float | None
    listed: bool
    """Whether either side has the other's top label further down its list."""


@dataclass
class Comparison:
    """Comparison of the images that have a result on both sides.

    `pairs` counts (top label here, top label there), also where they are the same; `listed` counts the images that
    differ while one side lists the other's top label. `failed` are images that failed on either side.
    """

    sides: tuple[Side, Side]
    images: int = 0
    same: int = 0
    listed: int = 0
    failed: int = 0
    only_here: int = 0
    only_there: int = 0
    pairs: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Share of the images with the same top label; 1 where there is no image."""
        return self.same / self.images if self.images else 1.0

    def labels(self) -> list[Row]:
        """By the label of the first side: images, those with the same top label there, and the others' labels."""
        found: dict[str | None, Row] = {}
        for (here, there), count in self.pairs.most_common():
            row = found.setdefault(here, {"label": here, "images": 0, "same": 0, "others": {}})
            row["images"] += count
            if here == there:
                row["same"] += count
            else:
                row["others"][there or ""] = count
        return sorted(found.values(), key=lambda row: (-row["images"], row["label"] or ""))


def compare(
    first: Path, second: Path, steps: tuple[str | None, str | None]
) -> tuple[Comparison, Iterator[Difference], ExitStack]:
    """Open the comparison of a step of each directory; None: its only step.

    The counts are complete when the differences have been iterated. Close the stack at the end. Raises JobError for a
    directory that is none, and where a step is missing or has to be named.
    """
    with ExitStack() as opened:
        ours = opened.enter_context(entries_of(first))
        theirs = opened.enter_context(entries_of(second))
        names = _steps(first, ours, second, theirs, steps)
        sides = tuple(
            Side(str(path), each.results.name, name)
            for path, each, name in zip((first, second), (ours, theirs), names, strict=True)
        )
        found = Comparison((sides[0], sides[1]))
        return found, _differences(found, ours, theirs), opened.pop_all()
    raise AssertionError("not reached")


def _steps(
    first: Path, ours: Directory, second: Path, theirs: Directory, steps: tuple[str | None, str | None]
) -> tuple[str, str]:
    known = ours.results.steps, theirs.results.steps
    for path, given, there in zip((first, second), steps, known, strict=True):
        if given is not None and given not in there:
            raise JobError(
                _("{directory}: has no step {step!r}; there are: {steps}").format(
                    directory=path, step=given, steps=", ".join(there)
                )
            )
    shared = [name for name in known[0] if name in known[1]]
    if steps == (None, None) and shared and first.resolve() != second.resolve():
        return shared[0], shared[0]
    if steps == (None, None) and len(known[0]) == 2 and first.resolve() == second.resolve():
        return known[0][0], known[0][1]
    chosen = [step or (there[0] if len(there) == 1 else None) for step, there in zip(steps, known, strict=True)]
    if chosen[0] is None or chosen[1] is None:
        lists = "; ".join(f"{path}: {', '.join(there)}" for path, there in zip((first, second), known, strict=True))
        raise JobError(
            _("name the steps to compare with --step A --step B (first and second directory); {lists}").format(
                lists=lists
            )
        )
    return chosen[0], chosen[1]


def _differences(found: Comparison, ours: Directory, theirs: Directory) -> Iterator[Difference]:
    here, there = found.sides
    contents = 0
    for _number, group in groupby(ours.entries(), attrgetter("number")):
        entries = list(group)
        mine = _of_step(entries, here.step)
        if mine is None:
            continue
        sha256 = mine.sha256
        if sha256 is None:  # failed before its bytes were read: there is nothing to find it by
            found.failed += 1
            continue
        others = theirs.entries_of(sha256)
        other = _of_step(others, there.step)
        if other is None:
            found.only_here += 1
            continue
        contents += not mine.row.get("same_as")
        if mine.failed or other.failed:
            found.failed += 1
            continue
        found.sides = here, there = _told(here, mine), _told(there, other)
        if (difference := _count(found, mine, other)) is not None:
            yield difference
    found.only_there = _only_there(ours, theirs, here.step, there.step)


def _only_there(ours: Directory, theirs: Directory, here: str, there: str) -> int:
    """Images of the second side that have no result or failure on the first."""
    only = 0
    for ending in theirs.results.journal.endings.all():
        if ending.step == there and ending.sha256 is not None:
            known = ours.results.journal.endings.of(ending.sha256)
            only += not any(each.step == here for each in known)
    return only


def _of_step(entries: list[Entry], step: str) -> Entry | None:
    return next((entry for entry in entries if entry.step == step), None)


def _told(side: Side, entry: Entry) -> Side:
    if side.service is not None:
        return side
    return Side(side.directory, side.job, side.step, entry.row.get("service"), entry.row.get("model"))


def _count(found: Comparison, mine: Entry, other: Entry) -> Difference | None:
    ours, theirs = mine.row.get("labels") or [], other.row.get("labels") or []
    label, score = _top(ours)
    other_label, other_score = _top(theirs)
    found.images += 1
    found.pairs[label, other_label] += 1
    if label == other_label:
        found.same += 1
        return None
    listed = any(each.get("name") == other_label for each in ours) or any(each.get("name") == label for each in theirs)
    found.listed += listed
    return Difference(mine.image, other.image, label, score, other_label, other_score, listed)


def _top(labels: list[Row]) -> tuple[str | None, float | None]:
    return (labels[0].get("name") or "", labels[0].get("score")) if labels else (None, None)
