"""Grey levels, colours and transparency: what is sent shows what a viewer shows."""

import io
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image, ImageDraw

from batchrec.api.services import LIMITS_2024
from batchrec.images import prepare
from batchrec.values import Failure, Prepared, Treatment

from .tiffs import Page, grey_page, tiff

SIZE = (256, 96)
"""A ramp: each column is of another grey."""

RAMP = [column for _ in range(SIZE[1]) for column in range(SIZE[0])]
NAN, INFINITY = float("nan"), float("inf")


def sent(data: bytes) -> Image.Image:
    outcome = prepare(data, LIMITS_2024, Treatment())
    assert isinstance(outcome, Prepared), outcome
    image = Image.open(io.BytesIO(outcome.data))
    image.load()
    return image


def refused(data: bytes) -> tuple[int | str, str]:
    outcome = prepare(data, LIMITS_2024, Treatment())
    assert isinstance(outcome, Failure), outcome.repaired
    return outcome.code, outcome.message


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def numbers(letter: str, values: Sequence[float], order: str) -> bytes:
    """The values as numbers of that type in that order of bytes."""
    packed = array(letter, values)
    if (order == "<") != (sys.byteorder == "little"):
        packed.byteswap()
    return packed.tobytes()


def assert_ramp(image: Image.Image, most: int = 1) -> None:
    """Every column has its grey, give or take a step of rounding."""
    row = image.convert("L").crop((0, 30, 256, 31)).tobytes()
    assert max(abs(seen - meant) for meant, seen in enumerate(row)) <= most, list(row)


def twelve(values: Sequence[int]) -> bytes:
    """Twelve bits each, packed."""
    whole = bytearray()
    for left, right in zip(values[::2], values[1::2], strict=True):
        whole += bytes((left >> 4, (left & 15) << 4 | right >> 8, right & 255))
    return bytes(whole)


GREYS: dict[str, Callable[[str], Page]] = {
    "12 bits": lambda order: grey_page(SIZE, twelve([16 * v for v in RAMP]), 12),
    "12 bits, white is 0": lambda order: grey_page(SIZE, twelve([4095 - 16 * v for v in RAMP]), 12, t262=[0]),
    "16 bits": lambda order: grey_page(SIZE, numbers("H", [257 * v for v in RAMP], order), 16),
    "16 bits, white is 0": lambda order: grey_page(
        SIZE, numbers("H", [65535 - 257 * v for v in RAMP], order), 16, t262=[0]
    ),
    "12 bits in 16": lambda order: grey_page(SIZE, numbers("H", [16 * v for v in RAMP], order), 16),
    "10 bits in 16, white is 0": lambda order: grey_page(
        SIZE, numbers("H", [4 * (255 - v) for v in RAMP], order), 16, t262=[0]
    ),
    "a few levels of 16 bits": lambda order: grey_page(SIZE, numbers("H", [50_000 + v for v in RAMP], order), 16),
    "signed 8 bits": lambda order: grey_page(SIZE, numbers("b", [v - 128 for v in RAMP], order), 8, t339=[2]),
    "signed 16 bits": lambda order: grey_page(SIZE, numbers("h", [9 * v - 1024 for v in RAMP], order), 16, t339=[2]),
    "32 bits": lambda order: grey_page(SIZE, numbers("I", [16_000_000 * v for v in RAMP], order), 32),
    "signed 32 bits": lambda order: grey_page(SIZE, numbers("i", [9 * v - 1024 for v in RAMP], order), 32, t339=[2]),
    "float": lambda order: grey_page(SIZE, numbers("f", [v / 255 for v in RAMP], order), 32, t339=[3]),
    "float, white is 0": lambda order: grey_page(SIZE, numbers("f", [-v for v in RAMP], order), 32, t339=[3], t262=[0]),
    "double": lambda order: grey_page(SIZE, numbers("d", [v * 1e9 for v in RAMP], order), 64, t339=[3]),
    "undefined": lambda order: grey_page(SIZE, numbers("H", [257 * v for v in RAMP], order), 16, t339=[4]),
    "with alpha": lambda order: Page(
        SIZE,
        [numbers("H", [n for v in RAMP for n in (257 * v, 65535)], order)],
        (16, 16),
        1,
        {338: [2]},
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", GREYS)
def test_grey_of_every_depth_keeps_its_levels(kind: str, order: str, packed: bool) -> None:
    """By the depth where it says the range, by the image's own range where it does not or little of it is used."""
    page = GREYS[kind](order)
    if packed:
        page.strips = [zlib.compress(strip) for strip in page.strips]
        page.tags = {**page.tags, 259: [8]}
    assert_ramp(sent(tiff(page, order=order)))


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_levels_behind_a_predictor_are_kept(bits: int, order: str) -> None:
    """Differences of neighbours, which compress better, are of the width of the samples."""
    row = [(257 if bits == 16 else 16_000_000) * column for column in range(256)]
    steps = [row[0], *(right - left for left, right in pairwise(row))]
    data = zlib.compress(numbers("H" if bits == 16 else "I", steps * SIZE[1], order))
    assert_ramp(sent(tiff(grey_page(SIZE, data, bits, t259=[8], t317=[2]), order=order)))


def png16(values: Sequence[int], channels: int = 1) -> bytes:
    """A PNG of 16 bits a channel with rows of 256 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw, length = numbers("H", values, ">"), 512 * channels
    rows = b"".join(b"\0" + raw[at : at + length] for at in range(0, len(raw), length))
    head = struct.pack(">IIBBBBB", 256, len(raw) // length, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("factor", [257, 16, 4])
def test_a_png_of_16_bits_is_scaled_by_its_own_range_where_it_is_dim(factor: int) -> None:
    """Cameras of 10 and 12 bits write files of 16."""
    assert_ramp(sent(png16([factor * v for v in RAMP])))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "planes"])
def test_colours_of_12_bits_in_16_are_not_black(form: str) -> None:
    """Their levels are few, but there to be seen."""
    values = [16 * each for v in RAMP for each in (v, 255 - v, 255)]
    if form == "PNG":
        data = png16(values, 3)
    elif form == "TIFF":
        data = tiff(Page(SIZE, [numbers("H", values, "<")], (16,) * 3))
    else:
        data = tiff(Page(SIZE, [numbers("H", values[k::3], "<") for k in range(3)], (16,) * 3, tags={284: [2]}))
    image = sent(data)
    for column in (3, 100, 250):
        assert image.getpixel((column, 9)) == pytest.approx((column, 255 - column, 255), abs=18)


def test_a_jpeg_2000_of_16_bits_is_scaled_by_its_own_range_where_it_is_dim() -> None:
    """The same for the format of medicine and archives."""
    image = Image.frombytes("I;16", SIZE, numbers("H", [16 * v for v in RAMP], "<"))
    assert_ramp(sent(saved(image, "JPEG2000")), 4)


@pytest.mark.parametrize("first", [NAN, INFINITY, -INFINITY, 3.4028234e38, -3.4028234e38])
@pytest.mark.parametrize("at", [0, 20])
def test_numbers_that_are_no_measurement_are_black(first: float, at: int) -> None:
    """They do not count for the range, wherever they are."""
    values: list[float] = [*RAMP]
    values[at : at + 3] = [first] * 3
    image = sent(tiff(grey_page(SIZE, numbers("f", values, "<"), 32, t339=[3])))
    assert_ramp(image)
    assert [image.getpixel((column, 0)) for column in range(at, at + 3)] == [0, 0, 0]


def test_the_number_for_gaps_is_black() -> None:
    """Elevation data name the number that stands for nothing (GDAL_NODATA)."""
    values = [*RAMP]
    values[40:43] = [-9999] * 3
    image = sent(tiff(grey_page(SIZE, numbers("h", values, "<"), 16, t339=[2], t42113=b"-9999\0")))
    assert_ramp(image)
    assert image.getpixel((41, 0)) == 0


@pytest.mark.parametrize("letter", ["B", "H", "f"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("alpha", [0, 1, 2])
def test_colours_of_every_depth_and_arrangement(letter: str, order: str, planes: bool, alpha: int) -> None:
    """In turns or in planes, with alpha multiplied into the colours (1) or not (2)."""
    most = {"B": 255, "H": 65535, "f": 1.0}[letter]
    clear = 128 if alpha else 256  # columns from here on are transparent
    channels = [[v, 255 - v, 80] for v in RAMP]
    values = [
        [c * (most / 255) * (alpha != 1 or v < clear) for c in each] for v, each in zip(RAMP, channels, strict=True)
    ]
    if alpha:
        values = [[*each, most * (v < clear)] for v, each in zip(RAMP, values, strict=True)]
    turn = float if letter == "f" else round
    strips = [[turn(each[k]) for each in values] for k in range(len(values[0]))]
    if not planes:
        strips = [[turn(number) for each in values for number in each]]
    bits = (array(letter).itemsize * 8,) * len(values[0])
    tags = {284: [2 if planes else 1], 339: [3 if letter == "f" else 1] * len(bits)} | ({338: [alpha]} if alpha else {})
    image = sent(tiff(Page(SIZE, [numbers(letter, strip, order) for strip in strips], bits, 2, tags), order=order))
    for column in (1, 60, 120, 200):
        meant = (column, 255 - column, 80) if column < clear else (255, 255, 255)
        assert image.getpixel((column, 9)) == pytest.approx(meant, abs=2)


def test_cmyk_in_planes_of_16_bits() -> None:
    """Print material of every arrangement is sent as RGB, not inverted."""
    inks = [
        numbers("H", [257 * v for v in RAMP], "<"),
        bytes(2 * len(RAMP)),
        bytes(2 * len(RAMP)),
        bytes(2 * len(RAMP)),
    ]
    image = sent(tiff(Page(SIZE, inks, (16,) * 4, 5, {284: [2]})))
    assert image.getpixel((200, 9)) == pytest.approx((55, 255, 255), abs=2)


@pytest.mark.parametrize(
    ("page", "named"),
    [
        (grey_page(SIZE, bytes(256 * 96 * 2), 16, t339=[3]), "1 floating-point number a pixel, 16 bits each"),
        (grey_page(SIZE, bytes(256 * 96 * 2), 14), "1 number a pixel, 14 bits each"),
        (grey_page(SIZE, bytes(256 * 96 * 8), 64, t339=[6]), "1 complex number a pixel, 64 bits each"),
        (grey_page(SIZE, bytes(256 * 96), 8, t259=[34887]), "compressed as LERC"),
        (grey_page(SIZE, bytes(256 * 96), 8, t259=[50001]), "compressed as WebP"),
        (grey_page(SIZE, bytes(256 * 96 * 2), 16, t277=[60_000]), "60000 numbers a pixel"),
        (Page(SIZE, [bytes(256 * 96 * 4)], (8, 8, 16)), "channels differ in bits"),
    ],
)
def test_samples_that_are_not_read_are_named(page: Page, named: str) -> None:
    """Such a file is sound, so it is not called torn."""
    word, message = refused(tiff(page))
    assert word == "unsupported"
    assert named in message


# --- transparency


def drawing(inks: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Bars side by side on a transparent background."""
    image = Image.new("RGBA", (250, 200))
    for number, ink in enumerate(inks):
        ImageDraw.Draw(image).rectangle((20 + 75 * number, 50, 60 + 75 * number, 150), (*ink, 255))
    return image


WHITE, BLACK, GREY, RED = (255, 255, 255), (0, 0, 0), (90, 90, 90), (200, 30, 30)


@pytest.mark.parametrize(
    ("inks", "white_stays"),
    [
        ([BLACK], True),
        ([RED, BLACK], True),
        ([GREY], True),
        ([WHITE], False),
        ([(244, 244, 240)], False),
        ([WHITE, BLACK], False),
        ([RED, BLACK, WHITE], False),
        ([WHITE, GREY], False),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "ICO", "GIF", "grey", "palette"])
def test_every_part_of_a_drawing_shows_on_its_background(
    inks: list[tuple[int, int, int]], white_stays: bool, form: str
) -> None:
    """White where that does; else a background from which all parts differ."""
    image = drawing(inks)
    if form == "grey":
        data = saved(image.convert("LA"), "PNG")
    elif form == "palette":
        data = saved(image.quantize(16), "PNG")
    else:
        data = saved(image, form, **{"WEBP": {"lossless": True}, "ICO": {"sizes": [(250, 200)]}}.get(form, {}))
    shown = sent(data).convert("RGB")
    ground = shown.getpixel((5, 5))
    assert (ground == WHITE) is white_stays
    for number in range(len(inks)):
        ink = shown.getpixel((40 + 75 * number, 100))
        assert max(abs(a - b) for a, b in zip(ink, ground, strict=True)) >= 40  # type: ignore[arg-type]


def test_a_white_spot_on_a_dark_drawing_needs_no_other_background() -> None:
    """Only what touches nothing darker would vanish."""
    image = drawing([BLACK])
    ImageDraw.Draw(image).rectangle((60, 90, 64, 100), WHITE)
    assert sent(saved(image, "PNG")).getpixel((5, 5)) == WHITE


@pytest.mark.parametrize("form", ["PNG", "TIFF", "ICO", "WEBP"])
def test_an_alpha_of_zero_everywhere_is_ignored(form: str) -> None:
    """Old programs leave the byte unused; a blank image is never sent."""
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    image.putalpha(0)
    shown = sent(saved(image, form, **({"lossless": True, "exact": True} if form == "WEBP" else {})))
    assert [shown.convert("L").getpixel((9, row)) for row in (4, 60)] == pytest.approx([17, 241], abs=4)


def test_an_image_that_would_come_out_blank_is_not_sent() -> None:
    """What nobody can see costs no call."""
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    image.paste((0, 0, 0, 1), (10, 10, 20, 20))
    word, message = refused(saved(image, "PNG"))
    assert (word, "one colour" in message) == ("unsupported", True)
    assert sent(saved(Image.new("RGB", (64, 64), "red"), "GIF")).convert("RGB").getpixel((3, 3)) == (255, 0, 0)


# --- frames smaller than their canvas


def gif_in_part(image: Image.Image, canvas: tuple[int, int], at: tuple[int, int], **options: Any) -> bytes:
    data = bytearray(saved(image, "GIF", optimize=False, **options))
    place = data.index(b"," + struct.pack("<HHHH", 0, 0, *image.size))
    data[place + 1 : place + 5] = struct.pack("<HH", *at)
    data[6:10] = struct.pack("<HH", *canvas)
    return bytes(data)


def webp_in_part(image: Image.Image, canvas: tuple[int, int], at: tuple[int, int], **options: Any) -> bytes:
    def three(*values: int) -> bytes:
        return b"".join(value.to_bytes(3, "little") for value in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    head = three(at[0] // 2, at[1] // 2, image.width - 1, image.height - 1, 100) + b"\0"
    frame = chunk(b"ANMF", head + saved(image, "WEBP", **options)[12:])
    head = chunk(b"VP8X", b"\x02\0\0\0" + three(canvas[0] - 1, canvas[1] - 1)) + chunk(b"ANIM", bytes(6))
    body = b"WEBP" + head + frame + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("options", [{}, {"transparency": 7}, {"interlace": False}])
@pytest.mark.parametrize("mode", ["P", "L"])
def test_around_the_first_frame_of_a_gif_is_white(mode: str, options: dict[str, Any]) -> None:
    """As browsers show it on a page, whatever the palette begins with."""
    image = Image.linear_gradient("L").resize((60, 40))
    shown = sent(gif_in_part(image.convert(mode), (160, 120), (40, 30), **options)).convert("RGB")
    assert shown.size == (160, 120)
    assert {shown.getpixel(at) for at in ((3, 3), (39, 50), (100, 50), (60, 29), (60, 70))} == {WHITE}
    assert shown.getpixel((60, 50)) == pytest.approx((127, 127, 127), abs=9)


@pytest.mark.parametrize("lossless", [True, False])
def test_around_the_first_frame_of_a_webp_is_white(lossless: bool) -> None:
    """The same for WebP, whose decoder leaves it black."""
    image = Image.linear_gradient("L").resize((60, 40)).convert("RGB")
    shown = sent(webp_in_part(image, (160, 120), (40, 30), lossless=lossless)).convert("RGB")
    assert {shown.getpixel(at) for at in ((3, 3), (25, 50), (112, 50), (60, 12), (60, 82))} == {WHITE}
    assert shown.getpixel((60, 50)) == pytest.approx((127, 127, 127), abs=9)
