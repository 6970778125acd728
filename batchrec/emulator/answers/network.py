"""The embedded network on the CPU, what it sees of an image, and the heads of the user's models.

Importing this needs the extra `local`: ImportError without it.
"""

from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from ..images import upright
from . import graph, weights
from .own_models import Damaged

Array = NDArray[Any]

FEATURES = 1280
"""Numbers of a feature vector: channels of the network's last map."""

SMALLEST = 1e-12
"""Length by which features are divided at least: those of an image without any."""


_BLOCK_ROWS = 250  # multiplied at a time


class Network(NamedTuple):
    """The network, ready to run. `linear` (1280 x 1000) is how much each feature speaks for each class."""

    session: onnxruntime.InferenceSession
    linear: Array

    @classmethod
    def load(cls, file: Path) -> "Network":
        """From the weights file, in about a quarter of a second; `weights.WeightsError` if it is no such file."""
        arrays = weights.load(file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(graph.build(arrays), options, providers=["CPUExecutionProvider"])
        return cls(session, np.ascontiguousarray(arrays["_fc.weight"].T))

    def see(self, pixels: Array) -> tuple[Array, Array]:
        """The probability of each class, and the feature map (1280 x 7 x 7); may be called from many threads."""
        scores, cells = self.session.run(["scores", "map"], {"image": pixels[np.newaxis]})
        return scores[0], cells[0]

    def features(self, pixels: Array) -> Array:
        """The features as a vector of length 1 (1280, float32); may be called from many threads."""
        (found,) = self.session.run(["features"], {"image": pixels[np.newaxis]})
        return _unit(found[0])

    def look(self, pixels: Array) -> tuple[Array, Array]:
        """The features as `features` has them, and the feature map as `see` does."""
        found, cells = self.session.run(["features", "map"], {"image": pixels[np.newaxis]})
        return _unit(found[0]), cells[0]


class Head(NamedTuple):
    """Linear layer of a model of the user's: weights (classes x 1280), bias, names of the classes."""

    classes: tuple[str, ...]
    weights: Array
    bias: Array

    @classmethod
    def load(cls, file: Path) -> "Head":
        """From an npz file without pickles. Raises Damaged."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                head = cls(tuple(arrays["classes"].tolist()), arrays["weights"], arrays["bias"])
            if head.weights.shape != (len(head.classes), FEATURES) or head.bias.shape != (len(head.classes),):
                raise ValueError(f"weights {head.weights.shape} and bias {head.bias.shape} are of another shape")
        except (OSError, ValueError, LookupError, EOFError, BadZipFile) as error:
            raise Damaged(file, str(error)) from error
        return head

    def probabilities(self, features: Array) -> Array:
        """The probability of each class from the features (1280)."""
        logits = times(self.weights, features) + self.bias
        powers: Array = np.exp(logits - logits.max())
        scores: Array = powers / powers.sum()
        return scores


def times(matrix: Array, vector: Array) -> Array:
    """The product of a matrix and a vector, on one thread.

    OpenBLAS gives 1,000 rows of 1,280 to all cores, which then take 3 to 7 ms of CPU for 0.1 ms of work.
    """
    blocks = [matrix[start : start + _BLOCK_ROWS] @ vector for start in range(0, len(matrix), _BLOCK_ROWS)]
    return np.concatenate(blocks)


def _unit(vector: Array) -> Array:
    found: Array = vector / max(float(np.linalg.norm(vector)), SMALLEST)
    return found


def seen(image: Image.Image) -> Array:
    """An opened image as the network takes it; models are trained on what this returns.

    Raises what Pillow raises where it cannot be decoded.
    """
    size = graph.SIDE, graph.SIDE
    image.draft("RGB", size)  # a large JPEG is decoded at a fraction of its size
    return np.asarray(upright(image.convert("RGB").resize(size, Image.Resampling.BICUBIC)))
