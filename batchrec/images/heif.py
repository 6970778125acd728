"""Reader of HEIC images, by pi-heif of the extra `heif`: libheif and libde265, without an encoder.

Its class of Pillow images is used by itself. Nothing is registered with Pillow, where every `Image.open` of the
caller's program would find it.
"""

import functools
import importlib
import io
import threading

from PIL.ImageFile import ImageFile

from ..console.extras import pip_install

_opening = threading.Lock()
"""Held while the number of the decoder's threads is another one than the caller's program has set.

It decodes in the thread that asks, since images are decoded side by side. Each thread of its own would also take 72 MB
of the address space of a process that has little.
"""


@functools.cache
def missing() -> str:
    """Message where the extra is not installed."""
    return f'a HEIC image, which the extra "heif" reads: {pip_install("heif")}, then run with --retry-failed'


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
    """The primary image of a file; its pixels come upright, colours with 8 bits a channel."""
    from pi_heif import options
    from pi_heif.as_plugin import HeifImageFile

    with _opening:
        before, options.DECODE_THREADS = options.DECODE_THREADS, 0
        try:
            image: ImageFile = HeifImageFile(file)
        finally:
            options.DECODE_THREADS = before
    return image
