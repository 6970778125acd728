"""Job files with a mistake in the TOML, and the lines of keys in complaints."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchrec.errors import JobError
from batchrec.job.lines import line_of, lines_of
from batchrec.job.loading import load_job, output_directory
from batchrec.job.spec import template


def complaints(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError) as caught:
        load_job(path, environ={})
    return [line.replace(str(path), path.name) for line in caught.value.complaints]


@pytest.mark.parametrize(
    ("text", "place", "caret", "hint"),
    [
        ("a = 1\npaths = [“x”]\n", "line 2, column 10", "“", '“ is Chinese punctuation; TOML takes "'),
        ("name = ‘x’\n", "line 1, column 8", "‘", "TOML takes '"),
        ('name = "x”\n', "line 1, column 10", "”", 'TOML takes "'),
        ('paths = ["家"，"b"]\n', "line 1, column 13", "，", "TOML takes ,"),
        ('name："x"\n', "line 1, column 5", "：", "TOML takes ="),
        ("qps ＝ 2\n", "line 1, column 5", "＝", "TOML takes ="),
        ("【input】\n", "line 1, column 1", "【", "TOML takes ["),
        ('paths = （"a"）\n', "line 1, column 9", "（", "TOML takes ["),
        ('paths = "C:\\photos"\n', "line 1, column 12", "\\", "write '…', or / in place of each backslash"),
        ('name = "x\nb = 2\n', "line 1, column 10", None, "closing quotation mark"),
        ('paths = ["a" "b"]\n', "line 1, column 14", '"', "a comma between its entries"),
        ('paths = ["a"\n[limits]\n', "line 2, column 1", "[", "A list ends with ]"),
        ("a = 1\na = 2\n", "line 2, column 6", None, "a stands in line 1 already"),
        ("[input]\n[limits]\n[input]\n", "line 3, column 7", None, "[input] stands in line 1 already"),
        ("[recognize]\n[recognize]\n", "line 2, column 11", None, "each step begins with [[recognize]]"),
        ("service = dish\n", "line 1, column 11", "d", 'Text stands in quotes: "dish"'),
        ("repair = True\n", "line 1, column 10", "T", "small letters"),
        ('service: "dish"\n', "line 1, column 8", ":", "in place of the colon"),
        ("total = 10,000\n", "line 1, column 11", ",", "a number has no commas"),
        ("qps =\n", "line 1, column 6", None, "A value is missing"),
    ],
)
def test_a_mistake_is_shown_with_a_caret_and_a_hint(tmp_path, text, place, caret, hint):
    """The place, the line, a caret below the sign, and a hint to mend it."""
    first, line, below, told = complaints(tmp_path / "x.toml", text)
    assert first.startswith(f"x.toml: {place}: ")
    with pytest.raises(tomllib.TOMLDecodeError) as theirs:
        tomllib.loads(text)
    assert str(theirs.value).partition(" (at")[0] not in first
    number = int(place.split()[1].rstrip(","))
    assert line == f"    {number} | {text.splitlines()[number - 1]}"
    assert below.strip().strip("|").strip() == "^"
    column = int(place.rpartition(" ")[2])
    if caret is not None:
        assert text.splitlines()[number - 1][column - 1] == caret
    assert hint in told


def test_an_unclosed_bracket_at_the_end(tmp_path):
    """The file ends within a list: the place is its end."""
    first, *_others, told = complaints(tmp_path / "x.toml", "a = [1,")
    assert first.startswith("x.toml: end of document: ")
    assert "bracket" in told or "]" in told


def test_the_caret_counts_columns_of_the_terminal(tmp_path):
    """A Chinese character before the mistake takes two columns."""
    _first, line, below, _told = complaints(tmp_path / "x.toml", 'paths = ["家居"，"b"]\n')
    before = line[: line.index("，")]
    assert below.index("^") == len(before) + 2


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "hush”',
        "api_key = hush",
        'x = { api_key = "hush” }',
        "secret_key = hush”",
        'x = "bce-v3/hush”',
        'y = "a:hush@b”',
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_shown(tmp_path, line):
    """The place is told, the line is not."""
    assert "hush" not in "\n".join(complaints(tmp_path / "x.toml", f"{line}\n"))


def test_complaints_name_lines(tmp_path):
    """An unknown key, a wrong value, a missing key and an entry of a list each come with their line."""
    text = """[input]
paths = [
  "a",
  "b",
  7,
]
# a comment with [brackets] and "quotes
[[recognize]]
service = "dish"

[[recognize]]
options = { top_num = 1 }
[limits]
qsp = 1
"""
    found = complaints(tmp_path / "x.toml", text)
    assert [line.split(": ")[1:3] for line in found] == [
        ["line 5", "input.paths[2]"],
        ["line 11", "recognize[1].service"],
        ["line 14", "limits.qsp"],
    ]


def test_lines_of_everything_that_toml_has():
    """Quoted and dotted keys, strings of four kinds, tables in lists, lists over several lines."""
    text = '''a."b c".d = """
x = 1
"""
[t.'u']
k = 'a # b' # ] }
m = [ { p = 1 }, # one
  { p = [ "]", 2 ] } ]
[[r]]
[[r.s]]
z = \'\'\'
'\'\'\'\'
[r.s.t]
w = 1979-05-27T07:32:00Z
'''
    lines = lines_of(text)
    assert tomllib.loads(text)
    expected = {
        ("a", "b c", "d"): 1,
        ("t", "u"): 4,
        ("t", "u", "k"): 5,
        ("t", "u", "m", 0, "p"): 6,
        ("t", "u", "m", 1, "p"): 7,
        ("r", 0): 8,
        ("r", 0, "s", 0, "z"): 10,
        ("r", 0, "s", 0, "t", "w"): 13,
    }
    assert {loc: lines.get(loc) for loc in expected} == expected
    assert line_of(("r", 0, "s", 0, "nothing"), lines) == 9
    assert line_of(("nothing",), lines) is None


def test_lines_of_the_template():
    """Every key of the template is found, on its own line."""
    lines, text = lines_of(template()), template().splitlines()
    for table, keys in tomllib.loads(template()).items():
        for key in keys[0] if isinstance(keys, list) else keys:
            loc = (table, 0, key) if isinstance(keys, list) else (table, key)
            assert text[lines[loc] - 1].startswith(f"{key} = ")


@given(st.text(alphabet="a.=[]{}\"'\\\n ,#1“", max_size=40))
@example('"\\1"')
def test_the_scanner_never_fails(text):
    """Whatever the text, there are lines or none, and a syntax error has its complaint."""
    lines_of(text)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cat photo.jpg", "batchrec recognize 'cat photo.jpg'"),
        ("images.csv", "batchrec init images.csv"),
    ],
)
def test_another_file_in_place_of_a_job_file(tmp_path, monkeypatch, name, says):
    """An image or a list is named as such, with the line to type."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"\xff\xd8\xff\xe0" if name.endswith("jpg") else b"path\na.jpg\n")
    with pytest.raises(JobError) as caught:
        load_job(name, environ={})
    assert caught.value.complaints[0].endswith(says)


def test_a_file_in_place_of_an_output_directory(tmp_path):
    """A results file is neither a directory nor a job file."""
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(JobError, match="is a file; expected an output directory or a job file"):
        output_directory(tmp_path / "results.jsonl")


def test_a_job_file_with_complaints_says_so_to_every_command(tmp_path):
    """A command that takes a job file in place of its directory tells its complaints."""
    (tmp_path / "x.toml").write_text("[input]\npaths = 7\n")
    with pytest.raises(JobError, match=r"line 2: input\.paths: 7 is not a list"):
        output_directory(tmp_path / "x.toml")
