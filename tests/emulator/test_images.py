"""The emulated service's reading of a picture's bytes and of request bodies."""

import base64
import struct
import zlib
from urllib.parse import unquote_to_bytes, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.emulator import Picture, Settings, bodies
from batchrec.emulator.images import CLASSIC, EASYDL, inspect
from tests.support.emulator import picture, sha256


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size: signature, IHDR, an empty IDAT."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", b"")


def code(text: bytes | None, codes: object = CLASSIC, **settings: object) -> int:
    found = inspect(text, Settings(**settings), codes)  # type: ignore[arg-type]
    return 0 if isinstance(found, Picture) else found


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP"])
def test_picture_is_described_by_its_header(format: str) -> None:
    """Format, sides and hash of the three accepted formats."""
    data = picture(70, 50, format=format)
    assert inspect(b64(data), Settings(), CLASSIC) == Picture(data, sha256(data), format, 70, 50)


@pytest.mark.parametrize(
    ("text", "classic", "easydl"),
    [
        (None, 216101, 336006),
        (b"", 216200, 336006),
        (b"data:image/jpeg;base64," + b64(picture()), 216203, 336003),
        (b64(picture())[:-1] + b"!", 216203, 336003),
        (b64(b"just some text, no picture at all"), 216201, 336005),
        (b64(picture(format="GIF")), 216201, 336005),
        (b64(picture(format="WEBP")), 216201, 336005),
        (b64(b"\xff\xd8\xff broken from here on"), 216201, 336005),
        (b64(b"BM"), 216201, 336005),
        (b64(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), 216201, 336005),
        (b64(picture(14, 20)), 216202, 336004),
        (b64(picture(15, 15)), 0, 0),
        (b64(png_header(4097, 4000)), 216202, 336004),
        (b64(png_header(4096, 4096)), 0, 0),
        (b64(png_header(60_000, 60_000)), 216202, 336004),
        (b64(picture(151, 50)), 216202, 0),
        (b64(picture(150, 50)), 0, 0),
        (b"A" * (4 * 1024 * 1024 + 4), 216202, 336004),
    ],
)
def test_codes_of_bad_pictures(text: bytes | None, classic: int, easydl: int) -> None:
    """Every fault has its number, another one at EasyDL; a decompression bomb is only a picture too large."""
    assert (code(text), code(text, EASYDL)) == (classic, easydl)


def test_limit_is_on_the_base64_text() -> None:
    """Exactly the limit passes, one more group of four does not."""
    data = picture()
    padded = data + b"\0" * (3 * 1024 * 1024 - len(data))
    assert len(b64(padded)) == 4 * 1024 * 1024
    assert [code(b64(padded)), code(b64(padded + b"\0"))] == [0, 216202]


@pytest.mark.parametrize(
    ("switch", "text", "without", "with_it"),
    [
        ({"gif": True}, b64(picture(format="GIF")), 216201, 0),
        ({"lenient_base64": True}, b"data:image/jpeg;base64," + b64(picture()), 216203, 216201),
        ({"lenient_base64": True}, b"@@@@", 216203, 216203),
        ({"max_base64": 100}, b64(picture()), 0, 216202),
        ({"max_ratio": None}, b64(picture(400, 20)), 216202, 0),
        ({"min_side": 30}, b64(picture(29, 29)), 0, 216202),
        ({"max_side": 100}, b64(picture(101, 60)), 0, 216202),
    ],
)
def test_switches(switch: dict[str, object], text: bytes, without: int, with_it: int) -> None:
    """Settings decide the points that the pages leave open."""
    assert (code(text), code(text, **switch)) == (without, with_it)


def test_newer_limits_of_advanced_general_are_a_switch_of_its_own() -> None:
    """8,192 px and 8 MB, for that service only."""
    wide = b64(png_header(8000, 8000))
    settings = Settings(general_2024=True)
    assert isinstance(inspect(wide, settings, CLASSIC, general=True), Picture)
    assert inspect(wide, settings, CLASSIC) == 216202


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    """No file makes the inspection fail, whatever follows a known beginning."""
    for start in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF89a"):
        assert code(b64(start + data), gif=True) in (0, 216200, 216201, 216202)


@settings(deadline=None)
@given(st.binary(max_size=300), st.dictionaries(st.text(min_size=1), st.text(), max_size=4))
def test_form_is_read_as_it_was_written(data: bytes, options: dict[str, str]) -> None:
    """The picture's text and the parameters come out as the standard library put them in."""
    options.pop("image", None)
    text = b64(data)
    assert bodies.form(urlencode({"image": text, **options}).encode()) == bodies.Fields(text, options)


def test_form_accepts_lower_case_escapes_and_spoils_bare_plus() -> None:
    """``%2b`` is a plus; a plus that was not escaped arrives as a space, as in every form."""
    assert bodies.form(b"image=a%2bb%2fc%3d").image == b"a+b/c="
    assert bodies.form(b"image=a+b/c=").image == b"a b/c="


@settings(deadline=None)
@given(st.text(alphabet="aB2F3D0%=+\n\r /", max_size=40))
def test_picture_is_unquoted_like_any_other_value(text: str) -> None:
    """The quick way and the standard library agree on every text, however malformed."""
    value = text.encode()
    assert bodies.form(b"image=" + value).image == unquote_to_bytes(value.replace(b"+", b" "))


def test_form_without_picture() -> None:
    """No field is None, an empty field is empty, a word without a sign is nothing."""
    assert bodies.form(b"top_num=3&x").image is None
    assert bodies.form(b"image=&top_num=3") == bodies.Fields(b"", {"top_num": "3"})
    assert bodies.form(b"") == bodies.Fields(None, {})


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        (b'{"image": "QQ==", "top_num": 5}', bodies.Fields(b"QQ==", {"top_num": "5"})),
        (b'{"image": "QQ==", "top_num": "5"}', bodies.Fields(b"QQ==", {"top_num": "5"})),
        (b'{"threshold": 0.3, "x": true}', bodies.Fields(None, {"threshold": "0.3", "x": "true"})),
        (b"image=QQ%3D%3D", 336001),
        (b"[1, 2]", 336001),
        (b'{"image": 5}', 336001),
        (b'{"image": ', 336002),
        (b"", 336002),
    ],
)
def test_easydl_body(raw: bytes, result: bodies.Fields | int) -> None:
    """JSON whatever its numbers are written as; a form is the wrong style, the rest is no JSON."""
    assert bodies.easydl(raw) == result
