"""Reader of HEIC images, by pi-heif of the extra `heif`: libheif and libde265, which decode and do not encode.

Its class of Pillow images is used by itself. Nothing is registered with Pillow, where every `Image.open` of the
caller's program would find it.
"""

import functools
import importlib
import io

from PIL.ImageFile import ImageFile

MISSING = 'a HEIC image, which the extra "heif" reads: pip install "pi-heif>=1.4", then run with --retry-failed'
"""Message where the extra is not installed."""


@functools.cache
def available() -> bool:
    """Whether the extra is installed, with a library that loads."""
    try:
        importlib.import_module("_pi_heif")
        importlib.import_module("pi_heif.as_plugin")
    except ImportError:
        return False
    return True


def heif_image(file: io.BytesIO) -> ImageFile:
    """The primary image of a file; its pixels come upright, and with 8 bits a channel where there are colours."""
    from pi_heif.as_plugin import HeifImageFile

    image: ImageFile = HeifImageFile(file)
    return image
