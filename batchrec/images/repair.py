"""Make a picture into one that the service takes, by the gentlest means that fits.

Modes are changed only as far as needed. A drawing stays lossless; a photograph becomes a JPEG of the finest quality
that fits, and only where none does is the picture shrunk, a quarter of its sides at a time.
"""

import contextlib
import ctypes
import functools
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO, cast

from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from ..values import Box, Failure, ImageLimits, Prepared, Treatment
from . import levels
from .exif import NORMAL, orientation_tag
from .jpeg import Size
from .judge import PLAIN_MODES, Picture, misshapen, most_bytes, refuse
from .long import SPLIT, Area, count_tiles, is_long, padded, tiles
from .memory import decoding
from .quality import FULL_COLOUR_FROM, fine, photographic, qualities
from .shrink import fitted, side_to_send
from .subprocess import Work, repair_in_process

_MAX_PROFILE_BYTES = 64 * 1024  # usual profiles have 3 KB; a larger one would cost the picture its quality
_PROFILE_OF = {"RGB": b"RGB ", "P": b"RGB ", "L": b"GRAY"}
_SMOOTH = {"P": "RGB", "1": "L"}
_BAND_ROWS = 64  # of the reduced picture

_GAP = 3.0
"""Times the wanted size to which a picture is averaged before it is resampled: Pillow calls the result as good."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Turns that bring a picture upright, by its EXIF orientation."""

_BACK = {6: 8, 8: 6}
"""The orientations whose turn is undone by another one; the others undo themselves."""

FIRST_QUARTER = 5
"""Orientations from this one on exchange width and height."""

TURNED = "turned upright"
"""The word in `repaired` for pixels that were turned as the orientation says."""

_SECONDS, _PIXELS_A_SECOND = 20, 1_000_000
_MEMORY, _SPARE = 256_000_000, 2
"""Limits of a decoder's process: a fifth of the speed and twice the memory that JPEG 2000 was measured with."""

_M_MMAP_THRESHOLD = -3  # of <malloc.h>
_KEPT_BYTES = 8 * 1024 * 1024


def repair_picture(picture: Picture, limits: ImageLimits, treatment: Treatment) -> Prepared | Failure:
    """Decode a picture, make it plain, encode and shrink it until it fits; or return the failure.

    Raises where it is torn.

    The picture is closed afterwards.
    """
    _give_back()
    # Closed while the memory is held: the next one would decode beside it.
    memory = picture.footprint(picture.wanted(limits, treatment.long))
    with decoding.hold(memory), contextlib.closing(picture.image):
        if picture.apart:
            seconds = _SECONDS + picture.size[0] * picture.size[1] // _PIXELS_A_SECOND
            parts = count_tiles(picture.size, limits) if treatment.long == SPLIT else 1
            work = Work(limits, treatment, _MEMORY + _SPARE * memory + 2 * len(picture.data), seconds, parts)
            if (outcome := repair_in_process(picture.data, work)) is not None:
                return outcome
        return repair_here(picture, limits, treatment)


@functools.cache
def _give_back() -> None:
    """Have the memory of large blocks back as soon as they are free.

    glibc keeps freed blocks of up to 32 MB, and Pillow's have 16 MB, for the thread that had them: after a huge picture
    in each of four threads the process held 3.7 GB instead of 1.3 GB. Other allocators have no such switch.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def repair_here(picture: Picture, limits: ImageLimits, treatment: Treatment) -> Prepared | Failure:
    """As `repair_picture`, in this thread whatever the picture is, and beside whatever else is decoded."""
    words = [*picture.words]
    if picture.animated:
        words.append(f"first frame of {_name(picture)}")
    if picture.coding:
        words.append(picture.coding)
    turn, orientation = _turn(picture, upright=treatment.upright)
    size = _decode(picture, limits, treatment.long)
    if isinstance(size, Failure):
        return size
    source = _reduced(picture, limits, treatment.long)
    image, changes = _plain(source)
    if levels.blanked(image, source.image):
        return refuse("unsupported", f"a {picture.format.name} that would come out in one colour, though it has more")
    words += changes
    if turn in TURNS:
        image, size = image.transpose(TURNS[turn]), size if turn < FIRST_QUARTER else size[::-1]
        words += [TURNED] if orientation == NORMAL else []
    lighten = partial(_lighten, picture, limits, orientation)
    if treatment.long == SPLIT and is_long(size, limits):
        made = _split(image, size, limits, lighten)
    else:
        made = lighten(image, size)
    if isinstance(made, Failure):
        return made
    return made._replace(repaired=(*words, *made.repaired) or ("recompressed",))


def _lighten(
    picture: Picture, limits: ImageLimits, orientation: int, image: Image.Image, size: Size
) -> Prepared | Failure:
    """Encode a decoded picture or a part of one, with bars if it is long; `size`: its full size in pixels."""
    profile = picture.image.info.get("icc_profile")
    for form, quality, smaller in _attempts(image, size, limits, lossless=picture.lossless, again=picture.scaled):
        sent, bar = padded(smaller, limits)
        data = _encode(sent, quality, most_bytes(limits), form=form, profile=profile, orientation=orientation)
        if data is not None:
            words = _last_words(picture, form, quality, size, smaller.size)
            if sent is not smaller:
                words.insert(smaller.size != size, "padded {}x{} to {}x{}".format(*smaller.size, *sent.size))
            area = Box(0, 0, *size) if sent is not smaller else None
            scales = size[0] / smaller.width, size[1] / smaller.height
            return Prepared(data, tuple(words), *scales, area, *bar)
    return refuse("too_large", "{}x{} px cannot be made light enough".format(*size))


def _split(
    image: Image.Image, size: Size, limits: ImageLimits, lighten: Callable[[Image.Image, Size], Prepared | Failure]
) -> Prepared | Failure:
    """Encode a long picture in tiles. `image` may have been decoded to a smaller size than its full one."""
    made = []
    for area in tiles(size, limits):
        tile = lighten(image.crop(_scaled(area, image.size, size)), area.size)
        if isinstance(tile, Failure):
            return tile
        made.append(tile._replace(area=Box(area.left, area.top, *area.size)))
    words = dict.fromkeys(word for tile in made for word in tile.repaired)
    return Prepared(b"", (f"split into {len(made)} tiles", *words), tiles=tuple(made))


def _scaled(area: Area, actual: Size, full: Size) -> Area:
    """The area in a picture that was decoded to another size, to the nearest pixel."""
    x, y = actual[0] / full[0], actual[1] / full[1]
    return Area(round(area.left * x), round(area.top * y), round(area.right * x), round(area.bottom * y))


def _turn(picture: Picture, *, upright: bool) -> tuple[int, int]:
    """The orientation that the decoded pixels are turned by, and the one that they have afterwards."""
    if upright:
        return picture.orientation if picture.lying else NORMAL, NORMAL
    return _BACK.get(picture.orientation, picture.orientation) if picture.turned else NORMAL, picture.orientation


def _decode(picture: Picture, limits: ImageLimits, long: str) -> Size | Failure:
    """Decode, a JPEG no larger than it takes; the full size in pixels."""
    full, image = picture.size, picture.image
    if picture.scaled:
        image.draft(None, picture.wanted(limits, long))
    drafted = image.size != full
    image.load()
    if drafted:
        return full
    # An icon and a turned TIFF tell their true size only now.
    return misshapen(image.size, limits, long) or image.size


def _reduced(picture: Picture, limits: ImageLimits, long: str) -> Picture:
    """A huge decoded picture at a fraction of its size, made band by band so that it is never held twice."""
    factor = picture.reduction(picture.wanted(limits, long))
    if factor == 1:
        return picture
    whole = picture.image
    mode = _SMOOTH.get(whole.mode, whole.mode)
    width, height = whole.size
    small = Image.new(mode, (-(-width // factor), -(-height // factor)))
    for top in range(0, height, factor * _BAND_ROWS):
        band = whole.crop((0, top, width, min(height, top + factor * _BAND_ROWS)))
        small.paste(band.convert(mode).reduce(factor), (0, top // factor))
    small.info = whole.info
    return replace(picture, image=cast("ImageFile", small))


def _plain(picture: Picture) -> tuple[Image.Image, list[str]]:
    """The decoded picture in one of PLAIN_MODES, and what that took."""
    image: Image.Image = picture.image
    words = []
    if picture.deep:
        # A transparent colour of 16 bits cannot be told from its neighbours in 8.
        image.info.pop("transparency", None)
        words.append("16 bit to 8 bit")
        image = levels.sixteen_bits(image) if image.mode.startswith("I;16") else levels.undimmed(image)
    box = picture.frame
    if image.has_transparency_data or box is not None:
        words.append("alpha flattened" if image.has_transparency_data else "white around the frame")
        image = levels.flattened(image, box)
    if image.mode not in PLAIN_MODES:
        words.append(f"{image.mode.lower()} to rgb")
        image = _rgb(image)
    return image, words


def _rgb(image: Image.Image) -> Image.Image:
    """In RGB.

    CMYK by its own profile where it has a sound one, since the plain formula gives garish colours.
    """
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK" and profile:
        with contextlib.suppress(ImageCms.PyCMSError):
            screen = ImageCms.createProfile("sRGB")
            if converted := ImageCms.profileToProfile(image, io.BytesIO(profile), screen, outputMode="RGB"):
                return converted
    return image.convert("RGB")


def _attempts(
    image: Image.Image, full: Size, limits: ImageLimits, *, lossless: bool, again: bool
) -> Iterator[tuple[str, int, Image.Image]]:
    """Attempts, gentlest first: format, JPEG quality (100: lossless) and the picture at its size.

    `again`: it was a JPEG before, whose blocks do not lie as they did; at less than the finest quality a label may
    change (one of 27 demo images, turned).
    """
    side = side_to_send(image.size, min(max(full), limits.max_side))
    drawn = lossless and "PNG" in limits.formats and not photographic(image)
    finest = (lossless or again) and side == max(full) and fine(full[0] * full[1])
    encode = partial(_encode, form="JPEG", profile=None, orientation=NORMAL)
    while side and min(size := fitted(full, side)) >= limits.min_side:
        smaller = image if side == max(image.size) else _resized(image, size)
        if drawn:
            yield "PNG", 100, smaller
        if "JPEG" in limits.formats:
            for quality in qualities(smaller, most_bytes(limits), encode, finest=finest):
                yield "JPEG", quality, smaller
        side, drawn, finest = side * 3 // 4, False, False


def _resized(image: Image.Image, size: Size) -> Image.Image:
    if image.mode in _SMOOTH:
        image = image.convert(_SMOOTH[image.mode])
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_GAP)


def _encode(
    image: Image.Image, quality: int, most: int, *, form: str, profile: bytes | None, orientation: int
) -> bytes | None:
    """The picture in this form, None where that has more than `most` bytes."""
    if form == "JPEG" and image.mode == "P":
        image = image.convert("RGB")
    # Comments, thumbnails and text of the source are nothing to the service, and Pillow would write them again.
    image.info = {}
    kept = profile if profile and _fits(profile, image.mode) else None
    subsampling = "4:4:4" if quality >= FULL_COLOUR_FROM else "4:2:0"
    tag = orientation_tag(orientation)
    save = partial(image.save, format=form, quality=quality, subsampling=subsampling, icc_profile=kept, exif=tag)
    return _from_file(save, most) if form == "JPEG" and hasattr(os, "memfd_create") else _from_memory(save, most)


def _from_file(save: Callable[[BinaryIO], None], most: int) -> bytes | None:
    """Encoded bytes by way of a memory file: into a file Pillow encodes without the interpreter's lock."""
    with os.fdopen(os.memfd_create("picture"), "w+b") as file:
        save(file)
        if os.fstat(file.fileno()).st_size > most:
            return None
        file.seek(0)
        return file.read()


def _from_memory(save: Callable[[BinaryIO], None], most: int) -> bytes | None:
    """Buffer of encoded bytes that ends the encoder where they get too many."""
    buffer = _Buffer(most)
    with contextlib.suppress(_TooHeavy):
        save(buffer)
        return buffer.getvalue()
    return None


class _TooHeavy(Exception):
    """More bytes than the service takes."""


class _Buffer(io.BytesIO):
    """Sink of an encoder, 64 KB at a time: `most` bytes at most, and a turn for other threads after each.

    Pillow holds the interpreter's lock while it makes a JPEG in memory, and gives it away only when it has been asked
    for 5 ms. The event loop got it 170 times a second then. A PNG is made without the lock.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        """Raises _TooHeavy, which ends the encoder."""
        written = super().write(data)
        if self.tell() > self._most:
            raise _TooHeavy
        time.sleep(0)
        return written


def _fits(profile: bytes, mode: str) -> bool:
    """Whether a colour profile fits the picture, which may have been CMYK, and is worth its bytes."""
    return len(profile) <= _MAX_PROFILE_BYTES and profile[16:20] == _PROFILE_OF.get(mode)


def _last_words(picture: Picture, form: str, quality: int, full: Size, size: Size) -> list[str]:
    words = []
    if size != full:
        words.append("shrunk {}x{} to {}x{}".format(*full, *size))
    if form != picture.format.name:
        words.append(f"{_name(picture)} to {form.lower()}")
    if form == "JPEG":
        words.append(f"jpeg quality {quality}")
    return words


def _name(picture: Picture) -> str:
    return picture.format.name.lower()
