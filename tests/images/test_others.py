"""Files under an image's name that are none, or none that is read: each is named, with what helps."""

import base64
import bz2
import gzip
import io
import lzma
import struct
import tarfile
import wave
import zipfile
from pathlib import Path

import pytest

from batchrec import images
from batchrec.values import Failure, ImageLimits, Treatment

from .made import movie, photo, saved

LIMITS = ImageLimits()
JPEG = saved(photo(), "JPEG")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"4d7a" * 16)


def zipped(*names: str) -> bytes:
    """A zip archive with these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "something")
    return file.getvalue()


def tarred() -> bytes:
    """A tar archive with a photograph."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        about = tarfile.TarInfo("a.jpg")
        about.size = len(JPEG)
        archive.addfile(about, io.BytesIO(JPEG))
    return file.getvalue()


def sound() -> bytes:
    """A WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, 8000, 0, "NONE", ""))
        written.writeframes(bytes(900))
    return file.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "git lfs": (LFS, "a Git LFS pointer; run `git lfs pull`"),
    "git-annex": (b"/annex/objects/SHA256E-s12345--4d7a.jpg\n", "a git-annex pointer; run `git annex get`"),
    "dvc": (b"outs:\n- md5: 4d7a\n  path: a.jpg\n", "a DVC pointer; run `dvc pull`"),
    "html": (b"<html><head><title>404", "an HTML page"),
    "data uri": (
        b"data:image/jpeg;base64," + base64.b64encode(JPEG),
        "a data URI; save the bytes that its base64 text stands for",
    ),
    "base64 jpeg": (base64.b64encode(JPEG), "base64 text of an image; decode it, with `base64 -d`"),
    "base64 lines": (base64.encodebytes(saved(photo(), "PNG")), "base64 text of an image; decode it, with `base64 -d`"),
    "base64 webp": (base64.b64encode(saved(photo(), "WEBP")), "base64 text of an image; decode it, with `base64 -d`"),
    "zip": (zipped("a.jpg", "b.jpg"), "a zip archive; unpack it"),
    "word": (zipped("[Content_Types].xml", "word/document.xml"), "a Microsoft Office document; export its images"),
    "excel 97": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
        "a Microsoft Office document or Thumbs.db; export its images",
    ),
    "gzip": (gzip.compress(JPEG), "a file packed with gzip; unpack it with `gunzip`"),
    "svgz": (gzip.compress(SVG), "an SVG drawing packed with gzip (SVGZ)"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(99), "a RAR archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(99), "a 7z archive; unpack it"),
    "bzip2": (bz2.compress(JPEG), "a bzip2 archive; unpack it"),
    "xz": (lzma.compress(JPEG), "an xz archive; unpack it"),
    "tar": (tarred(), "a tar archive; unpack it"),
    "mp4": (movie(500), "a video"),
    "mov": (struct.pack(">I4s", 8, b"wide") + struct.pack(">I4s", 508, b"mdat") + bytes(500), "a video"),
    "3gp": (b"\0\0\0\x18ftyp3gp4" + bytes(99), "a video"),
    "avi": (b"RIFF\0\1\0\0AVI LIST" + bytes(99), "a video"),
    "mkv": (b"\x1a\x45\xdf\xa3" + bytes(99), "a video"),
    "flv": (b"FLV\x01\x05" + bytes(99), "a video"),
    "wmv": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(99), "a video"),
    "mpeg": (b"\0\0\x01\xba" + bytes(99), "a video"),
    "transport stream": ((b"\x47\x40\0\x10" + bytes(184)) * 4, "a video"),
    "wav": (sound(), "an audio file"),
    "mp3": (b"ID3\x04\0" + bytes(99), "an audio file"),
    "m4a": (b"\0\0\0\x18ftypM4A " + bytes(99), "an audio file"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document; export its pages as images"),
    "xml": (b'<?xml version="1.0"?><rss/>', "an XML document"),
    "storage": (b'<?xml version="1.0"?>\n<Error>\n <Code>AccessDenied', "an error message of an object storage (XML)"),
    "svg": (b'<?xml version="1.0"?><!-- drawn --><!DOCTYPE svg PUBLIC "x">' + SVG, "an SVG drawing"),
    "json": (b' {"code": 403}', "JSON text"),
    "http": (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n" + JPEG, "an HTTP reply with its header; save the body alone"),
    "shortcut": (b"[InternetShortcut]\r\nURL=https://example.com/a.jpg\r\n", "a shortcut to a web page"),
    "utf-16": ("访问被拒绝".encode("utf-16"), "plain text (UTF-16)"),
    "text": ("Citywide 访问被拒绝".encode() * 9, "plain text"),
    "elf": (b"\x7fELF\2\1\1" + bytes(99), "a program"),
    "exe": (b"MZ\x90\0" + bytes(99), "a program"),
    "script": (b"#!/bin/sh\n", "a script"),
    "zeros": (bytes(5000), "5,000 zero bytes: a download that did not finish, or a damaged disk; fetch it again"),
    "ff": (b"\xff" * 5000, "5,000 times the same byte"),
    "apple double": (
        b"\0\x05\x16\x07\0\2\0\0Mac OS X" + bytes(99),
        "metadata that macOS keeps beside a file (._NAME); the image is the file without ._",
    ),
    "sqlite": (b"SQLite format 3\0" + bytes(99), "a SQLite database"),
    "numpy": (b"\x93NUMPY\x01\0" + bytes(99), "a data file (Parquet, NumPy, HDF5, pickle)"),
    "font": (b"wOF2" + bytes(99), "a font"),
}  # fmt: skip

PICTURES: dict[str, tuple[bytes, str]] = {
    "psd": (b"8BPS\0\1" + bytes(99), "a Photoshop document (PSD)"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", "an EPS drawing"),
    "eps of dos": (b"\xc5\xd0\xd3\xc6" + bytes(99), "an EPS drawing"),
    "wmf": (b"\xd7\xcd\xc6\x9a" + bytes(99), "a Windows metafile (WMF)"),
    "emf": (b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(99), "a Windows metafile (EMF)"),
    "pcx": (saved(photo(), "PCX"), "a PCX picture"),
    "ppm": (saved(photo(), "PPM"), "a PNM picture (PBM, PGM, PPM, PAM, PFM)"),
    "pgm with a comment": (b"P5\n# made by hand\n9 9\n255\n" + bytes(81), "a PNM picture (PBM, PGM, PPM, PAM, PFM)"),
    "tga": (saved(photo(), "TGA"), "a TGA picture"),
    "tga, packed": (saved(photo(), "TGA", compression="tga_rle"), "a TGA picture"),
    "xpm": (b"/* XPM */\nstatic char *a[] = {", "an XPM picture"),
    "xbm": (saved(photo().convert("1"), "XBM"), "an XBM picture"),
    "dds": (saved(photo(), "DDS"), "a DDS texture"),
    "exr": (b"v/1\x01\2\0\0\0" + bytes(99), "an OpenEXR picture"),
    "hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "a Radiance HDR picture"),
    "fits": (b"SIMPLE  =                    T" + b" " * 99, "a FITS picture"),
    "dicom": (bytes(128) + b"DICM" + bytes(99), "a DICOM picture"),
    "qoi": (b"qoif\0\0\0\x09\0\0\0\x09\3\0" + bytes(99), "a QOI picture"),
    "farbfeld": (b"farbfeld\0\0\0\x09\0\0\0\x09" + bytes(99), "a Farbfeld picture"),
    "cur": (b"\0\0\2\0\1\0\x20\x20" + bytes(99), "a Windows cursor (CUR)"),
    "ani": (b"RIFF\0\1\0\0ACONanih" + bytes(99), "an animated cursor (ANI)"),
    "icns": (saved(photo((64, 64)), "ICNS"), "a macOS icon (ICNS)"),
    "jxr": (b"II\xbc\x01" + bytes(99), "a JPEG XR picture"),
    "sgi": (saved(photo(), "SGI"), "an SGI picture"),
    "djvu": (b"AT&TFORM\0\0\1\0DJVUINFO", "a DjVu document"),
    "xcf": (b"gimp xcf v011\0" + bytes(99), "a GIMP document (XCF)"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_image_is_named(kind: str) -> None:
    """One line says what it is, and what helps where something does."""
    data, likeness = FILES[kind]
    assert told(data) == ("not_an_image", f"looks like {likeness}")


@pytest.mark.parametrize("kind", PICTURES)
def test_an_image_that_is_not_read_is_named(kind: str) -> None:
    """Unsupported, so that nobody looks for damage."""
    data, likeness = PICTURES[kind]
    assert told(data) == ("unsupported", f"looks like {likeness}; convert it to JPEG or PNG")


def told(data: bytes) -> tuple[int | str, str]:
    """Word and message of the failure, the same in every way of preparing."""
    outcome = images.prepare(data, LIMITS, Treatment())
    assert isinstance(outcome, Failure), outcome
    assert images.as_it_is(data, LIMITS, Treatment()) is None
    assert images.foresee(data, LIMITS, Treatment()) == outcome.code
    return outcome.code, outcome.message


def test_every_kind_is_in_the_docs() -> None:
    """The tables of both languages list the words of the messages."""
    for language in ("en", "zh"):
        text = (Path(__file__).parents[2] / f"docs/{language}/images.md").read_text(encoding="utf-8")
        missing = [kind for kind, (_, likeness) in {**FILES, **PICTURES}.items() if short(likeness) not in text]
        assert missing == []


def short(likeness: str) -> str:
    """The words of a kind without its number and its help."""
    return likeness.partition(";")[0].partition(":")[0].removeprefix("5,000 ")
