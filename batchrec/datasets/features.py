"""Features of images: 1,280 numbers of the embedded network, a vector of length 1.

Importing this needs the extra `local`. The image is seen whole and upright, by the code of the embedded endpoint: a
model is trained on what it is asked about later. 12 ms of CPU an image.
"""

from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..emulator.answers import crops, network, weights
from ..emulator.answers.crops import Crops, Window, overlaps
from ..values import Box

__all__ = [
    "CROPS",
    "DIMENSIONS",
    "WEIGHTS_SHA256",
    "Crops",
    "Detection",
    "FeatureNetwork",
    "Window",
    "detections",
    "overlaps",
    "pixels_of",
]

DIMENSIONS = 1280
"""Numbers of a feature vector: channels of the network's last map."""

WEIGHTS_SHA256 = weights.SHA256
"""Digest of the network's weights. Features of other weights would be others."""

CROPS = len(list(crops.windows()))
"""Crops of an image."""

Pixels = NDArray[np.uint8]


class Detection(NamedTuple):
    """A found object; the box is in whole pixels of the image upright."""

    label: str
    score: float
    box: Box


class FeatureNetwork:
    """The embedded network up to its features. Loaded at once, in a quarter of a second; for any thread."""

    def __init__(self) -> None:
        """Raises ImportError without the weights of the extra `local`."""
        self._network = network.Network.load(weights.find())

    def of_bytes(self, data: bytes) -> NDArray[np.float32]:
        """Features of an encoded image (1280). Raises what Pillow raises where it cannot be decoded."""
        return self.of_pixels(pixels_of(data))

    def of_pixels(self, pixels: Pixels) -> NDArray[np.float32]:
        """Features of what `pixels_of` returned (1280)."""
        found: NDArray[Any] = self._network.features(pixels)
        return found.astype(np.float32)

    def of_crops(self, data: bytes, objects: Sequence[Window] = ()) -> Crops:
        """Crops of an encoded image with their features, then those of its objects.

        0.4 s of CPU. Raises what Pillow raises where it cannot be decoded.
        """
        with Image.open(BytesIO(data)) as image:
            return crops.look(self._network, image, objects)


def detections(head: tuple[tuple[str, ...], Any, Any], found: Crops, size: tuple[int, int]) -> list[Detection]:
    """The result of the embedded endpoint for an image of that size in pixels, best first.

    `head`: names of the classes, weights and bias.
    """
    return [
        Detection(each.name, each.score, Box(**asdict(each.box)))
        for each in crops.detections(network.Head(*head), found, *size)
        if each.box is not None
    ]


def pixels_of(data: bytes) -> Pixels:
    """An encoded image as the network sees it, 224 x 224 x 3.

    Raises what Pillow raises where it cannot be decoded.
    """
    with Image.open(BytesIO(data)) as image:
        return network.seen(image)
