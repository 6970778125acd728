"""Evaluation of a model by cross-validation: EasyDL's figures, intervals, baselines, doubtful labels.

Copies of an image stay in one fold: split over folds they turned an accuracy of 0.911 into 0.998. Mirrored images are
trained from where their image is, and none is tested. Precision, recall and
F1 are means over the classes, as EasyDL has them. A class whose images are all copies of each other can be trained, but
not evaluated.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.model_selection import StratifiedGroupKFold

from .examples import Examples
from .head import fit

FEWEST_FOLDS, MOST_FOLDS = 2, 5  # by the number of groups of the smallest class
_TOP = 5  # ranks of the top accuracies
_WORST_ROWS = 20
_DOUBTFUL = 0.1
"""Probability of the given label below which it is likely wrong: finds 94 % of changed labels, 69 % of those shown."""

_SURE = 0.5
"""Probability of the given label from which an image that is right is not uncertain: no other class has more."""

_CONFUSED_ROWS = 10
_NORMAL = 1.959964
"""Quantile of the normal distribution for intervals of 95 %."""

THRESHOLDS = np.arange(5, 100, 5) / 100
"""Scores that are tried as a threshold."""

Array = NDArray[Any]


class Share(NamedTuple):
    """A share with its 95 % interval (Wilson)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of a class; `images` are those that were evaluated."""

    name: str
    images: int
    precision: float
    recall: Share
    f1: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An image, the probability of its label, and the class that the model puts first."""

    file: str
    label: str
    score: float
    answer: str
    answer_score: float


@dataclass(frozen=True, slots=True)
class Confused:
    """A class whose images are taken for another class, and how many of them."""

    label: str
    answer: str
    images: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluation of a model.

    `left_out`: classes of one group of copies. `top`: accuracies by rank, from 1 on. `confusion`: images by class
    (rows) and answer (columns), classes in the order of the training. `nearest_pixels`: the
    accuracy of the nearest image by 32 x 32 pixels.
    """

    folds: int
    groups: int
    left_out: tuple[str, ...]
    accuracy: Share
    precision: float
    recall: float
    f1: float
    top: tuple[float, ...]
    threshold: float
    majority_class: float
    nearest_pixels: float
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    confused: tuple[Confused, ...]
    worst: tuple[Answer, ...]
    likely_wrong: tuple[Answer, ...]

    def as_json(self) -> dict[str, Any]:
        """The evaluation as JSON has it; shares are objects of value, low and high."""
        found = asdict(self)
        found["accuracy"] = self.accuracy._asdict()
        for each, figures in zip(found["classes"], self.classes, strict=True):
            each["recall"] = figures.recall._asdict()
        return found


class Fold(NamedTuple):
    """Result for an image that was in no training: the fold, and the probability of each class."""

    number: int
    probabilities: NDArray[np.float64]


def evaluate(examples: Examples) -> tuple[Evaluation | None, dict[int, Fold]]:
    """Evaluate a model by cross-validation.

    Returns the evaluation, None where fewer than two classes have two groups of copies, and by the index of an image
    what the model of its fold says.
    """
    labels, groups = examples.labels, examples.groups
    sizes = [len(np.unique(groups[labels == number])) for number in range(len(examples.classes))]
    usable = [number for number, size in enumerate(sizes) if size >= FEWEST_FOLDS]
    if len(usable) < 2:
        return None, {}
    count = min(MOST_FOLDS, *(sizes[number] for number in usable))
    rows = np.flatnonzero(np.isin(labels, usable))
    found: dict[int, Fold] = {}
    nearest = 0
    for number, (train, test) in enumerate(_folds(examples, rows, count)):
        scores = fit(*examples.training(train), examples.classes).probabilities(examples.vectors[test])
        nearest += _nearest(examples, train, test)
        found |= {int(row): Fold(number, scores[place]) for place, row in enumerate(test)}
    tested = np.array(sorted(found), np.intp)
    scores = np.array([found[row].probabilities for row in tested.tolist()])
    left_out = tuple(name for number, name in enumerate(examples.classes) if number not in usable)
    figures = _figures(examples, tested, scores, usable)
    return (
        Evaluation(
            folds=count,
            groups=len(np.unique(groups[tested])),
            left_out=left_out,
            nearest_pixels=nearest / len(tested),
            **figures,
        ),
        found,
    )


def _folds(examples: Examples, rows: NDArray[np.intp], count: int) -> Iterator[tuple[Array, Array]]:
    """Indices of the images to train from and to test, for each fold.

    Classes that are not evaluated are always trained. A fold whose training would have one class is left out.
    """
    always = np.setdiff1d(np.arange(len(examples.labels)), rows)
    labels, groups = examples.labels[rows], examples.groups[rows]
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    for train, test in splitter.split(rows, labels, groups):
        if len(test) and len(np.unique(labels[train])) > 1:
            yield np.sort(np.concatenate((rows[train], always))), rows[test]


def _figures(examples: Examples, tested: Array, scores: Array, usable: list[int]) -> dict[str, Any]:
    labels, answers = examples.labels[tested], scores.argmax(axis=1)
    right = answers == labels
    precision, recall, f1, support = precision_recall_fscore_support(labels, answers, labels=usable, zero_division=0)
    ranks = (scores > scores[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    matrix = confusion_matrix(labels, answers, labels=range(len(examples.classes)))
    return {
        "accuracy": wilson(int(right.sum()), len(right)),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "top": tuple(float((ranks < rank).mean()) for rank in range(1, min(_TOP, len(examples.classes)) + 1)),
        "threshold": _threshold(scores.max(axis=1), right),
        "majority_class": float(support.max() / support.sum()),
        "classes": tuple(
            ClassFigures(
                examples.classes[number],
                int(support[place]),
                float(precision[place]),
                wilson(int(matrix[number, number]), int(support[place])),
                float(f1[place]),
            )
            for place, number in enumerate(usable)
        ),
        "confusion": tuple(map(tuple, matrix.tolist())),
        "confused": tuple(_confused(examples.classes, matrix)),
        **_doubtful(examples, tested, scores),
    }


def _doubtful(examples: Examples, tested: Array, scores: Array) -> dict[str, tuple[Answer, ...]]:
    """Images with the least probability of their label, and images whose label is likely wrong.

    An image that is right and sure is none of them.
    """
    given = scores[np.arange(len(tested)), examples.labels[tested]]
    rows = [
        Answer(
            examples.keys[tested[row]],
            examples.classes[examples.labels[tested[row]]],
            float(given[row]),
            examples.classes[scores[row].argmax()],
            float(scores[row].max()),
        )
        for row in np.argsort(given, kind="stable")
    ]
    return {
        "worst": tuple(row for row in rows if row.answer != row.label or row.score < _SURE)[:_WORST_ROWS],
        "likely_wrong": tuple(row for row in rows if row.score < _DOUBTFUL),
    }


def _confused(classes: tuple[str, ...], matrix: Array) -> Iterator[Confused]:
    """The pairs of classes that are confused most, the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED_ROWS].tolist():
        row, column = divmod(place, len(classes))
        if wrong[row, column]:
            yield Confused(classes[row], classes[column], int(wrong[row, column]))


def _threshold(best: Array, right: Array) -> float:
    """Score of the top label below which results are better dropped.

    It is that of the best F1, the highest of several.
    """
    f1 = [2 * (right & (best >= score)).sum() / (len(right) + (best >= score).sum()) for score in THRESHOLDS]
    return float(THRESHOLDS[len(f1) - 1 - int(np.argmax(f1[::-1]))])


def _nearest(examples: Examples, train: Array, test: Array) -> int:
    """Number of tested images whose nearest trained one, by pixels, has their class."""
    pixels = examples.small[train].astype(np.float32)
    lengths = (pixels**2).sum(axis=1)
    right = 0
    for row in test:
        apart = lengths - 2 * pixels @ examples.small[row].astype(np.float32)
        right += int(examples.labels[train[apart.argmin()]] == examples.labels[row])
    return right


def wilson(count: int, total: int) -> Share:
    """The share of a count with its 95 % interval."""
    if not total:
        return Share(0.0, 0.0, 1.0)
    share, square = count / total, _NORMAL**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = _NORMAL * sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return Share(share, max(0.0, centre - half), min(1.0, centre + half))
