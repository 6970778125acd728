"""Container of HEIC and AVIF: the codec of its primary image, and how that is turned.

By ISO/IEC 14496-12 and 23008-12.

Read from the bytes, since brands do not decide: a file of the brand `mif1` may hold either, and phones write one by the
name of the other. What is damaged or missing counts as not there.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .exif import NORMAL

_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"), "HEIC"),
}
"""Brands that name a codec."""

_GENERAL = frozenset((b"mif1", b"mif2", b"msf1", b"miaf"))
"""Brands of images of any codec."""

_CODECS = {b"av01": "AVIF", b"hvc1": "HEIC", b"hev1": "HEIC"}
"""Types of coded items."""

_DERIVED = frozenset((b"grid", b"iden", b"iovl"))
"""Types of items that are put together from others."""

_MOST_BOXES = 10_000
"""Boxes that are looked at in one box, and items of one image: phones write a few hundred."""

_MOST_DERIVED = 8
"""Items put together from others that are looked into; a grid with a frame around it makes two."""

_CORNERS = {
    corners: orientation
    for orientation, corners in enumerate(("0123", "1032", "2301", "3210", "0321", "3012", "2103", "1230"), 1)
}
"""Orientation by the corners of the stored image that stand at top left, top right, bottom right and bottom left."""


class Box(NamedTuple):
    """Box of a file: its type, and where its body begins and ends."""

    kind: bytes
    start: int
    end: int


class _Item(NamedTuple):
    """Primary item: its type, the types of the items that it is made of, and its properties in order."""

    kind: bytes
    parts: tuple[bytes, ...]
    properties: tuple[Box, ...]


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places of a file, as far as they are whole."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else start + length
        if stop < body or stop > end:
            return
        yield Box(kind, body, stop)
        start = stop


def codec(data: bytes) -> str | None:
    """The format of the image in a container, "AVIF" or "HEIC"; None for other codecs and other files."""
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4]), len(data), 8 + 4 * 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length, 4))]
    if not any(brand in _GENERAL or brand in _BRANDS for brand in brands):
        return None
    item = _primary(data)
    if item is not None:
        return next((_CODECS[kind] for kind in (item.kind, *item.parts) if kind in _CODECS), None)
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)


def still(data: bytes) -> bool:
    """Whether it holds an image, and not only a film of such."""
    return _primary(data) is not None or not any(box.kind == b"moov" for box in boxes(data, 0, len(data)))


def orientation(data: bytes) -> int:
    """The orientation by the container, as EXIF numbers it. What EXIF itself says does not count."""
    item, corners = _primary(data), "0123"
    for kind, start, end in item.properties if item is not None else ():
        if end <= start:
            continue
        if kind == b"irot":  # anticlockwise, in quarters
            quarters = data[start] & 3
            corners = corners[quarters:] + corners[:quarters]
        if kind == b"imir":  # 0: top and bottom change places
            corners = corners[::-1] if data[start] & 1 == 0 else corners[1] + corners[0] + corners[3] + corners[2]
    return _CORNERS.get(corners, NORMAL)


def _primary(data: bytes) -> _Item | None:
    """The primary item of a file; None where there is none."""
    with contextlib.suppress(struct.error, IndexError):
        for kind, start, end in boxes(data, 0, len(data)):
            if kind == b"meta":
                return _item(data, {box.kind: box for box in boxes(data, start + 4, end)})
    return None


def _item(data: bytes, meta: dict[bytes, Box]) -> _Item | None:
    if not {b"pitm", b"iinf"} <= meta.keys():
        return None
    number, _ = _number(data, meta[b"pitm"].start + 4, wide=data[meta[b"pitm"].start] > 0)
    kinds = dict(_kinds(data, meta[b"iinf"]))
    if number not in kinds:
        return None
    parts, whole = dict.fromkeys((number,)), [number]
    for _ in range(_MOST_DERIVED):  # what is put together may be made of such
        for part in _parts(data, meta.get(b"iref"), whole.pop()) if whole else ():
            if part not in parts:
                parts[part] = None
                whole += [part] if kinds.get(part) in _DERIVED else []
    found = tuple(kinds.get(part, b"") for part in parts if part != number)
    return _Item(kinds[number], found, tuple(_properties(data, meta.get(b"iprp"), number)))


def _number(data: bytes, at: int, *, wide: bool) -> tuple[int, int]:
    """A number of 4 bytes (`wide`) or 2, and where it ends."""
    (value,) = struct.unpack_from(">I" if wide else ">H", data, at)
    return value, at + (4 if wide else 2)


def _kinds(data: bytes, iinf: Box) -> Iterator[tuple[int, bytes]]:
    """Number and type of each item."""
    _, at = _number(data, iinf.start + 4, wide=data[iinf.start] > 0)
    for kind, start, _ in boxes(data, at, iinf.end):
        if kind == b"infe" and data[start] >= 2:
            number, at = _number(data, start + 4, wide=data[start] > 2)
            yield number, data[at + 2 : at + 6]


def _parts(data: bytes, iref: Box | None, whole: int) -> Iterator[int]:
    """The items from which an item is derived."""
    if iref is None:
        return
    wide = data[iref.start] > 0
    for kind, start, _ in boxes(data, iref.start + 4, iref.end):
        if kind == b"dimg":
            number, at = _number(data, start, wide=wide)
            (count,) = struct.unpack_from(">H", data, at)
            at += 2
            for _ in range(count if number == whole else 0):
                part, at = _number(data, at, wide=wide)
                yield part


def _properties(data: bytes, iprp: Box | None, item: int) -> Iterator[Box]:
    """The properties of an item, in the order in which they apply."""
    if iprp is None:
        return
    inside = list(boxes(data, iprp.start, iprp.end))
    shared = [box for ipco in inside if ipco.kind == b"ipco" for box in boxes(data, ipco.start, ipco.end)]
    for ipma in inside:
        if ipma.kind != b"ipma":
            continue
        wide, long = data[ipma.start] > 0, data[ipma.start + 3] & 1
        (count,) = struct.unpack_from(">I", data, ipma.start + 4)
        at = ipma.start + 8
        for _ in range(min(count, _MOST_BOXES)):
            number, at = _number(data, at, wide=wide)
            indices = struct.unpack_from(f">{data[at]}{'H' if long else 'B'}", data, at + 1)
            at += 1 + len(indices) * (2 if long else 1)
            if number == item:
                # The highest bit says that the property is essential; numbers begin at 1, and 0 is none.
                chosen = (index & (0x7FFF if long else 0x7F) for index in indices)
                yield from (shared[index - 1] for index in chosen if 0 < index <= len(shared))
