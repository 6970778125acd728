"""TIFF pages whose samples Pillow does not read or misreads.

Such have more than 8 bits, signs, floats, planes or odd channels.

libtiff, which Pillow calls, unpacks any page. So the page is described to it as one of plain bytes, as many as a row
has, and the bytes are read here as the numbers that they are. Where a predictor was applied, which works on numbers of
a certain width, the description keeps that width.
"""

import contextlib
import io
import math
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps, TiffImagePlugin, _imaging
from PIL.ImageFile import ImageFile

from . import pages
from .levels import Scale, to_bytes
from .pages import Page, Values

_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_LETTERS = {8: "B", 16: "H", 32: "I", 64: "Q"}
_RAW = {
    (8, _UNSIGNED): "F;8",
    (8, _SIGNED): "F;8S",
    (16, _UNSIGNED): "F;16{}",
    (16, _SIGNED): "F;16{}S",
    (32, _UNSIGNED): "F;32{}",
    (32, _SIGNED): "F;32{}S",
    (32, _FLOAT): "F;32{}F",
    (64, _FLOAT): "F;64{}F",
}
"""Pillow's unpackers into floats, by bits and kind of number; B stands for bytes in the order of MM."""

_COLOURS = {0: "L", 1: "L", 2: "RGB", 5: "CMYK"}
"""Modes by photometric interpretation."""

_ASSOCIATED, _UNASSOCIATED = 1, 2
_PACKED = frozenset((1, 5, 8, 32773, 32946, 34925, 50000))
"""Compressions that give back bytes as they were: none, LZW, Deflate, PackBits, LZMA, Zstandard."""

_COMPRESSIONS = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Names of compressions that Pillow does not know; that of WebP, for which its libtiff has no decoder."""

_MOST_CHANNELS = 64
"""More are a damaged number: satellites have up to 16 channels."""

_TWELVE = 12  # bits
_NAMES = {_UNSIGNED: "", _SIGNED: " signed", _FLOAT: " floating-point"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Arrangement of the samples of a page: bits and kind of each, channels, and what they stand for."""

    page: Page
    bits: int
    kind: int
    channels: int
    photometric: int
    planes: bool
    predictor: int

    @property
    def colours(self) -> str:
        """Pillow's mode for the channels without alpha; empty where it has none."""
        return _COLOURS.get(self.photometric, "")

    @property
    def alpha(self) -> tuple[int, int]:
        """Number of the alpha channel and its kind; (0, 0) where there is none."""
        extra = self.page.get(pages.EXTRA_SAMPLES)
        found = [(number, kind) for number, kind in enumerate(extra) if kind in (_ASSOCIATED, _UNASSOCIATED)]
        if not found or self.colours == "CMYK":
            return 0, 0
        return self.channels - len(extra) + found[0][0], found[0][1]

    @property
    def scale(self) -> Scale:
        """Scale of its numbers."""
        full = 1 << self.bits if self.kind == _UNSIGNED and self.bits <= 16 else None
        return Scale(full, dim=self.bits > _TWELVE, gap=_gap(self.page), inverted=self.photometric == 0)

    def problem(self) -> str:
        """Reason for which its samples cannot be read, empty where they can."""
        known = (self.bits, self.kind) in _RAW or (self.bits, self.kind) == (_TWELVE, _UNSIGNED)
        needed = max(len(self.colours), self.alpha[0] + 1)
        if not known or not self.colours or not needed <= self.channels <= _MOST_CHANNELS:
            return self.described
        if self.page.first(pages.COMPRESSION, 1) not in _PACKED:
            return f"{self.described}, compressed with loss"
        single = self.planes or self.channels == 1
        keeps = single and self.bits in (8, 16, 32)
        return "" if self.predictor == 1 or keeps else f"{self.described}, with a predictor"

    @property
    def described(self) -> str:
        """The layout in words."""
        numbers = "number" if self.channels == 1 else "numbers"
        return f"a TIFF of {self.channels}{_NAMES.get(self.kind, ' complex')} {numbers} a pixel, {self.bits} bits each"


def layout_of(page: Page) -> Layout | str:
    """Layout of a page, or the reason for which it has none that can be read."""
    channels = page.first(pages.SAMPLES, 1)
    bits, kinds = set(page.get(pages.BITS, 1)), set(page.get(pages.SAMPLE_FORMAT, _UNSIGNED))
    if len(bits) > 1 or len(kinds) > 1:
        return "a TIFF whose channels differ in bits"
    (kind,) = kinds
    return Layout(
        page,
        bits.pop(),
        _UNSIGNED if kind == _UNDEFINED else kind,
        channels,
        page.first(pages.PHOTOMETRIC, 0),
        page.first(pages.PLANAR, 1) == 2 and channels > 1,
        page.first(pages.PREDICTOR, 1),
    )


class SampledImage(ImageFile):
    """Image of such a page, to be used like Pillow's own: pixels are decoded by `load`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        super().__init__(io.BytesIO(layout.page.data))

    def _open(self) -> None:
        width, height = self.layout.page.size
        turned = self.layout.page.orientation
        self._size = (width, height) if turned < 5 else (height, width)
        self._mode = self.layout.colours + ("A" if self.layout.alpha[1] else "")
        self.tile = []
        self.tag_v2 = {pages.ORIENTATION: turned}
        if profile := bytes(self.layout.page.get(34675)):
            self.info["icc_profile"] = profile

    @property
    def pixel_bytes(self) -> int:
        """Most bytes a pixel while it is decoded: samples packed and unpacked, floats, copies to scale."""
        bands, masked = len(self.getbands()), self.layout.scale.full is None or self.layout.scale.gap is not None
        return 2 * -(-self.layout.bits // 8) * self.layout.channels + 5 * bands + (20 if masked else 5)

    def load(self) -> Any:
        """Decode the page, turn it as its orientation says."""
        if self._im is None:
            image = _decoded(self.layout)
            exif = Image.Exif()
            exif[pages.ORIENTATION] = self.layout.page.orientation
            image.info["exif"] = exif.tobytes()
            ImageOps.exif_transpose(image, in_place=True)
            self.im, self._size = image.im, image.size
        return Image.Image.load(self)


class LargeTiff(TiffImagePlugin.TiffImageFile):
    """A TIFF of any size: Pillow refuses scans of 179 million pixels, also of one bit a pixel."""

    def load_prepare(self) -> None:
        """Make room for the pixels; `overwhelming` has judged how much."""
        if self._im is None:
            self.im = _imaging.new(self.mode, self._tile_size)
        super().load_prepare()


def opened(page: Page, data: bytes) -> ImageFile | str:
    """The image of a page, nothing decoded yet, or the reason for which it cannot be read.

    `data`: the file, or one with this page alone.
    """
    compression = page.first(pages.COMPRESSION, 1)
    if compression in _COMPRESSIONS or compression not in TiffImagePlugin.COMPRESSION_INFO:
        return f"a TIFF compressed as {_COMPRESSIONS.get(compression, f'number {compression}')}"
    layout = layout_of(page)
    if isinstance(layout, str):
        return layout
    if _read_by_pillow(layout):
        with contextlib.suppress(SyntaxError):  # channels that it does not know
            return LargeTiff(io.BytesIO(data))
    problem = layout.problem()
    return f"{problem}; save it with 8 bits a channel" if problem else SampledImage(layout)


def _read_by_pillow(layout: Layout) -> bool:
    """Whether Pillow reads such samples rightly, if it reads the file at all.

    So it does up to 8 bits, and colours of 16 bits in turns. Of planes it knows some kinds only.
    """
    if layout.kind != _UNSIGNED or (layout.planes and not layout.problem()):
        return False
    return layout.bits <= 8 or (layout.bits == 16 and not layout.planes and len(layout.colours) > 1)


def _gap(page: Page) -> float | None:
    try:
        return float(page.text(pages.NO_DATA))
    except ValueError:
        return None


def _decoded(layout: Layout) -> Image.Image:
    number, kind = layout.alpha
    bands = dict(_bands(layout, [*range(len(layout.colours)), *([number] if kind else [])]))
    alpha = bands.pop(number) if kind else None
    shown = to_bytes([bands[key] for key in sorted(bands)], layout.scale)
    if alpha is None:
        return Image.merge(layout.colours, shown)
    full = layout.scale.full
    opacity = alpha.point(lambda value: value * (256 / full if full else 255.0)).convert("L")
    mode = layout.colours + ("a" if kind == _ASSOCIATED else "A")
    return Image.merge(mode, [*shown, opacity]).convert(layout.colours + "A")


def _bands(layout: Layout, wanted: list[int]) -> Iterator[tuple[int, Image.Image]]:
    """Each channel that is wanted as a band of floats."""
    width, height = layout.page.size
    raw = b""
    for number in wanted:
        if layout.planes or not raw:
            raw, bits, order = _unpacked(layout, number if layout.planes else 0)
            unpacker = _RAW[bits, layout.kind].format("B" if order == ">" else "")
        band = raw
        if layout.channels > 1 and not layout.planes:
            band = array(_LETTERS[bits], raw)[number :: layout.channels].tobytes()
        yield number, Image.frombytes("F", (width, height), band, "raw", unpacker)


def _unpacked(layout: Layout, plane: int) -> tuple[bytes, int, str]:
    """The samples of a plane one after another, the bits of each, and the order of its bytes."""
    page, in_turns = layout.page, 1 if layout.planes else layout.channels
    changes: dict[int, Values] = {
        pages.PHOTOMETRIC: (1,),
        pages.SAMPLES: (1,),
        pages.SAMPLE_FORMAT: (_UNSIGNED,),
        pages.EXTRA_SAMPLES: (),
        pages.PLANAR: (1,),
        pages.ORIENTATION: (1,),
    } | (_places(page, plane, layout.channels) if layout.planes else {})
    if layout.bits == _TWELVE:  # packed from the highest bit on, whatever the order of bytes is
        return _loaded(page.written(changes | _wider(page, in_turns) | {pages.BITS: (_TWELVE,)}, "<")), 16, "<"
    if layout.predictor == 1:
        each = layout.bits // 8
        view = page.written(changes | _wider(page, in_turns * each) | {pages.BITS: (8,)})
        return _loaded(view), layout.bits, page.order
    if layout.bits == 32:
        changes[pages.SAMPLE_FORMAT] = (_FLOAT,)
    samples = _loaded(page.written(changes | {pages.BITS: (layout.bits,)}))
    native = "<" if sys.byteorder == "little" else ">"
    return samples, layout.bits, native if layout.bits == 32 else page.order


def _loaded(data: bytes) -> bytes:
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
        if image.mode == "F" and image.use_load_libtiff:
            # libtiff gives numbers in the machine's order; Pillow takes those of a file in MM for that file's.
            (tile,) = image.tile
            assert isinstance(tile.args, tuple)
            image.tile = [tile._replace(args=("F;32NF", *tile.args[1:]))]
        # The size was judged; Pillow would count each byte as a pixel and take a large image for a bomb.
        image.im = Image.new(image.mode, image.size).im
        image.load()
        return image.tobytes()


def _wider(page: Page, times: int) -> dict[int, Values]:
    """Width of rows and tiles that hold so many samples a pixel."""
    widths = {tag: page.get(tag) for tag in (pages.WIDTH, pages.TILE_WIDTH) if tag in page.tags}
    return {tag: (values[0] * times,) for tag, values in widths.items() if values}


def _places(page: Page, plane: int, planes: int) -> dict[int, Values]:
    """Places of the strips or tiles of one plane."""
    tags = (pages.STRIPS, pages.STRIP_BYTES, pages.TILES, pages.TILE_BYTES)
    places = {tag: page.get(tag) for tag in tags if tag in page.tags}
    counts = {tag: math.ceil(len(values) / planes) for tag, values in places.items()}
    return {tag: values[plane * counts[tag] : (plane + 1) * counts[tag]] for tag, values in places.items()}
