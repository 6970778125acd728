"""Look, judge, repair, encode: an image's bytes in, what the service will take out, or why it cannot.

Plain functions that may run in any thread. `judge` says what a file is and what is wrong with it, from its content
and never from its name; `repair` makes the picture into one that the service takes. Nothing here raises for what a
file may hold: Pillow's exceptions become a `Failure` in `prepare`, and nowhere else.

Usual pictures are sent as they are, byte for byte, after a look at header and end (about 25 µs). A repair decodes and
encodes (10 ms to seconds), so it belongs in a thread. What would hold the interpreter's lock there gets a process.
"""

import contextlib
import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import TypeVar

from PIL import Image

from ..values import Failure, ImageLimits, Prepared, Treatment
from .completeness import verify
from .exif import NORMAL, SIDEWAYS
from .heif import available
from .jpeg import EOI, FOLLOWED_BYTES, Size, plain_jpeg
from .judge import (
    MAX_DECODED_BYTES,
    Picture,
    fits_bytes,
    refuse,
    silence_pillow,
    sniff,
    unfit,
    unrepairable,
    unusual,
    vanishing,
    within,
)
from .long import PAD, REFUSE, SPLIT, count_tiles, is_long
from .memory import decoding
from .png import IEND
from .repair import TURNED, repair_here, repair_picture
from .shrink import expected_bytes, expected_bytes_at, lowered
from .small import Small, encoded, small_jpeg
from .strip import stripped

__all__ = [
    "BETWEEN",
    "MAX_DECODED_BYTES",
    "REPAIR",
    "SHRUNK",
    "TURNED",
    "TURNED_BACK",
    "UPRIGHT",
    "Small",
    "as_it_is",
    "calls_of",
    "digest",
    "displayed_size",
    "expected_bytes",
    "expected_bytes_at",
    "extras",
    "fits_bytes",
    "foresee",
    "prepare",
    "refusal",
    "repaired_here",
    "shrunk_size",
    "thumbnail",
    "variant",
]

_T = TypeVar("_T")

UPRIGHT, TURNED_BACK, SHRUNK = "upright", "turned-back", "shrunk-"
"""Words of a variant, which has several of them with BETWEEN."""

BETWEEN = ","

_TILES = f"{SPLIT}-"
"""Beginning of a variant's word for an image that is sent in tiles; their number follows."""

REPAIR = "repair"
"""Word of `foresee` for a picture that `prepare` would have to change."""

_HEAVY_BYTES = 32 * 1024 * 1024
_LOOKED_AT = 4  # times its size takes a PNG that is nothing but text to be looked at

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG"
_SEEN_AT_A_GLANCE = (_JPEG, _PNG, b"BM")

# What Pillow is known to raise for bytes that are no sound picture. Not `Exception`: StopIteration, ImportError and
# the like would be a bug, and should look like one.
_DAMAGED = (
    OSError,  # short reads, every C decoder, UnidentifiedImageError
    SyntaxError,  # a plugin that does not know the file after all
    ValueError,  # sizes, Unicode, text chunks that unpack to megabytes
    LookupError,  # unknown tables, modes and offsets
    ArithmeticError,  # zero denominators, overflowing sizes
    TypeError,  # tags of another type than expected
    AttributeError,  # tags that are missing
    AssertionError,  # what a plugin took for granted
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    Warning,  # only where somebody turned warnings into errors in another thread
)


_UNREAD = re.compile(
    "unsupported|not supported|unknown (?:pixel|raw) mode|cannot handle|no decoder|not available", re.IGNORECASE
)
"""Errors of a decoder that lacks the kind of picture, which is no damage."""


def _empty() -> Failure:
    return refuse("empty", "the file has no bytes")


def digest(data: bytes) -> bytes:
    """The SHA-256 by which equal contents are recognized (32 bytes)."""
    return hashlib.sha256(data).digest()


def displayed_size(data: bytes) -> Size | None:
    """Width and height in pixels of the picture as displayed; None where it cannot be read."""
    if (seen := _glanced(data)) is not None:
        size, orientation = seen
        lies = orientation >= SIDEWAYS
    else:
        picture = _guarded(data, lambda: (found := sniff(data), isinstance(found, Failure) or found.orientation))
        if isinstance(picture, Failure) or isinstance(picture[0], Failure):
            return None
        size, lies = picture[0].size, not picture[0].format.turned and picture[1] >= SIDEWAYS
    return (size[1], size[0]) if lies else size


def thumbnail(data: bytes, side: int) -> Small | None:
    """Make a small JPEG of the picture as displayed, at most `side` pixels a side, without metadata.

    None where the picture cannot be read. It decodes: call it in a thread, or where nothing waits.
    """
    silence_pillow()
    usual = small_jpeg(data, side) if data.startswith(_JPEG) else None
    if usual is not None:
        return usual
    limits = ImageLimits(min_side=1, max_side=side, max_ratio=float("inf"))
    found = _guarded(data, lambda: _small(prepare(data, limits, Treatment(strip=True)), side))
    return None if isinstance(found, Failure) else found


def _small(prepared: Prepared | Failure, side: int) -> Small | Failure:
    if isinstance(prepared, Failure):
        return prepared
    with Image.open(io.BytesIO(prepared.data)) as image:
        width, height = image.width * prepared.scale_x, image.height * prepared.scale_y
        return Small(encoded(image, side, NORMAL), round(width), round(height))


def prepare(data: bytes, limits: ImageLimits, treatment: Treatment) -> Prepared | Failure:
    """Prepare the bytes of a file for sending, or return the failure.

    Without `treatment.repair`, what the service is known to refuse is refused here, and what it may take (CMYK, alpha,
    16 bit) is sent as it is, but upright. Without `treatment.upright`, pixels stay as they lie, and a re-encoded
    picture keeps its orientation tag, so that they agree as before. A long picture is treated as `treatment.long` says
    in either case. The same bytes prepared again come back as they are, with nothing repaired, but that
    `treatment.max_side` may shrink what was only converted.
    """
    prepared = _guarded(data, lambda: _prepare(data, limits, treatment))
    if not treatment.strip or isinstance(prepared, Failure):
        return prepared
    if prepared.tiles:  # made here, without metadata
        return prepared
    return _guarded(prepared.data, lambda: _without_metadata(prepared))


def repaired_here(data: bytes, limits: ImageLimits, treatment: Treatment) -> Prepared | Failure:
    """Repair a picture in this thread: for the process that was started for it."""
    return _guarded(data, lambda: _repaired(data, limits, treatment))


def foresee(data: bytes, limits: ImageLimits, treatment: Treatment) -> str:
    """Foresee what `prepare` would do, in 5 to 100 µs: nothing (empty), `REPAIR`, or the failure's word.

    Nothing is decoded, so a picture that is torn inside, or that no repair makes fit, is not found out.
    """
    if (usual := _usual(data, limits, treatment)) is not None:
        return REPAIR if usual.repaired else ""
    judged = _guarded(data, lambda: _judged(data, limits, treatment))
    if isinstance(judged, Failure):
        return str(judged.code)
    picture, _, to_mend = judged
    return REPAIR if to_mend or picture.words else ""


def refusal(data: bytes, limits: ImageLimits, treatment: Treatment) -> Failure | None:
    """The failure whose word `foresee` returns, with its message; None where it foresees none."""
    judged = _guarded(data, lambda: _judged(data, limits, treatment))
    return judged if isinstance(judged, Failure) else None


def extras() -> tuple[str, ...]:
    """The formats that can be read since an extra is installed: verdicts without it do not hold with it."""
    return ("HEIC",) if available() else ()


def variant(data: bytes, limits: ImageLimits, treatment: Treatment) -> str:
    """The change that the treatment makes to this image, as a text without blanks; empty: none.

    A result belongs to it. UPRIGHT: pixels are turned as the orientation says. TURNED_BACK: pixels that their reader
    turns are turned back. `shrunk-1008x756`: `max_side` has it sent at that size, as it lies in the file. PAD: it gets
    bars. `split-3`: it is sent in three tiles. In some 5 us for a usual JPEG that is not shrunk. Nothing is decoded;
    empty for what cannot be read, too.
    """
    shrunk = ""
    if (seen := _glanced(data)) is not None and lowered(limits, treatment, seen[0], len(data)) is limits:
        size, lies, turned = seen[0], seen[1] != NORMAL, False
    else:
        picture = _guarded(data, lambda: sniff(data))
        if isinstance(picture, Failure):
            return ""
        size, lies, turned = picture.size, picture.lying, picture.turned
        shrunk = _shrunk(picture, limits, treatment)
    long = treatment.long != REFUSE and is_long(size, limits)
    changes = (
        (UPRIGHT, treatment.upright and lies),
        (TURNED_BACK, turned and not treatment.upright),
        (shrunk, shrunk),
        (PAD, long and treatment.long == PAD),
        (f"{_TILES}{count_tiles(size, limits)}", long and treatment.long == SPLIT),
    )
    return BETWEEN.join(word for word, changed in changes if changed)


def calls_of(variant: str) -> int:
    """Calls that an image of this variant takes: one, or one a tile."""
    last = variant.rpartition(BETWEEN)[2]
    return int(last.removeprefix(_TILES)) if last.startswith(_TILES) else 1


def shrunk_size(variant: str) -> Size | None:
    """Size at which `max_side` has an image of this variant sent, as it lies; None: as without it."""
    words = (word.removeprefix(SHRUNK) for word in variant.split(BETWEEN) if word.startswith(SHRUNK))
    for word in words:
        width, _, height = word.partition("x")
        return int(width), int(height)
    return None


def _glanced(data: bytes) -> tuple[Size, int] | None:
    """Size and orientation of a usual JPEG; None for all else.

    The last small image is remembered: its variant and its shape are asked for one after the other.
    """
    global _last_glance
    known, seen = _last_glance
    if known is not data:
        seen = plain_jpeg(data) if data.startswith(_JPEG) else None
        if len(data) <= FOLLOWED_BYTES:
            _last_glance = data, seen
    return seen


_last_glance: tuple[bytes, tuple[Size, int] | None] = (b"", None)


def _shrunk(picture: Picture, limits: ImageLimits, treatment: Treatment) -> str:
    """Word of the variant for a picture that `max_side` has sent at another size; empty for others."""
    size = picture.wanted(picture.allowed(limits, treatment), treatment.long)
    return "" if size == picture.wanted(limits, treatment.long) else SHRUNK + "{}x{}".format(*size)


def _guarded(data: bytes, work: Callable[[], _T]) -> _T | Failure:
    """Do the work on these bytes; returns a Failure for whatever Pillow raises."""
    if not data:
        return _empty()
    silence_pillow()
    try:
        return work()
    except (MemoryError, Image.DecompressionBombError):
        return refuse("too_large", "it needs more memory to decode than there is")
    except _DAMAGED as error:
        if _UNREAD.search(str(error)) is not None:
            return refuse("unsupported", f"a kind of picture that cannot be read{_words_of(error)}")
        return refuse("torn", f"the image ends early or is damaged{_words_of(error)}")


def _without_metadata(prepared: Prepared) -> Prepared | Failure:
    picture = sniff(prepared.data)
    return picture if isinstance(picture, Failure) else prepared._replace(data=stripped(picture))


def as_it_is(data: bytes, limits: ImageLimits, treatment: Treatment) -> Prepared | None:
    """The bytes unchanged where they are small and usual, after a look of some 25 µs.

    None where `prepare` must judge.

    For the event loop, which a decode would hold up: `prepare` belongs in a thread.
    """
    if treatment.check == "decode":
        return None
    usual = _usual(data, limits, treatment)
    if usual is None or not treatment.strip:
        return usual
    clean = _guarded(data, lambda: _without_metadata(usual))
    return None if isinstance(clean, Failure) else clean


def _usual(data: bytes, limits: ImageLimits, treatment: Treatment) -> Prepared | None:
    if not data.startswith(_SEEN_AT_A_GLANCE):
        return None
    if (seen := _glanced(data)) is not None:
        size, orientation = seen
        if treatment.upright and orientation != NORMAL:
            return None
        if data.endswith(EOI) and len(data) <= FOLLOWED_BYTES:
            limits = lowered(limits, treatment, size, len(data))
            return Prepared(data) if within(size, data, limits) else None
    elif data.startswith(_PNG) and IEND not in data:
        return None
    silence_pillow()
    try:
        picture = sniff(data)
        if isinstance(picture, Failure):
            return None
        limits = picture.allowed(limits, treatment)
        if unrepairable(picture, limits, REFUSE) or unfit(picture, limits):
            return None
        if unusual(picture, upright=treatment.upright) or not picture.ended:
            return None
    except (*_DAMAGED, MemoryError, Image.DecompressionBombError):
        return None
    return Prepared(picture.data, picture.words)


def _prepare(data: bytes, limits: ImageLimits, treatment: Treatment) -> Prepared | Failure:
    judged = _judged(data, limits, treatment)
    if isinstance(judged, Failure):
        return judged
    picture, limits, to_mend = judged
    verify(picture, thorough=treatment.check == "decode", decoded=to_mend)
    if not to_mend:
        return Prepared(picture.data, picture.words)
    return repair_picture(picture, limits, treatment)


def _repaired(data: bytes, limits: ImageLimits, treatment: Treatment) -> Prepared | Failure:
    picture = sniff(data)
    return picture if isinstance(picture, Failure) else repair_here(picture, limits, treatment)


def _judged(data: bytes, limits: ImageLimits, treatment: Treatment) -> tuple[Picture, ImageLimits, bool] | Failure:
    """The picture, the limits to keep and whether to mend it, or why it is refused; nothing is decoded."""
    with decoding.hold(_LOOKED_AT * len(data)) if len(data) > _HEAVY_BYTES else contextlib.nullcontext():
        picture = sniff(data)
    if isinstance(picture, Failure):
        return picture
    kept = picture.allowed(limits, treatment)
    if (failure := unrepairable(picture, kept, treatment.long)) is not None:
        return failure
    if kept is not limits and (failure := vanishing(picture, kept, treatment.long)) is not None:
        return failure
    if is_long(picture.size, limits):
        return picture, kept, True
    failure = unfit(picture, limits)
    if treatment.repair and (failure is not None or unusual(picture, upright=treatment.upright)):
        return picture, kept, True
    return failure or (picture, kept, kept is not limits or (treatment.upright and picture.lying))


def _words_of(error: BaseException) -> str:
    """The reader's own words where they are meant for people, such as "image file is truncated"."""
    spoken = isinstance(error, OSError | SyntaxError | ValueError) and error.__cause__ is None
    words = " ".join(str(error).split()) if spoken else ""
    return f" ({words[:100]})" if words and "<" not in words else ""
