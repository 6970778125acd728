"""`input.max_side`, sizes that a decoder makes by itself, and the choice of format and quality."""

import io
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from batchrec import images
from batchrec.images import repair as repairing
from batchrec.images.judge import Picture, sniff
from batchrec.images.quality import photographic
from batchrec.images.shrink import fitted, snapped
from batchrec.values import Failure, ImageLimits, Prepared, Treatment

from .made import ARITHMETIC, lossless, noise, opened, photo, saved

LIMITS = ImageLimits()
SIDE = 256
SHRUNK = Treatment(max_side=SIDE)


def sent(data: bytes, treatment: Treatment = SHRUNK, limits: ImageLimits = LIMITS) -> Prepared:
    """An image as it is prepared; a failure fails the test."""
    outcome = images.prepare(data, limits, treatment)
    assert isinstance(outcome, Prepared), outcome
    return outcome


def drawing(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A few shapes in plain colours."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((5, 5, size[0] // 2, size[1] // 2), "navy")
    draw.line((0, 0, *size), "red", 5)
    return image.convert(mode)


def grained(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A photograph that weighs about as much as a camera's; alpha is opaque but for a corner."""
    image = photo(size).convert(mode)
    if mode in {"RGBA", "LA"}:
        alpha = Image.new("L", size, 255)
        alpha.putpixel((0, 0), 254)
        image.putalpha(alpha)
    return image


# -- sizes


@pytest.mark.parametrize(
    ("size", "side", "becomes"),
    [
        ((4032, 3024), 2048, (2016, 1512)),
        ((4032, 3024), 1280, (1280, 960)),
        ((4032, 3024), 1024, (1008, 756)),
        ((3024, 4032), 1024, (756, 1008)),
        ((4032, 2689), 1024, (1008, 672)),
        ((8064, 6048), 4096, (4032, 3024)),
        ((8191, 6000), 4096, (4095, 3000)),
        ((8193, 6000), 4096, (4096, 3000)),
        ((6000, 4000), 4096, (4096, 2731)),
        ((6000, 4000), 1024, (1024, 683)),
        ((1024, 768), 1024, (1024, 768)),
        ((1025, 768), 1024, (1024, 768)),
        ((900, 700), 1024, (900, 700)),
        ((300, 110), 40, (40, 15)),
    ],
)
def test_a_decoders_size_is_wanted_where_it_is_near(size: tuple[int, int], side: int, becomes: tuple[int, int]) -> None:
    """From 0.9 of the side on, and never above it."""
    assert snapped(size, side) == becomes


@given(size=st.tuples(st.integers(15, 9000), st.integers(15, 9000)), side=st.integers(15, 4096))
def test_no_size_is_above_the_side(size: tuple[int, int], side: int) -> None:
    """Nor is anything enlarged, nor more than a tenth below the side allowed."""
    found = snapped(size, side)
    assert max(found) <= side
    assert all(mine <= whole for mine, whole in zip(found, size, strict=True))
    assert max(found) >= min(0.9 * side, max(size)) - 1


def test_a_jpeg_is_sent_at_a_quarter_as_the_decoder_makes_it() -> None:
    """With the scale by which boxes go back, and in words."""
    data = saved(grained((1008, 756)), "JPEG", quality=95)
    prepared = sent(data)
    assert opened(prepared.data).size == (252, 189)
    assert (prepared.scale_x, prepared.scale_y) == (4, 4)
    assert prepared.repaired == ("shrunk 1008x756 to 252x189", "jpeg quality 90")
    with Image.open(io.BytesIO(data)) as scaled:
        scaled.draft(None, (252, 189))
        assert saved(scaled, "JPEG", quality=90) == prepared.data


def test_the_services_own_limit_snaps_too() -> None:
    """An image of twice the sides is decoded at a half, without any key."""
    prepared = sent(saved(grained((504, 378)), "JPEG"), Treatment(), replace(LIMITS, max_side=256))
    assert opened(prepared.data).size == (252, 189)


FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("JPEG", "RGB", {"quality": 95}),
    ("JPEG", "RGB", {"quality": 95, "progressive": True}),
    ("JPEG", "L", {"quality": 95}),
    ("JPEG", "CMYK", {"quality": 95}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "L", {}),
    ("PNG", "P", {}),
    ("BMP", "RGB", {}),
    ("GIF", "P", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    ("AVIF", "RGB", {}),
    ("JPEG2000", "RGB", {}),
]


@pytest.mark.parametrize(("form", "mode", "options"), FORMS)
@pytest.mark.parametrize("size", [(900, 600), (600, 900)])
def test_images_of_every_format_are_shrunk(
    form: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """As a photograph, at the side asked for or the decoder's, and the variant says so."""
    data = saved(grained(size, mode), form, **options)
    prepared = sent(data)
    result = opened(prepared.data)
    assert 0.9 * SIDE <= max(result.size) <= SIDE
    assert (result.width * prepared.scale_x, result.height * prepared.scale_y) == pytest.approx(size)
    assert any(word.startswith("shrunk {}x{} to ".format(*size)) for word in prepared.repaired)
    assert images.variant(data, LIMITS, SHRUNK).startswith("shrunk-")
    assert images.variant(data, LIMITS, Treatment()) == ""
    assert images.foresee(data, LIMITS, SHRUNK) == images.REPAIR
    assert images.as_it_is(data, LIMITS, SHRUNK) is None
    assert images.as_it_is(prepared.data, LIMITS, SHRUNK) == Prepared(prepared.data)


def test_a_lossless_jpeg_is_shrunk_though_no_decoder_scales_it() -> None:
    """Nor an arithmetic-coded one wrongly."""
    side = Treatment(max_side=20)
    for data, size in ((lossless(photo((80, 60))), (20, 15)), (ARITHMETIC, (20, 17))):
        assert opened(sent(data, side).data).size == size


def test_an_image_is_left_alone_where_that_does_not_halve_its_bytes() -> None:
    """Byte for byte, whatever its size: decoding it would cost more than it saves."""
    usual = 2 * 0.28 * SIDE * SIDE * 3 / 4
    light = saved(grained((1008, 756)), "JPEG", quality=20)
    assert len(light) < usual
    assert sent(light) == images.as_it_is(light, LIMITS, SHRUNK) == Prepared(light)
    assert images.variant(light, LIMITS, SHRUNK) == images.foresee(light, LIMITS, SHRUNK) == ""
    small = saved(noise((256, 192)), "JPEG", quality=100)
    assert len(small) > usual
    assert sent(small) == Prepared(small)


def test_a_light_heic_or_webp_counts_as_the_jpeg_that_is_sent_of_it() -> None:
    """The service does not take it, so its own few bytes save nothing."""
    light = saved(photo((1008, 756)), "WEBP", quality=1)
    assert len(light) < 0.28 * SIDE * SIDE
    assert max(opened(sent(light).data).size) == SIDE


def test_without_repair_an_image_is_shrunk_all_the_same() -> None:
    """The key is not about what the service would refuse."""
    data = saved(grained((1008, 756)), "JPEG", quality=95)
    assert sent(data, replace(SHRUNK, repair=False)) == sent(data)


def test_a_shorter_side_that_would_vanish_is_refused_by_the_key_that_helps() -> None:
    """The service wants 15 px a side."""
    outcome = images.prepare(saved(noise((300, 100)), "JPEG"), LIMITS, Treatment(max_side=40))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message) == (
        "too_small",
        "300x100 px: shrunk to 40 px, 14 px of its shorter side would be left, and 15 are needed; "
        "set a larger input.max_side",
    )


def test_a_larger_side_than_the_services_changes_nothing() -> None:
    """Its own limit holds."""
    data, limits = saved(grained((1008, 756)), "JPEG", quality=95), replace(LIMITS, max_side=400)
    for side in (400, 4096):
        treatment = Treatment(max_side=side)
        assert images.variant(data, limits, treatment) == ""
        assert sent(data, treatment, limits) == sent(data, Treatment(), limits)


def test_a_turned_photograph_is_turned_and_shrunk() -> None:
    """Boxes are in pixels of the image as displayed."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(grained((1008, 756)), "JPEG", quality=95, exif=exif)
    prepared = sent(data)
    assert opened(prepared.data).size == (189, 252)
    assert prepared.repaired == ("turned upright", "shrunk 756x1008 to 189x252", "jpeg quality 90")
    assert images.variant(data, LIMITS, SHRUNK) == "upright,shrunk-252x189"


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Images of some formats, heavy and light, of every shape that is taken."""
    long = draw(st.integers(15, 500))
    size = (long, draw(st.integers(-(-long // 3), long)))
    image = noise(size) if draw(st.booleans()) else photo(size)
    form = draw(st.sampled_from(["JPEG", "JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"]))
    quality = {"quality": draw(st.sampled_from([5, 60, 95]))} if form in {"JPEG", "WEBP"} else {}
    return saved(image if draw(st.booleans()) else image.transpose(Image.Transpose.ROTATE_90), form, **quality)


@settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(data=files(), side=st.integers(15, 600), other=st.integers(15, 600), most=st.sampled_from([400, 4096]))
def test_what_is_sent_follows_from_the_variant(data: bytes, side: int, other: int, most: int) -> None:
    """Never a longer side than before or asked for where it is shrunk; equal variants are sent as the same bytes."""
    limits = replace(LIMITS, max_side=most)
    plain = images.prepare(data, limits, Treatment())
    found: dict[str, object] = {"": plain}
    for treatment in (Treatment(max_side=side), Treatment(max_side=other)):
        outcome = images.prepare(data, limits, treatment)
        variant = images.variant(data, limits, treatment)
        if isinstance(outcome, Failure):
            assert isinstance(plain, Failure) or "input.max_side" in outcome.message
            continue
        assert isinstance(plain, Prepared)
        assert found.setdefault(variant, outcome) == outcome
        size, before = opened(outcome.data).size, opened(plain.data).size
        assert size[0] <= before[0]
        assert size[1] <= before[1]
        if variant:
            assert max(size) <= (treatment.max_side or 0)
        if variant or not outcome.repaired:  # one that was only converted has another weight now
            assert images.prepare(outcome.data, limits, treatment) == Prepared(outcome.data)


# -- memory


def test_memory_follows_the_decoders_scale() -> None:
    """24 megapixels for 1,024 px take a sixteenth of what they take in full."""
    picture = sniff(saved(Image.new("RGB", (6000, 4000)), "JPEG"))
    assert isinstance(picture, Picture)
    assert picture.footprint(picture.wanted(replace(LIMITS, max_side=1024), "refuse")) * 16 == picture.footprint(
        picture.size
    )
    picture = sniff(saved(Image.new("RGB", (4032, 3024)), "JPEG"))
    assert isinstance(picture, Picture)
    assert picture.footprint(picture.wanted(replace(LIMITS, max_side=1024), "refuse")) * 16 == picture.footprint(
        picture.size
    )


# -- format and quality


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("GIF", {})])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_lossless_photograph_becomes_a_jpeg(form: str, options: dict[str, Any], mode: str) -> None:
    """Where it has to be encoded at all; a palette of GIF stays what it is."""
    data = saved(grained((640, 480), mode), form, **options)
    prepared = sent(data, Treatment())
    if (form, mode) == ("PNG", "RGB"):
        assert prepared == Prepared(data)
        return
    expected = "PNG" if form == "GIF" and not photographic(opened(data)) else "JPEG"
    assert opened(prepared.data).format == expected
    if expected == "JPEG":
        assert prepared.repaired[-1] == "jpeg quality 95"


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("PNG", {"compress_level": 0}), ("WEBP", {"lossless": True})]
)
def test_a_drawing_stays_lossless(form: str, options: dict[str, Any]) -> None:
    """However carelessly it is packed: its pixels are looked at, not its bytes."""
    image = drawing((640, 480), "RGBA")
    image.putpixel((600, 9), (255, 255, 255, 0))
    prepared = sent(saved(image, form, **options), Treatment())
    result = opened(prepared.data)
    assert (result.format, result.tobytes()) == ("PNG", drawing((640, 480)).tobytes())


def test_a_drawing_that_is_too_heavy_as_bmp_stays_lossless() -> None:
    """A bitmap has three bytes a pixel whatever it shows."""
    prepared = sent(saved(drawing((1300, 900)), "BMP"), Treatment())
    assert opened(prepared.data).tobytes() == drawing((1300, 900)).tobytes()


def test_a_large_photograph_is_encoded_once_at_the_quality_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips tell it; each quality that is tried in full costs as much as the decoding."""
    tried: list[tuple[int, int]] = []
    encode = repairing._encode

    def watched(image: Image.Image, quality: int, most: int, **more: Any) -> bytes | None:
        tried.append((quality, image.height))
        return encode(image, quality, most, **more)

    image = grained((2000, 1500))
    whole = {quality: len(saved(image, "JPEG", quality=quality)) for quality in (90, 85, 75)}
    data = saved(image, "JPEG", quality=97)
    monkeypatch.setattr(repairing, "_encode", watched)
    for quality in (85, 75):
        tried.clear()
        limits = replace(LIMITS, base64_bytes=4 * round(whole[quality] * 1.05) // 3)
        assert sent(data, Treatment(), limits).repaired == (f"jpeg quality {quality}",)
        assert [each for each in tried if each[1] == 1500] == [(quality, 1500)]


def test_an_image_whose_strips_mislead_still_fits() -> None:
    """The image that is sent is weighed itself: here all its detail lies between the strips."""
    image = Image.new("RGB", (2000, 1500), "grey")
    rough = Image.frombytes("RGB", (2000, 40), random.Random(3).randbytes(2000 * 40 * 3))
    for top in (100, 300, 500, 800, 1000, 1200):
        image.paste(rough, (0, top))
    data = saved(image, "JPEG", quality=95)
    limits = replace(LIMITS, base64_bytes=len(data) * 2 // 3)
    prepared = sent(data, Treatment(), limits)
    assert len(prepared.data) <= limits.base64_bytes * 3 // 4
    assert fitted((2000, 1500), 4096) == (2000, 1500)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_each_tile_of_a_long_image_is_shrunk(form: str) -> None:
    """The side is that of what is sent in one call, and the variant knows of both keys."""
    data, treatment = saved(noise((300, 3000)), form, quality=95), replace(SHRUNK, long="split")
    prepared = sent(data, treatment)
    whole = sent(data, Treatment(long="split"))
    assert len(prepared.tiles) == len(whole.tiles) == 4
    for tile, large in zip(prepared.tiles, whole.tiles, strict=True):
        assert 0.9 * SIDE <= max(opened(tile.data).size) <= SIDE < max(opened(large.data).size)
        assert tile.area == large.area
    first, last = images.variant(data, LIMITS, treatment).split(",")
    assert (first.startswith("shrunk-"), last) == (True, "split-4")
    assert images.variant(data, LIMITS, Treatment(long="split")) == "split-4"


def test_a_long_image_with_bars_keeps_to_the_side() -> None:
    """Bars included."""
    prepared = sent(saved(noise((1000, 200)), "PNG"), replace(SHRUNK, long="pad"))
    assert opened(prepared.data).size == (256, 86)
