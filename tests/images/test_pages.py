"""The page of a TIFF that is sent: its full size and never a preview; raw files of cameras are named as such."""

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops

from batchrec import images
from batchrec.api.services import LIMITS_2024
from batchrec.values import Failure, Prepared, Treatment

from .tiffs import Page, grey_page, rgb_page, tiff

REDUCED, OLD_REDUCED = {254: [1]}, {255: [2]}
FULL = (400, 300)
RAW = ("unsupported", "a camera's raw file; export it as JPEG")


def photo(size: tuple[int, int] = FULL) -> Image.Image:
    """Smooth gradients, different in every corner."""
    grey = Image.linear_gradient("L").resize(size)
    return Image.merge("RGB", (grey, Image.radial_gradient("L").resize(size), grey.rotate(180)))


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def sent(data: bytes) -> tuple[Image.Image, Prepared]:
    outcome = images.prepare(data, LIMITS_2024, Treatment())
    assert isinstance(outcome, Prepared), outcome
    image = Image.open(io.BytesIO(outcome.data))
    image.load()
    return image, outcome


def refused(data: bytes) -> tuple[int | str, str]:
    outcome = images.prepare(data, LIMITS_2024, Treatment())
    assert isinstance(outcome, Failure), outcome.repaired
    assert images.foresee(data, LIMITS_2024, Treatment()) == outcome.code
    return outcome.code, outcome.message


def alike(image: Image.Image, wanted: Image.Image, most: int = 6) -> bool:
    """Whether no pixel differs by more."""
    if image.size != wanted.size:
        return False
    difference = ImageChops.difference(image.convert("RGB"), wanted.convert("RGB"))
    return max(high for _, high in difference.getextrema()) <= most  # type: ignore[misc]


def preview(tags: dict[int, list[int]] | None = None, below: list[Page] | None = None) -> Page:
    return rgb_page(Image.new("RGB", (160, 120), "red"), tags or REDUCED, below)


def sensor(size: tuple[int, int] = FULL, photometric: int = 32803, tags: dict[int, list[int]] | None = None) -> Page:
    return Page(size, [bytes(2 * size[0] * size[1])], (16,), photometric, tags or {254: [0]})


def camera_jpeg(size: tuple[int, int] = FULL, compression: int = 6) -> Page:
    return Page(size, [jpeg(photo(size))], photometric=6, tags={254: [1], 259: [compression]})


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    "pages",
    [
        lambda full: [preview(), full],
        lambda full: [preview(OLD_REDUCED), full],
        lambda full: [preview(below=[full])],
        lambda full: [preview({254: [0]}, below=[full])],  # not marked, but a smaller version of a page below it
        lambda full: [preview({254: [0]}), full],
        lambda full: [preview(), preview(), rgb_page(photo((80, 60)), REDUCED), full],
        lambda full: [full, preview()],
        lambda full: [full, rgb_page(photo((800, 600)))],  # of a document, the first page
    ],
    ids=["later page", "old mark", "below", "below an unmarked one", "unmarked", "pyramid", "first", "document"],
)
def test_the_page_at_full_size_is_sent(pages: Callable[[Page], list[Page]], order: str, big: bool) -> None:
    """Whatever way a writer has to say that its first page is a preview."""
    wanted = photo((800, 600))
    image, _ = sent(tiff(*pages(rgb_page(wanted)), order=order, big=big))
    assert alike(image, wanted, 0)


def test_a_mask_is_no_image() -> None:
    """A page that says which pixels of another count is never the one that is sent."""
    mask = Page((800, 600), [b"\xff" * 100 * 600], (1,), 4, {254: [4]})
    image, _ = sent(tiff(preview(below=[mask, rgb_page(photo())])))
    assert alike(image, photo(), 0)


def test_pages_that_are_all_reduced_give_the_largest() -> None:
    """A writer that marks its only page as reduced has no other to offer."""
    image, _ = sent(tiff(preview(), rgb_page(photo(), REDUCED)))
    assert alike(image, photo(), 0)


def test_a_dng_with_colours_is_sent_as_its_first_page_turns_it() -> None:
    """The orientation of the first page holds for the full image below it."""
    stored = photo().transpose(Image.Transpose.ROTATE_90)
    image, prepared = sent(tiff(preview({254: [1], 274: [6], 50706: [1]}, [rgb_page(stored, {254: [0]})])))
    assert alike(image, photo(), 0)
    assert prepared.repaired == ("full-size page of tiff", "tiff to png")


@pytest.mark.parametrize("compression", [6, 7])
def test_of_a_raw_file_the_jpeg_at_full_size_is_sent(compression: int) -> None:
    """Cameras put one beside the sensor's data, whose border it may lack."""
    data = tiff(preview(below=[camera_jpeg(compression=compression), sensor((416, 308))]))
    image, _ = sent(data)
    assert alike(image, photo(), 12)


def test_the_jpeg_of_a_raw_file_is_turned() -> None:
    """The JPEG itself does not say how it is to be turned; the first page does."""
    turned = Page((300, 400), [jpeg(photo().transpose(Image.Transpose.ROTATE_90))], photometric=6, tags={259: [6]})
    image, prepared = sent(tiff(preview({254: [1], 274: [6]}, [turned, sensor((300, 400))])))
    assert alike(image, photo(), 12)
    assert "turned upright" in prepared.repaired


@pytest.mark.parametrize("photometric", [32803, 34892])
@pytest.mark.parametrize(
    "pages",
    [
        lambda raw: [preview(below=[raw])],
        lambda raw: [preview(), raw],
        lambda raw: [raw, preview()],
        lambda raw: [preview(below=[camera_jpeg((200, 150)), raw])],
    ],
    ids=["below", "later", "first", "smaller JPEG"],
)
def test_a_raw_file_is_named_and_its_preview_not_sent(pages: Callable[[Page], list[Page]], photometric: int) -> None:
    """Sensor data, which a converter must develop, by way of every layout that cameras use."""
    assert refused(tiff(*pages(sensor(photometric=photometric)))) == RAW


@pytest.mark.parametrize(("size", "whole"), [(FULL, True), ((200, 150), False)])
def test_a_cr2_is_sent_where_its_jpeg_is_whole(size: tuple[int, int], whole: bool) -> None:
    """Canon's first page is a JPEG; the sensor's size is in the lossless JPEG that holds its data, in no tag."""
    frame = struct.pack(">HHB", FULL[1], FULL[0] // 2, 2)  # two columns as the channels of one pixel
    lossless = b"\xff\xd8\xff\xc3\0\x0e\x0e" + frame + bytes(40)
    raw = Page(FULL, [lossless], tags={259: [6], 50752: [1, 2, 3], 256: [], 257: [], 258: [], 262: [], 277: []})
    data = tiff(Page(size, [jpeg(photo(size))], photometric=6, tags={259: [6]}), raw)
    if whole:
        assert alike(sent(data)[0], photo(), 12)
    else:
        assert refused(data) == RAW


@pytest.mark.parametrize(
    "start",
    [
        b"FUJIFILMCCD-RAW 0201FF",
        b"FOVb\0\0\2\0",
        b"\0MRM\0\1\0\0",
        b"IIRO\x08\0\0\0",
        b"IIRS\x08\0\0\0",
        b"MMOR\0\0\0\x08",
        b"IIU\0\x08\0\0\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"II\x1a\0\0\0HEAPCCDR\2\0",
        b"II*\0\x10\0\0\0CR\2\0" + bytes(4),
    ],
)
def test_raw_files_that_are_no_tiff_are_named(start: bytes) -> None:
    """By their first bytes, whatever their name is."""
    assert refused(start + bytes(3000)) == RAW


@pytest.mark.parametrize("target", ["itself", "the first"])
def test_pages_in_a_circle_end(target: str) -> None:
    """A chain or tree of pages that leads back is walked once."""
    data = bytearray(tiff(rgb_page(photo((60, 40)), REDUCED), rgb_page(photo((90, 60)))))
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, first + 2 + 12 * count)[0]
    count = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * count, second if target == "itself" else first)
    image, _ = sent(bytes(data))
    assert image.size == (90, 60)


def test_a_long_chain_of_pages_is_bounded() -> None:
    """A document of a thousand pages costs no more than its first ones."""
    page = rgb_page(photo((40, 30)))
    image, prepared = sent(tiff(*[page] * 1000))
    assert image.size == (40, 30)
    assert prepared.repaired[0] == "first frame of tiff"


def test_without_repair_a_jpeg_within_a_tiff_is_refused() -> None:
    """The service does not take the file as it is, even where a part of it is a JPEG."""
    data = tiff(preview(below=[camera_jpeg(), sensor()]))
    outcome = images.prepare(data, LIMITS_2024, Treatment(repair=False))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message.split(" is ")[0]) == ("unsupported", "TIFF")


def test_a_grey_page_at_full_size_is_sent() -> None:
    """The page is chosen before its samples are read: 12 bits below a preview of 8."""
    size = (64, 48)
    half = 64 * 24 * 3 // 2
    image, _ = sent(tiff(preview(below=[grey_page(size, b"\xff" * half + bytes(half), 12)])))
    assert (image.getpixel((5, 5)), image.getpixel((5, 40))) == (255, 0)
