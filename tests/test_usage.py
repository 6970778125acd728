"""Complaints about a command line that cannot be read: in our words, none of Click's or pydantic's."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from batchrec.cli import app

FOREIGN = ("Usage: ", "Try '", "Error: ", "Invalid value", "Input should", "unexpected extra", "No such", "Traceback")
"""Texts of Click, Typer and pydantic."""

LINES = (
    (("run",), "batchrec run: JOB.toml is missing"),
    (("export", "x"), "batchrec export: --to is missing"),
    (("run", "a.toml", "--limit", "x"), 'batchrec run: --limit: expected a whole number, found "x"'),
    (("run", "a.toml", "-n", "0"), 'batchrec run: --limit: expected at least 1, found "0"'),
    (("emulator", "--port", "70000"), 'batchrec emulator: --port: expected at most 65,535, found "70000"'),
    (("emulator", "--latency", "-1"), 'batchrec emulator: --latency: expected at least 0, found "-1"'),
    (("recognize", "a", "--qps", "nan"), 'batchrec recognize: --qps: expected a number, found "nan"'),
    (
        ("run", "--progress", "foo", "a.toml"),
        'batchrec run: --progress: expected auto, rich, plain or none, found "foo"',
    ),
    (("run", "a.toml", "--shard-size", "x"), 'batchrec run: --shard-size: expected a whole number, found "x"'),
    (("dataset", "upload", "x", "--qps", "0"), 'batchrec dataset upload: --qps: expected at least 0.01, found "0"'),
    (("dataset", "upload", "x", "--qps", "2e3"), 'batchrec dataset upload: --qps: expected at most 1,000, found "2e3"'),
    (("dataset", "check", "x", "--type", "y"), '--type: expected classification or detection, found "y"'),
    (("dataset", "from-results", "x", "--unsure", "0"), '--unsure: expected at least 1, found "0"'),
    (("show", "x", "--sort", "name"), 'batchrec show: --sort: expected score, found "name"'),
    (("show", "x", "--min-score"), "batchrec show: --min-score needs a value: --min-score X"),
    (("show", "x", "-n"), "batchrec show: -n needs a value: -n N"),
    (("run", "a.toml", "--yes=3"), "batchrec run: --yes takes no value"),
    (("run", "a.toml", "--retry-fail"), 'batchrec run: no option --retry-fail; did you mean "--retry-failed"?'),
    (("run", "a.toml", "-xq"), "batchrec run: no option -x"),
    (("run", "a.toml", "--qps", "9"), "no option --qps; a key of the job file is changed by --set limits.qps=VALUE"),
    (("--limit", "3", "run", "a.toml"), "it stands behind the name of its command: batchrec run … --limit"),
    (("run", "a.toml", "b.toml"), 'batchrec run: "b.toml" is one argument too many'),
    (("run", "a.toml", "—limit", "3"), 'batchrec run: "—limit" is typed with other dashes or letters than --limit'),
    (("run", "a.toml", "－－ｌｉｍｉｔ=3"), "is typed with other dashes or letters than --limit"),
    (("run", "a.toml", "–n", "3"), "is typed with other dashes or letters than -n"),
    (("runn",), 'batchrec: no command "runn"; did you mean "run"?'),
    (("run　a.toml",), 'no command "run　a.toml"; did you mean "run"?'),
    (("quota", "sett"), 'batchrec quota: no command "sett"; did you mean "set"?'),
    (("quota", "xyzzy"), 'batchrec quota: no command "xyzzy"; there are: set, open'),
    (("a.toml", "-q"), "this runs a job file: batchrec run a.toml -q"),
    (("photos",), "a file or folder stands behind its command: batchrec init photos"),
    (("photos/a.jpg",), "a file or folder stands behind its command: batchrec recognize photos/a.jpg"),
    (("--",), "batchrec: the name of a command is missing"),
)


@pytest.mark.parametrize(("arguments", "complaint"), LINES)
def test_a_complaint_names_what_was_typed_and_what_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    """Exit code 2, the complaint on standard error in one line, and a line that shows the usage."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    done = CliRunner().invoke(app, arguments, prog_name="batchrec")
    first, second = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in first
    assert second.startswith("usage: batchrec")
    assert not [text for text in FOREIGN if text in done.stderr]


def test_a_group_without_a_command_shows_its_help() -> None:
    """`batchrec dataset` alone: the page of help."""
    done = CliRunner().invoke(app, ["dataset"], prog_name="batchrec")
    assert "Usage: batchrec dataset COMMAND" in done.output


def test_words_of_an_option_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shell completion offers the words that --progress takes."""
    environ = {"_BATCHREC_COMPLETE": "complete_bash", "COMP_WORDS": "batchrec run --progress ", "COMP_CWORD": "3"}
    done = CliRunner().invoke(app, [], prog_name="batchrec", env=environ)
    assert done.stdout.split() == ["auto", "rich", "plain", "none"]
