"""Long images: with bars or in tiles they fit the service, and every box finds its way back."""

from collections.abc import Sequence
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageChops

from batchrec import images
from batchrec.images.exif import NORMAL
from batchrec.images.long import MOST_TILES, count_tiles, is_long, padded_size, tiles
from batchrec.values import Box, Failure, ImageLimits, Prepared, Treatment

from .made import opened, photo, saved

LIMITS = ImageLimits()
PAD, SPLIT = Treatment(long="pad"), Treatment(long="split")

SIDES = st.tuples(st.integers(15, 5000), st.integers(15, 60_000))


def flat(size: Sequence[int]) -> tuple[int, int]:
    """The size with its sides exchanged."""
    return size[1], size[0]


@given(SIDES, st.booleans(), st.sampled_from([1.5, 2.0, 3.0, 3.5]))
def test_tiles_cover_the_picture(size: tuple[int, int], turned: bool, ratio: float) -> None:
    """Equal tiles of an allowed shape from edge to edge, each with a tenth of its length in common with the next."""
    size, limits = flat(size) if turned else size, ImageLimits(max_ratio=ratio)
    found = tiles(size, limits)
    assert len(found) == count_tiles(size, limits)
    if not is_long(size, limits):
        assert found == [(0, 0, *size)]
        return
    axis = int(size[1] > size[0])
    length = found[0].size[axis]
    assert {tile.size for tile in found} == {found[0].size}
    assert not is_long(found[0].size, limits)
    assert found[0].size[1 - axis] == size[1 - axis]
    starts = [tile[axis] for tile in found]
    assert (starts[0], starts[-1] + length) == (0, size[axis])
    assert min(length - (after - before) for before, after in pairwise(starts)) >= length / 10 - 1
    one_less = (9 * (len(found) - 1) + 1) * int(ratio * min(size)) / 10
    assert one_less < max(size)


@given(SIDES, st.booleans())
def test_bars_make_the_allowed_shape(size: tuple[int, int], turned: bool) -> None:
    """And no more than that; what is not long gets none."""
    size = flat(size) if turned else size
    width, height = padded_size(size, LIMITS)
    assert not is_long((width, height), LIMITS)
    assert (width == size[0]) or (height == size[1])
    assert ((width, height) == size) == (not is_long(size, LIMITS))
    short = min(width, height)
    assert short == min(size) or 3 * (short - 1) < max(size)


def prepared(data: bytes, treatment: Treatment, limits: ImageLimits = LIMITS) -> Prepared:
    """The image as it is sent; foreseen as one to be repaired."""
    assert images.as_it_is(data, limits, treatment) is None
    assert images.foresee(data, limits, treatment) == images.REPAIR
    outcome = images.prepare(data, limits, treatment)
    assert isinstance(outcome, Prepared)
    return outcome


def refused(data: bytes, treatment: Treatment) -> tuple[int | str, str]:
    """Word and message of the failure, which is foreseen."""
    outcome = images.prepare(data, LIMITS, treatment)
    assert isinstance(outcome, Failure)
    assert images.foresee(data, LIMITS, treatment) == outcome.code
    return outcome.code, outcome.message


def same(one: Image.Image, other: Image.Image, most: int = 0) -> bool:
    """Whether pictures of one size differ in no pixel, or by at most so many levels."""
    assert one.size == other.size
    extrema = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema()
    return max(high for _, high in extrema) <= most


@pytest.mark.parametrize("size", [(40, 330), (330, 40), (40, 126)])
def test_bars_are_neutral_and_on_both_sides(size: tuple[int, int]) -> None:
    """The picture stands between them unchanged, and a box in it is one of the picture."""
    picture = photo(size).quantize(4).convert("RGB")  # a drawing stays a PNG
    sent = prepared(saved(picture, "PNG"), PAD)
    image = opened(sent.data)
    assert max(image.size) == max(size)
    assert 3 * min(image.size) - max(size) in (0, 1, 2)
    assert same(image.crop((sent.bar_x, sent.bar_y, sent.bar_x + size[0], sent.bar_y + size[1])), picture)
    assert image.getpixel((0, 0)) == (128, 128, 128)
    after = image.width - size[0] - sent.bar_x, image.height - size[1] - sent.bar_y
    assert (after[0] - sent.bar_x in (0, 1), after[1] - sent.bar_y in (0, 1)) == (True, True)
    assert sent.repaired == ("padded {}x{} to {}x{}".format(*size, *image.size),)
    assert sent.displayed(Box(sent.bar_x + 3, sent.bar_y + 4, 5, 6)) == Box(3, 4, 5, 6)
    assert sent.displayed(Box(0, 0, *image.size)) == Box(0, 0, *size)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_can_have_bars_and_tiles(mode: str) -> None:
    """Bars are grey in each of them."""
    form = "JPEG" if mode == "CMYK" else "PNG"
    data = saved(photo((40, 400)).convert(mode), form)
    assert max(abs(level - 128) for level in opened(prepared(data, PAD).data).convert("RGB").getpixel((0, 0))) <= 2
    assert {opened(tile.data).size for tile in prepared(data, SPLIT).tiles} == {(40, 109)}


def test_a_very_long_picture_is_shrunk_before_it_gets_bars() -> None:
    """No more pixels than are sent are ever held; boxes find their way back to the full size."""
    sent = prepared(saved(Image.new("L", (600, 30_000), 77), "PNG"), PAD)
    assert opened(sent.data).size == (1366, 4096)
    box = sent.displayed(Box(sent.bar_x, 0, 82, 4096))
    assert (box.left, box.top, box.width, box.height) == (0, 0, 600, 30_000)
    assert sent.repaired[:2] == ("shrunk 600x30000 to 82x4096", "padded 82x4096 to 1366x4096")


def test_bars_are_no_help_for_a_thread() -> None:
    """Of a picture that would be shrunk to less than the service's smallest side, nothing could be seen."""
    word, message = refused(saved(Image.new("L", (20, 9000)), "PNG"), PAD)
    assert (word, message.split("; ")[1]) == ("too_long", 'set input.long = "split"')


def test_what_is_too_long_names_the_key() -> None:
    """The default refuses, and says what may be set."""
    assert images.variant(saved(photo((40, 330)), "PNG"), LIMITS, Treatment()) == ""
    word, message = refused(saved(photo((40, 330)), "PNG"), Treatment())
    assert (word, 'input.long = "pad" or "split"' in message) == ("too_long", True)


def test_too_many_tiles_are_refused() -> None:
    """A strip of hundreds of tiles would be hundreds of calls."""
    word, message = refused(saved(Image.new("1", (20, 20 * 3 * MOST_TILES)), "PNG"), SPLIT)
    assert (word, f"at most {MOST_TILES}" in message) == ("too_long", True)


@pytest.mark.parametrize("treatment", [PAD, SPLIT])
def test_what_is_too_small_stays_so(treatment: Treatment) -> None:
    """Bars or tiles make no side of it longer."""
    assert refused(saved(Image.new("L", (14, 200)), "PNG"), treatment)[0] == "too_small"


@pytest.mark.parametrize("treatment", [PAD, SPLIT])
@pytest.mark.parametrize("size", [(40, 40), (40, 120), (120, 40)])
def test_what_is_not_long_is_left_alone(treatment: Treatment, size: tuple[int, int]) -> None:
    """Up to 3:1 the key changes nothing."""
    data = saved(photo(size), "JPEG")
    assert images.variant(data, LIMITS, treatment) == images.foresee(data, LIMITS, treatment) == ""
    assert images.prepare(data, LIMITS, treatment) == images.as_it_is(data, LIMITS, treatment) == Prepared(data)


@pytest.mark.parametrize("repair", [True, False])
@pytest.mark.parametrize("size", [(50, 500), (500, 50)])
def test_tiles_are_parts_of_the_picture(size: tuple[int, int], repair: bool) -> None:
    """Pixel by pixel where that is lossless; `repair` does not matter, and the variant tells their number."""
    picture = photo(size)
    data = saved(picture, "PNG")
    treatment = Treatment(repair=repair, long="split")
    sent = prepared(data, treatment)
    assert (sent.data, len(sent.tiles)) == (b"", 4)
    assert images.variant(data, LIMITS, treatment) == "split-4"
    assert images.calls_of("upright,split-4") == 4
    assert sent.repaired == ("split into 4 tiles",)
    for tile in sent.tiles:
        area = tile.area
        assert area is not None
        assert same(opened(tile.data), picture.crop((area.left, area.top, area.right, area.bottom)))
        assert tile.displayed(Box(1, 2, 3, 4)) == Box(area.left + 1, area.top + 2, 3, 4)
        assert tile.displayed(Box(-5, -5, 9999, 9999)) == area


@pytest.mark.parametrize(
    ("form", "orientation"), [*product(["JPEG", "WEBP", "TIFF"], [1, 3, 6, 8]), ("JPEG2000", NORMAL)]
)
def test_tiles_are_upright(form: str, orientation: int) -> None:
    """Cut as the picture is displayed, from every format, and in the process of their own that some decoders have."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = photo((200, 900))
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    lying = upright.transpose(back[orientation]) if orientation in back else upright
    sent = prepared(saved(lying, form, quality=95, **({"exif": exif} if orientation != NORMAL else {})), SPLIT)
    assert [tile.area for tile in sent.tiles] == [Box(0, 0, 200, 474), Box(0, 426, 200, 474)]
    for tile in sent.tiles:
        area = tile.area
        assert area is not None
        expected = upright.crop((area.left, area.top, area.right, area.bottom))
        small = (20, 47)
        assert same(opened(tile.data).resize(small), expected.resize(small), 40)


def test_tiles_of_a_huge_picture_are_shrunk() -> None:
    """Each by itself, no more than the service's longest side demands."""
    limits = ImageLimits(max_side=400)
    sent = prepared(saved(photo((300, 3000)), "JPEG", quality=95), SPLIT, limits)
    assert {max(opened(tile.data).size) for tile in sent.tiles} == {400}
    for tile in sent.tiles:
        assert tile.area is not None
        assert tile.displayed(Box(0, 0, *opened(tile.data).size)) == tile.area


def test_nothing_but_pixels_is_left_in_tiles() -> None:
    """With `strip` or without, a tile has no metadata."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "maker"
    data = saved(photo((40, 400)), "JPEG", exif=exif)
    for strip in (True, False):
        for tile in prepared(data, Treatment(long="split", strip=strip)).tiles:
            assert not opened(tile.data).getexif()
