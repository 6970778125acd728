"""Localization by the feature map of a network that was trained for classes only.

Class activation mapping (Zhou et al., CVPR 2016): the weights by which the linear layer adds up the features for
a class also say how much each cell of the map speaks for it. The cells are large (7 x 7 on a picture), so the box
is a rough one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import Box

GRID = 28
"""Rows and columns of the grid on which boxes end."""

LEVEL = 0.35
"""Share of the strongest activation that still belongs to the thing. Chosen on 24 photographs with boxes drawn
by hand (mean overlap 0.65); on 24 others the mean overlap is 0.64."""

Array = NDArray[Any]


def locate(feature_map: Array, weights: Array, width: int, height: int) -> Box:
    """The box round the strongest activation, in whole pixels of a picture of that size.

    `feature_map` is channels x rows x columns, `weights` has one number for each channel.
    """
    activation = _enlarged(np.tensordot(weights, feature_map, 1))
    inside = _connected(activation >= LEVEL * activation.max(), int(activation.argmax()))
    rows, columns = np.nonzero(inside)
    top, bottom = _extent(rows, height)
    left, right = _extent(columns, width)
    return Box(left, top, right - left, bottom - top)


def _enlarged(activation: Array) -> Array:
    return np.asarray(Image.fromarray(activation.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BILINEAR))


def _connected(mask: Array, start: int) -> Array:
    """The cells of the mask that hang together with the start by their sides.

    The start is one of them, whatever the mask says.
    """
    found = np.zeros_like(mask)
    found.flat[start] = mask.flat[start] = True
    size = 0
    while size < (size := int(np.count_nonzero(found))):
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        found = grown & mask
    return found


def _extent(lines: Array, pixels: int) -> tuple[int, int]:
    """From the first line of the grid to behind the last, in pixels: at least one, and none outside."""
    return int(lines.min()) * pixels // GRID, -(-(int(lines.max()) + 1) * pixels // GRID)
