"""Orientation in every format and spelling: images are sent as a viewer shows them."""

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from batchrec import images
from batchrec.api.services import LIMITS_2024
from batchrec.values import Prepared, Treatment

from .containers import box, quarters
from .test_images import LAID

UPRIGHT, LYING = Treatment(), Treatment(upright=False)
SHORT, LONG, BYTE = (3, "H"), (4, "I"), (1, "B")


def displayed() -> Image.Image:
    """Four colours in quarters, wider than high, so that no turn looks like another."""
    return quarters(96).crop((0, 16, 96, 80))


def stored(orientation: int) -> Image.Image:
    """The pixels as a camera writes them."""
    return displayed().transpose(LAID[orientation]) if orientation in LAID else displayed()


def exif(orientation: int, kind: tuple[int, str] = SHORT, order: str = ">", gap: int = 0, before: int = 0) -> bytes:
    """A block of EXIF without prefix. `gap`: bytes between header and table; `before`: other tags before this one."""
    number, letter = kind
    value = struct.pack(order + letter, orientation).ljust(4, b"\0")
    table = (
        b"".join(struct.pack(order + "HHI", tag, 3, 1) + bytes(4) for tag in range(0x100, 0x100 + before))
        + struct.pack(order + "HHI", 0x0112, number, 1)
        + value
    )
    mark = b"MM" if order == ">" else b"II"
    head = struct.pack(order + "2sHI", mark, 42, 8 + gap) + bytes(gap)
    return head + struct.pack(order + "H", before + 1) + table + bytes(4)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The image in a format, without metadata."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def jpeg(orientation: int, block: bytes, *before: bytes, prefix: bytes = b"Exif\0\0") -> bytes:
    """A JPEG with segments and then EXIF behind its JFIF header."""
    data = saved(stored(orientation), "JPEG", quality=95)
    at = 4 + int.from_bytes(data[4:6])
    return data[:at] + b"".join(before) + segment(0xE1, prefix + block) + data[at:]


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(orientation: int, *chunks: bytes, behind: bool = False) -> bytes:
    """A PNG with chunks before its pixels, or behind them."""
    data = saved(stored(orientation), "PNG")
    at = len(data) - 12 if behind else 33
    return data[:at] + b"".join(chunks) + data[at:]


def profile(block: bytes) -> bytes:
    """A block as older programs write it into a text: in hexadecimal digits, with its length."""
    digits = (b"Exif\0\0" + block).hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\nexif\n{len(digits) // 2:8d}\n{lines}\n".encode()


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp(orientation: int, block: bytes, *, flagged: bool = True, first: bool = False) -> bytes:
    """A WebP with EXIF behind its pixels, or before them."""
    image = stored(orientation)
    pixels = (b"VP8L", saved(image, "WEBP", lossless=True)[20:])
    sides = b"".join((side - 1).to_bytes(3, "little") for side in image.size)
    rest = [(b"EXIF", block), pixels] if first else [pixels, (b"XMP ", b"<x/>"), (b"EXIF", block)]
    return riff((b"VP8X", bytes((8 * flagged, 0, 0, 0)) + sides), *rest)


def tiff(orientation: int) -> bytes:
    """A TIFF with the tag."""
    return saved(stored(orientation), "TIFF", tiffinfo={274: orientation})


def avif(orientation: int) -> bytes:
    """An AVIF, into whose container Pillow writes the rotation."""
    return saved(stored(orientation), "AVIF", quality=90, exif=b"Exif\0\0" + exif(orientation))


def jpeg2000(orientation: int, name: bytes = b"JpgTiffExif->JP2") -> bytes:
    """A JPEG 2000 with a box of EXIF before its pixels."""
    data = saved(stored(orientation), "JPEG2000")
    at = data.index(b"jp2c") - 4
    return data[:at] + box(b"uuid", name, exif(orientation)) + data[at:]


def padded(orientation: int) -> bytes:
    """A JPEG whose markers are padded with FF."""
    data = jpeg(orientation, exif(orientation))
    return data[:2] + b"\xff\xff" + data[2:]


RAW = b"Raw profile type "
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b" " * 60_000)

SPELLINGS: dict[str, Callable[[int], bytes]] = {
    "jpeg": lambda turn: jpeg(turn, exif(turn)),
    "jpeg little endian": lambda turn: jpeg(turn, exif(turn, order="<")),
    "jpeg long": lambda turn: jpeg(turn, exif(turn, LONG)),
    "jpeg long little endian": lambda turn: jpeg(turn, exif(turn, LONG, "<")),
    "jpeg byte": lambda turn: jpeg(turn, exif(turn, BYTE)),
    "jpeg table behind other data": lambda turn: jpeg(turn, exif(turn, gap=30_000)),
    "jpeg many tags": lambda turn: jpeg(turn, exif(turn, before=16)),
    "jpeg exif after xmp": lambda turn: jpeg(turn, exif(turn), XMP, XMP, XMP),
    "jpeg exif after comment": lambda turn: jpeg(turn, exif(turn), segment(0xFE, b"made by hand")),
    "jpeg first exif counts": lambda turn: jpeg(turn, exif(9 - turn), segment(0xE1, b"Exif\0\0" + exif(turn))),
    "jpeg odd prefix": lambda turn: jpeg(turn, exif(turn), prefix=b"Exif\0\xff"),
    "jpeg padded markers": padded,
    "jpeg cmyk": lambda turn: with_exif(saved(stored(turn).convert("CMYK"), "JPEG", quality=95), turn),
    "jpeg progressive": lambda turn: with_exif(saved(stored(turn), "JPEG", quality=95, progressive=True), turn),
    "png before": lambda turn: png(turn, chunk(b"eXIf", exif(turn))),
    "png behind": lambda turn: png(turn, chunk(b"eXIf", exif(turn, order="<")), behind=True),
    "png with prefix": lambda turn: png(turn, chunk(b"eXIf", b"Exif\0\0" + exif(turn))),
    "png before xmp": lambda turn: png(turn, chunk(b"eXIf", exif(turn)), text(b" " * 100_000), behind=True),
    "png after xmp": lambda turn: png(turn, text(b" " * 100_000), chunk(b"eXIf", exif(turn)), behind=True),
    "png zTXt": lambda turn: png(turn, chunk(b"zTXt", RAW + b"exif\0\0" + zlib.compress(profile(exif(turn))))),
    "png tEXt": lambda turn: png(turn, chunk(b"tEXt", RAW + b"exif\0" + profile(exif(turn)))),
    "png iTXt": lambda turn: png(turn, chunk(b"iTXt", RAW + b"APP1\0\0\0\0\0" + profile(exif(turn)))),
    "webp": lambda turn: webp(turn, exif(turn)),
    "webp with prefix": lambda turn: webp(turn, b"Exif\0\0" + exif(turn)),
    "webp before": lambda turn: webp(turn, exif(turn, order="<"), first=True),
    "webp unflagged": lambda turn: webp(turn, exif(turn), flagged=False),
    "tiff": tiff,
    "avif": avif,
    "jpeg 2000": jpeg2000,
    "jpeg 2000 otherwise": lambda turn: jpeg2000(turn, bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e")),
}


def with_exif(data: bytes, turn: int) -> bytes:
    """A JPEG with EXIF as its first segment."""
    return data[:2] + segment(0xE1, b"Exif\0\0" + exif(turn)) + data[2:]


def text(body: bytes) -> bytes:
    """A chunk of XMP."""
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + body)


def differs(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two images of one size."""
    assert one.size == other.size
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (3 * one.width * one.height)


def prepared(data: bytes, treatment: Treatment) -> Prepared:
    """The image as it is sent, by way of the event loop where that is enough; both ways agree."""
    careful = images.prepare(data, LIMITS_2024, treatment)
    assert isinstance(careful, Prepared), careful
    quick = images.as_it_is(data, LIMITS_2024, treatment)
    assert quick is None or quick == careful
    assert images.foresee(data, LIMITS_2024, treatment) == (images.REPAIR if careful.repaired else "")
    return careful


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_image_is_sent_as_it_is_displayed(spelling: str, orientation: int) -> None:
    """Upright once, without an orientation beside it; the variant says whether that changed anything."""
    data = SPELLINGS[spelling](orientation)
    sent = prepared(data, UPRIGHT)
    image = Image.open(io.BytesIO(sent.data))
    assert differs(image, displayed()) < 6
    assert sent.data == data or 0x0112 not in image.getexif()
    turned = images.variant(data, LIMITS_2024, UPRIGHT)
    assert turned == ("" if orientation == 1 or spelling == "tiff" else "upright")
    assert (images.TURNED in sent.repaired) == (turned == "upright")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_without_upright_pixels_lie_as_they_are_stored(spelling: str, orientation: int) -> None:
    """An image that is written again says how it is to be turned; what the service takes is sent byte for byte."""
    data = SPELLINGS[spelling](orientation)
    sent = prepared(data, LYING)
    image = Image.open(io.BytesIO(sent.data))
    assert differs(image, stored(orientation)) < 6
    if sent.repaired:
        assert image.getexif().get(0x0112, 1) == orientation
    else:
        assert sent.data == data
    changed = images.variant(data, LIMITS_2024, LYING)
    assert changed == ("turned-back" if spelling == "tiff" and orientation > 1 else "")


@pytest.mark.parametrize("kind", [SHORT, LONG, BYTE])
@pytest.mark.parametrize("value", [0, 9, 200])
def test_a_value_out_of_range_turns_nothing(kind: tuple[int, str], value: int) -> None:
    """The image is sent byte for byte."""
    for data in (jpeg(1, exif(value, kind)), png(1, chunk(b"eXIf", exif(value, kind)))):
        assert prepared(data, UPRIGHT) == Prepared(data)
        assert images.variant(data, LIMITS_2024, UPRIGHT) == ""


@pytest.mark.parametrize("block", [b"", b"MM\0*", exif(6)[:-10], b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_turns_nothing(block: bytes) -> None:
    """Damage beside the image is not damage to it."""
    for data in (jpeg(1, block), png(1, chunk(b"eXIf", block)), png(1, chunk(b"zTXt", b"Raw profile type exif\0\0x"))):
        assert prepared(data, UPRIGHT) == Prepared(data)


def test_a_thumbnail_s_orientation_is_not_the_image_s() -> None:
    """The second table of EXIF speaks of the thumbnail."""
    first = struct.pack(">2sHIHHHIHH", b"MM", 42, 8, 1, 0x0100, 3, 1, 10, 0) + struct.pack(">I", 26)
    second = struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    data = jpeg(1, first + second)
    assert prepared(data, UPRIGHT) == Prepared(data)


def test_what_is_no_image_has_no_variant() -> None:
    """Nor has one that is damaged at its head."""
    for data in (b"", b"<html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0\xff\xff\xff\xff"):
        assert images.variant(data, LIMITS_2024, UPRIGHT) == ""
