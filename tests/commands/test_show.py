"""`batchrec show`: results in the terminal, by the real command line on synthetic directories."""

import csv
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from ..support.synthetic import write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images and the results of 400 calls."""
    folder = tmp_path_factory.mktemp("made")
    write(folder, 400, images=True)
    return folder


@pytest.fixture(scope="module")
def all_rows(made):
    """Its rows, in the order of completion."""
    return [json.loads(line) for line in (made / "results/results.jsonl").read_text("utf-8").splitlines()]


def show(made, *arguments):
    """Run the command on the output directory."""
    return subprocess.run(
        [sys.executable, "-m", "batchrec", "show", str(made / "results"), *arguments], capture_output=True
    )


def shown(made, *arguments):
    """The rows that `--json` prints."""
    done = show(made, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def top(row):
    """The score of the top label."""
    return row["labels"][0]["score"] if row["labels"] else None


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), lambda row: True),
        (("--step", "objects"), lambda row: row["step"] == "objects"),
        (("--label", "猫|锤子"), lambda row: any(label["name"] in ("猫", "锤子") for label in row["labels"])),
        (("--label", "^猫$"), lambda row: any(label["name"] == "猫" for label in row["labels"])),
        (("--label", "鸟类"), lambda row: any("鸟类" in label.get("root", "") for label in row["labels"])),
        (("--not-label", "猫"), lambda row: all(label["name"] != "猫" for label in row["labels"])),
        (("--label", "[猫狗]"), lambda row: any(label["name"] in ("猫", "狗") for label in row["labels"])),
        (("--not-label", "猫|[狗]"), lambda row: not {"猫", "狗", "小熊猫"} & {x["name"] for x in row["labels"]}),
        (("--min-score", "0.9"), lambda row: (top(row) or 0) >= 0.9),
        (("--max-score", "0.3"), lambda row: (top(row) or 1) <= 0.3),
        (
            ("--label", "猫", "--min-score", "0.2"),
            lambda row: any("猫" in label["name"] and label["score"] >= 0.2 for label in row["labels"]),
        ),
        (("--label", "没有这个"), lambda row: False),
    ],
)
def test_filters_choose_the_rows_that_parsing_all_of_them_would(made, all_rows, arguments, wanted):
    """The same rows to the byte, in the order of the inputs."""
    expected = sorted(filter(wanted, all_rows), key=lambda row: (row["image"].split("/")[-1], row["step"]))
    assert shown(made, *arguments) == expected


def test_best_scores_first(made, all_rows):
    """`--sort score` with and without a limit; rows without a score come last."""
    scores = [top(row) for row in shown(made, "--sort", "score")]
    assert scores == sorted((top(row) for row in all_rows), key=lambda score: -(score or 0))
    assert [top(row) for row in shown(made, "--sort", "score", "--step", "objects", "--limit", "5")] == scores[:10:2]


def test_limit_counts_images(made):
    """Of two images the rows of both steps."""
    rows = shown(made, "--limit", "2")
    assert [(row["image"][-5], row["step"]) for row in rows] == [
        (number, step) for number in "01" for step in ("advanced_general", "objects")
    ]


def test_table_has_a_row_an_image(made, all_rows):
    """Header, forty images, a column a step; the notice on standard error says how to see all."""
    done = show(made)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["image", "advanced_general", "objects"]
    assert len(lines) == 41
    assert re.match(r"photos/动物/0000000\.jpg +猫 0\.\d\d, .* 猫 0\.\d\d, ", lines[1])
    assert b"\x1b" not in done.stdout
    assert "40 images shown; 400 results in all; --limit 0 shows all" in done.stderr.decode()
    wanted = sum((top(row) or 0) >= 0.2 for row in all_rows)
    done = show(made, "--min-score", "0.2")
    assert f"40 images shown; {wanted} results in all; --limit 0 shows all" in done.stderr.decode()
    assert len(show(made, "--limit", "0").stdout.decode().splitlines()) == 201


def test_failures(made):
    """The rows of failures.jsonl, as JSON, and as a table with code and message."""
    assert shown(made, "--failed") == [
        json.loads(line) for line in (made / "results/failures.jsonl").read_text("utf-8").splitlines()
    ]
    table = show(made, "--failed", "--step", "objects").stdout.decode().splitlines()
    assert table[0].split() == ["image", "step", "code", "message"]
    assert table[1].split()[1:3] == ["objects", "216201"]


def test_csv(made):
    """A row an image and step, with the top label; Excel's byte order mark and line ends."""
    text = show(made, "--csv", "--label", "锤子").stdout
    assert text.startswith(b"\xef\xbb\xbfimage,")
    assert text.count(b"\r\n") == text.count(b"\n")
    rows = list(csv.DictReader(text.decode("utf-8-sig").splitlines()))
    assert {row["root"] for row in rows if row["step"] == "advanced_general"} == {"商品-五金工具"}
    assert all(0 < float(row["score"]) < 1 and row["error"] == "" for row in rows)
    failed = list(csv.DictReader(show(made, "--csv", "--failed").stdout.decode("utf-8-sig").splitlines()))
    assert {row["error"] for row in failed} == {"216201", "too_small"}


def test_paths_for_xargs(made):
    """Each image once, as an absolute path that exists."""
    paths = show(made, "--paths0", "--label", "扳手").stdout.decode().split("\0")
    assert paths.pop() == ""
    assert len(paths) == len(set(paths)) > 10
    assert all(os.path.isabs(path) and os.path.isfile(path) for path in paths)


def test_links_never_overwrite(made, tmp_path):
    """Links to the images; a file of another's stays, and a second time nothing is made."""
    folder = tmp_path / "cats"
    folder.mkdir()
    (folder / "0000000.jpg").write_text("mine")
    first = show(made, "--label", "^猫$", "--step", "objects", "--link-to", str(folder))
    assert first.returncode == 0, first.stderr
    names = sorted(path.name for path in folder.iterdir())
    assert (folder / "0000000.jpg").read_text() == "mine"
    assert (folder / "0000000-2.jpg").samefile(made / "photos/动物/0000000.jpg")
    again = show(made, "--label", "^猫$", "--step", "objects", "--link-to", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == names
    assert f"{len(names) - 1} were there already" in again.stderr.decode()


def test_links_of_a_terminal(made):
    """On a terminal a name is an OSC 8 link to its file, and lines fit."""
    parent, child = pty.openpty()
    environ = {**os.environ, "COLUMNS": "60", "LINES": "30", "TERM": "xterm"}
    command = [sys.executable, "-m", "batchrec", "show", str(made / "results"), "--limit", "3"]
    process = subprocess.Popen(command, stdout=child, stderr=subprocess.DEVNULL, env=environ)
    os.close(child)
    text = b""
    try:
        while block := os.read(parent, 65536):
            text += block
    except OSError:  # Linux says so when the other end is closed
        pass
    assert process.wait() == 0
    said = text.decode()
    address = (made / "photos/动物/0000000.jpg").as_uri()
    assert f"\x1b]8;;{address}\x1b\\" in said
    plain = re.sub(r"\x1b\]8;;.*?\x1b\\", "", said)
    assert "\x1b" not in plain
    assert max(len(line) for line in plain.splitlines()) <= 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "("), "--label: '(' is no regular expression"),
        (("--step", "x"), "--step: the job has no step 'x'; expected one of: advanced_general, objects"),
        (("--failed", "--label", "x"), "--failed: failures have no labels"),
        (("--failed", "--sort", "score"), "--sort score: failures have no scores"),
        (("--json", "--csv"), "--json, --csv: choose one of them"),
        (("--min-score", "2"), "expected a score from 0 to 1"),
    ],
)
def test_2_wrong_options(made, arguments, message):
    """Exit code 2, and what there is instead."""
    done = show(made, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode()


def test_2_no_output_directory(tmp_path):
    """A folder without a journal is named."""
    done = subprocess.run([sys.executable, "-m", "batchrec", "show", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected the output directory of a job" in done.stderr


def test_an_expression_that_is_no_text(made):
    """Bytes of another encoding than the terminal's: no label is such, and nothing ends with a defect."""
    none, all_rows = (show(made, "--json", option, b"\xb9\xb7") for option in ("--label", "--not-label"))
    assert (none.returncode, none.stdout) == (0, b"")
    assert (all_rows.returncode, all_rows.stdout.count(b"\n")) == (0, 400)


def test_nothing_matches(made):
    """Exit code 0, no output, and a line that says so."""
    done = show(made, "--label", "没有这个")
    assert (done.returncode, done.stdout) == (0, b"")
    assert "no result matches" in done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "results"),
        ("show", "results", "--json"),
        ("status", "results"),
        ("compare", "results", "results", "--json"),
        ("export", "results", "--to", "coco"),
        ("errors",),
        ("--help",),
    ],
)
def test_a_reader_that_has_gone_is_no_error(made, tmp_path, arguments):
    """As `| head` ends it: exit code 0, and nothing on standard error about it."""
    reading, writing = os.pipe()
    os.close(reading)
    environ = {**os.environ, "BATCHREC_STATE_DIR": str(tmp_path / "s"), "BATCHREC_CONFIG_DIR": str(tmp_path / "c")}
    done = subprocess.run(
        [sys.executable, "-m", "batchrec", *arguments], cwd=made, stdout=writing, stderr=subprocess.PIPE, env=environ
    )
    os.close(writing)
    said = done.stderr.decode()
    assert (done.returncode, "Traceback" in said, "roken pipe" in said) == (0, False, False), said
