"""HEIC with and without its decoder, AVIF by any brand, JPEG XL by its name."""

import io
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from batchrec import images
from batchrec.api.services import LIMITS_2024
from batchrec.images import container
from batchrec.values import Failure, Kind, Prepared, Treatment

from .containers import COLOURS, TEN_BITS, TILE, box, heic, imir, irot, quarters

EXIF_6 = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"mif2")


def sent(data: bytes, *, upright: bool = True) -> Image.Image:
    """What the service decodes."""
    prepared = images.prepare(data, LIMITS_2024, Treatment(upright=upright))
    assert isinstance(prepared, Prepared), prepared
    assert images.foresee(data, LIMITS_2024, Treatment()) == images.REPAIR
    assert prepared.repaired[-2:] == ("heic to jpeg", "jpeg quality 90")
    return Image.open(io.BytesIO(prepared.data))


def refused(data: bytes) -> Failure:
    """Why it is not sent; as the plan says."""
    failure = images.prepare(data, LIMITS_2024, Treatment())
    assert isinstance(failure, Failure)
    assert (images.foresee(data, LIMITS_2024, Treatment()), failure.kind) == (failure.code, Kind.IMAGE)
    return failure


def colours(image: Image.Image) -> list[tuple[int, int, int]]:
    """The colours at the corners that come nearest: top left, top right, bottom left, bottom right."""

    def nearest(x: int, y: int) -> tuple[int, int, int]:
        seen = image.convert("RGB").getpixel((x, y))
        assert isinstance(seen, tuple)
        return min(COLOURS.values(), key=lambda each: sum((a - b) ** 2 for a, b in zip(each, seen, strict=True)))

    width, height = image.size
    return [nearest(x, y) for y in (8, height - 8) for x in (8, width - 8)]


STORED = colours(quarters())


@pytest.mark.parametrize("brand", BRANDS)
def test_a_heic_is_sent_as_jpeg(brand: bytes) -> None:
    """By whatever brand; the codec is inside."""
    assert colours(sent(heic(brands=(brand, b"mif1")))) == STORED


@pytest.mark.parametrize(("quarter", "mirror", "grid"), [*product(range(4), (None, 0, 1), (False, True))])
def test_rotation_and_mirror_apply_once(quarter: int, mirror: int | None, grid: bool) -> None:
    """EXIF says the same again and does not count. Without `upright` the pixels lie as they are stored."""
    transforms = [irot(quarter)] * (quarter > 0) + [imir(mirror or 0)] * (mirror is not None)
    size = (128, 128) if grid else (64, 64)
    data = heic(*transforms, grid=grid, size=size, exif=EXIF_6)
    turned = quarters().transpose(Image.Transpose.ROTATE_90) if quarter == 1 else quarters()
    turned = turned.transpose(Image.Transpose.ROTATE_180) if quarter == 2 else turned
    turned = turned.transpose(Image.Transpose.ROTATE_270) if quarter == 3 else turned
    if mirror is not None:
        turned = turned.transpose((Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT)[mirror])
    assert colours(sent(data)) == colours(turned)
    lying = sent(data, upright=False)
    assert colours(lying) == STORED
    assert lying.getexif().get(0x0112, 1) == container.orientation(data)
    changed = images.variant(data, LIMITS_2024, Treatment(upright=False))
    assert changed == ("turned-back" if colours(turned) != STORED else "")
    assert images.variant(data, LIMITS_2024, Treatment()) == ""


def test_exif_alone_turns_nothing() -> None:
    """In these containers only their own rotation counts."""
    assert colours(sent(heic(exif=EXIF_6))) == STORED


def test_a_grid_is_put_together_and_turned() -> None:
    """Phones write one; its sides are exchanged by the turn."""
    image = sent(heic(irot(3), grid=True, size=(128, 100), exif=EXIF_6))
    assert image.size == (100, 128)
    assert not image.getexif()


@pytest.mark.parametrize("wide", [False, True])
def test_the_primary_image_is_sent(wide: bool) -> None:
    """Also where it is not the first, and where items have numbers of 4 bytes."""
    assert colours(sent(heic(irot(2), primary_last=True, wide=wide))) == STORED[::-1]


def test_ten_bits_become_eight() -> None:
    """Scaled, not clipped."""
    image = sent(TEN_BITS)
    assert (image.mode, colours(image)) == ("RGB", STORED)


def test_a_cut_file_is_torn() -> None:
    """Wherever it is cut behind its header."""
    whole = heic(grid=True, size=(128, 128))
    assert {refused(whole[:end]).code for end in range(len(whole) - 90, len(whole) - 1, 30)} == {"torn"}


def test_a_film_without_a_still_image_is_named() -> None:
    """There is no primary image to be sent."""
    data = box(b"ftyp", b"hevc", bytes(4), b"msf1hevc") + box(b"moov", box(b"mvhd", bytes(100)))
    assert refused(data).code == "unsupported"
    assert "HEIC sequence" in refused(data).message


def test_another_codec_in_the_container_is_no_heic() -> None:
    """A HEIF may hold codecs that nobody here decodes."""
    failure = refused(heic(codec=b"vvc1", brands=(b"mif1", b"mif1")))
    assert failure.code == "unsupported"


def test_a_decoder_that_takes_more_memory_than_the_header_says_is_ended() -> None:
    """The header says 64 x 64 pixels; whatever the coded tile says is decoded in a limited process."""
    outcome = images.prepare(heic(tile=TILE[:4] + os.urandom(len(TILE) - 4)), LIMITS_2024, Treatment())
    assert isinstance(outcome, Prepared | Failure)


def avif(image: Image.Image) -> bytes:
    """As Pillow writes it."""
    file = io.BytesIO()
    image.save(file, "AVIF", quality=90)
    return file.getvalue()


@pytest.mark.parametrize("brands", [b"mif1\0\0\0\0avif", b"mif1\0\0\0\0miaf", b"heic\0\0\0\0heic"])
def test_an_avif_is_one_by_any_brand(brands: bytes) -> None:
    """The codec of the primary image decides."""
    data = avif(quarters())
    end = int.from_bytes(data[:4])
    data = data[:8] + (brands + 64 * b"miaf")[: end - 8] + data[end:]
    prepared = images.prepare(data, LIMITS_2024, Treatment())
    assert isinstance(prepared, Prepared), prepared
    assert prepared.repaired[0] == "avif to jpeg"
    assert colours(Image.open(io.BytesIO(prepared.data))) == STORED


@pytest.mark.parametrize("data", [b"\xff\x0a\xfa\x1f\x01", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl "])
def test_jpeg_xl_is_named(data: bytes) -> None:
    """As a codestream and as a container, whatever the file's name is."""
    failure = refused(data)
    assert (failure.code, "JPEG XL" in failure.message) == ("unsupported", True)


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    """In a process that cannot import the decoder; AVIF is read all the same."""
    (tmp_path / "one.heic").write_bytes(heic())
    (tmp_path / "two.heic").write_bytes(avif(quarters()))
    script = (
        "import sys; sys.modules['_pi_heif'] = None\n"
        "from pathlib import Path\n"
        "from batchrec import images\n"
        "from batchrec.api.services import LIMITS_2024\n"
        "from batchrec.values import Treatment\n"
        "for name in ('one', 'two'):\n"
        "    data = Path(name + '.heic').read_bytes()\n"
        "    outcome = images.prepare(data, LIMITS_2024, Treatment())\n"
        "    print(getattr(outcome, 'code', ''), getattr(outcome, 'message', outcome[1] if name == 'two' else ''))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said[0].startswith("unsupported a HEIC image")
    assert 'the extra "heif"' in said[0]
    assert "pip install 'pi-heif>=1.4'" in said[0]
    assert "avif to jpeg" in said[1]


def test_nothing_is_registered_with_pillow() -> None:
    """The caller's own `Image.open` is not changed by preparing a HEIC."""
    assert isinstance(images.prepare(heic(), LIMITS_2024, Treatment()), Prepared)
    assert "HEIF" not in Image.OPEN
