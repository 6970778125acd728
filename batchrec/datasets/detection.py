"""Evaluation of a detector by cross-validation: AP50, that of a central box, precision, recall.

AP50 is COCO's average precision at an overlap of 0.5 (globox: it equals that of pycocotools). Copies of an image stay
in one fold. The central box has the class that the head of the fold gives the whole image: photographs mostly have
their object in the middle, and a detector that is no better has learned classes and not places.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from globox import Annotation, AnnotationSet, BoundingBox, COCOEvaluator
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from ..values import Box
from .boxes import Labelled
from .crops import CropExamples, CroppedImage
from .evaluation import FEWEST_FOLDS, MOST_FOLDS, THRESHOLDS, Share, wilson
from .features import Detection, detections
from .head import Head

_OVERLAP = 0.5
"""Intersection over union from which a box is right, as in AP50."""

_CENTRAL = 0.8
"""Sides of the central box as a share of the image's: the best of 0.5 to 1 on 30 photographs."""


class Matched(NamedTuple):
    """Boxes of a class: those found, those of them that are right, those that are there; and AP50."""

    found: int
    right: int
    there: int
    ap50: float


@dataclass(frozen=True, slots=True)
class DetectedClass:
    """Figures of a class. Precision and recall are at the recommended threshold."""

    name: str
    images: int
    boxes: int
    ap50: float
    central_box: float
    precision: float
    recall: Share


@dataclass(frozen=True, slots=True)
class DetectionEvaluation:
    """Evaluation of a detector; AP50 is a mean over the classes.

    `left_out`: classes whose images are of one group of copies. `central_box`: AP50 of a box in the middle of each
    image. Precision and recall are of all boxes at the recommended threshold.
    """

    folds: int
    groups: int
    images: int
    boxes: int
    left_out: tuple[str, ...]
    ap50: float
    central_box: float
    threshold: float
    precision: float
    recall: Share
    classes: tuple[DetectedClass, ...]

    def as_json(self) -> dict[str, Any]:
        """The evaluation as JSON has it; shares are objects of value, low and high."""
        found = asdict(self)
        found["recall"] = self.recall._asdict()
        for each, figures in zip(found["classes"], self.classes, strict=True):
            each["recall"] = figures.recall._asdict()
        return found


class Tested(NamedTuple):
    """An image that was in no training: its fold, the objects that were found, and the central box."""

    fold: int
    image: CroppedImage
    found: list[Detection]
    central: Detection


def evaluate_detection(examples: CropExamples) -> tuple[DetectionEvaluation | None, list[Tested]]:
    """Evaluate a detector by cross-validation.

    Returns the evaluation, None where no class has two groups of copies, and for each image what the head of its fold
    finds.
    """
    classes = examples.classes[:-1]
    groups = {
        name: {image.group for image in examples.images if any(each.label == name for each in image.objects)}
        for name in classes
    }
    usable = [name for name in classes if len(groups[name]) >= FEWEST_FOLDS]
    if not usable:
        return None, []
    count = min(MOST_FOLDS, *(len(groups[name]) for name in usable))
    tested = list(_tested(examples, usable, count))
    if not tested:
        return None, []
    return _evaluation(tested, usable, tuple(name for name in classes if name not in usable)), tested


def match(truth: Sequence[Sequence[Labelled]], found: Sequence[Sequence[Detection]]) -> dict[str, Matched]:
    """Compare the boxes of images with those that were found, by class."""
    evaluator = COCOEvaluator(ground_truths=_annotations(truth), predictions=_annotations(found))
    figures = evaluator.evaluate(iou_threshold=_OVERLAP)
    return {name: Matched(each.ndet, each.tp, each.npos, float(each.ap)) for name, each in figures.items()}


def _annotations(images: Sequence[Sequence[Labelled | Detection]]) -> Any:
    found = AnnotationSet()
    for number, boxes in enumerate(images):
        found.add(Annotation(image_id=str(number), boxes=[_globox(each) for each in boxes]))
    return found


def _globox(each: Labelled | Detection) -> Any:
    score = each.score if isinstance(each, Detection) else None
    box = each.box
    return BoundingBox(label=each.label, xmin=box.left, ymin=box.top, xmax=box.right, ymax=box.bottom, confidence=score)


def _tested(examples: CropExamples, usable: Sequence[str], count: int) -> Iterator[Tested]:
    """The images with an object of a usable class, each by the head of its fold.

    All others are always trained.
    """
    objects = [
        (number, usable.index(each.label), image.group)
        for number, image in enumerate(examples.images)
        for each in image.objects
        if each.label in usable
    ]
    owners, labels, groups = np.array(objects, np.intp).T
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    for fold, (_train, test) in enumerate(splitter.split(owners, labels, groups)):
        held: NDArray[np.intp] = np.unique(owners[test])
        away = {examples.images[number].group for number in held}
        train = [number for number, image in enumerate(examples.images) if image.group not in away]
        head = examples.fit(np.array(train, np.intp))
        if head is None:
            continue  # what is left shows one class
        for number in held.tolist():
            image = examples.images[number]
            yield Tested(fold, image, detections(head, image.crops, image.size), _central(head, image))


def _central(head: Head, image: CroppedImage) -> Detection:
    """A box in the middle, of the class that the head gives the whole image."""
    scores = head.probabilities(image.crops.vectors[:1])[0][:-1]  # the last class is no object
    width, height = image.size
    edge = (1 - _CENTRAL) / 2
    box = Box(edge * width, edge * height, _CENTRAL * width, _CENTRAL * height)
    return Detection(head.classes[int(scores.argmax())], float(scores.max()), box)


def _evaluation(tested: Sequence[Tested], usable: Sequence[str], left_out: tuple[str, ...]) -> DetectionEvaluation:
    truth = [[box for box in each.image.objects if box.label in usable] for each in tested]
    found = [[box for box in each.found if box.label in usable] for each in tested]
    whole = match(truth, found)
    central = match(truth, [[each.central] for each in tested])
    threshold = _threshold(truth, found)
    sure = match(truth, _above(found, threshold))
    right = sum(_of(sure, name).right for name in usable)
    classes = tuple(
        DetectedClass(
            name=name,
            images=sum(any(box.label == name for box in boxes) for boxes in truth),
            boxes=whole[name].there,
            ap50=whole[name].ap50,
            central_box=_of(central, name).ap50,
            precision=_of(sure, name).right / max(_of(sure, name).found, 1),
            recall=wilson(_of(sure, name).right, whole[name].there),
        )
        for name in usable
        if name in whole and whole[name].there
    )
    return DetectionEvaluation(
        folds=len({each.fold for each in tested}),
        groups=len({each.image.group for each in tested}),
        images=len(tested),
        boxes=sum(map(len, truth)),
        left_out=left_out,
        ap50=float(np.mean([each.ap50 for each in classes])),
        central_box=float(np.mean([each.central_box for each in classes])),
        threshold=threshold,
        precision=right / max(sum(_of(sure, name).found for name in usable), 1),
        recall=wilson(right, sum(map(len, truth))),
        classes=classes,
    )


def _of(figures: Mapping[str, Matched], name: str) -> Matched:
    """The figures of a class, also of one that was neither there nor found."""
    return figures.get(name, Matched(0, 0, 0, 0.0))


def _above(found: Sequence[Sequence[Detection]], threshold: float) -> list[list[Detection]]:
    return [[each for each in boxes if each.score >= threshold] for boxes in found]


def _threshold(truth: Sequence[Sequence[Labelled]], found: Sequence[Sequence[Detection]]) -> float:
    """Score below which boxes are better dropped: that of the best F1, the highest of several."""
    there, best = sum(map(len, truth)), (0.0, float(THRESHOLDS[0]))
    for threshold in THRESHOLDS.tolist():
        kept = _above(found, threshold)
        right = sum(each.right for each in match(truth, kept).values())
        best = max(best, (2 * right / (there + sum(map(len, kept))), threshold))
    return best[1]
