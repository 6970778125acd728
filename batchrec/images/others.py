"""Files whose format is not read, by their first bytes: their kind, and the words for it."""

import codecs
import contextlib
import re
from dataclasses import dataclass

HEAD_BYTES = 1024
"""First bytes of a file that say what it is. Of a text they are plenty, and of all else the first 300 would do."""


@dataclass(frozen=True, slots=True)
class Other:
    """Kind of file that is not read.

    `kind` is its name in counts, `likeness` what it looks like, in a sentence. `image`: it is an image all the same.
    """

    start: re.Pattern[bytes]
    kind: str
    likeness: str
    image: bool = False


def _image(kind: str, start: bytes, likeness: str) -> Other:
    return Other(re.compile(start, re.DOTALL), kind, likeness, image=True)


def _binary(kind: str, start: bytes, likeness: str) -> Other:
    return Other(re.compile(start, re.DOTALL), kind, likeness)


def _written(kind: str, start: bytes, likeness: str) -> Other:
    """A kind of text: in any case, after a byte order mark and white space."""
    return Other(re.compile(rb"(?:\xef\xbb\xbf)?\s*" + start, re.IGNORECASE), kind, likeness)


_TEXT = Other(re.compile(rb"[^\0-\x08\x0e-\x1a\x1c-\x1f\x7f]+"), "text", "plain text")
_RAW = "a camera's raw file"

_OTHERS = (
    _image("HEIC", rb".{4}ftyp(?:hei|hev|mif|msf)", "a HEIC picture; convert it to JPEG"),
    _image("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    _image("JPEG XR", rb"II\xbc[\0\x01]", "a JPEG XR picture"),
    _image("camera raw", rb".{4}ftypcrx |II\x1a\0\0\0HEAPCCDR|\0MRM", _RAW),
    _image("camera raw", rb"FUJIFILMCCD-RAW|II(?:RO|RS|U\0)|MMOR|FOVb", _RAW),
    _image("Photoshop", rb"8BPS\0[\x01\x02]", "a Photoshop document"),
    _image("GIMP", rb"gimp xcf ", "a GIMP document"),
    _image("OpenEXR", rb"v/1\x01", "an OpenEXR picture"),
    _image("Radiance", rb"#\?(?:RADIANCE|RGBE)\n", "a Radiance picture"),
    _image("DDS", rb"DDS \x7c\0\0\0", "a DirectDraw surface"),
    _image("QOI", rb"qoif", "a QOI picture"),
    _image("BPG", rb"BPG\xfb", "a BPG picture"),
    _image("Netpbm", rb"P[1-6]\s(?:#[^\n]*\n|\s)*\d+\s(?:#[^\n]*\n|\s)*\d+\s|P7\nWIDTH ", "a Netpbm picture"),
    _image("PCX", rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]", "a PCX picture"),
    _image("DICOM", rb".{128}DICM", "a DICOM picture"),
    _image("FITS", rb"SIMPLE  = {20}T", "a FITS picture"),
    _image("icon", rb"icns\0", "an Apple icon"),
    _binary("audio", rb".{4}ftypM4[AB] |ID3[\x02-\x04]|RIFF.{4}WAVE|OggS|fLaC|\xff[\xf2\xf3\xfa\xfb]", "a sound"),
    _binary("video", rb".{4}ftyp|\0.{3}(?:moov|mdat|wide)|RIFF.{4}AVI |\x1aE\xdf\xa3", "a video"),
    _binary("video", rb"\0\0\x01[\xb3\xba]|FLV\x01|0&\xb2u\x8ef\xcf\x11", "a video"),
    _written("SVG", rb"(?:<\?xml[^>]*>\s*)?<svg", "an SVG drawing"),
    _written("XML", rb"<(?:\?xml|x:|rdf:|[a-z]+\s+xmlns)", "an XML document"),
    _written("HTML", rb"<", "an HTML page"),
    _written("JSON", rb"(?:\{\s*[\"}]|\[\s*(?:[\[{\"\]]|-?[\d.]+\s*[,\]]))", "JSON text"),
    _written("PDF", rb"%PDF", "a PDF document"),
    _written("PostScript", rb"%!PS", "a PostScript document"),
    _binary("Office", rb"\xd0\xcf\x11\xe0|PK\x03\x04.{26}\[Content_Types\]", "an Office document"),
    _binary("zip", rb"PK(?:\x03\x04|\x05\x06)", "a zip archive"),
    _binary("archive", rb"\x1f\x8b|BZh\d|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!\x1a|.{257}ustar", "an archive"),
    _binary("database", rb"SQLite format 3\0", "a database"),
    _binary("program", rb"MZ[\0P\x90]|\x7fELF|\xcf\xfa\xed\xfe", "a program"),
    _binary("text", rb"\xff\xfe|\xfe\xff", "text in UTF-16"),
)
"""In order: the first that matches."""


def other_of(data: bytes) -> Other | None:
    """Kind of a file whose format is not read, by its first bytes; None where it is not known."""
    head = data[:HEAD_BYTES]
    known = next((other for other in _OTHERS if other.start.match(head)), None)
    return known or (_TEXT if _is_text(head) else None)


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8 or GB18030 without control characters; the last letter may be cut."""
    if _TEXT.start.fullmatch(head) is None:
        return False
    for encoding in ("utf-8", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < HEAD_BYTES)
            return True
    return False
