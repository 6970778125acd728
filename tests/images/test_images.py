"""batchrec.images, through its public functions, with pictures made on the spot."""

import base64
import hashlib
import math
import os
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw

from batchrec import images
from batchrec.api.codes import WORDS
from batchrec.api.services import LIMITS_2024
from batchrec.images import repair as repairing
from batchrec.images import subprocess as apart
from batchrec.images.judge import Picture, sniff
from batchrec.images.memory import MemoryBudget
from batchrec.images.subprocess import Work, repair_in_process
from batchrec.values import Box, Failure, ImageLimits, Kind, Prepared, Treatment

from .made import opened, saved

T = TypeVar("T")

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or sets limits that other systems lack")

LYING = Treatment(upright=False)
SMALL = ImageLimits(base64_bytes=6_000, min_side=15, max_side=120)
"""Limits that small pictures run into, so that tests are quick."""

ORIENTATION = 0x0112

# How the pixels of an upright picture lie in a file with that orientation.
LAID = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

MODES = {
    "JPEG": ("1", "L", "RGB", "CMYK"),
    "PNG": ("1", "L", "P", "LA", "RGB", "RGBA", "I;16"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "WEBP": ("L", "RGB", "RGBA"),
    "TIFF": ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I", "F", "I;16"),
    "AVIF": ("L", "RGB", "RGBA"),
    "ICO": ("L", "RGB", "RGBA"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"),
}


def photo(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Smooth gradients: light to encode, different in every corner."""
    grey = Image.linear_gradient("L").resize(size)
    return in_mode(Image.merge("RGB", (grey, Image.radial_gradient("L").resize(size), grey.rotate(180))), mode)


def noise(size: tuple[int, int], mode: str = "RGB", seed: int = 1) -> Image.Image:
    """As heavy as a picture can be."""
    return in_mode(Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1])), mode)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return image.convert("I").point(lambda value: value * 257).convert("I;16")
    if mode == "LAB":
        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
        assert converted is not None
        return converted
    return image.convert("L").convert(mode) if mode in {"I", "F", "LA"} else image.convert(mode)


def turned_tag(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def mended(data: bytes, limits: ImageLimits = LIMITS_2024, *, repair: bool = True, upright: bool = False) -> Prepared:
    outcome = images.prepare(data, limits, Treatment(repair=repair, upright=upright))
    assert isinstance(outcome, Prepared), outcome
    return outcome


def refused(
    data: bytes, limits: ImageLimits = LIMITS_2024, *, repair: bool = True, upright: bool = False
) -> tuple[int | str, str]:
    outcome = images.prepare(data, limits, Treatment(repair=repair, upright=upright))
    assert isinstance(outcome, Failure), outcome.repaired
    assert outcome.kind is Kind.IMAGE
    assert outcome.code in WORDS
    assert not outcome.counted
    return outcome.code, outcome.message


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def claimed_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims that size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    end = png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + end


def claimed_jpeg(width: int, height: int, **options: Any) -> bytes:
    """A small JPEG whose header claims that size."""
    data = saved(photo(), "JPEG", **options)
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


# --- digest, encoder


def test_an_encoder_is_ended_when_the_picture_gets_too_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing of 400 KB as PNG is not encoded to its end to find out that the service takes 300 KB."""
    lengths = []

    class Watched(repairing._Buffer):
        def write(self, data: bytes) -> int:
            lengths.append(self.tell() + len(data))
            return super().write(data)

    monkeypatch.setattr(repairing, "_Buffer", Watched)
    prepared = mended(saved(noise((1000, 1000)).quantize(8), "PNG"), ImageLimits(base64_bytes=400_000))
    assert len(prepared.data) <= 300_000 < max(lengths) < 370_000


def test_digest_is_sha256() -> None:
    """The digest of a content is its plain SHA-256."""
    data = bytes(range(256))
    assert images.digest(data) == hashlib.sha256(data).digest()


# --- sent as they are


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("JPEG", "L"),
        ("JPEG", "RGB"),
        ("PNG", "1"),
        ("PNG", "L"),
        ("PNG", "P"),
        ("PNG", "RGB"),
        ("BMP", "1"),
        ("BMP", "L"),
        ("BMP", "P"),
        ("BMP", "RGB"),
        ("MPO", "RGB"),
    ],
)
def test_a_usual_picture_is_sent_as_it_is(form: str, mode: str) -> None:
    """The very same bytes, not a copy."""
    data = saved(photo(mode=mode), form)
    for repair in (True, False):
        prepared = mended(data, repair=repair, upright=True)
        assert prepared == Prepared(data)
        assert prepared.data is data


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (4200, 64), (10, 48)])
@pytest.mark.parametrize("tail", [b"", b"\0" * 40, b"\r\n"])
@pytest.mark.parametrize("treatment", [Treatment(), Treatment(repair=False), Treatment(upright=False)])
def test_a_jpeg_is_foreseen_as_it_is_prepared(
    mode: str, turned: bool, size: tuple[int, int], tail: bytes, treatment: Treatment
) -> None:
    """Seen at a glance or judged in full: `foresee` has the outcome of `prepare`."""
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    data = saved(photo(size, mode), "JPEG", exif=exif) + tail
    outcome = images.prepare(data, LIMITS_2024, treatment)
    failed = isinstance(outcome, Failure)
    assert images.foresee(data, LIMITS_2024, treatment) == (
        outcome.code if failed else images.REPAIR if outcome.repaired else ""
    )


def test_a_progressive_jpeg_is_sent_as_it_is() -> None:
    """Progressive is usual enough."""
    data = saved(photo(), "JPEG", progressive=True)
    assert mended(data).data is data


def scanned(scans: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG in which the last scan is repeated, so that there are so many."""
    data = saved(photo(size), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - data.count(b"\xff\xda") + 1) + data[-2:]


ENDLESS = ("unsupported", "a JPEG of more than 100 scans, which would take too long to decode")


@pytest.mark.parametrize("repair", [True, False])
@pytest.mark.parametrize("tail", [b"", b"junk"])
def test_a_progressive_jpeg_of_more_than_a_hundred_scans_is_unsupported(repair: bool, tail: bytes) -> None:
    """Each scan may be some bytes and takes as long as all the pixels; a hundred are ten times what is usual."""
    data = scanned(101) + tail
    assert refused(data, repair=repair) == ENDLESS
    assert images.as_it_is(data, LIMITS_2024, LYING) is None
    assert images.foresee(data, LIMITS_2024, Treatment(repair=repair, upright=False)) == "unsupported"
    hundred = scanned(100)
    assert mended(hundred, repair=repair) == images.as_it_is(hundred, LIMITS_2024, LYING) == Prepared(hundred)


def one_by_one(scans: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A sequential JPEG whose channels come one after the other, again and again."""
    data = saved(photo(size, "L"), "JPEG")
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    channels = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head = data[:frame] + b"\xff\xc0\0\x11" + data[frame + 4 : frame + 9] + b"\3" + channels + data[frame + 13 : scan]
    turns = [data[scan : scan + 5] + bytes((number % 3 + 1,)) + data[scan + 6 : -2] for number in range(scans)]
    return head + b"".join(turns) + data[-2:]


def test_a_sequential_jpeg_of_more_than_a_hundred_scans_is_unsupported() -> None:
    """Where channels come one by one, decoders go over all pixels in scans, as in progressive pictures."""
    assert opened(one_by_one(3)).getbands() == ("R", "G", "B")
    assert mended(one_by_one(99)) == images.as_it_is(one_by_one(99), LIMITS_2024, Treatment())
    for data in (one_by_one(101), one_by_one(101) + b"junk"):
        assert refused(data) == ENDLESS
        assert images.as_it_is(data, LIMITS_2024, LYING) is None
        assert images.foresee(data, LIMITS_2024, LYING) == "unsupported"


def test_scans_of_a_thumbnail_do_not_count() -> None:
    """What looks like a scan in a comment, a thumbnail or behind the picture is none."""
    data = scanned(90)
    comment = b"\xff\xfe" + struct.pack(">H", 402) + b"\xff\xda" * 200
    for odd in (data[:2] + comment + data[2:], data + data):
        assert mended(odd) == images.as_it_is(odd, LIMITS_2024, LYING) == Prepared(odd)


def test_an_animated_png_is_sent_as_it_is() -> None:
    """To a reader that knows no animation it is a PNG, so nothing needs repair."""
    data = saved(photo(), "PNG", save_all=True, append_images=[photo().rotate(90)])
    assert mended(data) == Prepared(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("tail", [b"\0" * 700, b"\r\n", b"<!-- cached -->" * 9])
def test_what_hangs_on_after_the_end_is_cut_off(form: str, tail: bytes) -> None:
    """Zeros, line ends and rubbish after a whole picture are no fault, and are not sent."""
    data = saved(photo(), form)
    for repair in (True, False):
        assert mended(data + tail, repair=repair) == Prepared(data, ("bytes after the image removed",))


# --- converted


@pytest.mark.parametrize(
    ("form", "mode", "options", "words", "becomes"),
    [
        ("GIF", "P", {}, ("gif to png",), ("PNG", "P")),
        ("WEBP", "RGB", {"lossless": True}, ("webp to png",), ("PNG", "RGB")),
        ("WEBP", "RGB", {}, ("webp to jpeg", "jpeg quality 90"), ("JPEG", "RGB")),
        ("WEBP", "RGBA", {}, ("alpha flattened", "webp to jpeg", "jpeg quality 90"), ("JPEG", "RGB")),
        ("AVIF", "RGB", {}, ("avif to jpeg", "jpeg quality 90"), ("JPEG", "RGB")),
        ("JPEG2000", "RGB", {}, ("jpeg2000 to jpeg", "jpeg quality 90"), ("JPEG", "RGB")),
        ("ICO", "RGBA", {"sizes": [(64, 48)]}, ("alpha flattened", "ico to png"), ("PNG", "RGB")),
        ("TIFF", "RGB", {}, ("tiff to png",), ("PNG", "RGB")),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}, ("tiff to png",), ("PNG", "RGB")),
        ("TIFF", "RGB", {"compression": "jpeg"}, ("tiff to jpeg", "jpeg quality 90"), ("JPEG", "RGB")),
        ("TIFF", "CMYK", {}, ("cmyk to rgb", "tiff to png"), ("PNG", "RGB")),
        ("TIFF", "LAB", {}, ("lab to rgb", "tiff to png"), ("PNG", "RGB")),
        ("TIFF", "YCbCr", {}, ("ycbcr to rgb", "tiff to png"), ("PNG", "RGB")),
        ("TIFF", "I;16", {}, ("16 bit to 8 bit", "tiff to png"), ("PNG", "L")),
        ("TIFF", "F", {}, ("32 bit to 8 bit", "tiff to png"), ("PNG", "L")),
        ("JPEG", "CMYK", {}, ("cmyk to rgb", "jpeg quality 95"), ("JPEG", "RGB")),
        ("PNG", "RGBA", {}, ("alpha flattened",), ("PNG", "RGB")),
        ("PNG", "LA", {}, ("alpha flattened",), ("PNG", "L")),
        ("PNG", "P", {"transparency": 0}, ("alpha flattened",), ("PNG", "RGB")),
        ("PNG", "L", {"transparency": 0}, ("alpha flattened",), ("PNG", "L")),
        ("PNG", "RGB", {"transparency": (0, 0, 0)}, ("alpha flattened",), ("PNG", "RGB")),
        ("PNG", "I;16", {}, ("16 bit to 8 bit",), ("PNG", "L")),
    ],
)
def test_what_the_service_may_not_take_is_converted(
    form: str, mode: str, options: dict[str, Any], words: tuple[str, ...], becomes: tuple[str, str]
) -> None:
    """Every such picture ends as a plain one that looks the same, and the words say what was done."""
    image = photo(mode=mode)
    if mode in {"RGBA", "LA"}:
        image.putpixel((0, 0), (255, 255, 255, 254) if mode == "RGBA" else (255, 254))
    data = saved(image, form, **options)
    prepared = mended(data)
    result = opened(prepared.data)
    assert (prepared.repaired, (result.format, result.mode)) == (words, becomes)
    assert result.size == (64, 48)
    # Colours may be a few steps off; what lies elsewhere would be far off.
    for point in ((8, 8), (56, 8), (8, 40), (56, 40)):
        meant = photo().convert("L").getpixel(point)
        assert result.convert("L").getpixel(point) == pytest.approx(meant, abs=25)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_sent(form: str) -> None:
    """The first picture stands for all, and the words say so."""
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    prepared = mended(data)
    assert prepared.repaired[0] == f"first frame of {form.lower()}"
    red, _, blue = opened(prepared.data).convert("RGB").getpixel((20, 20))  # type: ignore[misc]
    assert red > 240
    assert blue < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(mode: str) -> None:
    """Clear is white, half clear half way, and what was covered stays."""
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 32))
    data = saved(image.convert(mode), "PNG")
    result = opened(mended(data).data).convert("L")
    assert (result.getpixel((4, 4)), result.getpixel((28, 28))) == (0, 255)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    """Black stays black, the middle grey, white white."""
    for deep, narrow in ((0, 0), (255, 0), (256, 1), (32768, 128), (65535, 255)):
        result = opened(mended(saved(Image.new("I;16", (20, 20), deep), "PNG")).data)
        assert result.getpixel((5, 5)) == narrow


def test_sixteen_bit_colour_is_narrowed_too() -> None:
    """Pillow narrows it silently on reading; the service would still be given 16 bit, so it is written again."""
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 20 for _ in range(20))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0))
    key = png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    prepared = mended(b"\x89PNG\r\n\x1a\n" + header + key + body)
    assert prepared.repaired == ("16 bit to 8 bit",)
    assert prepared.data[24] == 8
    assert opened(prepared.data).getpixel((3, 3)) == (255, 128, 0)


@pytest.mark.parametrize("numbers", [(0.0, 1.0), (-5.0, 5.0), (3.0, 3.0), (0.0, math.inf), (0.0, math.nan)])
def test_numbers_without_a_range_are_stretched(numbers: tuple[float, float]) -> None:
    """A measurement becomes a visible picture, even one of a single value, and never an exception."""
    image = Image.new("F", (32, 32), numbers[0])
    image.paste(numbers[1], (0, 16, 32, 32))
    result = opened(mended(saved(image, "TIFF")).data)
    if numbers[0] != numbers[1] and all(map(math.isfinite, numbers)):
        assert (result.getpixel((5, 5)), result.getpixel((5, 25))) == (0, 255)


def test_a_colour_profile_is_kept_where_it_belongs() -> None:
    """Colours stay what they were; a profile for CMYK does not go with RGB."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kept = opened(mended(saved(photo(), "WEBP", icc_profile=srgb)).data)
    assert kept.info["icc_profile"] == srgb
    false = srgb[:16] + b"CMYK" + srgb[20:]
    dropped = opened(mended(saved(photo(mode="CMYK"), "JPEG", icc_profile=false)).data)
    assert "icc_profile" not in dropped.info


def test_comments_and_places_do_not_travel() -> None:
    """What a camera wrote beside the picture is left behind when it is written again."""
    exif = Image.Exif()
    exif[0x010F] = "somebody's camera"
    data = saved(photo(mode="CMYK"), "JPEG", comment=b"holiday", exif=exif)
    result = opened(mended(data).data)
    assert not {"exif", "comment"} & set(result.info)


@pytest.mark.parametrize("alpha", [0xFF000000, 0])
def test_a_bmp_with_alpha_is_flattened(alpha: int) -> None:
    """Only a BMP that says where its alpha is has one."""
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, alpha)
    info = struct.pack("<IiiHHIIiiII", 56, 20, 20, 1, 32, 3, 1600, 0, 0, 0, 0) + masks
    pixels = b"\0\0\xff\0" * 200 + b"\0\0\xff\xff" * 200  # from the lowest row on
    data = b"BM" + struct.pack("<IHHI", 14 + 56 + 1600, 0, 0, 70) + info + pixels
    prepared = mended(data)
    assert prepared.repaired == (("alpha flattened", "bmp to png") if alpha else ())
    assert opened(prepared.data).getpixel((3, 3)) == (255, 0, 0)
    if alpha:
        assert opened(prepared.data).getpixel((3, 16)) == (255, 255, 255)


# --- made smaller


@pytest.mark.parametrize(
    ("size", "becomes"), [((6000, 4000), (4096, 2731)), ((4097, 1366), (4096, 1366)), ((1400, 4200), (1366, 4096))]
)
def test_too_many_pixels_are_shrunk_to_fit(size: tuple[int, int], becomes: tuple[int, int]) -> None:
    """Exactly within the limit, never longer in shape, with the scale to go back by."""
    prepared = mended(saved(photo(size), "JPEG"))
    shrunk = "shrunk {}x{} to {}x{}".format(*size, *becomes)
    assert prepared.repaired == (shrunk, "jpeg quality 90")
    assert opened(prepared.data).size == becomes
    assert (prepared.scale_x, prepared.scale_y) == (size[0] / becomes[0], size[1] / becomes[1])


@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("PNG", "1"), ("BMP", "RGB"), ("GIF", "P")])
def test_a_lossless_picture_stays_lossless_when_shrunk(form: str, mode: str) -> None:
    """PNG where it fits, in smooth shades where the picture had few."""
    drawing = Image.new("RGB", (4200, 1500), "white")
    ImageDraw.Draw(drawing).ellipse((50, 50, 4000, 1400), "navy")
    prepared = mended(saved(drawing.convert(mode), form))
    result = opened(prepared.data)
    assert (result.format, result.size) == ("PNG", (4096, 1463))
    assert result.mode in {"RGB", "L"}
    assert "shrunk 4200x1500 to 4096x1463" in prepared.repaired


def test_a_heavy_picture_is_encoded_coarser_before_it_is_shrunk() -> None:
    """The finest quality that fits, at full size as long as one does."""
    data = saved(noise((90, 90)), "PNG")
    for most, quality in ((31_000, 95), (26_000, 90), (11_000, 85), (9_000, 75)):
        prepared = mended(data, ImageLimits(base64_bytes=most))
        assert prepared.repaired == ("png to jpeg", f"jpeg quality {quality}")
    smaller = mended(data, ImageLimits(base64_bytes=5_000))
    assert smaller.repaired[0].startswith("shrunk 90x90 to ")
    assert len(base64.b64encode(smaller.data)) <= 5_000


def test_a_carelessly_packed_png_is_packed_again() -> None:
    """Where that is enough, not a pixel changes."""
    image = photo((200, 200))
    data = saved(image, "PNG", compress_level=0)
    prepared = mended(data, ImageLimits(base64_bytes=100_000))
    assert prepared.repaired == ("recompressed",)
    assert opened(prepared.data).tobytes() == image.tobytes()


def test_the_limit_is_on_the_base64_text() -> None:
    """4 bytes of text for every 3 begun: exactly at the limit is fine, a byte over is not."""
    data = saved(photo(), "JPEG")
    text = len(base64.b64encode(data))
    assert mended(data, ImageLimits(base64_bytes=text), repair=False) == Prepared(data)
    assert refused(data, ImageLimits(base64_bytes=text - 1), repair=False)[0] == "too_large"


def test_what_cannot_be_made_light_enough_is_refused() -> None:
    """A limit that not even the smallest allowed size meets."""
    data = saved(noise((60, 60)), "JPEG")
    assert refused(data, ImageLimits(base64_bytes=400))[0] == "too_large"


def test_a_heavy_colour_profile_does_not_cost_the_picture() -> None:
    """A profile that outweighs the picture is left behind."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(200_000)
    prepared = mended(saved(photo(), "JPEG", icc_profile=srgb), ImageLimits(base64_bytes=20_000))
    assert prepared.repaired == ("jpeg quality 95",)


# --- orientation and boxes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "size"), [("JPEG", (60, 40)), ("PNG", (60, 40)), ("WEBP", (60, 40)), ("JPEG", (500, 300))]
)
def test_a_box_maps_back_to_the_picture_as_displayed(form: str, size: tuple[int, int], orientation: int) -> None:
    """However it lies in the file and however small it is sent, a box is in pixels of what a person sees."""
    left, top = size[0] // 3, size[1] // 2
    width, height = size[0] // 4, size[1] // 5
    displayed = Image.new("RGB", size, "white")
    ImageDraw.Draw(displayed).rectangle((left, top, left + width - 1, top + height - 1), "black")
    stored = displayed.transpose(LAID[orientation]) if orientation > 1 else displayed
    data = saved(stored, form, exif=turned_tag(orientation), quality=95)
    prepared = mended(data, SMALL, upright=True)
    assert ("turned upright" in prepared.repaired) == (orientation > 1)
    dark = opened(prepared.data).convert("L").point(lambda value: 255 * (value < 128))
    x0, y0, x1, y1 = dark.getbbox() or (0, 0, 0, 0)
    seen = Box(x0, y0, x1 - x0, y1 - y0).scaled(prepared.scale_x, prepared.scale_y)
    slack = 1 + 2 * (max(prepared.scale_x, 1) > 1)
    for found, meant in ((seen.left, left), (seen.top, top), (seen.width, width), (seen.height, height)):
        assert abs(found - meant) <= slack


def test_orientation_is_left_alone_where_no_boxes_come_back() -> None:
    """The pixels lie as they did, and a picture that is written again still says how it is meant."""
    data = saved(photo((60, 40)), "JPEG", exif=turned_tag(6))
    assert mended(data) == Prepared(data)
    shrunk = opened(mended(saved(photo((300, 200)), "JPEG", exif=turned_tag(6)), SMALL).data)
    assert shrunk.size == (120, 80)
    assert shrunk.getexif() == {ORIENTATION: 6}


def test_without_repair_a_turned_picture_is_turned_all_the_same() -> None:
    """`upright` is a key of its own: `repair` is about what the service would refuse."""
    data = saved(photo(), "JPEG", exif=turned_tag(6))
    assert mended(data, repair=False, upright=True).repaired == ("turned upright", "jpeg quality 95")
    assert mended(data, repair=False, upright=False) == Prepared(data)


def test_an_orientation_after_the_pixels_of_a_png_counts() -> None:
    """Tools append it there."""
    whole = saved(photo((60, 40)), "PNG")
    tag = png_chunk(b"eXIf", turned_tag(6).tobytes().removeprefix(b"Exif\0\0"))
    prepared = mended(whole[:-12] + tag + whole[-12:], upright=True)
    assert prepared.repaired == ("turned upright",)
    assert opened(prepared.data).size == (40, 60)


@pytest.mark.parametrize(
    "tag", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x05\x01\x12", b"rubbish", b"\0" * 40]
)
def test_a_good_picture_with_damaged_exif_is_sent(tag: bytes) -> None:
    """Damage beside the picture is not damage to it."""
    data = saved(photo(), "JPEG", exif=b"Exif\0\0" + tag)
    assert mended(data, upright=True) == Prepared(data)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    """Only 2 to 8 turn anything."""
    data = saved(photo(), "JPEG", exif=turned_tag(orientation))
    assert mended(data, upright=True) == Prepared(data)


# --- refused


@pytest.mark.parametrize(
    ("data", "word", "message"),
    [
        (b"", "empty", "the file has no bytes"),
        (b"<!DOCTYPE html><html><body>404", "not_an_image", "looks like an HTML page"),
        (b"\xef\xbb\xbf\r\n  <HTML lang=zh>", "not_an_image", "looks like an HTML page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "not_an_image", "looks like an SVG drawing"),
        (b'<?xml version="1.0"?><rss/>', "not_an_image", "looks like an XML document"),
        (b'{"antiFlag":1,"message":"Forbid spider access"}', "not_an_image", "looks like JSON text"),
        (b"%PDF-1.7\n", "not_an_image", "looks like a PDF document; export its pages as images"),
        ("访问被拒绝".encode() * 200, "not_an_image", "looks like plain text"),
        (b"BMW is a brand of cars", "not_an_image", "looks like plain text"),
        (b"\xff", "not_an_image", "no picture format that is known"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "not_an_image", "looks like a video"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_by_what_it_is(data: bytes, word: str, message: str) -> None:
    """The name says .jpg, the content decides, with or without repair."""
    assert refused(data) == refused(data, repair=False) == (word, message)


@pytest.mark.parametrize("form", list(MODES))
@pytest.mark.parametrize(
    ("size", "word"), [((14, 20), "too_small"), ((20, 14), "too_small"), ((61, 20), "too_long"), ((20, 61), "too_long")]
)
def test_too_small_and_too_long_are_refused(form: str, size: tuple[int, int], word: str) -> None:
    """batchrec never enlarges, pads or crops."""
    options = {"sizes": [size]} if form == "ICO" else {}
    data = saved(photo(size), form, **options)
    assert refused(data)[0] == word
    assert refused(data, repair=False)[0] == word


@pytest.mark.parametrize("size", [(15, 15), (15, 45), (60, 20)])
def test_the_smallest_and_longest_allowed_are_sent(size: tuple[int, int]) -> None:
    """The limits themselves are within."""
    data = saved(photo(size), "JPEG")
    assert mended(data) == Prepared(data)


@pytest.mark.parametrize(
    "data",
    [
        claimed_png(50_000, 50_000),
        claimed_png(0x7FFFFFFF, 0x7FFFFFFF),
        claimed_png(20_000, 8_000),
        claimed_jpeg(65_500, 65_500),
        claimed_jpeg(15_000, 12_000, progressive=True),
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;",
    ],
    ids=["png", "png-2^31", "png-160-megapixels", "jpeg", "progressive-jpeg", "gif"],
)  # fmt: skip
def test_a_picture_too_large_to_decode_is_refused_by_its_header(data: bytes) -> None:
    """It says how large it is, and accuses nobody."""
    word, message = refused(data)
    assert word == "too_large"
    assert re.search(r"\d+x\d+ px.*; shrink it$", message)


def ico(entry: bytes) -> bytes:
    """An icon of one entry, which the list says has 256 pixels a side."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(entry), 22) + entry


def test_an_icon_has_the_size_of_its_entry() -> None:
    """Whatever its list says: nothing is decoded that is too large, and what is not is shrunk as any other picture."""
    bitmap = struct.pack("<IiiHHI", 40, 12_000, 24_000, 1, 32, 0) + bytes(24)
    for entry in (claimed_png(12_000, 12_000), bitmap):
        word, _ = refused(ico(entry))
        assert word == "too_large"
        assert images.foresee(ico(entry), LIMITS_2024, LYING) == "too_large"
    assert refused(ico(claimed_png(700, 200)))[0] == "too_long"
    shrunk = mended(ico(saved(photo((300, 200)), "PNG")), SMALL)
    assert shrunk.repaired[0] == "shrunk 300x200 to 120x80"


@pytest.mark.parametrize(
    ("data", "least", "most"),
    [
        (lambda: saved(photo((400, 300)), "JPEG2000"), 20, 20),
        (lambda: saved(photo((400, 300), "L"), "PNG"), 4, 4),
        (lambda: saved(photo((400, 300), "RGBA"), "PNG"), 16, 16),
        (lambda: saved(photo((400, 300)), "JPEG"), 12, 12),
        (lambda: ico(saved(photo((400, 300), "RGBA"), "PNG")), 16, 16),
        (lambda: claimed_jpeg(4_000, 3_000), 12, 12),
        (lambda: claimed_jpeg(16_384, 12_288), 0.7, 0.8),  # decoded at a quarter
        (
            lambda: claimed_jpeg(8_192, 6_144, progressive=True),
            7,
            7,
        ),  # 6 for its coefficients, and a quarter of the pixels
        (lambda: one_by_one(3, (400, 300)), 12, 12),
    ],
)
def test_the_memory_that_a_picture_takes_is_known(data: Callable[[], bytes], least: float, most: float) -> None:
    """Bytes a pixel of the whole picture, by what its decoder and the conversions hold at once."""
    picture = sniff(data())
    assert isinstance(picture, Picture)
    width, height = picture.size
    share = max(1, max(picture.size) / 4096)
    assert least <= picture.footprint((int(width / share), int(height / share))) / (width * height) <= most


def test_pictures_share_one_budget_of_memory() -> None:
    """No more is held at once than there is; who asks first is served first; what is too much gets all, alone."""
    budget, lock, held, most, order = MemoryBudget(100), threading.Lock(), 0, 0, []

    def one(number: int) -> None:
        nonlocal held, most
        size = (40, 70, 1_000, 30)[number % 4]
        with budget.hold(size), lock:
            held += min(size, 100)
            most = max(most, held)
            order.append(number)
        with lock:
            held -= min(size, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(200)))
    assert sorted(order) == list(range(200))
    assert budget._left == 100


def test_running_out_of_memory_is_the_images_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on without it."""

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    data = saved(photo(mode="RGBA"), "PNG")
    monkeypatch.setattr(Image.Image, "convert", exhausted)
    assert refused(data)[0] == "too_large"


@pytest.mark.parametrize("form", [form for form in MODES if form not in {"JPEG", "PNG", "BMP"}])
def test_without_repair_other_formats_are_unsupported(form: str) -> None:
    """Refused here, before the service would."""
    word, message = refused(saved(photo(), form), repair=False)
    assert (word, message) == ("unsupported", f"{form} is not taken; the service takes JPEG, PNG, BMP")


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "I;16")])
def test_without_repair_what_may_be_taken_is_sent(form: str, mode: str) -> None:
    """What the service does with these is not known, so it may say itself."""
    data = saved(photo(mode=mode), form)
    assert mended(data, repair=False) == Prepared(data)


def test_without_repair_too_large_is_refused() -> None:
    """Too many pixels as well as too many bytes."""
    assert refused(saved(photo((130, 100)), "JPEG"), SMALL, repair=False) == (
        "too_large",
        "130x100 px: at most 120 a side",
    )
    word, message = refused(saved(noise((100, 100)), "PNG"), SMALL, repair=False)
    assert word == "too_large"
    assert message.endswith("bytes of base64: at most 6,000 are taken")


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("JPEG", {"exif": turned_tag(6)}), ("PNG", {}), ("BMP", {})],
)
@pytest.mark.parametrize("repair", [True, False])
def test_a_torn_picture_is_refused_at_every_cut(form: str, options: dict[str, Any], repair: bool) -> None:
    """Wherever the download stopped, nothing is sent, but where all pixels are there: that is sent as the whole."""
    data = saved(photo((20, 16)), form, **options)
    whole = opened(mended(data, repair=repair, upright=True).data)
    words = set()
    for cut in range(len(data)):
        outcome = images.prepare(data[:cut], LIMITS_2024, Treatment(repair=repair))
        if isinstance(outcome, Failure):
            words.add(outcome.code)
        else:
            assert len(data) - cut < 24
            assert "end restored" in outcome.repaired
            assert opened(outcome.data).tobytes() == whole.tobytes()
    assert words == {"empty", "not_an_image", "torn"}


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO"])
def test_other_torn_pictures_are_refused(form: str) -> None:
    """Half a picture is none, in any format."""
    data = saved(noise((60, 60)), form)
    assert refused(data[: len(data) // 2])[0] == "torn"


def test_nothing_is_printed_about_damaged_files(capfd: pytest.CaptureFixture[str]) -> None:
    """The failure says it; libraries do not talk on the terminal."""
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        data = saved(noise((60, 60)), "TIFF", compression=compression)
        for at in range(0, len(data), len(data) // 40):
            images.prepare(data[:at] + b"\xff\x00\x7f" + data[at + 3 :], LIMITS_2024, Treatment())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_threads_do_not_disturb_each_other() -> None:
    """The same pictures in eight threads come out as they do in one."""
    data = [saved(photo(mode=mode), form) for form, modes in MODES.items() for mode in modes] * 3
    one = [images.prepare(item, SMALL, Treatment()) for item in data]
    with ThreadPoolExecutor(8) as threads:
        many = list(threads.map(lambda item: images.prepare(item, SMALL, Treatment()), data))
    assert many == one


# --- pictures that hold the interpreter's lock


def python_that(path: Path, does: str) -> str:
    """An interpreter that does nothing but this."""
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("does", "word", "reason"),
    [("kill -KILL $$", "too_large", "memory"), ("kill -SEGV $$", "torn", "crashed"), ("exit 1", "torn", "crashed")],
)
def test_a_picture_that_kills_its_process_is_a_failed_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, word: str, reason: str
) -> None:
    """The run goes on, whatever a decoder does, and the next picture has a process of its own."""
    data = saved(noise((300, 200)), "JPEG2000")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", python_that(tmp_path / "python", does))
        failed_word, message = refused(data)
    assert failed_word == word
    assert reason in message
    assert mended(data).repaired[0] == "jpeg2000 to jpeg"


@linux
def test_the_process_knows_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is PATH, PYTHONPATH and LANG, whatever else there is."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    for name in ("BAIDU_API_KEY", "BAIDU_SECRET_KEY", "BCE_SECRET_ACCESS_KEY", "LD_PRELOAD_", "PYTHONSTARTUP", "HOME"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setattr(sys, "executable", python_that(tmp_path / "python", f"cat /proc/$$/environ >{tmp_path}/env"))
    refused(saved(noise((300, 200)), "JPEG2000"))
    environment = (tmp_path / "env").read_text()
    assert "hunter2" not in environment
    assert {line.partition("=")[0] for line in environment.split("\0") if line} == {"PATH", "PYTHONPATH", "LANG"}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x80\x04N.",
        b"[]\n",
        b'{"word": "hunter2", "message": ""}\n',
        b'{"word": "timeout", "message": ""}\n',
        b'{"word": "torn", "message": 1}\n',
        b'{"word": ["torn"], "message": ""}\n',
        b'{"repaired": [], "scale_x": 1.0, "scale_y": 1.0}\n',
        b'{"repaired": [], "scale_x": 1.0, "scale_y": 1.0}',
        b'{"repaired": [], "scale_x": 0.0, "scale_y": 1.0}\nx',
        b'{"repaired": [], "scale_x": "1", "scale_y": 1.0}\nx',
        b'{"repaired": 1, "scale_x": 1.0, "scale_y": 1.0}\nx',
        b'{"repaired": [], "scale_x": 1.0, "scale_y": 1.0, "more": 1}\nx',
        b'{"repaired": [], "scale_x": 1.0, "scale_y": 1.0}\n' + bytes(3_000_001),
        b"x" * 4_000_000,
    ],
)
def test_what_the_process_says_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """A decoder that was taken over has no more to say than the picture or a word for it; nothing it says is run."""
    (tmp_path / "said").write_bytes(said)
    script = f"cat {tmp_path}/said"
    monkeypatch.setattr(sys, "executable", python_that(tmp_path / "python", script))
    word, message = refused(saved(noise((300, 200)), "JPEG2000"))
    assert word == "torn"
    assert message in ("the process that decoded it failed", "the process that decoded it crashed") or len(said) > 10**6


def test_a_process_that_claims_not_to_start_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was taken over could else have its picture decoded where the keys are."""
    ends = '[ "$2" = -c ] || exit 127'
    monkeypatch.setattr(sys, "executable", python_that(tmp_path / "python", ends))
    assert refused(saved(noise((300, 200)), "JPEG2000")) == ("torn", "the process that decoded it crashed")


@linux
@pytest.mark.parametrize(
    ("limit", "words"), [({"memory": 20_000_000}, {"too_large", "torn"}), ({"seconds": 1}, {"too_large"})]
)
def test_the_process_has_its_limits(limit: dict[str, int], words: set[str]) -> None:
    """More memory or processor time than is allowed, and the picture has failed; some decoders call both damage."""
    data = saved(Image.effect_noise((3_000, 2_000), 60).convert("RGB"), "JPEG2000")
    work = replace(Work(LIMITS_2024, Treatment(), memory=2_000_000_000, seconds=100), **limit)
    outcome = repair_in_process(data, work)
    assert isinstance(outcome, Failure)
    assert outcome.code in words
    assert "seconds" not in limit or outcome.message == "it takes more than 1 s to decode"


def test_a_process_that_sleeps_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that uses no processor time has ten times as long."""
    monkeypatch.setattr(sys, "executable", python_that(tmp_path / "python", "exec sleep 1000"))
    monkeypatch.setattr(apart, "_PATIENCE", 0.5)
    outcome = repair_in_process(b"x", Work(LIMITS_2024, Treatment(), memory=2_000_000_000, seconds=1))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message) == ("too_large", "it takes more than 1 s to decode")


@pytest.mark.parametrize("does", [None, "exit 127"], ids=["not there", "without its libraries"])
def test_a_process_that_cannot_be_started_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str | None
) -> None:
    """The machine's shortage is not the picture's fault; it comes out the same."""
    data = saved(noise((300, 200)), "JPEG2000")
    with monkeypatch.context() as patched:
        python = tmp_path / "python"
        patched.setattr(sys, "executable", python_that(python, does) if does else str(python))
        here = mended(data)
    assert mended(data) == here


def test_torn_pictures_are_refused_by_the_process_too() -> None:
    """A Failure comes back as one."""
    data = saved(noise((300, 200)), "JPEG2000")
    assert refused(data[: len(data) // 2])[0] == "torn"


STOPPED_AT_ITS_END = """
import atexit, os, signal, sys
if "-m" in sys.orig_argv:
    atexit.register(os.kill, os.getpid(), signal.SIGSTOP)
"""
"""A sitecustomize.py. A decoder that is done stops: on a busy machine it would be gone before it is looked at."""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the process ends with its picture")
def test_the_process_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    """No SIGKILL leaves a decoder behind, not even one that is stopped in the middle of it."""
    (tmp_path / "a.jp2").write_bytes(saved(noise((1000, 800)), "JPEG2000"))
    (tmp_path / "sitecustomize.py").write_text(STOPPED_AT_ITS_END)
    code = (
        "import sys; from batchrec import images; from batchrec.api.services import LIMITS_2024\n"
        "from batchrec.values import Treatment\n"
        "images.prepare(open(sys.argv[1], 'rb').read(), LIMITS_2024, Treatment())"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.jp2")], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        child = awaited(lambda: Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())[0]
        stat = Path(f"/proc/{child}/stat")
        behind = str(min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19))
        awaited(lambda: stat.read_text().rpartition(")")[2].split()[16] == behind)
        os.kill(int(child), signal.SIGSTOP)
    finally:
        parent.kill()
        parent.wait()
    awaited(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def awaited(value: Callable[[], T]) -> T:
    """What it is as soon as it is something."""
    end = time.monotonic() + 60
    while not (found := value()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


# --- properties

sides = st.integers(1, 260)
kinds = st.sampled_from([(form, mode) for form, modes in MODES.items() for mode in modes])
bounds = st.builds(
    ImageLimits,
    base64_bytes=st.integers(900, 60_000),
    min_side=st.integers(1, 20),
    max_side=st.integers(80, 300),
    max_ratio=st.sampled_from([1.0, 1.5, 3.0]),
)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[tuple[int, int], bytes]:
    """A picture's size as displayed, and its file."""
    form, mode = draw(kinds)
    size = (draw(sides), draw(sides))
    assume(form != "ICO" or max(size) <= 256)  # the format's own limit
    image = noise(size, mode, draw(st.integers(0, 9))) if draw(st.booleans()) else photo(size, mode)
    options: dict[str, Any] = {"sizes": [size]} if form == "ICO" else {}
    orientation = draw(st.integers(1, 8))
    if form in {"JPEG", "PNG", "WEBP", "AVIF"}:
        options["exif"] = turned_tag(orientation)
    if form in {"WEBP", "JPEG2000"}:
        options["lossless" if form == "WEBP" else "irreversible"] = draw(st.booleans())
    return (size[::-1] if orientation > 4 and "exif" in options else size), saved(image, form, **options)


def assert_acceptable(prepared: Prepared, limits: ImageLimits) -> Image.Image:
    result = opened(prepared.data)
    assert result.format in limits.formats
    assert result.mode in {"1", "L", "P", "RGB"}
    assert not result.has_transparency_data
    assert limits.min_side <= min(result.size)
    assert max(result.size) <= limits.max_side
    assert max(result.size) <= min(result.size) * limits.max_ratio
    assert len(base64.b64encode(prepared.data)) <= limits.base64_bytes
    return result


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(picture=pictures(), limits=bounds, upright=st.booleans(), long=st.sampled_from(["refuse", "pad", "split"]))
def test_what_is_prepared_is_within_every_limit(
    picture: tuple[tuple[int, int], bytes], limits: ImageLimits, upright: bool, long: str
) -> None:
    """A failure with a known word, or plain pictures within all limits, never larger, and stable."""
    displayed, data = picture
    treatment = Treatment(repair=True, upright=upright, long=long)
    outcome = images.prepare(data, limits, treatment)
    if isinstance(outcome, Failure):
        assert outcome.code in {"too_small", "too_long", "too_large"}
        return
    for sent in outcome.tiles or (outcome,):
        result = assert_acceptable(sent, limits)
        assert sent.scale_x >= 1
        assert sent.scale_y >= 1
        if sent.area is None:
            assert result.width * result.height <= displayed[0] * displayed[1]
            if upright:
                mapped = (result.width * sent.scale_x, result.height * sent.scale_y)
                assert mapped == pytest.approx(displayed)
        again = images.prepare(sent.data, limits, treatment)
        assert again == Prepared(sent.data)


SAMPLES = [saved(photo((40, 30), mode), form) for form, modes in MODES.items() for mode in modes]


@settings(max_examples=1200, deadline=None)
@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    early=st.booleans(),
    kept=st.floats(0, 1),
    repair=st.booleans(),
    upright=st.booleans(),
)
def test_damaged_bytes_never_raise(
    sample: bytes, edits: list[tuple[float, int]], early: bool, kept: float, repair: bool, upright: bool
) -> None:
    """Whatever is in the file, the outcome is a value, and what is repaired from it is acceptable."""
    data = bytearray(sample)
    for place, value in edits:
        data[int(place * (min(len(data), 120) if early else len(data)))] = value
    cut = bytes(data[: max(1, math.ceil(kept * 2 * len(data)))])
    outcome = images.prepare(cut, LIMITS_2024, Treatment(repair=repair, upright=upright))
    if isinstance(outcome, Failure):
        assert outcome.code in WORDS
    elif repair and outcome.repaired:
        assert_acceptable(outcome, LIMITS_2024)


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"\0\0\1\0", b"BM"]),
    rest=st.binary(max_size=200),
    end=st.sampled_from([b"", b"\xff\xd9", b"IEND\xaeB`\x82"]),
)
def test_random_bytes_never_raise(start: bytes, rest: bytes, end: bytes) -> None:
    """Noise behind a known beginning is a failure with a known word, or a picture by a miracle."""
    outcome = images.prepare(start + rest + end, LIMITS_2024, Treatment())
    assert not isinstance(outcome, Failure) or outcome.code in WORDS
