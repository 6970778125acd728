"""Encoding of a manifest: a byte order mark decides, else bytes, and names under which files exist.

A text in UTF-8 may be one in GB18030 as well, and nearly all texts in Big5, Shift-JIS or EUC-KR are; so GB18030 is
taken only if files exist under the names that it gives.
"""

import codecs
import os
import re
from collections.abc import Callable
from typing import NamedTuple

from ..errors import JobError
from ..language import _, mark

HEAD = 1 << 16
"""Bytes at the beginning of a manifest by which its encoding is judged: at least one row, or it is refused."""

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"\x84\x31\x95\x33": "gb18030",
}
"""Byte order marks, longer ones first where they begin alike."""

NAMES = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "gb18030": "GB18030 (GBK)"}
"""Encodings that manifests are read in, as messages name them."""

OTHERS = {
    "big5hkscs": "Big5",
    "cp932": "Shift-JIS",
    "cp949": "EUC-KR",
    "cp1252": "Latin-1",
    "cp1251": "Windows-1251",
    "mac-roman": "Mac Roman",
}
"""Encodings that are only named as the likely cause: their bytes cannot be told from each other."""

_ZIPPED = {
    b"xl/": mark("an Excel workbook; save its sheet as CSV UTF-8"),
    b"opendocument.spreadsheet": mark("an OpenDocument spreadsheet; save its sheet as CSV UTF-8"),
    b"Index/": mark("a Numbers spreadsheet; save its sheet as CSV UTF-8"),
}
"""Kinds of zip files by names of their members; the first members of a workbook tell."""

_FOREIGN = {
    b"PK\x03\x04": mark("a zip file; expected a text file"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": mark(
        "an Excel workbook (.xls or with a password); save its sheet as CSV UTF-8"
    ),
    b"%PDF": mark("a PDF; expected a text file"),
    b"\x1f\x8b": mark("a gzip file; unpack it"),
    b"\xff\xd8\xff": mark("an image; expected a list of images, or name it in input.paths"),
    b"\x89PNG": mark("an image; expected a list of images, or name it in input.paths"),
    b"SQLite format 3\0": mark("an SQLite database; expected a text file"),
    b"PAR1": mark("a Parquet file; expected a text file"),
}
"""Files that are no text, by their first bytes: kind and advice."""

_MARKUP = (b"<!doctype", b"<html", b"<table", b"<?xml")

_PLAIN = re.compile(r"[\t -~]{3}")

ERRORS = "batchrec-end-of-file"
"""Name of the treatment of decoding errors that manifests are read with: `_ended` raises all but one of them."""

_SAVE = mark("save the list as UTF-8")
_EXIST = mark(", under whose names its files exist")


class Choice(NamedTuple):
    """The encoding to read with and a remark for the user, or a complaint about a line."""

    encoding: str
    remark: str = ""
    line: int = 0
    complaint: str = ""


def choose(path: str, finds: Callable[[str], bool | None], folder: str) -> Choice:
    """Choose the encoding of the manifest at `path`.

    `finds`: whether a file exists under a name that is not ASCII, if the list is read in an encoding; None where it has
    no such name. Raises JobError for what is wrong in a row. `folder`: as messages show it. Raises OSError.
    """
    head = read_head(path)
    if kind := foreign(head):
        return Choice("", line=1, complaint=_("this is {kind}").format(kind=_(kind)))
    if encoding := marked(head):
        return _of_mark(path, encoding)
    if (encoding := unmarked_utf16(head)) and first_fault(path, encoding) is None:
        return Choice(encoding, _("; it has no byte order mark"))
    if first_fault(path, "ascii") is None:
        return Choice("utf-8")
    fault = first_fault(path, "utf-8")
    chinese = first_fault(path, "gb18030") is None
    if fault is None:
        found = chinese and _finds(finds, "utf-8") is False and _finds(finds, "gb18030")
        return Choice("gb18030", _(_EXIST)) if found else Choice("utf-8")
    if chinese and _finds(finds, "gb18030") is not False:
        return Choice("gb18030", _(_EXIST))
    return Choice("", line=fault, complaint=_cause(path, finds, folder if chinese else ""))


def _of_mark(path: str, encoding: str) -> Choice:
    name = NAMES.get(encoding)
    if name is None:
        return Choice(
            "",
            line=1,
            complaint=_("the byte order mark of {upper}; {save}").format(upper=encoding.upper(), save=_(_SAVE)),
        )
    fault = first_fault(path, encoding)
    if fault is None:
        return Choice(encoding)
    return Choice(
        "",
        line=fault,
        complaint=_("not {name}, though the file begins with its byte order mark; {save}").format(
            name=name, save=_(_SAVE)
        ),
    )


def _finds(finds: Callable[[str], bool | None], encoding: str) -> bool | None:
    try:
        return finds(encoding)
    except JobError:  # such as a column that the header has in another encoding
        return False


def _cause(path: str, finds: Callable[[str], bool | None], folder: str) -> str:
    """The likely cause of bytes that are not UTF-8.

    `folder`, where they can be GB18030: the one in which no file exists under the names that this gives.
    """
    for encoding, name in OTHERS.items():
        if first_fault(path, encoding) is None and _finds(finds, encoding):
            return _("not UTF-8 but {name}, under whose names its files exist; {save}").format(name=name, save=_(_SAVE))
    if folder:
        finds("gb18030")  # raises where a row is wrong
        return _("not UTF-8, and if read as GB18030 (GBK) none of its files exists in {folder}; {save}").format(
            folder=folder, save=_(_SAVE)
        )
    return _("neither UTF-8 nor GB18030 (GBK), perhaps Latin-1; {save}").format(save=_(_SAVE))


def foreign(head: bytes) -> str | None:
    """Kind of a file that is no list, with advice on what to do; None for what may be text."""
    kind = next((kind for magic, kind in _FOREIGN.items() if head.startswith(magic)), None)
    if head.startswith(b"PK\x03\x04"):
        return next((workbook for name, workbook in _ZIPPED.items() if name in head), kind)
    if kind is None and head.removeprefix(codecs.BOM_UTF8).lstrip()[:9].lower().startswith(_MARKUP):
        return mark(
            "HTML or XML, not a list; if a program exported it as a spreadsheet, open it and save its sheet as "
            "CSV UTF-8"
        )
    return kind


def marked(head: bytes) -> str | None:
    """The encoding that a byte order mark names."""
    return next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), None)


def unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark, by three ASCII characters in a row with a NUL on the same side.

    NULs between or in the names of another encoding do not look like that.
    """
    if b"\0" not in head:
        return None
    texts = {encoding: head[: len(head) & ~1].decode(encoding, "replace") for encoding in ("utf-16-le", "utf-16-be")}
    # In the wrong order of bytes a common Chinese character, U+4E00, is an N, but no character is a line end or a dot.
    likely = max(texts, key=lambda encoding: (_ends(texts[encoding]), texts[encoding].count(".")))
    return likely if _PLAIN.search(texts[likely]) else None


def first_fault(path: str, encoding: str) -> int | None:
    """The line of the first bytes that are not of the encoding; None where all are."""
    decoder = codecs.getincrementaldecoder(encoding)(ERRORS)
    line = 1
    cut = ""  # a CR at the end of a chunk, whose LF may follow
    with open(path, "rb") as file:
        while True:
            chunk = file.read(HEAD)
            try:
                text = cut + decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return line + _ends(cut + error.object[: error.start].decode(encoding))
            cut = "\r" if text.endswith("\r") else ""
            line += _ends(text.removesuffix("\r"))
            if not chunk:
                return None


def read_head(path: str) -> bytes:
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return os.read(file.fileno(), HEAD)


def _ended(error: UnicodeError) -> tuple[str, int]:
    """Pass over a Ctrl-Z at the end of UTF-16: `copy a.txt + b.txt` of Windows writes it as one byte."""
    if isinstance(error, UnicodeDecodeError) and error.object[error.start :] == b"\x1a":
        return "", error.end
    raise error


codecs.register_error(ERRORS, _ended)


def _ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")
