"""Inspection of one image for training: by EasyDL's rules, decoded, with its perceptual hash.

A JPEG is decoded once, at a fraction of its size: that reads all of its data. Two kinds of damage pass it. libjpeg
fills missing pixels with grey where somebody put an end marker behind a torn file, so grey rows at the end raise
suspicion. Missing scans of a progressive JPEG leave no trace at all. Both are proved as with `input.check = "decode"`.
"""

import hashlib
import math
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from .. import images
from ..images.exif import NORMAL, SIDEWAYS
from ..images.jpeg import plain_jpeg
from ..images.judge import PLAIN_MODES, Picture, silence_pillow, sniff
from ..images.memory import decoding
from ..images.repair import TURNS
from ..values import Failure, ImageLimits, Treatment
from .boxes import Fault

HASH_SIDE_PIXELS = 32
_DRAFT = (64, 64)
"""Least size in pixels to decode a JPEG to: twice what the hash takes."""

_SMALL_PIXELS = 1_000_000
"""Pixels up to which a plain JPEG is decoded without asking for memory: 6 MB."""

_BITS = 64
"""Bits of a hash: the eight lowest frequencies in each direction."""

_COSINES = np.cos(
    np.pi * np.arange(8)[:, None] * (2 * np.arange(HASH_SIDE_PIXELS) + 1) / (2 * HASH_SIDE_PIXELS)
).astype(np.float32)

_GREY_LEVEL, _GREY_ROWS = 128, 0.04
"""Level and share of the rows at the bottom that raise suspicion: 4 % of the height, at least one row."""

_FLAT_LEVELS = 3.0
"""Standard deviation of the levels (0 to 255) up to which an image has one colour."""

_JPEG = b"\xff\xd8\xff"
_AS_IT_IS = Treatment(repair=False, upright=False)
_PROVED = Treatment(repair=False, upright=False, check="decode")
_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",)}
"""Suffixes that EasyDL takes, by format."""

_ANY_SUFFIX = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes}


class Looked(NamedTuple):
    """One image: SHA-256, kinds of findings with their details, perceptual hash (64 bits; None: none).

    `size`: in pixels, upright; None where it cannot be read. `orientation`: by which the reader is to turn it (EXIF).
    """

    sha256: str
    findings: tuple[Fault, ...] = ()
    hash: int | None = None
    size: tuple[int, int] | None = None
    orientation: int = 1


class Seen(NamedTuple):
    """One image before its hash is known: what was found, and its levels of grey (32 x 32), upright."""

    looked: Looked
    grey: bytes | None = None


def look(data: bytes, name: str, limits: ImageLimits, *, thorough: bool = False) -> Looked:
    """Inspect the bytes of a file. `thorough`: prove by decoding that no pixel is missing."""
    return hashed([see(data, name, limits, thorough=thorough)])[0]


def see(data: bytes, name: str, limits: ImageLimits, *, thorough: bool = False) -> Seen:
    """Inspect a file but for its hash: `hashed` finds those of several images at once."""
    sha256 = hashlib.sha256(data).hexdigest()
    plain = plain_jpeg(data) if data.startswith(_JPEG) and not thorough else None
    if plain is not None and math.prod(plain[0]) <= _SMALL_PIXELS and images.as_it_is(data, limits, _AS_IT_IS):
        return _see_usual(data, name, limits, sha256, *plain)
    judged = images.prepare(data, limits, _PROVED if thorough else _AS_IT_IS)
    found: list[Fault] = []
    if isinstance(judged, Failure):
        word = str(judged.code)
        found.append((word if word in _WORDS else "torn", judged.message))
        if word in _UNDECODABLE:
            return Seen(Looked(sha256, tuple(found)))
    try:
        small, orientation, more = _decoded(data, limits, proved=thorough)
    except _Torn as torn:
        return Seen(Looked(sha256, (*found, ("torn", str(torn))) if not found else tuple(found)))
    found += more if not isinstance(judged, Failure) else ()
    found += _of_name(data, name)
    looked = Looked(sha256, tuple(found), None, images.displayed_size(data), orientation)
    return Seen(looked, None if small is None else small.tobytes())


def _see_usual(
    data: bytes, name: str, limits: ImageLimits, sha256: str, size: tuple[int, int], orientation: int
) -> Seen:
    """Inspect a small plain JPEG within the limits: what all others take costs twice as much."""
    silence_pillow()
    try:
        image = JpegImageFile(BytesIO(data))
        image.draft("L", _DRAFT)
        image.load()
        small = _upright(_proved(image, data, limits), orientation)
    except _Torn as torn:
        return Seen(Looked(sha256, (("torn", str(torn)),)))
    except _DAMAGED as error:
        return Seen(Looked(sha256, (("torn", _words_of(error)),)))
    found = (*([("lying", "")] if orientation != NORMAL else []), *_of_name(data, name))
    upright = size[::-1] if orientation >= SIDEWAYS else size
    return Seen(Looked(sha256, found, None, upright, orientation), small.tobytes())


def hashed(seen: Sequence[Seen]) -> list[Looked]:
    """Add the hashes, and find images of one colour, which have none."""
    there = [each.grey for each in seen if each.grey is not None]
    if not there:
        return [each.looked for each in seen]
    levels = np.frombuffer(b"".join(there), np.uint8).reshape(-1, HASH_SIDE_PIXELS, HASH_SIDE_PIXELS)
    spreads, hashes = levels.std(axis=(1, 2)).tolist(), perceptual_hashes(levels).tolist()
    values = iter(zip(spreads, hashes, strict=True))
    return [each.looked if each.grey is None else _finished(each.looked, *next(values)) for each in seen]


def _finished(looked: Looked, spread: float, value: int) -> Looked:
    if spread <= _FLAT_LEVELS:
        return looked._replace(findings=(*looked.findings, ("flat", "")))
    return looked._replace(hash=value)


def perceptual_hashes(levels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The pHash of each image in grey (n x 32 x 32), 64 bits, equal to that of the package imagehash.

    Lowest frequencies of a cosine transform, each against the median of its image.
    """
    low = (_COSINES @ levels.astype(np.float32) @ _COSINES.T).reshape(len(levels), _BITS)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


_UNDECODABLE = {"empty", "not_an_image", "torn"}
_DAMAGED = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, RuntimeError)
_WORDS = {*_UNDECODABLE, "unsupported", "too_large", "too_small", "too_long"}


class _Torn(Exception):
    """The image cannot be decoded in full; the text says why."""


def _decoded(data: bytes, limits: ImageLimits, *, proved: bool) -> tuple[Image.Image | None, int, list[Fault]]:
    """The image upright in grey, 32 x 32, its orientation, and what is unusual about it. Raises _Torn."""
    silence_pillow()
    try:
        picture = sniff(data)
        if isinstance(picture, Failure):
            return None, NORMAL, []
        if picture.format.name not in _SUFFIXES or picture.apart:
            return _by_thumbnail(data), picture.orientation if picture.lying else NORMAL, []
        small = _small(picture, limits, proved=proved)
        return small, picture.orientation if picture.lying else NORMAL, _unusual(picture)
    except _Torn:
        raise
    except _DAMAGED as error:
        raise _Torn(_words_of(error)) from error


def _words_of(error: BaseException) -> str:
    return " ".join(str(error).split())[:100]


def _by_thumbnail(data: bytes) -> Image.Image | None:
    made = images.thumbnail(data, 2 * HASH_SIDE_PIXELS)
    return None if made is None else _grey(Image.open(BytesIO(made.jpeg)))


def _small(picture: Picture, limits: ImageLimits, *, proved: bool) -> Image.Image:
    image = picture.image
    with decoding.hold(picture.footprint(_DRAFT)):
        if picture.scaled:
            image.draft(None, _DRAFT)
        image.load()
        jpeg = picture.format.name == "JPEG" and not proved
        small = _proved(image, picture.data, limits) if jpeg else _grey(image)
    return _upright(small, picture.orientation) if picture.lying else small


def _proved(image: Image.Image, data: bytes, limits: ImageLimits) -> Image.Image:
    """A decoded JPEG in grey and small, proved to be whole where that is in doubt. Raises _Torn."""
    if "progressive" in image.info or _grey_tail(image):
        judged = images.prepare(data, limits, _PROVED)
        if isinstance(judged, Failure) and judged.code == "torn":
            raise _Torn(judged.message)
    return _grey(image)


def _upright(small: Image.Image, orientation: int) -> Image.Image:
    turn = TURNS.get(orientation)
    return small if turn is None else small.transpose(turn)


def _grey(image: Image.Image) -> Image.Image:
    """In grey and small; transparent parts are white, as they are sent.

    Averaged before it is resampled: that is half the time, and moves hashes by two bits at most.
    """
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    size = (HASH_SIDE_PIXELS, HASH_SIDE_PIXELS)
    grey = image if image.mode == "L" else image.convert("L")
    return grey.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)


def _grey_tail(image: Image.Image) -> bool:
    """Whether the last rows are grey as libjpeg fills missing ones."""
    rows = max(1, int(image.height * _GREY_ROWS))
    tail = image.crop((0, image.height - rows, image.width, image.height))
    tail = tail if tail.mode == "L" else tail.convert("L")
    low, high = tail.getextrema()
    return _GREY_LEVEL - 2 <= float(str(low)) <= float(str(high)) <= _GREY_LEVEL + 2


def _unusual(picture: Picture) -> list[Fault]:
    found = [("lying", "")] if picture.lying else []
    image = picture.image
    if image.has_transparency_data:
        found.append(("colours", "transparency"))
    elif image.mode not in PLAIN_MODES or picture.deep:
        found.append(("colours", "16 bit" if picture.deep else image.mode))
    return found


def _of_name(data: bytes, name: str) -> list[Fault]:
    """Findings about the suffix. The file's format is known by its first bytes."""
    format = "PNG" if data.startswith(b"\x89PNG") else "BMP" if data.startswith(b"BM") else "JPEG"
    suffix = "." + name.rpartition(".")[2] if "." in name else ""
    if not data.startswith((b"\x89PNG", b"BM", b"\xff\xd8")):
        return []
    if suffix.lower() in _ANY_SUFFIX and suffix.lower() not in _SUFFIXES[format]:
        return [("misnamed", f"{suffix}, {format}")]
    return [("suffix", suffix)] if suffix not in _ANY_SUFFIX else []
