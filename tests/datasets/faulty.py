"""Data set with one of every fault, made from the demo photographs."""

import io
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

PHOTOS = sorted((Path(__file__).parents[2] / "jobs" / "photos").rglob("*.jpg"))


def jpeg(image: Image.Image, **options) -> bytes:
    """The image as a JPEG."""
    return encoded(image, "JPEG", **{"quality": 92, **options})


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """The image in a format of Pillow."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def photo(number: int) -> Image.Image:
    """A demo photograph."""
    return Image.open(PHOTOS[number]).convert("RGB")


def turned(image: Image.Image) -> bytes:
    """The image lying on its side, with the EXIF orientation that turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


def garbled(data: bytes) -> bytes:
    """The file with other bytes in its middle, among them markers; the end is whole."""
    middle = len(data) // 2
    return data[:middle] + b"\xff\xc4\x00\x13" * 50 + data[middle + 200 :]


def fault_set(root: Path) -> dict[str, str]:
    """Make the data set; returns the kind of finding that is due for each file, class (`name/`) or other place."""
    plain = [path.read_bytes() for path in PHOTOS]
    files = {
        "hammer/whole.jpg": (plain[0], "copy_across"),
        "hammer/torn.jpg": (plain[1][: len(plain[1]) // 2], "torn"),
        "hammer/garbled.jpg": (garbled(plain[2]), "torn"),
        "hammer/torn_with_end.jpg": (plain[3][: len(plain[3]) // 2] + b"\xff\xd9", "torn"),
        "hammer/page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        "hammer/empty.jpg": (b"", "empty"),
        "hammer/notes.txt": (b"hammers of the shop\n" * 4, "not_an_image"),
        "hammer/.DS_Store": (b"\0\0\0\1Bud1", "system_file"),
        "hammer/modern.webp": (encoded(photo(4), "WEBP"), "unsupported"),
        "hammer/webp_named.jpg": (encoded(photo(5), "WEBP"), "unsupported"),
        "hammer/small.gif": (encoded(photo(6).convert("P"), "GIF"), "unsupported"),
        "hammer/cmyk.jpg": (jpeg(photo(7).convert("CMYK")), "colours"),
        "hammer/alpha.png": (encoded(_with_alpha(photo(8)), "PNG"), "colours"),
        "hammer/deep.png": (encoded(Image.new("I;16", (90, 60), 9000), "PNG"), "colours"),
        "hammer/lying.jpg": (turned(photo(9)), "lying"),
        "tape/heavy.png": (encoded(Image.effect_noise((1900, 1900), 90), "PNG"), "too_large"),
        "tape/wide.jpg": (jpeg(photo(10).resize((4200, 2800))), "too_large"),
        "tape/tiny.jpg": (jpeg(photo(11).resize((28, 28))), "too_small"),
        "tape/banner.jpg": (jpeg(photo(12).resize((900, 200))), "too_long"),
        "tape/jpeg_named.png": (plain[13], "misnamed"),
        "tape/UPPER.JPG": (plain[14], "copy_across"),
        "tape/odd.jpe": (plain[15], "suffix"),
        "tape/more/nested.jpg": (plain[16], "nested"),
        "tape/black.jpg": (jpeg(Image.new("RGB", (200, 150))), "flat"),
        "tape/same_bytes.jpg": (plain[14], "same_bytes"),
        "tape/upper_as.png": (encoded(photo(14), "PNG"), "copy"),
        "fish/half.jpg": (jpeg(photo(0).resize(_half(photo(0))), quality=60), "copy_across"),
        "fish/cropped.jpg": (jpeg(ImageOps.crop(photo(15), 6)), "copy_across"),
        "fish/brighter.jpg": (jpeg(ImageEnhance.Brightness(photo(16)).enhance(1.2)), "copy_across"),
        "fish/turned_copy.jpg": (turned(photo(14)), "copy_across"),
        "fish/exact.jpg": (plain[16], "copy_across"),
        "fish/mirrored.jpg": (jpeg(ImageOps.mirror(photo(9))), ""),
        "钳子/1.jpg": (plain[17], ""),
        "screw driver/1.jpg": (plain[18], ""),
        "a_name_of_thirty_four_bytes_as_this/1.jpg": (plain[19], ""),
        "loose.jpg": (plain[20], "loose"),
    }
    for key, (data, _kind) in files.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "nothing").mkdir()
    (root / "fish" / "gone.jpg").symlink_to("nowhere.jpg")
    due = {key: kind for key, (_data, kind) in files.items()}
    due |= {f"{label}/": "class_name" for label in ("钳子", "screw driver", "a_name_of_thirty_four_bytes_as_this")}
    return due | {"nothing/": "empty_class", "hammer/": "few_images", "fish/gone.jpg": "unreadable"}


def _half(image: Image.Image) -> tuple[int, int]:
    return image.width // 2, image.height // 2


def _with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image
