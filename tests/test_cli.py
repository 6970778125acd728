"""The command line's own decisions: reading of values, known words, and failures."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batchrec import __main__, cli
from batchrec.command_line import help, options
from batchrec.command_line.help import GROUPS
from batchrec.command_line.told import told
from batchrec.commands import recognize, run
from batchrec.console.exit_codes import EXIT_CODES
from batchrec.errors import EXIT_ORDER, JobError, OutputFailed
from batchrec.redact import remember

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
    assert run.kinds_of_failure(None) is None
    assert run.kinds_of_failure(["transient", "image"]) == ("transient", "image")
    with pytest.raises(JobError, match="no kind"):
        run.kinds_of_failure(["transient", "often"])


def test_what_batchrec_says_has_no_secret(capsys):
    """An error's text is masked before it is printed; its exit code goes to the shell."""
    remember("very-secret-word")
    with pytest.raises(cli.typer.Exit) as end, told():
        raise OutputFailed("/very-secret-word: cannot be written")
    assert end.value.exit_code == 74
    assert capsys.readouterr().err == "/[hidden]: cannot be written\n"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, cli.typer.Abort])
def test_ctrl_c_is_130(interruption):
    """At a prompt or anywhere else."""
    with pytest.raises(cli.typer.Exit) as end, told():
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


def pages(command, name="batchrec"):
    """Name and page of help of a command and of all below it."""
    arguments = name.split()[1:]
    yield name, CliRunner().invoke(cli.app, [*arguments, "--help"]).output
    for below, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from pages(inner, f"{name} {below}")


def test_pages_of_help_are_for_people(monkeypatch):
    """No page has a Python type or a range, every option has a text, and no line is too wide."""
    monkeypatch.setenv("COLUMNS", "80")
    for name, page in pages(cli.typer.main.get_command(cli.app)):
        assert not re.search(r"<\w+>|<=|\[default", page), name
        assert [line for line in page.splitlines() if len(line) >= 80 and "Example" not in line] == [], name
        assert not re.search(r"^ +(-\w, )?--[\w-]+( \S+)?\n +-", page, re.MULTILINE), name
        assert ("Example: " in page) or name.endswith("quota"), name


def test_the_page_of_help_groups_commands_and_names_every_exit_code():
    """Commands stand in groups; exit codes and the variables of the environment stand at the end."""
    page = CliRunner().invoke(cli.app, ["--help"]).output
    headings = re.findall(r"^(\w[\w ]*):$", page, re.MULTILINE)
    assert headings == [*GROUPS, "Options", "Exit codes", "Environment"]
    assert {int(code) for code in re.findall(r"^  (\d+) ", page, re.MULTILINE)} == set(EXIT_ORDER) == set(EXIT_CODES)


def test_a_narrow_terminal_has_names_above_texts(monkeypatch):
    """At 36 columns no text is cut, and no line is wider but for an example."""
    monkeypatch.setenv("COLUMNS", "36")
    page = CliRunner().invoke(cli.app, ["run", "--help"]).output
    assert "  -n, --limit N\n      At most N images" in page
    wide = [line for line in page.splitlines() if len(line) > 36]
    assert [line for line in wide if not re.match(r"  Example|  --|Usage", line)] == []


def test_chinese_text_folds_by_columns():
    """A Chinese character takes two columns, and its punctuation never begins a line."""
    lines = help._folded("识别文件夹里的全部图片，并且每张图片只调用一次。" * 2, 20)
    assert all(help._width(line) <= 22 for line in lines)
    assert not any(line[0] in "，。" for line in lines)


@pytest.mark.parametrize(("short", "long"), [("-V", "--version"), ("-h", "--help")])
def test_short_options_are_the_long_ones(short, long):
    """-V and -h print what --version and --help print."""
    one, other = (CliRunner().invoke(cli.app, [option]) for option in (short, long))
    assert one.output == other.output
    assert one.exit_code == other.exit_code == 0


def test_quiet_and_verbose():
    """-q turns the display off; -v logs what `info` does, and never less than was asked for."""
    assert options.display(options.Progress.RICH, True) == "none"
    assert options.display(options.Progress.PLAIN, False) == "plain"
    assert options.log_level(options.LogLevel.WARNING, True) == "info"
    assert options.log_level(options.LogLevel.DEBUG, True) == "debug"
    assert options.log_level(options.LogLevel.ERROR, False) == "error"


def test_the_shell_completes_commands(tmp_path):
    """--show-completion prints a script for the shell, and what it calls completes the name of a command."""
    environ = {**os.environ, "_BATCHREC_COMPLETE": "complete_bash", "COMP_WORDS": "batchrec rec", "COMP_CWORD": "1"}
    batchrec = shutil.which("batchrec", path=str(Path(sys.executable).parent))
    ended = subprocess.run([batchrec], env=environ, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["recognize"]


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
