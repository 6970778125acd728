"""Files as phones, cameras, programs and downloads leave them, made on the spot."""

import base64
import io
import random
import struct
import zlib
from typing import Any

from PIL import Image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """The picture as a file of that format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture in a file, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Smooth gradients with grain, different in every corner."""
    grey = Image.linear_gradient("L").resize(size)
    colours = Image.merge("RGB", (grey, Image.radial_gradient("L").resize(size), grey.rotate(180)))
    return Image.blend(colours, noise(size), 0.15)


def noise(size: tuple[int, int]) -> Image.Image:
    """Grain alone, as heavy as a picture can be."""
    return Image.frombytes("RGB", size, random.Random(1).randbytes(3 * size[0] * size[1]))


# -- JPEG


def segment(marker: int, body: bytes) -> bytes:
    """The bytes of a segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def movie(size: int) -> bytes:
    """The film behind the JPEG of a motion photo."""
    head = struct.pack(">I4s4sI8s", 24, b"ftyp", b"mp42", 0, b"isommp42")
    return head + struct.pack(">I4s", size + 8, b"mdat") + random.Random(2).randbytes(size)


def stereo(first: bytes, second: bytes) -> bytes:
    """Two JPEGs in a file, with the list of CIPA DC-007 in the first one."""

    def listed(offset: int) -> bytes:
        rows = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
        entries = struct.pack(">IIIHH", 0x20030000, offset + len(first), 0, 0, 0)
        entries += struct.pack(">IIIHH", 0x00020002, len(second), offset, 0, 0)
        head = b"MPF\0MM\0*" + struct.pack(">IH", 8, 3)
        return segment(0xE2, head + rows + struct.pack(">HHII", 0xB002, 7, 32, 50) + bytes(4) + entries)

    return first[:20] + listed(len(first)) + first[20:] + second


def lossless(image: Image.Image) -> bytes:
    """A lossless JPEG (SOF3) in grey, with the pixel to the left as prediction."""
    width, height = image.size
    pixels = image.convert("L").tobytes()
    bits = []
    for at, value in enumerate(pixels):
        before = at - 1 if at % width else at - width
        difference = value - (pixels[before] if before >= 0 else 128)
        size = abs(difference).bit_length()
        bits.append(f"{size:04b}")
        if size:
            bits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    coded = "".join(bits)
    coded += "1" * (-len(coded) % 8)
    data = int(coded, 2).to_bytes(len(coded) // 8).replace(b"\xff", b"\xff\0")
    frame = segment(0xC3, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    table = segment(0xC4, b"\0" + bytes((0, 0, 0, 9)) + bytes(12) + bytes(range(9)))
    return b"\xff\xd8" + frame + table + segment(0xDA, b"\1\1\0\1\0\0") + data + b"\xff\xd9"


ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R(ZFhTtf`Lw8jhBplmUDiAe"
    "E-`3Lje^R7akfOJ0T%Ed{ahKe0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0=}O01*fPC;%`60U`hb5di}c0"
    "sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zfEo0TT$O{e@VAk{?darWN&`Ha~F?+IS`r?YV6P`-y+2z9U$(=#5ZG_f2$kD7IXoDSsIUP6u`ca0Pa3"
    "ZAB~UEX!geO{krk)gcIGMAdQW!nh#orP;l6wRLFgeTM?;V3`|;msx95#dx&*RBzm|Je"
)
"""A JPEG of 48 x 40 px with arithmetic coding, which Pillow reads and does not write."""


# -- PNG


def chunk(name: bytes, body: bytes, *, length: int | None = None, checksum: int | None = None) -> bytes:
    """The bytes of a chunk, with a wrong length or checksum where one is given."""
    crc = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body) if length is None else length) + name + body + struct.pack(">I", crc)


def with_chunk(data: bytes, extra: bytes, *, late: bool = False) -> bytes:
    """A PNG with a chunk behind its header, or behind its pixels."""
    return data[:-12] + extra + data[-12:] if late else data[:33] + extra + data[33:]
