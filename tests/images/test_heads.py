"""Kinds of files in folders by their first bytes: images of every format, and all else."""

import gzip
import io
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from batchrec.images.heads import kind_of_other


def saved(form: str, mode: str = "RGB") -> bytes:
    """A small image in a format that Pillow writes."""
    file = io.BytesIO()
    Image.new(mode, (24, 24), 40).save(file, form)
    return file.getvalue()


WRITTEN = ["JPEG", "MPO", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "ICO", "PPM", "PCX", "DDS", "QOI"]


@pytest.mark.parametrize("form", WRITTEN)
def test_what_pillow_writes_is_an_image(form: str) -> None:
    """Formats that batchrec reads and formats that it does not."""
    assert kind_of_other(saved(form)[:1024]) is None


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_netpbm_picture_with_a_comment_is_an_image(mode: str) -> None:
    """The header may hold comments, and the numbers stand in text."""
    head = saved("PPM", mode)
    assert kind_of_other(head[:3] + b"# made by a scanner\n" + head[3:]) is None


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif",
        b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ",
        b"\xff\x0a\xfa\x7f\x01\x90",
        b"II\xbc\x01\x20\0\0\0",
        b"8BPS\0\x01\0\0\0\0\0\0\0\x03",
        b"gimp xcf v011\0",
        b"v/1\x01\x02\0\0\0",
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",
        b"icns\0\0\x10\0ic07",
        b"BPG\xfb\x20\0",
        bytes(128) + b"DICM\x02\0\0\0",
        b"SIMPLE  =                    T / conforms to FITS",
    ],
)
def test_images_of_formats_that_are_not_read_are_images(head: bytes) -> None:
    """They are not ignored: their rows fail, and name the format."""
    assert kind_of_other(head) is None


def packed(name: str, content: str) -> bytes:
    """A zip of one entry without the time of day, which would get into the names of the tests."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "a.db") as db:
        db.execute("CREATE TABLE a (b)")
    return (folder / "a.db").read_bytes()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "pointer"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"no picture", "text"),
        ("说明".encode() * 500, "text"),
        ("说明".encode("gbk") * 500, "text"),
        ("\ufeff说明".encode("utf-16-le"), "text"),
        ("\ufeff说明".encode("utf-16-be"), "text"),
        (b"The wide road to the moov\n", "text"),
        (json.dumps({"a": 1}).encode(), "JSON"),
        (json.dumps([{"a": 1}], indent=1).encode(), "JSON"),
        (b"[1, 2]", "JSON"),
        (b"[\n1\n]\n", "JSON"),
        (b"[ViewState]\r\nMode=\r\nVid=\r\n", "text"),
        (b"; Picasa\n[a.jpg]\nbackuphash=1\n", "text"),
        (b"\xef\xbb\xbf[.ShellClassInfo]\n# name\nIconResource=C:\\x.ico,0\n", "text"),
        (b'<?xpacket begin="\xef\xbb\xbf" id="W5M0"?><x:xmpmeta/>', "XML"),
        (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', "XML"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html>", "HTML"),
        (b"<?xml version='1.0'?><rss/>", "XML"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
        (b"\0\0\0\x08wide\0\0\0\x10mdat", "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"\x1aE\xdf\xa3\x01\0", "video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio"),
        (b"ID3\x04\0\0", "audio"),
        (packed("[Content_Types].xml", "<Types/>"), "Office"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office"),
        (packed("a.txt", "a"), "archive"),
        (gzip.compress(b"a", mtime=0), "gzip"),
        (b"Rar!\x1a\x07\x01\0", "archive"),
        (b"\x7fELF\x02\x01", "program"),
        (bytes(5000), "zero bytes"),
        (b"\x81\x90\xff\0\x01", "unknown"),
    ],
)
def test_other_files_have_a_kind(head: bytes, kind: str) -> None:
    """The words by which ignored files are counted."""
    assert kind_of_other(head[:1024]) == kind


def test_a_database_has_a_kind(tmp_path: Path) -> None:
    """As SQLite writes it."""
    assert kind_of_other(database(tmp_path)) == "database"
