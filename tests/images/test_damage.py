"""Torn and sound pictures told apart, whatever hangs on behind them."""

import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from batchrec import images
from batchrec.values import Failure, ImageLimits, Prepared, Treatment

from .made import (
    ARITHMETIC,
    chunk,
    lossless,
    movie,
    noise,
    opened,
    photo,
    saved,
    segment,
    stereo,
    with_chunk,
)

LIMITS = ImageLimits()
USUAL, DECODE = Treatment(), Treatment(check="decode")
TAIL, RESTORED, REMOVED = "bytes after the image removed", "end restored", "damaged or oversized metadata removed"

JPEGS = {
    "usual": saved(photo(), "JPEG"),
    "grey": saved(photo().convert("L"), "JPEG"),
    "fine": saved(photo((61, 47)), "JPEG", quality=98, subsampling=0),
    "progressive": saved(photo((61, 47)), "JPEG", progressive=True),
    "restarts": saved(photo((70, 50)), "JPEG", restart_marker_blocks=3),
    "cmyk": saved(photo().convert("CMYK"), "JPEG"),
}
PNGS = {
    "colour": saved(photo(), "PNG"),
    "palette": saved(photo().quantize(16), "PNG"),
    "one bit": saved(photo().convert("1"), "PNG"),
}


def sent(data: bytes, treatment: Treatment = USUAL, limits: ImageLimits = LIMITS) -> Prepared:
    outcome = images.prepare(data, limits, treatment)
    assert isinstance(outcome, Prepared), outcome
    return outcome


def refused(data: bytes, treatment: Treatment = USUAL) -> tuple[int | str, str]:
    outcome = images.prepare(data, LIMITS, treatment)
    assert isinstance(outcome, Failure), outcome.repaired
    return outcome.code, outcome.message


# -- a missing end


@pytest.mark.parametrize("name", [*JPEGS])
@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 512, b"\xff" * 9], ids=["nothing", "half", "zeros", "FF"])
def test_a_jpeg_that_lacks_only_its_end_is_sent_with_it(name: str, tail: bytes) -> None:
    """Cameras, webcams and proxies leave out the end marker, or fill its place; all pixels are there."""
    data = JPEGS[name]
    for treatment in (Treatment(), Treatment(repair=False), DECODE):
        prepared = sent(data[:-2] + tail, treatment)
        assert prepared.repaired[0] == RESTORED
        assert opened(prepared.data).tobytes() == opened(sent(data, treatment).data).tobytes()
    assert images.as_it_is(data[:-2] + tail, LIMITS, Treatment()) is None
    assert images.foresee(data[:-2] + tail, LIMITS, Treatment()) == images.REPAIR


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(20, 70), st.integers(24, 60)),
    quality=st.integers(20, 100),
    progressive=st.booleans(),
    restarts=st.sampled_from([0, 3]),
    cut=st.integers(1, 60),
)
def test_a_cut_picture_is_sent_whole_or_is_torn(
    size: tuple[int, int], quality: int, progressive: bool, restarts: int, cut: int
) -> None:
    """However many bytes are missing at its end: no pixel of what is sent is another one, and none is grey."""
    data = saved(photo(size), "JPEG", quality=quality, progressive=progressive, restart_marker_blocks=restarts)
    outcome = images.prepare(data[:-cut], LIMITS, Treatment())
    if isinstance(outcome, Failure):
        assert outcome.code == "torn"
    else:
        assert ImageChops.difference(opened(outcome.data), opened(data)).getbbox() is None
        assert outcome.data.endswith(b"\xff\xd9")


@pytest.mark.parametrize("name", [*PNGS])
@pytest.mark.parametrize("cut", [1, 7, 11, 12, 14, 16, 17, 20])
def test_a_png_that_lacks_only_its_end_is_sent_with_it(name: str, cut: int) -> None:
    """Cut within its last chunk, its checksum or that of the packed pixels, a PNG has all its pixels."""
    data = PNGS[name]
    prepared = sent(data[:-cut])
    assert prepared == Prepared(data, (RESTORED,))
    assert refused(data[: len(data) // 2])[0] == "torn"


def test_other_formats_without_their_end() -> None:
    """A GIF without its last byte, a BMP without what fills up its last row, a WebP with a wrong length: all sound."""
    gif = saved(photo().quantize(16), "GIF")
    assert sent(gif[:-1]) == sent(gif) == sent(gif + b"behind")
    bmp = saved(photo((61, 48)), "BMP")
    assert sent(bmp[:-1]) == Prepared(bmp, (RESTORED,))
    assert refused(bmp[:-2])[0] == "torn"
    webp = saved(photo(), "WEBP")
    for length in (0, len(webp) + 700, len(webp) - 20):
        wrong = webp[:4] + struct.pack("<I", length) + webp[8:]
        assert sent(wrong) == sent(wrong + b"behind") == sent(webp)
    assert refused(webp[: len(webp) // 2])[0] == "torn"


# -- bytes behind the image


@settings(max_examples=200, deadline=None)
@given(data=st.sampled_from([*JPEGS.values(), *PNGS.values()]), tail=st.binary(min_size=1, max_size=300))
def test_whatever_is_behind_an_image_is_not_sent(data: bytes, tail: bytes) -> None:
    """The same bytes are sent with it and without."""
    if tail.endswith(b"\xff\xd9"):
        tail += b"\0"
    whole, followed = sent(data), sent(data + tail)
    assert followed.data == whole.data
    assert followed.repaired[0] == TAIL


@pytest.mark.parametrize("kind", ["motion photo", "stereo", "depth", "two in a row"])
def test_a_jpeg_that_fits_alone_is_not_encoded_again(kind: str) -> None:
    """With the film or the second picture behind it, it would be too large."""
    first = saved(noise((1000, 800)), "JPEG", quality=85)
    second = saved(noise((900, 800)), "JPEG", quality=80)
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<rdf:RDF><Container:Directory/></rdf:RDF>")
    data = {
        "motion photo": lambda: first + movie(400_000),
        "stereo": lambda: stereo(first, second),
        "depth": lambda: first[:20] + xmp + first[20:] + second,
        "two in a row": lambda: first + second,
    }[kind]()
    alone = data[: -len(data) + data.index(first[-200:]) + 200]
    limits = ImageLimits(base64_bytes=(len(first) + 1000) * 4 // 3)
    for repair in (True, False):
        assert sent(data, Treatment(repair=repair), limits) == Prepared(alone, (TAIL,))
    assert images.foresee(data, limits, Treatment()) == images.REPAIR


def test_a_listed_second_image_is_cut_off_from_a_small_file_too() -> None:
    """A file that fits with both is sent with one."""
    data = stereo(JPEGS["usual"], JPEGS["grey"])
    prepared = images.as_it_is(data, LIMITS, Treatment())
    assert prepared == sent(data) == Prepared(data[: -len(JPEGS["grey"])], (TAIL,))


def test_an_end_marker_in_a_thumbnail_is_not_the_end() -> None:
    """EXIF holds a whole JPEG of its own."""
    data = JPEGS["usual"]
    thumbnail = segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + JPEGS["grey"])
    odd = data[:20] + thumbnail + data[20:]
    assert sent(odd) == Prepared(odd)
    assert sent(odd + b"behind") == Prepared(odd, (TAIL,))


# -- metadata of a PNG

SWOLLEN = zlib.compress(b"history " * 300_000)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Raw profile type xmp\0\0" + SWOLLEN),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + SWOLLEN),
        chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"tEXt", b"note\0" + b"x" * 2_000_000),
        chunk(b"zTXt", b"note\0\0no zlib"),
        chunk(b"tEXt", b"note\0x", checksum=5),
        chunk(b"gAMA", struct.pack(">I", 45455), checksum=5),
        chunk(b"tEXt", b"note\0x", length=77),
        chunk(b"tEXt", b"note\0x", length=2),
        chunk(b"tEXt", b"note\0x", length=1 << 31),
        chunk(b"pHYs", b"\0"),
        chunk(b"cHRM", b"\0" * 9),
        chunk(b"tRNS", b"\0"),
    ],
    ids=lambda extra: None,
)
def test_metadata_is_no_reason_to_refuse_a_png(extra: bytes, late: bool) -> None:
    """Chunks that are damaged, or swell to megabytes, are dropped; the pixels are as before."""
    data = PNGS["colour"]
    assert sent(with_chunk(data, extra, late=late)) == Prepared(data, (REMOVED,))
    assert images.as_it_is(with_chunk(data, extra, late=late), LIMITS, Treatment()) == Prepared(data, (REMOVED,))


def test_usual_metadata_stays() -> None:
    """Texts, profiles and unknown chunks of a usual size are sent along."""
    data = PNGS["colour"]
    for extra in (chunk(b"zTXt", b"n\0\0" + zlib.compress(b"x" * 9_000)), chunk(b"caBX", b"x" * 9_000)):
        assert sent(with_chunk(data, extra)) == Prepared(with_chunk(data, extra))


def test_a_damaged_needed_chunk_is_no_metadata() -> None:
    """A palette with a wrong checksum, or pixels with a wrong length, are damage; unless all pixels are found."""
    data = PNGS["palette"]
    at = data.index(b"PLTE") + 5
    assert refused(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])[0] == "torn"
    at = data.index(b"IDAT") - 4
    for length in (0, 50, 200):
        assert refused(data[:at] + struct.pack(">I", length) + data[at + 4 :])[0] == "torn"
    assert sent(data[:at] + struct.pack(">I", 1 << 30) + data[at + 4 :]) == Prepared(data, (RESTORED,))


# -- kinds of JPEG


@pytest.mark.parametrize(
    ("marker", "bits", "name"),
    [
        (0xC1, 12, "a JPEG of 12 bits a channel"),
        (0xC3, 16, "a JPEG of 16 bits a channel"),
        (0xF7, 8, "a JPEG-LS"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xCB, 8, "a lossless arithmetic-coded JPEG"),
    ],
)
def test_a_kind_of_jpeg_that_is_not_read_is_unsupported(marker: int, bits: int, name: str) -> None:
    """It is named, so that nobody downloads it again."""
    data = JPEGS["usual"]
    at = data.index(b"\xff\xc0")
    odd = data[: at + 1] + bytes((marker, *data[at + 2 : at + 4], bits)) + data[at + 5 :]
    for treatment in (Treatment(), Treatment(repair=False)):
        assert refused(odd, treatment) == (
            "unsupported",
            f"{name}, which cannot be read; convert it to a usual JPEG",
        )
    assert images.as_it_is(odd, LIMITS, Treatment()) is None


def test_a_jpeg_in_a_rare_coding_is_encoded_again() -> None:
    """Arithmetic-coded and lossless JPEGs are read here and by few services."""
    grey = photo((40, 30)).convert("L")
    prepared = sent(lossless(grey))
    assert prepared.repaired == ("lossless jpeg", "jpeg to png")
    assert opened(prepared.data).tobytes() == grey.tobytes()
    prepared = sent(ARITHMETIC)
    assert prepared.repaired == ("arithmetic-coded jpeg", "jpeg quality 95")
    assert opened(prepared.data).size == (48, 40)
    for data in (ARITHMETIC, lossless(grey)):
        assert images.as_it_is(data, LIMITS, Treatment()) is None
        assert sent(data, DECODE) == sent(data)
        assert refused(data[: len(data) * 9 // 10])[0] == "torn"


# -- large scans


@pytest.mark.parametrize("kind", ["one bit", "grey", "palette"])
def test_a_large_scan_counts_by_its_memory(kind: str) -> None:
    """108 megapixels at one byte each are shrunk and sent."""
    drawing = photo((90, 120))
    small = {"one bit": drawing.convert("1"), "grey": drawing.convert("L"), "palette": drawing.quantize(8)}[kind]
    image = small.resize((9000, 12000))
    data = saved(image, "TIFF", compression="group4") if kind == "one bit" else saved(image, "PNG", compress_level=1)
    prepared = sent(data)
    assert prepared.repaired[0] == "shrunk 9000x12000 to 3072x4096"
    result = opened(prepared.data)
    assert (prepared.scale_x, prepared.scale_y) == (9000 / 3072, 12000 / 4096)
    expected = image.convert("RGB" if kind == "palette" else "L").resize((90, 120), Image.Resampling.BOX)
    shown = result.convert(expected.mode).resize((90, 120), Image.Resampling.BOX)
    assert max(high for _, high in extrema(ImageChops.difference(expected, shown))) < 40


def extrema(image: Image.Image) -> list[tuple[float, float]]:
    """The least and greatest value of each channel."""
    return [channel.getextrema() for channel in image.split()]  # type: ignore[misc]


# -- input.check = "decode"


def damaged(data: bytes, rng: random.Random, size: int) -> bytes:
    """A JPEG with noise in the middle of its coded pixels."""
    start = data.index(b"\xff\xda") + 14
    at = rng.randrange(start, len(data) - size - 100)
    return data[:at] + rng.randbytes(size) + data[at + size :]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"quality": 95}])
def test_decoding_finds_a_cut_jpeg_whose_end_was_put_back(options: dict[str, int]) -> None:
    """Decoders fill the rest with grey and say nothing; by its header it is sound."""
    data = saved(photo((120, 90)), "JPEG", **options)
    for cut in (3, 40, len(data) // 4, len(data) // 3):
        ended = data[:-cut].rstrip(b"\xff") + b"\xff\xd9"
        assert sent(ended).data == ended
        assert refused(ended, DECODE)[0] == "torn"
    assert sent(data, DECODE) == Prepared(data)
    assert images.as_it_is(data, LIMITS, DECODE) is None


def test_decoding_finds_damage_inside_a_jpeg() -> None:
    """Noise in the place of 400 bytes shifts what comes after it, so that pixels are missing or left over."""
    rng = random.Random(4)
    data = saved(photo((400, 300)), "JPEG", quality=85)
    found = sum(isinstance(images.prepare(damaged(data, rng, 400), LIMITS, DECODE), Failure) for _ in range(40))
    assert found >= 36


def test_decoding_does_not_take_grey_for_damage() -> None:
    """A sound picture may end in the very grey that decoders fill missing pixels with."""
    image = photo((96, 96))
    image.paste((128, 128, 128), (0, 40, 96, 96))
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2}):
        data = saved(image, "JPEG", **options)
        assert sent(data, DECODE) == Prepared(data)
    flat = saved(Image.new("RGB", (64, 64), (128, 128, 128)), "JPEG")
    assert sent(flat, DECODE) == Prepared(flat)


def test_decoding_finds_damage_inside_a_png() -> None:
    """A checksum tells of every byte."""
    for name, data in PNGS.items():
        at = data.index(b"IDAT") + 30
        odd = data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :]
        assert refused(odd, DECODE)[0] == "torn", name
        assert sent(data, DECODE) == Prepared(data)


def test_decoding_is_done_of_what_is_shrunk_too() -> None:
    """What must be encoded again is looked at first, or its missing pixels would be sent as grey."""
    small = ImageLimits(max_side=60)
    data = saved(photo((120, 90)), "JPEG")
    ended = data[: len(data) * 2 // 3] + b"\xff\xd9"
    assert sent(ended, limits=small).repaired
    outcome = images.prepare(ended, small, DECODE)
    assert isinstance(outcome, Failure)
    assert outcome.code == "torn"
