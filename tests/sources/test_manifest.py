"""Manifests as programs and people write them: encodings, separators, and paths that do not exist as written."""

import codecs
import csv
import io
import json
import os
import shutil
import tracemalloc
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.errors import JobError
from batchrec.sources import open_sources
from batchrec.values import Ignored, InputEntry, Notice


def put(base: Path, *names: str) -> None:
    """Files of these names below `base`."""
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"image")


def entries(base: Path, name: str, data: bytes | str, **settings: object) -> Iterator[InputEntry | Ignored | Notice]:
    """The inputs of a manifest with this content."""
    (base / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    column, within = str(settings.get("column", "path")), settings.get("within")
    exclude = [str(settings["exclude"])] if "exclude" in settings else []
    return open_sources([], name, column, exclude, base, base / "out", None if within is None else str(within))


def read(base: Path, name: str, data: bytes | str, **settings: object) -> tuple[list[str], list[str]]:
    """Keys of the rows, in order, whose files exist and can be read, and the notices without their beginning."""
    found = list(entries(base, name, data, **settings))
    notices = [entry.text.removeprefix(f'input.manifest: "{name}"') for entry in found if isinstance(entry, Notice)]
    keys = [entry.key for entry in found if isinstance(entry, InputEntry) and entry.size >= 0 and not entry.problem]
    return keys, notices


def keys(base: Path, name: str, data: bytes | str, **settings: object) -> list[str]:
    return read(base, name, data, **settings)[0]


def failed(base: Path, name: str, data: bytes | str, **settings: object) -> dict[str, str | None]:
    """The rows that fail, with the reason."""
    found = [entry for entry in entries(base, name, data, **settings) if isinstance(entry, InputEntry)]
    return {entry.key: entry.problem for entry in found if entry.size < 0}


def complaint(base: Path, name: str, data: bytes | str, **settings: object) -> str:
    """The one complaint about a manifest that is refused, without its beginning."""
    with pytest.raises(JobError) as caught:
        list(entries(base, name, data, **settings))
    (text,) = caught.value.complaints
    assert text.isprintable()
    return text.removeprefix(f'input.manifest: "{name}"')


# Encodings

NAMES = ["图片/猫.jpg", "图片/小狗.jpg", "plain.jpg"]


@pytest.mark.parametrize(
    ("encoding", "notice"),
    [
        ("utf-8", []),
        ("utf-8-sig", []),
        ("utf-16", []),
        ("utf-16-be-sig", []),
        ("utf-16-le", [" is read as UTF-16; it has no byte order mark"]),
        ("utf-16-be", [" is read as UTF-16; it has no byte order mark"]),
        ("gbk", [" is read as GB18030 (GBK), under whose names its files exist"]),
        ("gb18030", [" is read as GB18030 (GBK), under whose names its files exist"]),
    ],
)
@pytest.mark.parametrize("name", ["m.txt", "m.csv", "m.tsv", "m.jsonl"])
def test_encoding_is_recognized(tmp_path: Path, encoding: str, notice: list[str], name: str) -> None:
    """A mark decides; without one UTF-16 by its NULs, and GB18030 by the files that exist; told in one line."""
    put(tmp_path, *NAMES)
    rows = {
        "m.txt": NAMES,
        "m.csv": ["说明,path", *(f"家猫，一只,{path}" for path in NAMES)],
        "m.tsv": ["说明\tpath", *(f"家猫\t{path}" for path in NAMES)],
        "m.jsonl": [json.dumps({"说明": "家猫", "path": path}, ensure_ascii=False) for path in NAMES],
    }
    text = "".join(f"{row}\r\n" for row in rows[name])
    data = codecs.BOM_UTF16_BE + text.encode("utf-16-be") if encoding == "utf-16-be-sig" else text.encode(encoding)
    assert read(tmp_path, name, data) == (NAMES, notice)


@pytest.mark.parametrize(("name", "other"), [("牛.jpg", "ţ.jpg"), ("模/牛.jpg", "ģ/ţ.jpg")])
def test_encoding_of_bytes_that_are_both_is_that_of_the_files(tmp_path: Path, name: str, other: str) -> None:
    """Bytes of GBK that are UTF-8 as well mean the file that exists; UTF-8 if both or neither do."""
    data = f"plain.jpg\n{name}\n".encode("gbk")
    assert data == f"plain.jpg\n{other}\n".encode()
    put(tmp_path, "plain.jpg", name)
    assert keys(tmp_path, "m.txt", data) == ["plain.jpg", name]
    put(tmp_path, other)
    assert read(tmp_path, "m.txt", data) == (["plain.jpg", other], [])
    (tmp_path / name).unlink()
    (tmp_path / other).unlink()
    assert failed(tmp_path, "m.txt", data) == {other: None}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "names", [["一一一.jpg"], ["一" * 50 + ".jpg", "a.png"], ["开最一.webp", "上海/上.bmp", "a" * 9]]
)
def test_encoding_of_utf16_without_mark_whatever_the_names(tmp_path: Path, encoding: str, names: list[str]) -> None:
    """Characters whose bytes are a letter and a NUL the other way round, or a line end, mislead nobody."""
    put(tmp_path, *names)
    for end in ("\n", "\r\n", "\r"):
        assert keys(tmp_path, "m.txt", end.join(names).encode(encoding)) == names


def test_nul_in_other_encodings_is_no_utf16(tmp_path: Path) -> None:
    """Names with a NUL fail their row, as do those that `find -print0` writes on one line."""
    put(tmp_path, "a.jpg")
    problem = "the name holds a NUL byte"
    rows = ["x\0", "\0y.jpg", "a.jpg\0b.jpg\0", "猫\0.jpg"]
    expected = {row.replace("\0", "\\x00"): problem for row in rows}
    assert failed(tmp_path, "m.txt", "\n".join(["a.jpg", *rows])) == expected


def test_encoding_is_judged_by_the_files_that_paths_mean(tmp_path: Path) -> None:
    """A list of Windows has its own names for them: backslashes, drives, blanks, another case."""
    put(tmp_path, "图片/牛.jpg")
    assert keys(tmp_path, "m.csv", 'path\r\n" D:\\图片\\牛.JPG"\r\n'.encode("gbk")) == ["图片/牛.jpg"]


def test_encoding_of_other_columns_and_of_the_header(tmp_path: Path) -> None:
    """Paths in ASCII exist in any encoding, so that notes may be in GBK; the column's name is read in it too."""
    put(tmp_path, "a.jpg")
    assert keys(tmp_path, "m.csv", "path,说明\r\na.jpg,家猫\r\n".encode("gbk")) == ["a.jpg"]
    assert keys(tmp_path, "m.csv", "路径,n\r\na.jpg,1\r\n".encode("gbk"), column="路径") == ["a.jpg"]
    expected = ', line 1: no column "path"; expected one of "路径", "n"'
    assert complaint(tmp_path, "m.csv", "路径,n\r\na.jpg,1\r\n".encode("gbk")) == expected


@pytest.mark.parametrize(
    ("encoding", "path", "name"),
    [
        ("latin-1", "café à.jpg", "Latin-1"),
        ("latin-1", "éà.jpg", "Latin-1"),
        ("big5", "圖片/貓.jpg", "Big5"),
        ("cp932", "写真/ねこ.jpg", "Shift-JIS"),
        ("cp949", "사진/고양이.jpg", "EUC-KR"),
        ("cp1251", "фото.jpg", "Windows-1251"),
        ("mac-roman", "café.jpg", "Mac Roman"),
    ],
)
def test_encoding_of_another_kind_is_refused_with_its_name(tmp_path: Path, encoding: str, path: str, name: str) -> None:
    """Its line, the likely cause by the files that exist, and what to do; also where some rows are plain."""
    put(tmp_path, path, "a.jpg")
    expected = f", line 2: not UTF-8 but {name}, under whose names its files exist; save the list as UTF-8"
    assert complaint(tmp_path, "m.txt", f"a.jpg\n{path}\n".encode(encoding)) == expected
    assert complaint(tmp_path, "m.csv", f"path,n\r\n{path},1\r\n".encode(encoding)) == expected


def test_encoding_that_nothing_tells_is_refused(tmp_path: Path) -> None:
    """Bytes that can be GB18030 need files of these names; a list of two encodings is none."""
    put(tmp_path, "a.jpg", "家居.jpg")
    neither = "line 2: not UTF-8, and if read as GB18030 (GBK) none of its files exists in"
    assert complaint(tmp_path, "m.txt", b"a.jpg\n" + "菜品.jpg\n".encode("gbk")).startswith(f", {neither} ")
    mixed = "家居.jpg\n".encode() + "菜品\xe9.jpg".encode("gbk", "ignore") + b"\xe9.jpg\n"
    expected = ", line 2: neither UTF-8 nor GB18030 (GBK), perhaps Latin-1; save the list as UTF-8"
    assert complaint(tmp_path, "m.txt", mixed) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (codecs.BOM_UTF8 + b"a\n\xff\n", "line 2: not UTF-8, though the file begins with its byte order mark"),
        (codecs.BOM_UTF16_LE + b"a\0\n\0\0\xd8a\0", "line 2: not UTF-16, though the file begins with its byte"),
        ("a.jpg".encode("utf-32"), "line 1: the byte order mark of UTF-32; save the list as UTF-8"),
    ],
)
def test_byte_order_mark_that_lies_is_refused(tmp_path: Path, data: bytes, expected: str) -> None:
    """The mark decides, and the bytes behind it must keep to it."""
    assert complaint(tmp_path, "m.txt", data).startswith(f", {expected}")


def test_fault_far_behind_names_its_line(tmp_path: Path) -> None:
    """Lines are counted over all line ends, CRLF as one, however large the list is."""
    data = b"".join(b"photos/%06d.jpg\r\n" % number for number in range(20_000)) + b"\xff\r\n"
    assert complaint(tmp_path, "m.txt", data).startswith(", line 20001: neither UTF-8 nor GB18030")
    assert complaint(tmp_path, "m.csv", data.replace(b"\r\n", b"\r")).startswith(", line 20001: neither UTF-8")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "this is an Excel workbook; save its sheet as CSV UTF-8"),
        (b"PK\x03\x04mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "this is an OpenDocument spreadsheet"),
        (b"PK\x03\x04Index/Document.iwa", "this is a Numbers spreadsheet; save its sheet as CSV UTF-8"),
        (b"PK\x03\x04a.jpg", "this is a zip file; expected a text file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "this is an Excel workbook (.xls or with a password)"),
        (b"\xef\xbb\xbf\n<html><table>", "this is HTML or XML, not a list"),
        (b"\x89PNG\r\n\x1a\n", "this is an image; expected a list of images"),
        (b"%PDF-1.7\n", "this is a PDF"),
    ],
)
def test_file_of_another_kind_is_named(tmp_path: Path, head: bytes, expected: str) -> None:
    """A workbook under the name of a list is told from a list with a fault, with what to do."""
    assert complaint(tmp_path, "m.csv", head).startswith(f", line 1: {expected}")


def test_final_ctrl_z_is_dropped(tmp_path: Path) -> None:
    """At the end of the last line, on one of its own, and in UTF-16; elsewhere it is a character."""
    put(tmp_path, "a.jpg", "b\x1a.jpg")
    for end in ("\x1a", "\r\n\x1a", "\r\n\x1a\r\n", "\x1a\x1a\x1a"):
        for encoding in ("utf-8", "utf-16"):
            assert keys(tmp_path, "m.txt", f"b\x1a.jpg\r\na.jpg{end}".encode(encoding)) == ["b\x1a.jpg", "a.jpg"]
            assert failed(tmp_path, "m.csv", f"n,path\r\n1,a.jpg{end}".encode(encoding)) == {}
    assert keys(tmp_path, "m.jsonl", '{"path": "a.jpg"}\r\n\x1a') == ["a.jpg"]
    joined = "a.jpg\r\n".encode("utf-16") + "a.jpg\r\n".encode("utf-16") + b"\x1a"  # as `copy` of Windows joins two
    assert keys(tmp_path, "m.txt", joined) == ["a.jpg", "a.jpg"]
    assert "line 2: not UTF-16" in complaint(tmp_path, "m.txt", "a.jpg\r\n".encode("utf-16") + b"a")


# Tables


@pytest.mark.parametrize("separator", [",", ";", "\t", "，"])
@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
@pytest.mark.parametrize("begin", ["", "sep={}\r\n", '"sep={}"\r\n', "SEP={}\n", "#TYPE System.Object\r\n", "\r\n"])
def test_separator_is_that_of_the_header(tmp_path: Path, separator: str, name: str, begin: str) -> None:
    """Each of the four, in either kind of table, also named by a line of Excel, or below one of PowerShell."""
    put(tmp_path, "a, b; c.jpg", "d.jpg")
    quoted = f'id{separator}path\r\n1{separator}"a, b; c.jpg"\r\n2{separator}d.jpg\r\n'
    assert keys(tmp_path, name, begin.format(separator) + quoted) == ["a, b; c.jpg", "d.jpg"]
    everything = f'"id"{separator}"path"\r\n"1"{separator}"a, b; c.jpg"\r\n'
    assert keys(tmp_path, name, begin.format(separator) + everything) == ["a, b; c.jpg"]


def test_separator_is_the_one_that_makes_the_column(tmp_path: Path) -> None:
    """Others may stand in the names of columns; a single column has none."""
    put(tmp_path, "a.jpg", "a;b.jpg", "x,y.jpg")
    assert keys(tmp_path, "m.csv", "size, weight;path\r\n1;a.jpg\r\n") == ["a.jpg"]
    assert keys(tmp_path, "m.csv", 'path\r\na;b.jpg\r\n"x,y.jpg"\r\n') == ["a;b.jpg", "x,y.jpg"]
    assert keys(tmp_path, "m.csv", '"two\r\nlines";path\r\n1;a.jpg\r\n') == ["a.jpg"]
    assert keys(tmp_path, "m.csv", 'size 5",path\r\n1,a.jpg\r\n2,a;b.jpg\r\n') == ["a.jpg", "a;b.jpg"]


@pytest.mark.parametrize("separator", ["|", ":", "", ",,"])
def test_separator_of_another_kind_is_refused(tmp_path: Path, separator: str) -> None:
    """A `sep=` line that names none of the four is refused with its line."""
    text = complaint(tmp_path, "m.csv", f"sep={separator}\r\nid,path\r\n1,a.jpg\r\n")
    assert text == f', line 1: "sep={separator}"; expected a comma, a semicolon, a tab or a full-width comma'


def test_separator_that_is_none_shows_the_header(tmp_path: Path) -> None:
    """A table with bars has one column, which the complaint shows."""
    text = complaint(tmp_path, "m.csv", "no|name|path\r\n1|x|a.jpg\r\n")
    assert text.startswith(', line 1: no column "path"; expected one of "no|name|path"')
    assert text.endswith("; cells are divided by a comma, a semicolon, a tab or a full-width comma")


@pytest.mark.parametrize("header", [" path ", "\ufeffpath", '" path"', "'path'", "“x”,path\t", "\xa0path\u3000"])
def test_column_is_found_by_its_bare_name(tmp_path: Path, header: str) -> None:
    """Blanks, marks and quotes around a name are no part of it."""
    put(tmp_path, "a.jpg")
    cells = header.count(",") * "1," + "a.jpg"
    assert keys(tmp_path, "m.csv", f"{header}\n{cells}\n") == ["a.jpg"]


def test_column_is_found_by_its_very_name_first(tmp_path: Path) -> None:
    """A name with blanks is another one where both are there; twice the same is refused."""
    put(tmp_path, "a.jpg", "b.jpg")
    assert keys(tmp_path, "m.csv", " path,path\nb.jpg,a.jpg\n") == ["a.jpg"]
    assert keys(tmp_path, "m.csv", " path,path\nb.jpg,a.jpg\n", column=" path") == ["b.jpg"]
    assert "is there 2 times" in complaint(tmp_path, "m.csv", "path,n,path\na.jpg,1,b.jpg\n")


def test_blank_cells_are_failed_rows(tmp_path: Path) -> None:
    """Each by its line, in tables and in JSON; records without any text and blank lines are none."""
    put(tmp_path, "a.jpg")
    blank = "the path is blank; expected a path"
    rows = 'n,path\r\n1,a.jpg\r\n2,\r\n"3\r\n3", \r\n4\r\n,,\r\n\r\n5,""\r\n'
    expected = {f"m.csv, line {line}": blank for line in (3, 4, 6, 9)}
    assert failed(tmp_path, "m.csv", rows) == expected
    rows = '{"path": "a.jpg"}\n\n{"path": ""}\n{"path": null}\n{"path": " "}\n'
    assert failed(tmp_path, "m.jsonl", rows) == {f"m.jsonl, line {line}": blank for line in (3, 4, 5)}
    assert failed(tmp_path, "m.txt", "\n \na.jpg\n\t\r\n") == {}


def test_cells_with_line_breaks(tmp_path: Path) -> None:
    """A byte order mark, CRLF, quotes and breaks in cells, as spreadsheets write them."""
    put(tmp_path, "a.jpg", "b.jpg")
    text = '\ufeffpath,note\r\na.jpg,"first\r\nsecond, with ""quotes"""\r\nb.jpg,"1\n2\r3"\r\n'
    assert read(tmp_path, "m.csv", text) == (["a.jpg", "b.jpg"], [])


def test_text_lines_end_with_cr_where_there_is_no_lf(tmp_path: Path) -> None:
    """In a list whose lines end with LF, a CR may be a part of a name."""
    put(tmp_path, "a.jpg", "b.jpg", "c\rd.jpg")
    assert keys(tmp_path, "m.txt", "a.jpg\rb.jpg\r") == ["a.jpg", "b.jpg"]
    assert keys(tmp_path, "m.txt", "a.jpg\nc\rd.jpg\nb.jpg\r\n") == ["a.jpg", "c\rd.jpg", "b.jpg"]
    assert keys(tmp_path, "m.csv", 'n,path\r"1\r2",a.jpg\r3,b.jpg') == ["a.jpg", "b.jpg"]


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]
CHARACTERS = st.characters(codec="gb18030", exclude_categories=["Cc", "Cs", "Co", "Cn"])
PATHS = st.text(CHARACTERS | st.sampled_from("猫图片é, ;'\"，"), min_size=1, max_size=8).filter(
    lambda text: text == text.strip(" \ufeff") and "/" not in text and len(text.encode()) < 200 and text.strip()
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(PATHS, min_size=1, max_size=4, unique=True),
    st.sampled_from(ENCODINGS),
    st.sampled_from([",", ";", "\t", "，"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["", "sep"]),
)
def test_keys_are_the_same_however_a_table_is_written(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    encoding: str,
    separator: str,
    end: str,
    quoting: int,
    begin: str,
) -> None:
    """Every encoding, separator, line end and way of quoting gives the files that were listed."""
    home = tmp_path_factory.getbasetemp() / "tables"
    shutil.rmtree(home, ignore_errors=True)
    paths = [f"图片/{name}.jpg" for name in names]
    put(home, *paths)
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["编号", "path"], *enumerate(paths)])
    text = f"sep={separator}{end}" * bool(begin) + file.getvalue()
    assert keys(home, "m.csv", text.encode(encoding)) == paths
    lines = "".join(path + end for path in paths)
    assert keys(home, "m.txt", lines.encode(encoding)) == paths
    objects = "".join(json.dumps({"path": path}, ensure_ascii=False) + end for path in paths)
    assert keys(home, "m.jsonl", objects.encode(encoding)) == paths


# Paths that do not exist as they are written


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("图片\\a.jpg", "with \\ for /"),
        (".\\图片\\sub\\..\\a.jpg", "with \\ for /"),
        ("D:\\图片\\a.jpg", "with a Windows drive or share"),
        ("d:/图片/a.jpg", "with a Windows drive or share"),
        ("\\\\nas\\share\\图片\\a.jpg", "with a Windows drive or share"),
        ("\\\\?\\D:\\图片\\a.jpg", "with a Windows drive or share"),
        ("\\\\nas\\图片\\a.jpg", "with a Windows drive or share"),
        ("\\图片\\a.jpg", "with a Windows drive or share"),
        (" 图片/a.jpg", "with blanks or invisible characters around them"),
        ("图片/a.jpg\t ", "with blanks or invisible characters around them"),
        ("\u202a图片/a.jpg", "with blanks or invisible characters around them"),
        ("\u3000图片/a.jpg\xa0", "with blanks or invisible characters around them"),
        ('"图片/a.jpg"', "in quotes"),
        ("'图片/a.jpg'", "in quotes"),
        ("“图片/a.jpg”", "in quotes"),
        ("file:图片/a.jpg", "as file:// addresses"),
        ("file:///D:/%E5%9B%BE%E7%89%87/a.jpg", "as file:// addresses"),
        ("%E5%9B%BE%E7%89%87/a.jpg", "percent-encoded"),
        ("图片/A.JPG", "in another case"),
        ("~/家/图片/a.jpg", "with ~ for the home folder"),
    ],
)
def test_path_is_recovered_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, words: str) -> None:
    """The row's key is that of the one existing file, and one line tells it."""
    home = tmp_path / "家"
    put(home, "图片/a.jpg", "图片/sub/b.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    key = f"{home}/图片/a.jpg" if written[0] == "~" else "图片/a.jpg"
    found, notices = read(home, "m.jsonl", json.dumps({"path": written}))
    assert found == [key]
    shown = json.dumps(written, ensure_ascii=not json.dumps(written, ensure_ascii=False).isprintable())
    assert f': 1 path is written {words} and taken for the existing file, such as {shown} for "{key}"' in notices


def test_path_of_an_address_is_absolute(tmp_path: Path) -> None:
    """`file://` with and without a host, percent-encoded or not; the file's key stays absolute."""
    put(tmp_path, "图 片/a.jpg", "图 片/100%.jpg")
    for address in (f"file://{tmp_path}/图%20片/a.jpg", f"FILE://localhost{tmp_path}/图 片/a.jpg"):
        assert keys(tmp_path, "m.txt", address) == [f"{tmp_path}/图 片/a.jpg"]
    assert keys(tmp_path, "m.txt", f"file:{tmp_path}/图 片/100%.jpg") == [f"{tmp_path}/图 片/100%.jpg"]


def test_json_with_single_backslashes_says_so(tmp_path: Path) -> None:
    """A program that does not escape them writes no JSON."""
    text = complaint(tmp_path, "m.jsonl", '{"path": "D:\\照片\\a.jpg"}')
    assert text.startswith(", line 1: not JSON; ")
    assert text.endswith("; in JSON a backslash is written twice")


def test_path_of_percent_encoded_name_that_is_too_long_to_be_one(tmp_path: Path) -> None:
    """A name of eighty Chinese characters fits; percent-encoded it has 720 bytes."""
    name = "图" * 80 + ".jpg"
    put(tmp_path, name, "ok.jpg")
    assert keys(tmp_path, "m.txt", f"file://{tmp_path}/{quote(name)}\n{quote(name)}") == [f"{tmp_path}/{name}", name]
    long = quote("片" * 80)
    assert failed(tmp_path, "m.txt", f"ok.jpg\n{long}\n") == {long: "cannot be read: file name too long"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_path_in_the_other_unicode_form(tmp_path: Path, form: str) -> None:
    """macOS decomposes names, other systems write them as they were typed: in folders and in files."""
    names = ["é/ü.jpg", "한/글.jpg", "が/ぎ.jpg"]
    kept = [unicodedata.normalize(form, name) for name in names]
    written = [unicodedata.normalize("NFD" if form == "NFC" else "NFC", name) for name in names]
    put(tmp_path, *kept)
    found, (notice,) = read(tmp_path, "m.txt", "\n".join(written))
    assert found == kept
    assert notice.startswith(": 3 paths are written in another Unicode form")


def test_path_with_several_differences_counts_for_each(tmp_path: Path) -> None:
    """One line a kind, with the number of its rows and the first."""
    put(tmp_path, "Photos/É.jpg", "photos2/b.jpg")
    rows = ['" d:\\PHOTOS\\e\u0301.JPG "', "photos2\\b.jpg", "Photos2\\B.jpg"]
    found, notices = read(tmp_path, "m.txt", "\r\n".join(rows))
    assert found == ["Photos/É.jpg", "photos2/b.jpg", "photos2/b.jpg"]
    assert [notice.split(", such")[0] for notice in notices] == [
        ": 1 path is written with blanks or invisible characters around them and taken for the existing file",
        ": 1 path is written in quotes and taken for the existing file",
        ": 2 paths are written with \\ for / and taken for the existing files",
        ": 1 path is written with a Windows drive or share and taken for the existing file",
        ": 2 paths are written in another case and taken for the existing files",
    ]


def test_path_that_exists_as_written_is_taken_as_written(tmp_path: Path) -> None:
    """Blanks, backslashes, quotes and a folder `~` may be parts of a name: nothing is guessed then."""
    names = [" a.jpg", "x\\a.jpg", "'a.jpg'", "~/a.jpg", "A.jpg", "%61.jpg", "D:\\a.jpg"]
    put(tmp_path, "a.jpg", "x/a.jpg", *names)
    assert read(tmp_path, "m.txt", "\n".join(names)) == (names, [])


def test_path_that_may_mean_several_files_means_none(tmp_path: Path) -> None:
    """Two files of other cases, or one with a drive's rest and one in the folder of the drive's name; told so."""
    put(tmp_path, "A.jpg", "a.JPG", "é.jpg", "É.jpg", "ok.jpg")
    problem = 'no such file, and more than one may be meant: "A.jpg", "a.JPG"'
    (name,) = failed(tmp_path, "m.txt", "ok.jpg\na.jpg\n")
    assert name == "a.jpg"
    assert sorted(failed(tmp_path, "m.txt", "ok.jpg\na.jpg\n")["a.jpg"] or "") == sorted(problem)
    assert keys(tmp_path, "m.txt", "ok.jpg\ne\u0301.jpg\n") == ["ok.jpg", "é.jpg"]


def test_path_of_a_folder_in_another_case_and_of_two(tmp_path: Path) -> None:
    """Folders spelled alike are all searched; only files count."""
    put(tmp_path, "Photos/a.jpg", "photos/b.jpg", "PHOTOS/c.jpg/x", "photos/c.jpg")
    assert keys(tmp_path, "m.txt", "photos/a.jpg\nPhotos/b.jpg\npHotos/C.jpg\n") == [
        "Photos/a.jpg",
        "photos/b.jpg",
        "photos/c.jpg",
    ]


def test_windows_path_that_means_nothing_says_so(tmp_path: Path) -> None:
    """A failed row whose reason is that it is a path of Windows; another missing file needs no reason."""
    put(tmp_path, "照片/a.jpg")
    rows = failed(tmp_path, "m.txt", "D:\\照片\\a.jpg\r\n\\\\nas\\share\\b.jpg\r\nE:\\x.jpg\r\ngone.jpg\r\n")
    problem = f'no such file; this is a Windows path, and none like it exists below "{tmp_path}"'
    assert rows == {"\\\\nas\\share\\b.jpg": problem, "E:\\x.jpg": problem, "gone.jpg": None}


def test_home_that_lacks_the_file_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason holds the path that `~` stands for; a user that does not exist stands for none."""
    monkeypatch.setenv("HOME", "/home/somebody")
    put(tmp_path, "a.jpg")
    rows = failed(tmp_path, "m.txt", "a.jpg\n~/b.jpg\n~no-such-user/c.jpg\n")
    assert rows == {"~/b.jpg": 'no such file: "/home/somebody/b.jpg"', "~no-such-user/c.jpg": None}


def test_recovered_path_is_excluded_and_no_output_like_any_other(tmp_path: Path) -> None:
    """The rules of the key that is taken hold."""
    put(tmp_path, "a.jpg", "thumbs/b.jpg", "out/c.jpg")
    data = "a.jpg\nthumbs\\b.jpg\nout\\c.jpg\nOUT/C.jpg\n"
    found = [entry for entry in entries(tmp_path, "m.txt", data, exclude="thumbs/**") if isinstance(entry, InputEntry)]
    assert [entry.key for entry in found] == ["a.jpg"]


def test_recovered_path_lies_within(tmp_path: Path) -> None:
    """A file outside of `input.within` fails its row, and folders there are not searched."""
    put(tmp_path, "jobs/a.jpg", "secret/B.jpg")
    home = tmp_path / "jobs"
    os.symlink("../secret", home / "link")
    data = "a.jpg\n..\\secret\\B.jpg\nlink\\B.jpg\nlink/b.jpg\n../secret/b.jpg\n"
    outside = "its real path lies outside of input.within"
    assert failed(home, "m.txt", data, within=".") == {
        "../secret/B.jpg": outside,
        "link/B.jpg": outside,
        "link/b.jpg": outside,
        "../secret/b.jpg": outside,
    }


def test_addresses_are_shown_as_written(tmp_path: Path) -> None:
    """Both slashes are kept, blanks around are not; they are no missing files."""
    addresses = [
        "https://example.invalid/a.jpg",
        "HTTP://example.invalid//b.jpg?x=1&y=../z",
        "http://例子.invalid/猫.jpg",
    ]
    rows = failed(tmp_path, "m.txt", f" {addresses[0]} \n" + "\n".join(addresses[1:]))
    assert rows == dict.fromkeys(addresses)
    assert list(entries(tmp_path, "m.txt", addresses[0], exclude="https://example.invalid/*")) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("gone.jpg\n", ': no file exists under its only path, the first is "gone.jpg"; paths are relative to "HERE"'),
        (
            "D:\\a.jpg\nb.jpg\n",
            ': no file exists under any of its 2 paths, the first is "D:\\\\a.jpg", a Windows path;',
        ),
        ("~/x.jpg\nb.jpg\n", ': no file exists under any of its 2 paths, the first is "~/x.jpg", which is "/h/x.jpg";'),
        ("nul\0\n" + "x" * 5000, ": no file exists under any of its 2 paths; paths are relative to "),
    ],
)
def test_list_of_missing_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, expected: str
) -> None:
    """All rows missing is a mistake of the list, told once with the folder that its paths start from."""
    monkeypatch.setenv("HOME", "/h")
    assert complaint(tmp_path, "m.txt", data).startswith(expected.replace("HERE", str(tmp_path)))


def test_list_without_rows_is_empty(tmp_path: Path) -> None:
    """Nothing listed is nothing missing, nor is what is left out."""
    for name, data in {"m.txt": "", "n.txt": "\n \n", "m.csv": "path\n", "m.jsonl": ""}.items():
        assert list(entries(tmp_path, name, data)) == []
    assert list(entries(tmp_path, "m.txt", "gone.jpg", exclude="gone.*")) == []


def test_folders_are_listed_once_and_kept_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty thousand names in another case cost one listing, and no memory for each name."""
    put(tmp_path, "x/0.jpg")
    for number in range(1, 20_000):
        os.link(tmp_path / "x/0.jpg", tmp_path / f"x/{number}.jpg")
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    walk = entries(tmp_path, "m.txt", "".join(f"X\\{number}.JPG\r\n" for number in range(0, 40_000, 2)))
    tracemalloc.start()
    try:
        assert sum(isinstance(entry, InputEntry) for entry in walk) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()
    assert sorted(map(os.path.normpath, listed)) == [str(tmp_path), f"{tmp_path}/x"]
