"""The command line's own decisions: reading of values, known words, and failures."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from batchrec import __main__, cli
from batchrec.commands import recognize, run, tables
from batchrec.errors import JobError, OutputFailed
from batchrec.redact import remember
from batchrec.values import Summary

HEAVY = {
    "PIL",
    "aiofiles",
    "aiohttp",
    "aiolimiter",
    "asyncio",
    "filelock",
    "numpy",
    "onnx",
    "onnxruntime",
    "orjson",
    "platformdirs",
    "pybase64",
    "pydantic",
    "sqlite3",
    "uvloop",
}
"""Modules that are slow to import and that a page of help does not need."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top_num=3", ("top_num", 3)),
        ("filter_threshold=0.5", ("filter_threshold", 0.5)),
        ("output_brand=true", ("output_brand", True)),
        ("name=plain text", ("name", "plain text")),
        ('name="3"', ("name", "3")),
        ("name=a=b", ("name", "a=b")),
        ("name=", ("name", "")),
    ],
)
def test_an_option_is_toml_or_else_text(text, expected):
    """K=V: V as TOML has it where it is TOML."""
    assert recognize._pair(text) == expected


def test_an_option_without_a_value_is_refused():
    """The complaint shows how it is written."""
    with pytest.raises(JobError, match="K=V"):
        recognize._pair("top_num")


def test_kinds_of_failures_are_those_of_the_contract():
    """--retry-kind knows every kind, several at once, and no other word."""
    assert run._kinds(None) is None
    assert run._kinds(["transient", "image"]) == ("transient", "image")
    with pytest.raises(JobError, match="no kind"):
        run._kinds(["transient", "often"])


def test_the_last_line_tells_why_it_stopped_and_when_to_go_on(tmp_path):
    """A run that is limited says so, with the time to run again."""
    summary = Summary(
        images=1200,
        answered=1000,
        failed=0,
        left=200,
        duplicates=0,
        ignored=0,
        calls=1000,
        seconds=60.04,
        stopped_by="daily_limit",
        resume_at="2026-11-24T00:00:00+08:00",
    )
    assert tables.ended(summary, tmp_path) == (
        "1,200 images: 1,000 answered, 0 failed; 200 images remain; 1,000 calls in 60.0 s; stopped by daily_limit; "
        "run again after 2026-11-24T00:00:00+08:00",
        str(tmp_path),
    )


def test_what_batchrec_says_has_no_secret(capsys):
    """An error's text is masked before it is printed; its exit code goes to the shell."""
    remember("very-secret-word")
    with pytest.raises(cli.typer.Exit) as end, cli._told():
        raise OutputFailed("/very-secret-word: cannot be written")
    assert end.value.exit_code == 74
    assert capsys.readouterr().err == "/[hidden]: cannot be written\n"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, cli.typer.Abort])
def test_ctrl_c_is_130(interruption):
    """At a prompt or anywhere else."""
    with pytest.raises(cli.typer.Exit) as end, cli._told():
        raise interruption
    assert end.value.exit_code == 130


def test_ctrl_c_while_importing_is_130_too(monkeypatch):
    """Nobody sees a traceback for a key pressed early."""

    def app():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 130


def test_a_defect_is_70_without_secrets(monkeypatch, capsys):
    """An unforeseen error shows its traceback, masked, and asks to be reported."""
    remember("very-secret-word")

    def app():
        raise RuntimeError("very-secret-word")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    shown = capsys.readouterr().err
    assert end.value.code == 70
    assert "RuntimeError: [hidden]" in shown
    assert "Please report" in shown


@pytest.mark.parametrize("name", cli.LATER)
def test_later_commands_say_so_in_their_help(name):
    """Commands that are still to come are listed as such."""
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0
    assert "Not in this version yet" in result.output


@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "run --help", "recognize --help", "quota --help", "quota set --help"]
)
def test_help_imports_what_it_shows_and_no_more(arguments):
    """`--help` is immediate: no import for the sake of a command alone, nor typer's own validation."""
    command = [sys.executable, "-X", "importtime", "-m", "batchrec", *arguments.split()]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert {"batchrec", "typer"} <= imported
    assert imported & HEAVY == set()
