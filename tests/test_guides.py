"""Tutorial and how-to pages: every command in them is run, and the outputs that they show are real."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.acceptance.terminal import on_terminal
from tests.test_docs import ROOT, blocks, emulator, environ, lasting, ran

SETUP = {
    "tutorial.md": (),
    "questions.md": ("batchrec init jobs/photos/动物 --embedded", "batchrec run job.toml --quiet"),
    "phone-images.md": (),
    "accounts.md": (),
    "resuming.md": (),
    "exactly-once.md": ("batchrec run jobs/demo.toml --quiet",),
    "cost.md": (),
}
"""Pages whose commands are run, with what a reader has done before."""

VARYING = r"\d{4}-\d\d-\d\d \d\d:\d\d|in (\d+ h )?\d+ min|\d\d:\d\d here| · last: .*"
"""Times, durations and the image that happens to be the last one."""

ASIDE = r": exit code|batchrec \d"
"""Lines for a log, which a terminal does not show."""

PROGRESS = r"\w+ \d+/\d+[, ]"
"""A line of progress: a slow machine prints several, and the last one counts."""

KEYS = (("API Key", "key-of-a-reader\r"), ("Secret Key", "secret-of-a-reader\r"))
"""Prompts of `batchrec login`, and what is typed."""


def runs(page):
    """Commands of a page in order: lines, whether they need an account, and the output shown or None."""
    found, outputs = [], {}
    for language, text, mark in blocks(f"docs/en/{page}"):
        kind, _, name = (mark or "").partition(": ")
        if language == "sh":
            found.append((re.sub(r"\\\n", "", text).splitlines(), kind == "account", name))
        elif kind == "output":
            outputs[name] = text
    return [(lines, account, outputs.get(name)) for lines, account, name in found]


def typed(line, place, variables):
    """The output of a command line, which ends with the exit code that its comment names, else 0."""
    code = re.search(r"# exit code (\d+)", line)
    if line.startswith("batchrec login"):
        argv = [str(Path(sys.executable).with_name("batchrec")), *line.split()[1:]]
        done, output = on_terminal(argv, place, environ(place, **variables), KEYS)
    else:
        done, output = ran(f"exec 2>&1; {line}", place, **variables)
    assert done == (int(code[1]) if code else 0), f"{line}\n{output}"
    return output.replace(str(place.resolve()), "…")


def steady(text):
    """An output without what differs between two runs."""
    lines = [lasting(re.sub(VARYING, "~", each)) for each in text.splitlines() if not re.search(ASIDE, each)]
    return [
        each
        for each, after in zip(lines, [*lines[1:], ""], strict=True)
        if not (re.match(PROGRESS, str(each)) and re.match(PROGRESS, str(after)))
    ]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The address of an emulator that stands for Baidu."""
    with emulator(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
@pytest.mark.parametrize("page", SETUP)
def test_commands_of_a_guide_run(page, service, tmp_path):
    """From top to bottom in a clone: each with the exit code and the output that the page says."""
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("results"))
    for line in SETUP[page]:
        typed(line, tmp_path, {})
    for lines, account, shown in runs(page):
        variables = {"BATCHREC_ENDPOINT": service} if account else {}
        output = "".join(typed(line, tmp_path, variables) for line in lines)
        if shown is not None:
            assert steady(output) == steady(shown)
