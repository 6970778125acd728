"""Images of a training: those of the data set, those of other things, features, groups of copies."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import JobError
from ..language import _
from . import copies
from .check import Checked, Told
from .classes import OTHER, DataSet, Sample, load_folder
from .feature_cache import FeatureCache, Seen
from .features import FeatureNetwork, Window, pixels_of
from .look import Looked, look
from .rules import rules

SMALL_SIDE_PIXELS = 32
_AHEAD_FILES = 16  # in memory at a time
_GROUP_FILES = 64  # added to the cache at a time: what a kill costs
_UNFIT = {"unreadable", "empty", "not_an_image", "torn"}
"""Findings of images that are left out even where errors are forced."""

_UNDECODABLE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError)
"""Errors of Pillow for an image that it cannot decode."""

_CROPS, _MIRRORED = b"crops 1", b"mirrored 1"
"""Versions of the ways from a file to other features than its own: another way has other keys."""


class Input(NamedTuple):
    """An image of a data set, and what the check found.

    `objects`: the places of its objects, whose features and those of crops are wanted; None: those of the whole image.
    `mirrored`: the whole image is seen mirrored from left to right.
    """

    dataset: DataSet
    sample: Sample
    looked: Looked
    objects: tuple[Window, ...] | None = None
    mirrored: bool = False

    @property
    def fit(self) -> bool:
        """Whether it can be decoded, as far as the check knows."""
        return not {kind for kind, _detail in self.looked.findings} & _UNFIT

    @property
    def digest(self) -> str:
        """The key of its features in the cache, in hexadecimal digits."""
        if self.mirrored:
            return hashlib.sha256(_MIRRORED + bytes.fromhex(self.looked.sha256)).hexdigest()
        if self.objects is None:
            return self.looked.sha256
        return hashlib.sha256(_CROPS + bytes.fromhex(self.looked.sha256) + repr(self.objects).encode()).hexdigest()

    def see(self, network: FeatureNetwork) -> Seen | None:
        """Its features, None where it cannot be decoded. For crops, `Seen.small` has their boxes as float32."""
        try:
            data = self.dataset.read(self.sample)
            if self.objects is not None:
                found = network.of_crops(data, self.objects)
                return Seen(found.vectors.astype(np.float16).reshape(-1), found.boxes.reshape(-1).view(np.uint8))
            pixels = pixels_of(data)
        except _UNDECODABLE:
            return None
        if self.mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        size = (SMALL_SIDE_PIXELS, SMALL_SIDE_PIXELS)
        small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)).reshape(-1)
        return Seen(network.of_pixels(pixels).astype(np.float16), small)


def inputs_of(checked: Checked) -> list[Input]:
    """The images of a checked data set, each as a whole."""
    return [
        Input(checked.dataset, sample, looked)
        for sample, looked in zip(checked.dataset.samples, checked.looked, strict=True)
    ]


def others(folder: Path) -> list[Input]:
    """The images of a folder of other things, inspected as `check` does.

    Raises JobError where there is none.
    """
    dataset, limits = load_folder(folder, OTHER), rules().image

    def look_at(sample: Sample) -> Looked:
        try:
            return look(dataset.read(sample), sample.name, limits)
        except OSError:
            return Looked("", (("unreadable", ""),))

    if not dataset.samples:
        raise JobError(_("--other {path}: there is no file in it").format(path=folder))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(look_at, dataset.samples)
        return [Input(dataset, sample, looked) for sample, looked in zip(dataset.samples, found, strict=True)]


def with_features(images: Sequence[Input], cache: FeatureCache, told: Told) -> list[tuple[Input, Seen]]:
    """The images that can be decoded, with their features; those that are new go into the cache.

    Raises OutputFailed where the cache cannot be written.
    """
    new: dict[str, Seen] = {}
    results: list[tuple[Input, Seen]] = []
    for number, (image, seen, known) in enumerate(_each(images, cache), start=1):
        if seen is not None:
            results.append((image, seen))
            new |= {} if known else {image.digest: seen}
        if len(new) >= _GROUP_FILES:
            cache.put(new)
            new.clear()
        told(number, len(images))
    cache.put(new)
    return results


def _each(images: Sequence[Input], cache: FeatureCache) -> Iterator[tuple[Input, Seen | None, bool]]:
    """The images in order, their features, and whether these were known.

    A few are computed ahead, one a core.
    """
    network: FeatureNetwork | None = None
    ahead: deque[tuple[Input, Seen | Future[Seen | None]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for image in (*images, None):
            while ahead and (image is None or len(ahead) >= _AHEAD_FILES):
                first, found = ahead.popleft()
                yield (first, found, True) if isinstance(found, Seen) else (first, found.result(), False)
            if image is not None and (known := cache.get(image.digest)) is not None:
                ahead.append((image, known))
            elif image is not None:
                network = network or FeatureNetwork()
                ahead.append((image, threads.submit(image.see, network)))


def groups_of(looked: Sequence[Looked], labels: Sequence[str], vectors: NDArray[np.float16]) -> NDArray[np.intp]:
    """A number for each image, the same one for copies of each other.

    Copies have the same bytes, similar perceptual hashes or similar features.
    """
    firsts: dict[str, int] = {}
    leads = list(range(len(looked)))

    def lead(number: int) -> int:
        while leads[number] != number:
            leads[number] = number = leads[leads[number]]
        return number

    for number, each in enumerate(looked):
        leads[number] = firsts.setdefault(each.sha256, number)
    for pair in chain(
        copies.by_hash([each.hash for each in looked], labels),
        copies.by_features(vectors, range(len(vectors))),
    ):
        one, other = sorted((lead(pair.first), lead(pair.second)))
        leads[other] = one
    return np.array([lead(number) for number in range(len(leads))], np.intp)
