"""Grey levels, colours and transparency: decoded images as ones of 8 bits that show the same.

Numbers are handled as Pillow's mode F (32-bit floats): exact for 24 bits, and its arithmetic runs in C.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter, ImageMath

from .webp import Box

_HUGE = 3e38
"""Larger numbers are no measurements: the largest 32-bit float, 3.4e38, is what programs write for a gap."""

_DIM = 8
"""An image of 16 bits that uses less than this part of its range is scaled by its own, as 12 bits in 16 do."""

_PAPERS = ((255, 255, 255), (90, 90, 90), (170, 170, 170), (0, 0, 0))
"""Backgrounds for transparent images, in the order in which they are preferred."""

_ALIKE = 40
"""Colours that differ by less in every channel of 0 to 255 are taken for one that nobody sees on the other."""

_UNSEEN, _SOMETHING = 2, 32
"""Differences of 0 to 255 that nobody sees in what is sent, and that are something in its source."""

_MOST_LOST = 0.03
"""White is left when a larger share of the drawing's edge vanishes on it."""

_SEEN_FROM, _CLEAR_TO = 16, 128
"""Alpha, 0 to 255, from which a pixel belongs to the drawing, and to which its neighbour is background."""

_LOOKED_AT_SIDE, _FAR = 128, 12
"""Pixels of the longer side at which a drawing is looked at (up to twice as many), and pixels that are far there."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Meaning of numbers, by which they become grey levels.

    `full`: one more than the largest that can be, None where only the image tells its range. `dim`: whether an image
    that uses little of the full range is stretched. `gap`: number that stands for no measurement. `inverted`: whether
    the smallest number is white.
    """

    full: int | None
    dim: bool = True
    gap: float | None = None
    inverted: bool = False


def to_bytes(bands: Sequence[Image.Image], scale: Scale) -> list[Image.Image]:
    """Bands of mode F as 8 bits each, all by the same scale; gaps, NaN and infinity become black."""
    masks = [_measured(band, scale) for band in bands]
    ranges = [_range(band, mask) for band, mask in zip(bands, masks, strict=True)]
    low, high = _chosen(min(low for low, _ in ranges), max(high for _, high in ranges), scale)
    return [_band(band, mask, low, high, scale) for band, mask in zip(bands, masks, strict=True)]


def sixteen_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8 bits, scaled and not clipped."""
    raw = "F;16B" if image.mode == "I;16B" else "F;16"
    return to_bytes([Image.frombytes("F", image.size, image.tobytes(), "raw", raw)], Scale(1 << 16))[0]


def undimmed(image: Image.Image) -> Image.Image:
    """Colours that were 16 bits, scaled by their own range where they use little of it."""
    *bands, last = image.split()
    alpha = [last] if image.mode in {"LA", "RGBA"} else []
    bands += [] if alpha else [last]
    high = max(_extrema(band)[1] for band in bands)
    if image.mode not in {"L", "LA", "RGB", "RGBA"} or not 0 < high < 256 / _DIM:
        return image
    scaled = [band.point(lambda value: value * 255 / high) for band in bands]
    return Image.merge(image.mode, [*scaled, *alpha])


def _measured(band: Image.Image, scale: Scale) -> Image.Image | None:
    """Mask in mode F: 1 where a number is a measurement, else 0. None where all are."""
    if scale.full is not None and scale.gap is None:
        return None
    gap = math.nan if scale.gap is None else scale.gap  # nothing equals NaN
    mask: Image.Image = ImageMath.lambda_eval(lambda of: (abs(of["band"]) < _HUGE) * (of["band"] != gap), band=band)
    return mask


def _range(band: Image.Image, mask: Image.Image | None) -> Range:
    """Smallest and largest number that was measured."""
    if mask is None:
        return _extrema(band)
    clean = _cleaned(band, mask)
    smallest = ImageMath.lambda_eval(lambda of: of["clean"] + (1.0 - of["mask"]) * _HUGE, clean=clean, mask=mask)
    largest = ImageMath.lambda_eval(lambda of: of["clean"] - (1.0 - of["mask"]) * _HUGE, clean=clean, mask=mask)
    return _extrema(smallest)[0], _extrema(largest)[1]


def _extrema(band: Image.Image) -> Range:
    """Smallest and largest number of a single channel."""
    low, high = band.getextrema()
    assert not isinstance(low, tuple)
    assert not isinstance(high, tuple)
    return low, high


def _cleaned(band: Image.Image, mask: Image.Image) -> Image.Image:
    """The band with 0 where nothing was measured."""
    # NaN is neither below nor above a number, so that limits turn it into one.
    clean: Image.Image = ImageMath.lambda_eval(
        lambda of: of["min"](of["max"](of["band"], -_HUGE), _HUGE) * of["mask"], band=band, mask=mask
    )
    return clean


def _chosen(low: float, high: float, scale: Scale) -> Range:
    """Number that becomes black, and number that becomes white."""
    if scale.full is None:
        return low, high
    little = scale.dim and high < scale.full / _DIM
    return (low, high) if high > low and (little or high - low < scale.full / 256) else (0, scale.full)


def _band(band: Image.Image, mask: Image.Image | None, low: float, high: float, scale: Scale) -> Image.Image:
    if mask is not None:
        band = _cleaned(band, mask)
    if low == 0 and high == scale.full:
        grey = band.point(lambda value: value * (256 / high)).convert("L")
    else:
        step = (high - low) / 255 or 1.0
        grey = band.point(lambda value: value * (1 / step) + (0.5 - low / step)).convert("L")
    if scale.inverted:
        grey = ImageChops.invert(grey)
    if mask is not None:
        grey.paste(0, mask=ImageChops.invert(mask.point(lambda value: value * 255.0).convert("L")))
    return grey


# -- transparency


def flattened(image: Image.Image, box: Box | None = None) -> Image.Image:
    """The image without alpha, on a background on which its edges show; white where that does.

    `box`: the part of the canvas that the image covers, where the rest is background too. An alpha of zero everywhere
    says nothing: old programs leave the byte unused.
    """
    canvas, colour = image.size, _PAPERS[0]
    if box is not None:
        image = image.crop(box)
    grey = image.mode in {"L", "LA", "La"}
    layer, alpha = image, None
    if image.has_transparency_data:
        layer = _in_mode(image, "LA" if grey else "RGBA")
        alpha = layer.getchannel("A")
        if alpha.getbbox() is None:
            alpha = None
        else:
            colour = paper_for(layer)
    plain = _in_mode(layer, "L" if grey else "RGB")
    paper = Image.new(plain.mode, canvas, colour[0] if grey else colour)
    paper.paste(plain, box and box[:2], alpha)
    return paper


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode; itself where it has that, since Pillow would copy it."""
    return image if image.mode == mode else image.convert(mode)


def paper_for(layer: Image.Image) -> tuple[int, int, int]:
    """Background for an image with alpha: white, unless more of its edge vanishes there than on another."""
    small = layer.reduce(max(1, max(layer.size) // _LOOKED_AT_SIDE)).convert("RGBA")
    alpha, image = small.getchannel("A"), small.convert("RGB")
    seen = alpha.point(lambda value: 255 * (value >= _SEEN_FROM))
    ground = alpha.filter(ImageFilter.MinFilter(3)).point(lambda value: 255 * (value < _CLEAR_TO))
    edge = ImageChops.multiply(seen, ground)
    lost = _vanishing(image, _PAPERS[0], seen, edge)
    if lost <= _MOST_LOST * edge.histogram()[255]:
        return _PAPERS[0]
    return min(_PAPERS, key=lambda paper: _vanishing(image, paper, seen, edge))


def _vanishing(image: Image.Image, paper: tuple[int, int, int], seen: Image.Image, edge: Image.Image) -> int:
    """Number of pixels at the edge of the drawing that are like the paper and far from all that is not.

    Far within the drawing: a white letter beside a black one is lost on white, a white spot on a black one is not.
    """
    red, green, blue = ImageChops.difference(image, Image.new("RGB", image.size, paper)).split()
    distance = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    shown = ImageChops.multiply(seen, distance.point(lambda value: 255 * (value >= _ALIKE)))
    for _ in range(_FAR):
        shown = ImageChops.multiply(shown.filter(ImageFilter.MaxFilter(3)), seen)
    return edge.histogram(ImageChops.invert(shown))[255]


def blanked(image: Image.Image, source: Image.Image) -> bool:
    """Whether nothing is to be seen in an image that was made of a source that shows something."""
    # A look at a few pixels tells for nearly all images that there is something.
    few = image.resize((16, 16), Image.Resampling.NEAREST)
    return _spread(few) <= _UNSEEN and _spread(image) <= _UNSEEN and _spread(source) >= _SOMETHING


def _spread(image: Image.Image) -> float:
    """Largest difference of two pixels in a channel."""
    image = image.convert("RGBA") if image.mode in {"P", "PA"} else image
    extrema = image.getextrema()
    return max(high - low for low, high in (extrema if isinstance(extrema[0], tuple) else (extrema,)))
