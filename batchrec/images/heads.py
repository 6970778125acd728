"""First bytes of files in a folder: whether they are an image's, and else their kind in counts."""

import codecs
import contextlib
import re

from .container import codec
from .judge import FORMATS
from .others import UNSUPPORTED, identify

_KINDS = (
    *("PDF", "SVG", "HTML", "XML", "JSON", "RTF", "Office", "base64", "data URI", "pointer", "shortcut"),
    *("archive", "gzip", "audio", "video", "program", "script", "database", "data file", "font", "zero bytes", "text"),
)
"""Kinds that are counted by themselves, by the word with which `identify` tells them; of several the first."""

_SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "GIF": ".gif",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "AVIF": ".avif",
    "HEIC": ".heic",
    "ICO": ".ico",
    "JPEG2000": ".jp2",
}
"""Usual suffixes by the names of the formats."""

_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def kind_of_other(head: bytes) -> str | None:
    """Kind of a file by its first bytes, such as "PDF"; None for an image.

    An image of a format that is not read is an image too: its failure names the format.
    """
    if not head:
        return "empty"
    if any(known.start.match(head) for known in FORMATS) or codec(head):
        return None
    word, message = identify(head)
    if word == UNSUPPORTED:
        return None
    kind = next((kind for kind in _KINDS if kind.lower() in message.lower()), "")
    return kind or ("text" if _is_gb18030(head) else "unknown")


def suffix_of(head: bytes) -> str:
    """Suffix of a file name for an image by its first bytes, such as ".jpg"; empty for an unknown kind."""
    kind = next((known.name for known in FORMATS if known.start.match(head)), None) or codec(head)
    return _SUFFIXES.get(kind or "", "")


def _is_gb18030(head: bytes) -> bool:
    """Whether it is Chinese text without control characters; the last letter may be cut."""
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("gb18030")().decode(head)
        return _CONTROL.search(head) is None
    return False
