"""Metadata is removed from what is sent: no byte of it is left, and every pixel is as before."""

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from batchrec import images
from batchrec.values import ImageLimits, Prepared, Treatment

SECRET = b"48.8584N-secret"
LIMITS = ImageLimits()


def photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB").rotate(30)


def exif(orientation: int | None = None) -> Image.Exif:
    """EXIF with a GPS position, a comment, and an orientation where there is one."""
    block = Image.Exif()
    block[ExifTags.Base.ImageDescription] = SECRET.decode()
    block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSDateStamp] = SECRET.decode()
    if orientation is not None:
        block[ExifTags.Base.Orientation] = orientation
    return block


def saved(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    photo().save(file, form, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def loud(data: bytes) -> bytes:
    """A JPEG with everything that cameras and programs leave: segments, comments, thumbnails, films behind the end."""
    markers = [*range(0xE1, 0xF0), 0xFE]
    extra = b"".join(segment(marker, b"Something" + SECRET) for marker in markers)
    extra += segment(0xE0, b"JFXX\0\x10" + SECRET) + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET)
    scan = data.index(b"\xff\xda")
    return data[:scan] + extra + data[scan:] + data + SECRET + b"\xff\xd9"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_text() -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return text


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: loud(saved("JPEG", exif=exif(), comment=SECRET, icc_profile=PROFILE)),
    "progressive": lambda: loud(saved("JPEG", exif=exif(), progressive=True, icc_profile=PROFILE)),
    "restarts": lambda: loud(saved("JPEG", exif=exif(), restart_marker_blocks=2, icc_profile=PROFILE)),
    "fill bytes": lambda: loud(saved("JPEG", icc_profile=PROFILE)).replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "png": lambda: saved("PNG", exif=exif(), pnginfo=png_text(), icc_profile=PROFILE) + SECRET,
}


def sent(data: bytes, *, strip: bool, upright: bool = False, repair: bool = True) -> list[bytes]:
    """What is sent, by the quick way where that is open, and by the careful one."""
    careful = images.prepare(data, LIMITS, Treatment(repair=repair, upright=upright, strip=strip))
    assert isinstance(careful, Prepared)
    quick = images.as_it_is(data, LIMITS, Treatment(upright=upright, strip=strip))
    return [careful.data, *([quick.data] if quick is not None else [])]


def pixels(data: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.convert("RGB").tobytes()


@pytest.mark.parametrize("kind", PICTURES)
def test_no_metadata_is_left(kind: str) -> None:
    """EXIF, GPS, XMP, comments, thumbnails and what follows the end go; pixels and colour profile stay."""
    data = PICTURES[kind]()
    assert SECRET in data
    for clean in sent(data, strip=True):
        assert SECRET not in clean
        assert b"Exif" not in clean
        assert pixels(clean) == pixels(data)
        with Image.open(io.BytesIO(clean)) as image:
            assert image.info["icc_profile"] == PROFILE
    for whole in sent(data, strip=False):
        assert SECRET in whole


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("upright", [False, True])
def test_an_orientation_is_kept(form: str, orientation: int, upright: bool) -> None:
    """The picture as displayed is the same as without: turned already, or with a tag that says nothing else."""
    data = saved(form, exif=exif(orientation))
    kept = sent(data, strip=False, upright=upright)
    for clean, before in zip(sent(data, strip=True, upright=upright), kept, strict=True):
        assert SECRET not in clean
        with Image.open(io.BytesIO(clean)) as image, Image.open(io.BytesIO(before)) as other:
            assert ImageOps.exif_transpose(image).tobytes() == ImageOps.exif_transpose(other).tobytes()
            assert set(image.getexif()) <= {ExifTags.Base.Orientation}
            assert image.tobytes() == other.tobytes()


def test_a_repaired_picture_is_as_without() -> None:
    """What was re-encoded holds no metadata anyway, and loses nothing more."""
    data = saved("WEBP", exif=exif())
    assert [pixels(one) for one in sent(data, strip=True)] == [pixels(one) for one in sent(data, strip=False)]
    assert all(SECRET not in one for one in sent(data, strip=True))


def test_transparency_and_palette_stay() -> None:
    """A PNG with a palette is sent with it, and with what says how light its colours are."""
    file = io.BytesIO()
    photo().quantize(16).save(file, "PNG", pnginfo=png_text())
    at = file.getvalue().index(b"PLTE") - 4
    data = file.getvalue()[:at] + chunk(b"gAMA", struct.pack(">I", 45455)) + file.getvalue()[at:]
    for clean in sent(data, strip=True):
        assert (b"gAMA" in clean, b"PLTE" in clean, SECRET in clean) == (True, True, False)
        assert pixels(clean) == pixels(data)


@pytest.mark.parametrize("kind", PICTURES)
def test_damaged_parts_are_no_traceback(kind: str) -> None:
    """Wherever a picture is cut: it is a failed image, or it is sent without its metadata."""
    data = PICTURES[kind]()
    for end in range(4, len(data), 29):
        prepared = images.prepare(data[:end], LIMITS, Treatment(repair=False, upright=False, strip=True))
        assert not isinstance(prepared, Prepared) or SECRET not in prepared.data
