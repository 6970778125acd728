"""Judgement of a file by its content: format and defects. Decodes only to see whether it is whole.

Pillow's readers are called directly, never through `Image.open`: that one tries every format it knows (among them
PostScript, which starts a program), and warns about large pictures by means of state that all threads share.
"""

import contextlib
import ctypes
import functools
import io
import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)
from PIL.ImageFile import ImageFile

from ..values import Failure, ImageLimits, Kind, Treatment
from . import container, extent, jpeg, png
from .exif import NORMAL, orientation_of, orientation_tag
from .extent import Extent
from .heif import available, heif_image, missing
from .jpeg import MAX_SCANS, Size, first_scan, many_scans, with_exif
from .long import MOST_TILES, PAD, SPLIT, count_tiles, is_long, tile_length
from .orientation import of_jpeg, of_jpeg2000, of_png, of_webp
from .others import identify
from .pages import BITS, RAW, is_raw, main_page, pages
from .samples import LargeTiff, SampledImage, opened
from .shrink import SCALES, fitted, lowered, photograph_bytes, snapped
from .webp import Box, first_frame

MAX_DECODED_BYTES = 450_000_000
"""Pictures that take more in memory are not decoded: 112 megapixels in colour, 450 in grey or black and white.

In colour that is 1.8 GB for the moment of flattening alpha. A sequential JPEG counts as it is decoded, at a half of its
sides or less where it is to be shrunk (200 megapixel phones); a progressive one needs all its coefficients at once.
"""

MAX_DECODED_PIXELS = 450_000_000
"""More pixels take too long: up to 10 s, whatever the memory. A sheet of 840 x 1,190 mm at 400 dpi has 248 million."""

_MB = 1_000_000  # bytes

_REDUCED = frozenset({"1", "L", "P", "RGB", "CMYK"})
_REDUCED_PIXELS = 25_000_000
"""Larger pictures in these modes are reduced part by part where they are to be shrunk to a half or less."""

PLAIN_MODES = frozenset({"1", "L", "P", "RGB"})
"""Pillow's names for black and white, grey, palette and colour of 8 bits: what every service decodes."""

_FORMAT_BYTES = {"JPEG2000": 20, "AVIF": 20, "HEIC": 24, "WEBP": 24}
_MODE_BYTES = {"L": 4, "1": 5, "P": 12, "RGB": 12, "I;16": 14, "I;16B": 14}
_STORED_BYTES = {"1": 1, "L": 1, "P": 1}  # a pixel in Pillow's memory; all other modes take 4, or are widened to that
_WIDE_BYTES = 4
_MOST_BYTES = 16
"""Bytes a pixel at the peak of a repair: of formats whose decoders hold more than one copy, else of Pillow's modes."""


@dataclass(frozen=True, slots=True)
class Format:
    """Picture format: signature, reader, whether it is lossless, its extent in a file, orientation.

    `turned`: the reader turns the pixels upright by itself. `apart`: it is decoded in a process of its own, since the
    header does not tell how much memory its decoder takes.
    """

    name: str
    start: re.Pattern[bytes]
    reader: Callable[[io.BytesIO], ImageFile]
    lossless: bool = True
    alone: Callable[[bytes], Extent] = extent.as_it_is
    orientation: Callable[["Picture"], int] = lambda picture: NORMAL
    turned: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that began like a picture: its bytes and Pillow's view of its header, nothing decoded yet.

    `words`: what was done to the bytes so that they are the picture alone, and whole. `ended`: whether its end is
    there; else only decoding can tell. `inside`: the format of the file that holds it, where `data` is a part of one.
    """

    data: bytes
    format: Format
    image: ImageFile
    words: tuple[str, ...] = ()
    ended: bool = False
    inside: str = ""

    @property
    def size(self) -> Size:
        """Width and height in pixels, as the header has them."""
        return self.image.size

    @property
    def buffered(self) -> bool:
        """Whether it is a JPEG whose decoder holds the coefficients of all its pixels over several scans.

        So it does where the picture is progressive, and where the first scan lacks a channel.
        """
        if self.format is not _JPEG:
            return False
        return "progressive" in self.image.info or first_scan(self.data) < len(self.image.getbands())

    def footprint(self, wanted: Size) -> int:
        """Most bytes that decoding and converting takes for a picture wanted with so many pixels or more.

        Measured with Pillow 13 as the peak of repairing 13 megapixels, by format and mode.
        """
        pixels, image = self.size[0] * self.size[1], self.image
        if (factor := self.reduction(wanted)) > 1:
            return self.stored(wanted) + _MOST_BYTES * pixels // factor**2
        shrunk = pixels // self.scale(wanted) ** 2
        each = _FORMAT_BYTES.get(self.format.name) or _MODE_BYTES.get(image.mode, _MOST_BYTES)
        if isinstance(image, SampledImage):
            each = max(each, image.pixel_bytes)
        if image.has_transparency_data:
            each = max(each, _MOST_BYTES)
        coefficients = 2 * len(image.getbands()) * pixels if self.buffered else 0
        return max(each * shrunk, coefficients + 4 * shrunk)

    def stored(self, wanted: Size) -> int:
        """Bytes that the decoded picture takes in memory, wanted with so many pixels or more."""
        pixels, image = self.size[0] * self.size[1], self.image
        if not self.buffered:
            pixels //= self.scale(wanted) ** 2
        return pixels * (_WIDE_BYTES if image.has_transparency_data else _STORED_BYTES.get(image.mode, _WIDE_BYTES))

    def reduction(self, wanted: Size) -> int:
        """Factor by which a picture is reduced part by part, right after it was decoded; 1 where it is not.

        All else then takes the memory of the reduced picture. JPEGs are decoded to a smaller size instead.
        """
        return self._room(wanted) if self._reduced else 1

    def scale(self, wanted: Size) -> int:
        """Factor by which Pillow shrinks a JPEG while decoding it, so that both sides stay as long as wanted."""
        return max((scale for scale in SCALES if scale <= self._room(wanted)), default=1) if self.scaled else 1

    def wanted(self, limits: ImageLimits, long: str) -> Size:
        """The size that is needed of the picture: no smaller than what is sent of it, or of each of its tiles.

        Where the decoder, or the reduction after it, makes one that is nearly as large by itself: that one.
        """
        longest = max(self.part(limits, long))
        side = max(self.size) if longest <= limits.max_side else max(self.size) * limits.max_side // longest
        return snapped(self.size, side) if self.scaled or self._reduced else fitted(self.size, side)

    def part(self, limits: ImageLimits, long: str) -> Size:
        """The size of what is sent in one call, before it is shrunk: that of a tile, or all of it."""
        if long == SPLIT and is_long(self.size, limits):
            return min(self.size), tile_length(self.size, limits)
        return self.size

    def allowed(self, limits: ImageLimits, treatment: Treatment) -> ImageLimits:
        """The limits to keep: the service's, or lower ones where `treatment.max_side` shrinks the picture."""
        if treatment.max_side is None:
            return limits
        part = self.part(limits, treatment.long)
        weight = len(self.data) // (1 if part == self.size else count_tiles(self.size, limits))
        if self.form not in limits.formats and not self.lossless:  # such as HEIC: heavier as the JPEG that is sent
            weight = max(weight, photograph_bytes(fitted(part, limits.max_side)))
        return lowered(limits, treatment, part, weight)

    @property
    def form(self) -> str:
        """Name of the file's format."""
        return self.inside or self.format.name

    @property
    def scaled(self) -> bool:
        """Whether it is a JPEG whose decoder shrinks it; that of a lossless one does not."""
        return self.format is _JPEG and self.coding != jpeg.LOSSLESS

    @property
    def _reduced(self) -> bool:
        image = self.image
        if self.format is _JPEG or image.mode not in _REDUCED or image.has_transparency_data:
            return False
        return self.size[0] * self.size[1] >= _REDUCED_PIXELS and self.format.name not in _FORMAT_BYTES

    def _room(self, wanted: Size) -> int:
        """Largest whole factor by which it is shrunk and both sides stay as long as wanted; 1 at least."""
        return max(1, min(self.size[0] // wanted[0], self.size[1] // wanted[1]))

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits a channel.

        Pillow narrows PNG colours by itself, so the header is asked.
        """
        if self.format is _PNG:
            return self.data[24] == 16
        if isinstance(self.image, TiffImagePlugin.TiffImageFile):
            return 16 in self.image.tag_v2.get(BITS, ())
        return self.image.mode.startswith("I;16")

    @property
    def apart(self) -> bool:
        """Whether it is decoded in a process of its own."""
        return self.format.apart or self.holds_lock

    @property
    def animated(self) -> bool:
        """Whether it has several frames. A HEIC has several images, of which one is the primary one."""
        return self.format is not _HEIC and getattr(self.image, "is_animated", False)

    @property
    def holds_lock(self) -> bool:
        """Whether Pillow keeps the interpreter's lock while it works on the picture, for 20 ms and longer.

        A JPEG 2000 is decoded at 5 megapixels a second, and each step of scaling numbers takes a second for 300.
        """
        width, height = self.size
        if self.format is _JPEG2000:
            return width * height > 50_000
        return isinstance(self.image, SampledImage) and width * height > 6_000_000

    @property
    def lossless(self) -> bool:
        """Whether its pixels are the original ones, so that they deserve PNG."""
        if self.format is _WEBP:
            return b"VP8L" in self.data[:4096]
        if self.format is _JPEG:
            return self.coding == jpeg.LOSSLESS
        return self.format.lossless and self.image.info.get("compression") != "jpeg"

    @property
    def coding(self) -> str:
        """Name of the coding of a JPEG that few services read; empty for all others."""
        frame = jpeg.frame_of(self.data) if self.format is _JPEG else None
        return jpeg.UNUSUAL.get(frame.marker, "") if frame is not None else ""

    @property
    def frame(self) -> Box | None:
        """Part of the canvas that the first frame of an animation covers; None where that is all of it."""
        box = first_frame(self.data) if self.format is _WEBP else None
        if isinstance(self.image, GifImagePlugin.GifImageFile):
            box = self.image.dispose_extent
        return None if box == (0, 0, *self.size) else box

    @property
    def orientation(self) -> int:
        """The orientation that the file states, 1 to 8; 1 is upright."""
        return self.format.orientation(self)

    @property
    def lying(self) -> bool:
        """Whether its pixels do not lie upright as they are decoded."""
        return not self.format.turned and self.orientation != NORMAL

    @property
    def turned(self) -> bool:
        """Whether its pixels are turned upright while they are decoded."""
        return self.format.turned and self.orientation != NORMAL


def refuse(word: str, message: str) -> Failure:
    """An image's failure that batchrec names itself; no call was made."""
    return Failure(Kind.IMAGE, word, message, counted=False)


_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def silence_pillow() -> None:
    """Keep what Pillow and libtiff say about odd files off the terminal, for good: the Failure says it.

    A filter that is only ever added is safe in threads; `catch_warnings`, which takes it away again, is not.
    """
    _quiet_once()
    if tuple(warnings.filters[:1]) != (_QUIET,):
        warnings.filterwarnings("ignore", module=r"PIL\.")


@functools.cache
def _quiet_once() -> None:
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff prints every damage to stderr unless told otherwise, and Pillow has no word for telling it.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


_AVIF_BRAND = re.compile(rb".{4}ftypavi[fs]", re.DOTALL)


def _avif(file: io.BytesIO) -> ImageFile:
    """An AVIF by whatever brand: libavif takes it by its own brand alone."""
    data = file.getvalue()
    return AvifImagePlugin.AvifImageFile(
        file if _AVIF_BRAND.match(data) else io.BytesIO(data[:8] + b"avif" + data[12:])
    )


def _icon(file: io.BytesIO) -> ImageFile:
    """Entry of an icon that Pillow takes, by its own header: the list of entries says 256 px at most.

    A PNG may have any size, so it is opened by itself. A bitmap is decoded at once, as Pillow does with either.
    """
    offset = IcoImagePlugin.IcoFile(file).entry[0].offset
    file.seek(offset)
    png = file.read(4) == b"\x89PNG"
    file.seek(offset)
    if png:
        return PngImagePlugin.PngImageFile(file)
    width, height = BmpImagePlugin.DibImageFile(file).size
    if width * height // 2 > _ICON_PIXELS:  # the other half is the mask
        raise Image.DecompressionBombError
    file.seek(0)
    return IcoImagePlugin.IcoImageFile(file)


def _of_tiff(image: Image.Image) -> int:
    """The orientation of a TIFF as its reader takes it: a whole number from 1 to 8, else it is upright."""
    value = getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else NORMAL


_ICON_PIXELS = 1_000_000
"""No list of icons can speak of a bitmap of more than 65,536 pixels."""

_JPEG = Format(
    "JPEG",
    re.compile(rb"\xff\xd8\xff"),
    # The class and not its factory: a phone's MPO is a JPEG with more pictures after it, and is sent as one.
    JpegImagePlugin.JpegImageFile,
    lossless=False,
    alone=jpeg.alone,
    orientation=lambda picture: of_jpeg(picture.data),
)
_PNG = Format(
    "PNG",
    re.compile(rb"\x89PNG"),
    PngImagePlugin.PngImageFile,
    alone=png.alone,
    orientation=lambda picture: of_png(picture.data),
)
# Two letters are little to go by, so the header's length is asked as well.
_BMP = Format(
    "BMP",
    re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    BmpImagePlugin.BmpImageFile,
    alone=extent.bitmap,
)
_TIFF = Format(
    "TIFF",
    re.compile(rb"II[*+]\0|MM\0[*+]"),
    LargeTiff,
    orientation=lambda picture: _of_tiff(picture.image),
    turned=True,
)
_WEBP = Format(
    "WEBP",
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    WebPImagePlugin.WebPImageFile,
    alone=extent.webp,
    orientation=lambda picture: of_webp(picture.data),
)
_JPEG2000 = Format(
    "JPEG2000",
    re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    lossless=False,
    orientation=lambda picture: of_jpeg2000(picture.data),
)
_AVIF = Format(
    "AVIF",
    _AVIF_BRAND,
    _avif,
    lossless=False,
    # Pillow puts the container's rotation there, which counts, in place of the file's own.
    orientation=lambda picture: orientation_of(picture.image.info.get("exif", b"")),
)

_HEIC = Format(
    "HEIC",
    re.compile(rb"(?!)"),  # only the container tells it from an AVIF
    heif_image,
    lossless=False,
    orientation=lambda picture: container.orientation(picture.data),
    turned=True,
    apart=True,
)

FORMATS = (
    _JPEG,
    _PNG,
    _BMP,
    Format("GIF", re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    _WEBP,
    _TIFF,
    _AVIF,
    Format("ICO", re.compile(rb"\x00\x00\x01\x00"), _icon),
    _JPEG2000,
)


def sniff(data: bytes) -> Picture | Failure:
    """Identify the format of non-empty bytes by their start. Pillow may raise for a damaged header."""
    kind = next((known for known in FORMATS if known.start.match(data)), None) or _contained(data)
    if kind is None:
        return refuse("unsupported", RAW) if is_raw(data) else refuse(*identify(data))
    if kind is _HEIC and not available():
        return refuse("unsupported", missing())
    if kind is _HEIC and not container.still(data):
        return refuse("unsupported", "a HEIC sequence without a still image; save one of its images as JPEG")
    if kind is _JPEG and (unread := _unread(data)) is not None:
        return unread
    if kind is _TIFF:
        return _tiff(data)
    own, changes, ended = kind.alone(data)
    return Picture(own, kind, kind.reader(io.BytesIO(own)), changes, ended)


def _unread(data: bytes) -> Failure | None:
    """Failure of a JPEG of a kind that no decoder at hand reads."""
    frame = jpeg.frame_of(data)
    name = jpeg.unread(frame) if frame is not None else None
    return refuse("unsupported", f"{name}, which cannot be read; convert it to a usual JPEG") if name else None


def _contained(data: bytes) -> Format | None:
    """The format of a file that names its kind only inside of its container."""
    return {"AVIF": _AVIF, "HEIC": _HEIC}.get(container.codec(data) or "")


def _tiff(data: bytes) -> Picture | Failure:
    """The page of a TIFF that shows the image; a JPEG by itself where the page is one."""
    page = main_page(data)
    if isinstance(page, str):
        return refuse("unsupported", page)
    first = page.at == next(pages(data)).at
    words = () if first else ("full-size page of tiff",)
    if (held := page.jpeg) is not None:
        if of_jpeg(held) == NORMAL != page.orientation:
            held = with_exif(held, orientation_tag(page.orientation))
        own, changes, ended = _JPEG.alone(held)
        words = (*words, "jpeg of tiff", *changes)
        return Picture(own, _JPEG, _JPEG.reader(io.BytesIO(own)), words, ended, "TIFF")
    image = opened(page, data if first else page.written({}))
    if isinstance(image, str):
        return refuse("unsupported", image)
    if isinstance(image, SampledImage) and image.layout.bits != 8:
        words = (*words, f"{image.layout.bits} bit to 8 bit")
    return Picture(data, _TIFF, image, words)


def unrepairable(picture: Picture, limits: ImageLimits, long: str) -> Failure | None:
    """Failure that no repair can help, without decoding: enlarging, cropping, too much memory or time.

    `long` is that of the treatment.
    """
    buffered = picture.buffered
    failure = misshapen(picture.size, limits, long) or overwhelming(picture, limits, long)
    if failure is not None:
        return failure
    if buffered and many_scans(picture.data):
        return refuse("unsupported", f"a JPEG of more than {MAX_SCANS} scans, which would take too long to decode")
    return None


def misshapen(size: Size, limits: ImageLimits, long: str) -> Failure | None:
    """Failure of a picture by its sides. Nothing is enlarged; bars and tiles are made if `long` says so."""
    shape = "{}x{} px".format(*size)
    if min(size) < limits.min_side:
        return refuse("too_small", f"{shape}: every side must have at least {limits.min_side} px")
    return _too_long(size, limits, long) if is_long(size, limits) else None


def _too_long(size: Size, limits: ImageLimits, long: str) -> Failure | None:
    """Failure of a long picture, None where it can be sent as `long` says."""
    shape = "{}x{} px".format(*size)
    if long == PAD:
        left = min(fitted(size, limits.max_side))
        if left >= limits.min_side:
            return None
        told = f"shrunk to {limits.max_side} px, {left} px of its shorter side would be left; set input.long = "
        return refuse("too_long", f'{shape}: {told}"split"')
    if long == SPLIT:
        count = count_tiles(size, limits)
        if count <= MOST_TILES:
            return None
        return refuse("too_long", f"{shape}: would take {count:,} tiles; at most {MOST_TILES} are made of an image")
    told = f"at most {limits.max_ratio:g}:1 is allowed; to send it with bars or in tiles, set input.long = "
    return refuse("too_long", f'{shape}: {told}"pad" or "split"')


def vanishing(picture: Picture, limits: ImageLimits, long: str) -> Failure | None:
    """Failure of a picture whose shorter side `input.max_side` would shrink too far."""
    left = min(fitted(picture.part(limits, long), limits.max_side))
    if left >= limits.min_side:
        return None
    shape = "{}x{} px".format(*picture.size)
    told = f"shrunk to {limits.max_side} px, {left} px of its shorter side would be left, and {limits.min_side}"
    return refuse("too_small", f"{shape}: {told} are needed; set a larger input.max_side")


def overwhelming(picture: Picture, limits: ImageLimits, long: str) -> Failure | None:
    """Failure of a picture that takes too much memory or time to decode."""
    width, height = picture.size
    if width * height > MAX_DECODED_PIXELS:
        return refuse("too_large", f"{width}x{height} px: at most {MAX_DECODED_PIXELS:,} pixels are decoded; shrink it")
    stored = picture.stored(picture.wanted(limits, long))
    if stored > MAX_DECODED_BYTES:
        most = MAX_DECODED_BYTES // _MB
        return refuse(
            "too_large", f"{width}x{height} px take {stored // _MB:,} MB of memory: at most {most} are used; shrink it"
        )
    return None


def unfit(picture: Picture, limits: ImageLimits) -> Failure | None:
    """Failure by which the service would refuse the file as it is."""
    if picture.form not in limits.formats:
        taken = ", ".join(limits.formats)
        return refuse("unsupported", f"{picture.form} is not taken; the service takes {taken}")
    if max(picture.size) > limits.max_side:
        return refuse("too_large", "{}x{} px: at most {} a side".format(*picture.size, limits.max_side))
    if not fits_bytes(len(picture.data), limits):
        text = base64_length(picture.data)
        return refuse("too_large", f"{text:,} bytes of base64: at most {limits.base64_bytes:,} are taken")
    return None


def unusual(picture: Picture, *, upright: bool) -> bool:
    """Whether the service may not take it as it is meant: alpha, CMYK, 16 bit, on its side, rare coding."""
    image = picture.image
    if picture.coding:
        return True
    if image.mode not in PLAIN_MODES or image.has_transparency_data or picture.deep:
        return True
    return upright and picture.lying


def within(size: Size, data: bytes, limits: ImageLimits) -> bool:
    """Whether the service takes a JPEG of that size in pixels, and of those bytes."""
    shortest, longest = min(size), max(size)
    return (
        "JPEG" in limits.formats
        and limits.min_side <= shortest
        and longest <= min(limits.max_side, shortest * limits.max_ratio)
        and _WIDE_BYTES * shortest * longest <= MAX_DECODED_BYTES
        and fits_bytes(len(data), limits)
    )


def base64_length(data: bytes) -> int:
    """Number of bytes of `data` as base64 text."""
    return 4 * -(-len(data) // 3)


def fits_bytes(size: int, limits: ImageLimits) -> bool:
    """Whether the service takes a file of that many bytes."""
    return size <= most_bytes(limits)


def most_bytes(limits: ImageLimits) -> int:
    """Largest number of bytes whose base64 text the service takes."""
    return limits.base64_bytes // 4 * 3
