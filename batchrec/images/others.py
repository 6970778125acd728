"""Kinds of files under an image's name that are no image that is read, each with what helps.

Known by their first bytes; a table row is a kind. Where several match, the first one counts.
"""

import codecs
import contextlib
import re
import zlib

UNSUPPORTED, NOT_AN_IMAGE = "unsupported", "not_an_image"

_HEAD_BYTES = 2048
"""Bytes that are looked at."""

_CONVERT = "; convert it to JPEG or PNG"
_UNPACK = "; unpack it"
_TARGA = "a TGA picture" + _CONVERT


def _row(start: bytes, likeness: str) -> tuple[re.Pattern[bytes], str]:
    return re.compile(start, re.DOTALL), likeness


# Images that are not read, by their first bytes.
_IMAGES = (
    _row(rb".{4}ftyp(?:hei|hev|mif|msf)", "a HEIC picture; convert it to JPEG"),
    _row(rb"8BPS", "a Photoshop document (PSD)" + _CONVERT),
    _row(rb"%!PS-Adobe[^\r\n]*EPSF|\xc5\xd0\xd3\xc6", "an EPS drawing" + _CONVERT),
    _row(rb"\xd7\xcd\xc6\x9a|\x01\0\t\0\0[\1\3]", "a Windows metafile (WMF)" + _CONVERT),
    _row(rb"\x01\0\0\0.{36} EMF", "a Windows metafile (EMF)" + _CONVERT),
    _row(rb"\x0a[\0\2-\5]\x01[\1\2\4\x08]", "a PCX picture" + _CONVERT),
    _row(rb"\xb1\x68\xde\x3a", "a DCX picture" + _CONVERT),
    _row(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d|P7\nWIDTH|P[Ff]\n\d", "a PNM picture (PBM, PGM, PPM, PAM, PFM)" + _CONVERT),
    _row(rb"/\* XPM", "an XPM picture" + _CONVERT),
    _row(rb"\s*#define \S+_width \d", "an XBM picture" + _CONVERT),
    _row(rb"DDS ", "a DDS texture" + _CONVERT),
    _row(rb"\xabKTX [12]", "a KTX texture" + _CONVERT),
    _row(rb"v/1\x01", "an OpenEXR picture" + _CONVERT),
    _row(rb"#\?(?:RADIANCE|RGBE)", "a Radiance HDR picture" + _CONVERT),
    _row(rb"SIMPLE  =", "a FITS picture" + _CONVERT),
    _row(rb".{128}DICM", "a DICOM picture" + _CONVERT),
    _row(rb".{344}n[+i]1\0", "a NIfTI volume" + _CONVERT),
    _row(rb"qoif", "a QOI picture" + _CONVERT),
    _row(rb"farbfeld", "a Farbfeld picture" + _CONVERT),
    _row(rb"\0\0\x02\0[^\0]", "a Windows cursor (CUR)" + _CONVERT),
    _row(rb"\0\0[\x02\x03\x0a\x0b]\0{5}.{8}[\x08\x10\x18\x20]", _TARGA),
    _row(rb"RIFF.{4}ACON", "an animated cursor (ANI)" + _CONVERT),
    _row(rb"icns", "a macOS icon (ICNS)" + _CONVERT),
    _row(rb"II\xbc\x01", "a JPEG XR picture" + _CONVERT),
    _row(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture; convert it to JPEG"),
    _row(rb"BPG\xfb", "a BPG picture" + _CONVERT),
    _row(rb"FLIF[1-f]", "a FLIF picture" + _CONVERT),
    _row(rb"\x01\xda[\0\x01][\x01\x02]", "an SGI picture" + _CONVERT),
    _row(rb"\x59\xa6\x6a\x95", "a Sun raster picture" + _CONVERT),
    _row(rb"gimp xcf", "a GIMP document (XCF)" + _CONVERT),
    _row(rb"AT&TFORM.{4}DJV", "a DjVu document" + _CONVERT),
    _row(rb"[\x8a\x8b](?:MNG|JNG)\r\n", "an MNG or JNG picture" + _CONVERT),
    _row(rb"SDPX|XPDS|\x80\x2a\x5f\xd7", "a DPX or Cineon picture" + _CONVERT),
    _row(rb"\x97JB2\r\n", "a JBIG2 picture" + _CONVERT),
    _row(rb"FORM.{4}(?:ILBM|PBM )", "an IFF picture (ILBM)" + _CONVERT),
    _row(rb"RIFF.{4}CDR", "a CorelDRAW document" + _CONVERT),
    _row(rb"Paint Shop Pro Image", "a Paint Shop Pro document" + _CONVERT),
)

# All else, by its first bytes.
_FILES = (
    _row(rb"\0\x05\x16[\x07\0]", "metadata that macOS keeps beside a file (._NAME); the image is the file without ._"),
    _row(rb"PK\x03\x04.{26}(?:\[Content_Types\]|_rels|word|xl|ppt)", "a Microsoft Office document; export its images"),
    _row(rb"PK\x03\x04.{26}mimetypeapplication/(?:vnd\.oasis|epub)", "an office document or book; export its images"),
    _row(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "a zip archive" + _UNPACK),
    _row(rb"Rar!\x1a\x07", "a RAR archive" + _UNPACK),
    _row(rb"7z\xbc\xaf\x27\x1c", "a 7z archive" + _UNPACK),
    _row(rb"BZh[1-9]1AY", "a bzip2 archive" + _UNPACK),
    _row(rb"\xfd7zXZ\0", "an xz archive" + _UNPACK),
    _row(rb"\x28\xb5\x2f\xfd", "a Zstandard archive" + _UNPACK),
    _row(rb"\x04\x22\x4d\x18", "an LZ4 archive" + _UNPACK),
    _row(rb"MSCF\0", "a cabinet archive" + _UNPACK),
    _row(rb".{257}ustar", "a tar archive" + _UNPACK),
    _row(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document or Thumbs.db; export its images"),
    _row(rb".{4}ftyp(?:M4A|M4B|F4A)", "an audio file"),
    _row(rb"[\0-\x1f].{3}(?:ftyp|moov|mdat|wide|pnot)", "a video"),
    _row(rb"\0.{3}(?:free|skip).{0,64}(?:ftyp|moov|mdat)", "a video"),
    _row(rb"RIFF.{4}AVI |RIFX.{4}AVI ", "a video"),
    _row(rb"\x1a\x45\xdf\xa3|FLV\x01|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\0\0\x01[\xba\xb3]|\.RMF", "a video"),
    _row(rb"\x47.{187}\x47.{187}\x47|.{4}\x47.{191}\x47.{191}\x47", "a video"),
    _row(rb"OggS", "an Ogg audio or video file"),
    _row(rb"ID3[\2-\4]|\xff[\xfb\xfa\xf3\xf2\xf1\xf9]|fLaC|RIFF.{4}WAVE|#!AMR|MThd|FORM.{4}AIF", "an audio file"),
    _row(rb"\x7fELF|MZ.{58}|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe|\0asm", "a program"),
    _row(rb"#!\s*/", "a script"),
    _row(rb"L\0\0\0\x01\x14\x02\0", "a Windows shortcut; copy the file that it points to"),
    _row(rb"SQLite format 3\0", "a SQLite database"),
    _row(rb"PAR1|\x93NUMPY|\x89HDF\r\n|\x80[\2-\5][}\]\x95(c]", "a data file (Parquet, NumPy, HDF5, pickle)"),
    _row(rb"\0\x01\0\0\0[\x04-\x40]|OTTO|wOF[F2]|ttcf", "a font"),
)  # fmt: skip

# Text, by its start in lower case and after white space.
_TEXTS = (
    _row(rb"version https://git-lfs\.github\.com/spec/", "a Git LFS pointer; run `git lfs pull`"),
    _row(rb"(?:\.\./)*(?:\.git)?/annex/objects/", "a git-annex pointer; run `git annex get`"),
    _row(rb"outs:\s*- +(?:md5|hash|etag)", "a DVC pointer; run `dvc pull`"),
    _row(rb"[\"']?data:image/", "a data URI; save the bytes that its base64 text stands for"),
    _row(rb"http/[123](?:\.\d)? \d{3}", "an HTTP reply with its header; save the body alone"),
    _row(rb"\[internetshortcut\]", "a shortcut to a web page"),
    _row(rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype svg[^>]*>\s*)?<(?:svg:)?svg\b", "an SVG drawing"),
    _row(rb"<\?xml.{0,400}<error>\s*<code>", "an error message of an object storage (XML)"),
    _row(rb"<error>\s*<code>", "an error message of an object storage (XML)"),
    _row(rb"<\?xpacket|<x:xmpmeta", "an XML document (XMP metadata beside an image)"),
    _row(rb"<\?xml", "an XML document"),
    _row(rb"<", "an HTML page"),
    _row(rb"\[[^\]\r\n]+\]\s*[\r\n]\s*(?:[;#][^\n]*\n\s*)*[^\s=,\[{\"]+[^\n=,\[{\"]*=", "plain text (settings, INI)"),
    _row(rb"[{\[]", "JSON text"),
    _row(rb"%pdf", "a PDF document; export its pages as images"),
    _row(rb"-----begin ", "an encrypted message or a key"),
    _row(rb"\{\\rtf", "an RTF document; export its images"),
)

_BASE64 = re.compile(rb"(?:/9j/|iVBORw0KGg|R0lGOD|UklGR|Qk[01]|SUkqA|TU0AK|AAAA.{2}Z0eX)[A-Za-z0-9+/=\r\n_-]{40,}")
"""Base64 text of a JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC, by the letters that their first bytes become."""

_TEXT = re.compile(rb"[^\0-\x08\x0e-\x1a\x1c-\x1f\x7f]+")
_TARGA_END = b"TRUEVISION-XFILE.\0"
_GZIP = re.compile(rb"\x1f\x8b\x08")


def identify(data: bytes) -> tuple[str, str]:
    """The word and the message of the failure of bytes that are no image that is read."""
    for word, likeness in _kinds(data):
        if likeness:
            return word, f"looks like {likeness}"
    return NOT_AN_IMAGE, "no picture format that is known"


def _kinds(data: bytes) -> tuple[tuple[str, str], ...]:
    head = data[:_HEAD_BYTES]
    return (
        (UNSUPPORTED, _first(_IMAGES, head)),
        (NOT_AN_IMAGE, _first(_FILES, head) or _packed(head) or _filled(data) or _written(head)),
        (UNSUPPORTED, _TARGA if data.endswith(_TARGA_END) else ""),
    )


def _first(table: tuple[tuple[re.Pattern[bytes], str], ...], head: bytes) -> str:
    return next((likeness for start, likeness in table if start.match(head)), "")


def _packed(head: bytes) -> str:
    """Likeness of what gzip has packed: a drawing, an image that a server sent so, or something else."""
    if not _GZIP.match(head):
        return ""
    inside = b""
    with contextlib.suppress(zlib.error):
        inside = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _HEAD_BYTES)
    if _written(inside) == "an SVG drawing":
        return "an SVG drawing packed with gzip (SVGZ)"
    return "a file packed with gzip; unpack it with `gunzip`"


def _filled(data: bytes) -> str:
    """Likeness of a file that is nothing but one byte, over and over."""
    if len(data) < len(_TARGA_END) or data.strip(data[:1]):
        return ""
    if data[0]:
        return f"{len(data):,} times the same byte"
    return f"{len(data):,} zero bytes: a download that did not finish, or a damaged disk; fetch it again"


def _written(head: bytes) -> str:
    """Likeness of text; empty where it is none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "plain text (UTF-16)"
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if _BASE64.match(text):
        return "base64 text of an image; decode it, with `base64 -d`"
    return _first(_TEXTS, text.lower()) or ("plain text" if _is_text(text) else "")


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8 without control characters; the last letter may be cut."""
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return _TEXT.fullmatch(head) is not None
    return False
