"""Data set out of earlier results: images by their top label, copies left out.

Class folders have the surest images first, tasks for Label Studio the unsure ones: those whose two best labels have
nearly the same score. What an image shows is the model's opinion until a person has looked.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..exports.boxes import name_of
from ..exports.images import Images
from ..journal.results import ImageResults, Results
from ..journal.selection import Selection
from ..language import _
from .classes import OTHER
from .copies import MOST_BITS
from .look import Looked, look
from .rules import rules

_DAMAGED = {"empty", "not_an_image", "torn"}  # findings of images that no training can use


class Candidate(NamedTuple):
    """An image with its top label; `margin`: its score less that of the second label."""

    image: str
    label: str
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Images to choose: of each class at most `most_a_class`, `unsure` in all; None: no limit.

    `unsure_first`: by margin, the smallest first; else by score, the largest first. `others`: also images of other
    things, which are no class to train.
    """

    most_a_class: int | None = None
    unsure: int | None = None
    unsure_first: bool = False
    others: bool = True


@dataclass(slots=True)
class Chosen:
    """Images that were chosen, in order, and counts by sentence of those that were left out."""

    images: list[Candidate] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def counts(self) -> Counter[str]:
        """Images by class."""
        return Counter(each.label for each in self.images)


def choose(results: Results, selection: Selection, wanted: Wanted, images: Images) -> Chosen:
    """Choose images of one step. Raises as `Results.rows` does."""
    chosen = Chosen()
    found = list(_candidates(results, selection, wanted, chosen))
    found.sort(key=(lambda each: each.margin) if wanted.unsure_first else (lambda each: -each.score))
    counts, copies = Counter[str](), _Copies()
    for place, each in enumerate(found):
        if wanted.unsure is not None and len(chosen.images) >= wanted.unsure:
            chosen.left_out[_("images that are surer than those of --unsure")] += len(found) - place
            break
        if wanted.most_a_class is not None and counts[each.label] >= wanted.most_a_class:
            chosen.left_out[_("images beyond --max-per-class")] += 1
        elif reason := copies.refusal(each.image, images):
            chosen.left_out[reason] += 1
        else:
            counts[each.label] += 1
            chosen.images.append(each)
    return chosen


def in_order(results: Results, selection: Selection, chosen: Chosen) -> Iterator[ImageResults]:
    """The chosen images in their order, each with its rows of the step."""
    wanted = {each.image for each in chosen.images}
    found = {
        image.image: ImageResults(image.image, [row for row in image.rows if selection.matches(row)])
        for image in results.by_image()
        if image.image in wanted
    }
    return (found[each.image] for each in chosen.images)


def _candidates(results: Results, selection: Selection, wanted: Wanted, chosen: Chosen) -> Iterator[Candidate]:
    for row in results.rows():
        if row["step"] != selection.step:
            continue
        labels = row["labels"]
        if not labels:
            chosen.left_out[_("results without a label")] += 1
        elif next(selection.labels({**row, "labels": labels[:1]}), None) is None:
            chosen.left_out[_("results whose top label is below --min-score")] += 1
        elif name_of(labels[0]) == OTHER and not wanted.others:
            chosen.left_out[_("images of other things ([default]), for --other of dataset train")] += 1
        else:
            scores = [-math.inf if label.get("score") is None else float(label["score"]) for label in labels[:2]]
            margin = scores[0] - scores[1] if len(scores) > 1 else scores[0]
            yield Candidate(row["image"], name_of(labels[0]), scores[0], margin if math.isfinite(margin) else math.inf)


class _Copies:
    """Images that were taken, so that copies of them are not: by their bytes, and by perceptual hash."""

    def __init__(self) -> None:
        self._digests = set[str]()
        self._hashes: NDArray[np.uint64] = np.zeros(1024, np.uint64)
        self._count = 0

    def refusal(self, key: str, images: Images) -> str:
        """The reason why an image is not taken; empty where it is."""
        data = images.read(key)
        if data is None:
            return images.absence(key)
        looked = look(data, key, rules().image)
        if any(kind in _DAMAGED for kind, _detail in looked.findings):
            return _("images that are torn or damaged")
        if looked.sha256 in self._digests or self._is_near(looked):
            return _("copies of an image that is there")
        self._add(looked)
        return ""

    def _is_near(self, looked: Looked) -> bool:
        if looked.hash is None:
            return False
        apart = np.bitwise_count(self._hashes[: self._count] ^ np.uint64(looked.hash))
        return bool((apart <= MOST_BITS).any())

    def _add(self, looked: Looked) -> None:
        self._digests.add(looked.sha256)
        if looked.hash is None:
            return
        if self._count == len(self._hashes):
            self._hashes = np.concatenate((self._hashes, np.zeros_like(self._hashes)))
        self._hashes[self._count] = looked.hash
        self._count += 1
