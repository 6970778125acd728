"""Examples for training: images of a checked data set, their features, and groups of copies."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import JobError
from ..language import _
from ..sources.keys import escaped
from .check import Checked, Told
from .classes import OTHER
from .feature_cache import FeatureCache
from .inputs import groups_of, inputs_of, others, with_features


@dataclass(frozen=True, slots=True)
class Examples:
    """Images of a training, class by class; all arrays are in their order.

    `keys`: paths of the files within the data set, escaped where they are no UTF-8; `labels`: indices into `classes`;
    `groups`: copies of each other have one number; `vectors`: features (images x 1280); `small`: images x 3072;
    `left_out`: keys of files that cannot be trained from. `mirrored`: features of the images mirrored, to train from as
    well; None: they are not.
    """

    classes: tuple[str, ...]
    keys: tuple[str, ...]
    labels: NDArray[np.intp]
    groups: NDArray[np.intp]
    vectors: NDArray[np.float16]
    small: NDArray[np.uint8]
    left_out: tuple[str, ...]
    mirrored: NDArray[np.float16] | None = None

    def training(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float16], NDArray[np.intp]]:
        """Features and labels to train from: those of the images at `rows`, and of these images mirrored."""
        vectors, labels = self.vectors[rows], self.labels[rows]
        if self.mirrored is None:
            return vectors, labels
        return np.concatenate((vectors, self.mirrored[rows])), np.concatenate((labels, labels))

    def counts(self) -> dict[str, int]:
        """Number of images by class."""
        return dict(zip(self.classes, np.bincount(self.labels, minlength=len(self.classes)).tolist(), strict=True))


def gather(
    checked: Checked, other: Path | None, cache: FeatureCache, told: Told, *, mirrored: bool = False
) -> Examples:
    """Collect the examples of a checked data set, and of a folder of other things.

    `mirrored`: with the features of the images mirrored.

    Raises JobError where fewer than two classes have an image or a folder cannot be read, OutputFailed where the cache
    cannot be written.
    """
    images = inputs_of(checked) + ([] if other is None else others(other))
    kept = with_features([each for each in images if each.fit], cache, told)
    turned = None
    if mirrored:
        flipped = with_features([each._replace(mirrored=True) for each, _found in kept], cache, told)
        vector_of = {each.looked.sha256: found.vector for each, found in flipped}
        kept = [(each, found) for each, found in kept if each.looked.sha256 in vector_of]
        turned = np.array([vector_of[each.looked.sha256] for each, _found in kept])
    names = [each.sample.label for each, _found in kept]
    classes = tuple(dict.fromkeys(names))
    if len(set(classes) - {OTHER}) < 2:
        raise JobError(
            _("{path}: fewer than two classes have an image that can be trained from").format(path=checked.dataset.root)
        )
    vectors = np.array([found.vector for _each, found in kept])
    numbers, there = {label: number for number, label in enumerate(classes)}, {each.sample.key for each, _found in kept}
    return Examples(
        classes=classes,
        keys=tuple(escaped(each.sample.key) for each, _found in kept),
        labels=np.array([numbers[name] for name in names], np.intp),
        groups=groups_of([each.looked for each, _found in kept], names, vectors),
        vectors=vectors,
        small=np.array([found.small for _each, found in kept]),
        left_out=tuple(escaped(each.sample.key) for each in images if each.sample.key not in there),
        mirrored=turned,
    )
