"""HEIC files made by hand: there is no encoder among the tests' packages, so one coded tile serves for all of them."""

import struct
from base64 import b64decode

from PIL import Image

COLOURS = {(0, 0): (220, 30, 30), (1, 0): (30, 200, 40), (0, 1): (40, 40, 220), (1, 1): (230, 220, 40)}
"""Quarters of the tile, 64 x 64 pixels: red and green above, blue and yellow below."""

HVCC = b64decode(
    "AAAAeGh2Y0MBA3AAAACQAAAAAAAe8AD8/fj4AAAPA2AAAQAYQAEMAf//A3AAAAMAkAAAAwAAAwAeugJAYQABACtCAQEDcAAAAwCQAAADAAADAB6g"
    "IIEFlupJKa5uAhoMCAAAAwDIAAADAAhAYgABAAdEAcFysCJA"
)
TILE = b64decode("AAAAPSgBrwY4Wvz9N/iWB///sox6H+qt+bCV/Uu5f/5tz//9dizsZj8r1rG/d19v/7CvdLUH7YR9/9HAd1+kyVQ=")
TEN_BITS = b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAVNtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA"
    "AERAAAEAAQAAAAABdwABAAAAAAAAAEEAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA02lwcnAAAAC0"
    "aXBjbwAAAHVodmNDAQQIAAAAnbgAAAAAHvAA/P36+gAADwNgAAEAF0ABDAH//wQIAAADAJ24AAADAAAeugJAYQABAClCAQEECAAAAwCduAAAAwAA"
    "HqAggQTZbqSSmubgIaDAgAAADIAAAAMAhGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhp"
    "AAAAAAMKCgoAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAEltZGF0AAAAPSgBrwY4Wvz9N/iWB///s0z6H+rBEbCV/U4I//53p//9d7csZj8u//G/"
    "eDsf/7DUBLUH7eSD/9F0f1+kyVQ="
)
"""The same tile with 10 bits a channel, as an encoder wrote it."""


def quarters(size: int = 64) -> Image.Image:
    """The tile as it is stored."""
    image, half = Image.new("RGB", (size, size)), size // 2
    for (x, y), colour in COLOURS.items():
        image.paste(colour, (x * half, y * half, (x + 1) * half, (y + 1) * half))
    return image


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of ISO base media."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def heic(
    *transforms: bytes,
    size: tuple[int, int] = (64, 64),
    grid: bool = False,
    exif: bytes = b"",
    brands: tuple[bytes, ...] = (b"heic", b"mif1", b"heic"),
    primary_last: bool = False,
    wide: bool = False,
    tile: bytes = TILE,
    codec: bytes = b"hvc1",
) -> bytes:
    """A HEIC of one tile, or a grid of four; a grid stands behind its tiles, as phones write it.

    `primary_last`: two images, of which the first is not the primary one. `wide`: numbers of items of 4 bytes.
    """
    turned = list(transforms)
    whole = full(b"ispe", struct.pack(">II", *size))
    small = full(b"ispe", struct.pack(">II", 64, 64))
    tiles = 4 if grid else 2 if primary_last else 1
    items: list[tuple[bytes, bytes, list[bytes]]] = [(codec, tile, [small, HVCC]) for _ in range(tiles)]
    references = []
    if grid:
        items.append((b"grid", struct.pack(">4BHH", 0, 0, 1, 1, *size), [whole, *turned]))
        references.append(_reference(b"dimg", 5, range(1, 5), wide=wide))
    else:
        items[-1] = (codec, tile, [whole, HVCC, *turned])
    primary = len(items)
    if exif:
        items.append((b"Exif", struct.pack(">I", 6) + b"Exif\0\0" + exif, []))
        references.append(_reference(b"cdsc", len(items), (primary,), wide=wide))
    start = box(b"ftyp", brands[0], bytes(4), *brands[1:])
    length = len(start) + len(_meta(items, references, primary, 0, wide=wide)) + 8
    return start + _meta(items, references, primary, length, wide=wide) + box(b"mdat", *(data for _, data, _ in items))


def _number(value: int, *, wide: bool) -> bytes:
    return struct.pack(">I" if wide else ">H", value)


def _reference(kind: bytes, item: int, to: "range | tuple[int, ...]", *, wide: bool) -> bytes:
    numbers = b"".join(_number(number, wide=wide) for number in to)
    return box(kind, _number(item, wide=wide), struct.pack(">H", len(to)), numbers)


def _meta(
    items: list[tuple[bytes, bytes, list[bytes]]], references: list[bytes], primary: int, at: int, *, wide: bool
) -> bytes:
    places, infos, links = b"", [], b""
    properties = list(dict.fromkeys(one for _, _, mine in items for one in mine))
    for number, (kind, data, mine) in enumerate(items, 1):
        # In the version with numbers of 4 bytes, a method comes before the place.
        places += _number(number, wide=wide) + bytes(2 * wide) + struct.pack(">HHII", 0, 1, at, len(data))
        at += len(data)
        hidden = int(kind != b"Exif" and number != primary and len(items) > 4)
        name = _number(number, wide=wide) + struct.pack(">H4sB", 0, kind, 0)
        infos.append(full(b"infe", name, version=3 if wide else 2, flags=hidden))
        indices = bytes(properties.index(one) + 1 | (0 if one[4:8] == b"ispe" else 0x80) for one in mine)
        links += _number(number, wide=wide) + bytes((len(indices),)) + indices if mine else b""
    linked = sum(bool(mine) for _, _, mine in items)
    version = int(wide)
    return full(
        b"meta",
        full(b"hdlr", bytes(4), b"pict", bytes(13)),
        full(b"pitm", _number(primary, wide=wide), version=version),
        full(b"iinf", _number(len(items), wide=wide), *infos, version=version),
        full(b"iref", *references, version=version) if references else b"",
        box(b"iprp", box(b"ipco", *properties), full(b"ipma", struct.pack(">I", linked), links, version=version)),
        full(b"iloc", b"\x44\0", _number(len(items), wide=wide), places, version=2 * version),
    )


def irot(quarters: int) -> bytes:
    """A rotation anticlockwise."""
    return box(b"irot", bytes((quarters,)))


def imir(axis: int) -> bytes:
    """A mirror; 0 exchanges top and bottom."""
    return box(b"imir", bytes((axis,)))
