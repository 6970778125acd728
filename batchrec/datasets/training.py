"""Training of a version: examples, head, evaluation, and the files that are kept of it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from .. import __version__
from ..errors import JobError
from ..language import _
from ..times import iso_utc
from .check import Checked, Told
from .crops import gather_crops
from .detection import DetectionEvaluation, Tested, evaluate_detection
from .evaluation import Evaluation, Fold, evaluate
from .examples import Examples, gather
from .feature_cache import FeatureCache
from .features import WEIGHTS_SHA256
from .head import STRENGTH, Head, fit
from .versions import Model

CLASSIFICATION, DETECTION = "easydl_classification", "easydl_detection"
"""Services of the models."""

FLIP = "flip"
"""Augmentation of a training for classification: each image mirrored from left to right as well."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A new version, and what it was made of.

    `counts`: images by class; `images`: all of them; `left_out`: files that cannot be trained from; `without_boxes`:
    images of a set for detection that are not used. `evaluation` None: there are too few images that are no copies.
    """

    service: str
    version: str
    counts: Mapping[str, int]
    images: int
    left_out: tuple[str, ...]
    without_boxes: tuple[str, ...]
    evaluation: Evaluation | DetectionEvaluation | None

    @property
    def detection(self) -> bool:
        """Whether it is a detector."""
        return self.service == DETECTION


@dataclass(frozen=True, slots=True)
class _Made:
    """A head, and what is said of it. `lines` are those of out_of_fold.jsonl."""

    service: str
    method: str
    head: Head
    counts: dict[str, int]
    images: int
    left_out: tuple[str, ...]
    without_boxes: tuple[str, ...]
    evaluation: Evaluation | DetectionEvaluation | None
    lines: Iterable[dict[str, Any]]


def train(
    model: Model,
    folder: Path,
    checked: Checked,
    other: Path | None,
    now: float,
    told: Told,
    *,
    augment: str | None = None,
) -> Trained:
    """Train a version of a model from a checked data set, a detector from one for detection.

    `folder`: the data folder. `other`: a folder of images of other things. `now`: Unix seconds. `augment`: "flip" to
    train from the images mirrored as well. Raises
    JobError where the data set does not suffice, OutputFailed where nothing can be written.
    """
    for name in checked.dataset.labels:  # where errors are forced
        if not name.isprintable():
            raise JobError(
                _("class {name!r}: has characters that cannot be shown; rename the folder").format(name=name)
            )
    with FeatureCache.opened(folder) as cache:
        if checked.dataset.detection:
            made = _detector(checked, other, cache, told)
        else:
            made = _classifier(checked, other, cache, told, mirrored=augment == FLIP)
    data = made.head.as_bytes()
    origin = {
        "created_at": iso_utc(now),
        "batchrec": __version__,
        "digest": hashlib.sha256(data).hexdigest(),
        "data_set": checked.digest,
        "images": made.images,
        "classes": made.counts,
        "left_out": made.left_out,
        "without_boxes": made.without_boxes,
        "augment": augment,
        "method": made.method,
        "strength": STRENGTH,
        "weights": WEIGHTS_SHA256,
        "threshold": None if made.evaluation is None else made.evaluation.threshold,
        "libraries": {name: library_version(name) for name in ("globox", "numpy", "onnxruntime", "scikit-learn")},
    }
    files = {
        "head.npz": data,
        "version.json": _json(origin),
        "evaluation.json": _json(None if made.evaluation is None else made.evaluation.as_json()),
        "out_of_fold.jsonl": b"".join(orjson.dumps(line) + b"\n" for line in made.lines),
    }
    version = model.add(made.service, made.method, files)
    return Trained(made.service, version, made.counts, made.images, made.left_out, made.without_boxes, made.evaluation)


def _classifier(checked: Checked, other: Path | None, cache: FeatureCache, told: Told, *, mirrored: bool) -> _Made:
    examples = gather(checked, other, cache, told, mirrored=mirrored)
    evaluation, folds = evaluate(examples)
    return _Made(
        service=CLASSIFICATION,
        method="features",
        head=fit(*examples.training(np.arange(len(examples.labels))), examples.classes),
        counts=examples.counts(),
        images=len(examples.keys),
        left_out=examples.left_out,
        without_boxes=(),
        evaluation=evaluation,
        lines=[_line_of_image(examples, row, fold) for row, fold in sorted(folds.items())],
    )


def _detector(checked: Checked, other: Path | None, cache: FeatureCache, told: Told) -> _Made:
    examples = gather_crops(checked, other, cache, told)
    head = examples.fit(np.arange(len(examples.images)))
    if head is None:
        raise JobError(
            _(
                "{path}: every crop of the images shows the one class; add images whose objects do not fill them, or "
                "images of other things with --other DIR"
            ).format(path=checked.dataset.root)
        )
    evaluation, tested = evaluate_detection(examples)
    return _Made(
        service=DETECTION,
        method="crops",
        head=head,
        counts=examples.counts(),
        images=len(examples.images),
        left_out=examples.left_out,
        without_boxes=examples.without_boxes,
        evaluation=evaluation,
        lines=[_line_of_boxes(each) for each in tested],
    )


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def _line_of_image(examples: Examples, row: int, fold: Fold) -> dict[str, Any]:
    best = int(np.argmax(fold.probabilities))
    return {
        "file": examples.keys[row],
        "label": examples.classes[examples.labels[row]],
        "score_of_label": float(fold.probabilities[examples.labels[row]]),
        "answer": examples.classes[best],
        "score": float(fold.probabilities[best]),
        "fold": fold.number,
        "group": int(examples.groups[row]),
    }


def _line_of_boxes(tested: Tested) -> dict[str, Any]:
    return {
        "file": tested.image.key,
        "boxes": [{"label": each.label, **each.box.sides} for each in tested.image.objects],
        "found": [{"label": each.label, "score": each.score, **each.box.sides} for each in tested.found],
        "fold": tested.fold,
        "group": tested.image.group,
    }
