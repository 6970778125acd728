"""The result files: how rows look in each, and how files are appended to, cut back and made anew."""

import csv
import io
import json
import os
import re
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.errors import OutputFailed, ResultsDamaged
from batchrec.outputs import OUTPUTS, CsvOutput, JsonlOutput
from batchrec.outputs import csv as csv_output
from batchrec.outputs.csv import COLUMNS
from batchrec.outputs.files import Line, ResultFiles
from batchrec.values import Row

HEADER = "image,step,service,rank,name,score,root,calorie,year,left,top,width,height,log_id,answered_at,error"
BOX = {"left": 1, "top": 2.5, "width": 3, "height": 4}


def row(*labels: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "image": "photos/a.jpg",
        "sha256": "00" * 32,
        "step": "food",
        "service": "dish",
        "model": None,
        "labels": list(labels),
        "response": {"log_id": 2**63 + 1},
        "attempts": 1,
        "latency_ms": 1.5,
        "repaired": None,
        "same_as": None,
        "reused": None,
        "answered_at": "2026-01-02T03:04:05Z",
    } | changes


def read(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


def test_csv_header():
    """A byte order mark for Excel, the contract's columns, CRLF."""
    assert CsvOutput.header == b"\xef\xbb\xbf" + HEADER.encode() + b"\r\n"


def test_csv_line_for_each_label():
    """A line a label, ranked from 1; what a label lacks is an empty cell; integers are exact."""
    text = CsvOutput().encode(
        row(
            {"name": "香辣蟹", "score": 0.64, "calorie": 128.0},
            {"name": "car", "score": None, "root": "a-b", "year": "2017", "box": BOX},
        )
    )
    assert text.decode() == (
        "photos/a.jpg,food,dish,1,香辣蟹,0.64,,128.0,,,,,,9223372036854775809,2026-01-02T03:04:05Z,\r\n"
        "photos/a.jpg,food,dish,2,car,,a-b,,2017,1,2.5,3,4,9223372036854775809,2026-01-02T03:04:05Z,\r\n"
    )


def test_csv_line_without_labels():
    """An answer that saw nothing has one line with an empty rank; a reply may lack its log_id."""
    text = CsvOutput().encode(row(response={}))
    assert text == b"photos/a.jpg,food,dish,,,,,,,,,,,,2026-01-02T03:04:05Z,\r\n"


def test_csv_line_of_a_failure():
    """Empty rank, the code in the last cell; texts are guarded as in other rows."""
    failure = {"image": "=a.jpg", "step": "food", "service": "dish", "code": 216201}
    assert CsvOutput().encode_failure(failure) == b"'=a.jpg,food,dish,,,,,,,,,,,,,216201\r\n"
    (cells,) = read(CsvOutput().encode_failure({**failure, "code": "torn"}))
    assert (len(cells), cells[-1]) == (len(COLUMNS), "torn")


SIGNS = "=+-@＝＋－＠"


def guarded(text: str) -> str:
    """Text as the contract wants it in a cell, said in another way than in the program."""
    starts = text[:1] in {*SIGNS, *"\t\r\n\0"}
    inner = "".join(f"{a}'" if a in ";\t" and b in SIGNS else a for a, b in pairwise(f"{text} "))
    return f"'{inner}" if starts or inner != text else text


@pytest.mark.parametrize("start", [*SIGNS, "\t", "\r", "\n", "\0"])
def test_csv_formulas(start):
    """Text that a spreadsheet takes for a formula gets an apostrophe, in any text cell; numbers do not."""
    label = {"name": f"{start}1", "root": f"{start}2", "year": f"{start}3", "score": -0.5, "box": BOX | {"left": -7}}
    ((image, *_, left, _, _, _, log_id, _, _),) = cells = read(
        CsvOutput().encode(row(label, image=f"{start}x.jpg", response={"log_id": f"{start}4"}))
    )
    assert (image, left, log_id) == (f"'{start}x.jpg", "-7", f"'{start}4")
    assert cells[0][4:9] == [f"'{start}1", "-0.5", f"'{start}2", "", f"'{start}3"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a;=1", "'a;'=1"),
        ("a\t@x", "'a\t'@x"),
        ("=1;+2\t＝3", "'=1;'+2\t'＝3"),
        (";;－1", "';;'－1"),
        ("\n=1", "'\n=1"),
        ("\t=1", "'\t'=1"),
    ],
)
def test_csv_formulas_inside_a_text(name, expected):
    """Excel may separate at ; or tab, and the rest of a text is a cell: a sign there is guarded as well."""
    assert read(CsvOutput().encode(row({"name": name, "score": 1.0})))[0][4] == expected
    (cells,) = read(CsvOutput().encode(row(response={"log_id": [name]})))
    assert cells[-3] == guarded(str([name]))


@given(st.text(st.sampled_from("=+-@＝＋－＠;\t\r\n\0\",'a食 ")), st.text(st.sampled_from("=;\t+a＠")))
@settings(max_examples=300)
def test_csv_guard_is_the_contracts(image, name):
    """Every text is guarded by the rule and no more; no piece between ; and tab begins like a formula."""
    (cells,) = read(CsvOutput().encode(row({"name": name, "score": -0.5}, image=image)))
    assert [cells[0], cells[4], cells[5]] == [guarded(image), guarded(name), "-0.5"]
    pieces = [piece for cell in (cells[0], cells[4]) for piece in re.split("[;\t]", cell)]
    assert not [piece for piece in pieces if piece.startswith(tuple(SIGNS))]


@pytest.mark.parametrize("name", ["a=b", "'x", " =x", "１+１", "", "a; =1", "x;y\tz", ";", "a\0=", "a－b"])
def test_csv_text_that_is_no_formula(name):
    """Other text stays as it is."""
    assert read(CsvOutput().encode(row({"name": name, "score": 1.0})))[0][4] == name


@pytest.mark.parametrize("log_id", [7, 1.5, True, [1, 2], {"a": 1, 'b"': None}])
def test_csv_log_id_of_any_kind(log_id):
    """Any JSON value that a reply has as its log_id is one cell."""
    (cells,) = read(CsvOutput().encode(row(response={"log_id": log_id})))
    assert len(cells) == len(COLUMNS)
    assert cells[-3] == str(log_id)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200)
def test_csv_quoting(image, name):
    """Any text in a name is read back by a CSV reader, on one line."""
    (cells,) = read(CsvOutput().encode(row({"name": name, "score": 0.5}, image=image)))
    assert [cells[0], cells[4]] == [guarded(image), guarded(name)]
    assert len(cells) == len(COLUMNS)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_jsonl_is_one_line(response):
    """A row is one whole line, whatever its reply holds."""
    text = JsonlOutput().encode(row(response=response))
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    assert len(text.decode().splitlines()) == 1


# -- files


def files_of(directory: Path) -> ResultFiles:
    return ResultFiles(directory, list(OUTPUTS.values()), {output.filename: (0, 0) for output in OUTPUTS.values()})


async def append(files: ResultFiles, rows: list[Row]) -> list[Line]:
    return await files.append([files.encode(row) for row in rows])


async def test_append_and_read(tmp_path):
    """Each row's place in results.jsonl is told, and it is read from there again."""
    files = files_of(tmp_path)
    rows = [row({"name": name, "score": 0.5}) for name in ("one", "二", "three")]
    async with files:
        lines = [*await append(files, rows[:2]), *await append(files, rows[2:])]
        files.sync()
        assert [files.read(start, len(line)) for start, line in lines] == rows
    text = (tmp_path / "results.jsonl").read_bytes()
    assert [line for _, line in lines] == text.splitlines(keepends=True)
    assert all(text[start:].startswith(line) for start, line in lines)
    assert files.places["results.jsonl"][0] == len(text)
    assert files.places["results.csv"][0] == (tmp_path / "results.csv").stat().st_size


async def test_check_cuts_back(tmp_path):
    """Bytes beyond the committed length are cut; a file that is too short is not touched."""
    files = files_of(tmp_path)
    async with files:
        ((_, line),) = await append(files, [row()])
        await append(files, [row()])
    length = len(line)
    files.places["results.jsonl"] = (length, zlib.crc32((tmp_path / "results.jsonl").read_bytes()[:length]))
    files.check()
    assert (tmp_path / "results.jsonl").stat().st_size == length
    files.places["results.jsonl"] = (length + 1, 0)
    with pytest.raises(ResultsDamaged, match=rf"results.jsonl: has {length} bytes, but {length + 1} were committed"):
        files.check()
    assert (tmp_path / "results.jsonl").stat().st_size == length


async def test_rewrite_and_swap(tmp_path):
    """New files stand beside the old ones until they are swapped; places are those of the new ones."""
    files = files_of(tmp_path)
    rows = [row(image=name) for name in "abc"]
    async with files:
        await append(files, rows)
    kept = []

    def keep(row: dict[str, Any], start: int, length: int) -> bool:
        if row["image"] == "b":
            return False
        kept.append((row["image"], start, length))
        return True

    places = files.rewrite(files.outputs, keep)
    assert len(list(files.rows())) == 3
    files.swap(list(places))
    text = (tmp_path / "results.jsonl").read_bytes()
    assert [json.loads(text[start : start + length])["image"] for _, start, length in kept] == ["a", "c"]
    assert places["results.jsonl"][0] == len(text)
    assert [cells[0] for cells in read((tmp_path / "results.csv").read_bytes())[1:]] == ["a", "c"]
    files.places = places
    assert files.behind() == []
    files.swap(list(places))
    assert (tmp_path / "results.jsonl").read_bytes() == text


def test_tidy(tmp_path):
    """New files that were never swapped are removed by their exact names; a user's results.xlsx.new stays."""
    for name in ("results.jsonl.new", "results.csv.new", "results.jsonl", "notes.new", "results.xlsx.new"):
        (tmp_path / name).touch()
    files_of(tmp_path).tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.new", "results.jsonl", "results.xlsx.new"]


def test_swap_takes_no_name_but_ours(tmp_path):
    """A journal, perhaps prepared by somebody, that names a file elsewhere: nothing is replaced there."""
    (tmp_path / "out").mkdir()
    for name in ("precious", "precious.new"):
        (tmp_path / name).write_text(name)
    files_of(tmp_path / "out").swap(["../precious", str(tmp_path / "precious")])
    assert [(tmp_path / name).read_text() for name in ("precious", "precious.new")] == ["precious", "precious.new"]


@pytest.mark.parametrize("stamps", ["[]", "5", "[1]", "{", b"\xff", 7])
def test_stamps_that_are_none(tmp_path, stamps):
    """A journal in which the stamps were edited makes no file trusted, and raises nothing."""
    files = files_of(tmp_path)
    files.trust(stamps)
    assert files._untouched == frozenset()


async def test_closing_on_a_full_disk(tmp_path):
    """A row that a full disk did not take is told by the append, and not told again by closing."""
    async with files_of(tmp_path) as files:
        handle = os.open("/dev/full", os.O_WRONLY)
        os.dup2(handle, files._files["results.jsonl"].fileno())
        os.close(handle)
        with pytest.raises(OSError, match="No space left"):
            await append(files, [row()])
    assert files.places["results.jsonl"] == (0, 0)


async def test_file_that_cannot_be_opened_for_writing(tmp_path):
    """A read-only file, or a folder in its place: an output that cannot be written; nothing stays open."""
    (tmp_path / "results.csv").mkdir()
    files = ResultFiles(tmp_path, list(OUTPUTS.values()), {})
    with pytest.raises(OutputFailed, match=r"results\.csv: cannot be written"):
        async with files:
            raise AssertionError("it was opened")


async def test_file_that_cannot_be_closed(tmp_path):
    """A disk that says only at the end that it is full is told too, unless more was wrong before."""
    files = ResultFiles(tmp_path, list(OUTPUTS.values()), {})

    async def use(wrong: Exception | None) -> None:
        async with files:
            os.close(files._files["results.csv"].fileno())
            if wrong is not None:
                raise wrong

    with pytest.raises(OutputFailed, match="cannot be written: Bad file descriptor"):
        await use(None)
    with pytest.raises(ResultsDamaged, match="before"):
        await use(ResultsDamaged("before"))


def test_csv_forgets():
    """The cells of labels are kept for the next row, but no number (equals look otherwise), no long text."""
    encode = CsvOutput().encode
    for calorie in (0.0, -0.0, 1.0, True, 1):
        assert f",蟹,,,{calorie}," in encode(row({"name": "蟹", "calorie": calorie})).decode()
    kept = len(csv_output._MEANINGS)
    for number in range(100):
        encode(row({"name": f"{number:0200}", "root": "a"}))
    assert len(csv_output._MEANINGS) == kept
    for number in range(5000):
        encode(row({"name": f"{number}"}))
    assert len(csv_output._MEANINGS) == csv_output._MOST_KEPT


def test_row_that_somebody_took_away(tmp_path):
    """A results.jsonl that vanishes or changes under a run ends it with the reason."""
    files = ResultFiles(tmp_path, list(OUTPUTS.values()), {})
    with pytest.raises(ResultsDamaged, match="while the run went on"):
        files.read(0, 10)
    (tmp_path / "results.jsonl").write_text("half a li")
    with pytest.raises(ResultsDamaged, match="while the run went on"):
        files.read(0, 10)
