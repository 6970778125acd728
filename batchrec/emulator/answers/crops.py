"""Detection by crops: the whole image and overlapping parts of it, each seen by the network.

A head that was trained on such crops says for each of them which class it shows, or that it shows no object in full.
The box is where the feature map of the crop is strongest, whatever the class. Objects are found if they take up most of
a crop: the smallest crop is a third of each side.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..images import upright
from . import Box, Guess, activation, graph
from .network import Array, Head, Network

NOTHING = "[default]"
"""Class of crops without an object, and of images of other things; it is no result."""

GRIDS = ((1, 1.0), (3, 1 / 2), (5, 1 / 3))
"""Crops in a row and in a column, and their sides as a share of the image's: 35 crops."""

_SIDE_PIXELS = 3 * graph.SIDE
"""Shorter side to shrink an image to, at least: the smallest crops are a third of it."""

_MOST_OVERLAP, _MOST_INSIDE = 0.5, 0.8
"""Shares, of the union and of the box itself, in a better box of the class, above which a box is the same object."""

_LEAST_SCORE = 0.05
"""Score below which a crop shows nothing."""

_TINY = 1e-12
"""Area by which is divided at least."""

_ALL_CHANNELS = np.ones(1280, np.float32)


Window = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the sides of the image upright."""


class Crops(NamedTuple):
    """Crops of an image by the network: where the object in each would be, and its features.

    `boxes`: as `Window` (crops x 4, float32); `vectors`: crops x 1280, float32.
    """

    boxes: Array
    vectors: Array


def look(network: Network, image: Image.Image, more: Sequence[Window] = ()) -> Crops:
    """See the crops of an opened image, the whole one first, then more parts of it as they are.

    0.4 s of CPU. Raises what Pillow raises where it cannot be decoded.
    """
    image.draft("RGB", (_SIDE_PIXELS, _SIDE_PIXELS))
    turned = upright(image.convert("RGB"))
    if (factor := min(turned.size) // _SIDE_PIXELS) > 1:  # of other formats than JPEG
        turned = turned.reduce(factor)
    boxes: list[Window] = []
    vectors = []
    for window in windows():
        vector, cells = _seen(network, turned, window)
        boxes.append(_strongest(cells, window))
        vectors.append(vector)
    vectors += [_seen(network, turned, window)[0] for window in more]
    return Crops(np.array([*boxes, *more], np.float32), np.array(vectors))


def windows() -> Iterator[Window]:
    """The crops in order."""
    for count, side in GRIDS:
        starts = [number * (1 - side) / max(count - 1, 1) for number in range(count)]
        yield from ((left, top, left + side, top + side) for top in starts for left in starts)


def detections(head: Head, crops: Crops, width: int, height: int) -> list[Guess]:
    """The objects of an image of that size in pixels, best first.

    Of boxes that are one object the best is kept.
    """
    scores = np.array([head.probabilities(vector) for vector in crops.vectors])
    scores[:, [number for number, name in enumerate(head.classes) if name == NOTHING]] = 0
    best = scores.argmax(axis=1)
    tops = scores[np.arange(len(best)), best]
    kept: list[int] = []
    for place in np.argsort(-tops, kind="stable").tolist():
        if tops[place] < _LEAST_SCORE:
            break
        same = [other for other in kept if best[other] == best[place]]
        if not same or not _covered(crops.boxes[place], crops.boxes[same]):
            kept.append(place)
    return [
        Guess(head.classes[best[place]], round(float(tops[place]), 6), box=_pixels(crops.boxes[place], width, height))
        for place in kept
    ]


def overlaps(box: Array, boxes: Array) -> tuple[Array, Array]:
    """The shares of the union, and of the box, that it has in common with each of several boxes."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    own, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return common / np.maximum(own + areas - common, _TINY), common / max(float(own), _TINY)


def _covered(box: Array, better: Array) -> bool:
    union, inside = overlaps(box, better)
    return bool((union > _MOST_OVERLAP).any() or (inside > _MOST_INSIDE).any())


def _seen(network: Network, image: Image.Image, window: Window) -> tuple[Array, Array]:
    """The features of a window, and its feature map."""
    width, height = image.size
    left, top, right, bottom = window
    part = (left * width, top * height, right * width, bottom * height)
    size = graph.SIDE, graph.SIDE
    return network.look(np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=part)))


def _strongest(cells: Array, window: Window) -> Window:
    """The box of what is strongest in a window."""
    left, top, right, bottom = window
    box = activation.locate(cells, _ALL_CHANNELS, activation.GRID, activation.GRID)
    across, down = (right - left) / activation.GRID, (bottom - top) / activation.GRID
    return (
        left + box.left * across,
        top + box.top * down,
        left + (box.left + box.width) * across,
        top + (box.top + box.height) * down,
    )


def _pixels(box: Array, width: int, height: int) -> Box:
    """A box in whole pixels, at least one a side."""
    left, right = (round(float(value) * width) for value in (box[0], box[2]))
    top, bottom = (round(float(value) * height) for value in (box[1], box[3]))
    left, top = min(left, width - 1), min(top, height - 1)
    return Box(left, top, max(right - left, 1), max(bottom - top, 1))
