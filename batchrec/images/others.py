"""Kinds of files, other than images that are read, that are found under an image's name."""

import codecs
import contextlib
import re

# Start (in lower case, after white space), the word, what it looks like.
_OTHERS = (
    (re.compile(rb".{4}ftyp(?:hei|hev|mif|msf)", re.DOTALL), "unsupported", "a HEIC picture; convert it to JPEG"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "not_an_image", "a video"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cjxl \r\n\x87\n"), "unsupported", "a JPEG XL picture; convert it to JPEG"),
    (re.compile(rb"(?:<\?xml[^>]*>\s*)?<svg"), "not_an_image", "an SVG drawing"),
    (re.compile(rb"<\?xml"), "not_an_image", "an XML document"),
    (re.compile(rb"<"), "not_an_image", "an HTML page"),
    (re.compile(rb"[{\[]"), "not_an_image", "JSON text"),
    (re.compile(rb"%pdf"), "not_an_image", "a PDF document"),
)
_TEXT = re.compile(rb"[^\0-\x08\x0e-\x1a\x1c-\x1f\x7f]+")


def identify(data: bytes) -> tuple[str, str]:
    """The word and the message of the failure of bytes that are no image that is read."""
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, word, likeness in _OTHERS:
        if start.match(head):
            return word, f"looks like {likeness}"
    return "not_an_image", "looks like plain text" if _is_text(head) else "no picture format that is known"


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8 without control characters; the last letter may be cut."""
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return _TEXT.fullmatch(head) is not None
    return False
