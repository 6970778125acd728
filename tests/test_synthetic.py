"""Synthetic output directories are those of real jobs, as far as the commands can tell."""

import json
import subprocess
import sys

import pytest

from batchrec.journal.results import results_of

from .support.synthetic import write


def batchrec(*arguments):
    """Run a command line to its end."""
    return subprocess.run([sys.executable, "-m", "batchrec", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(("rows", "images"), [(1, False), (2001, False), (40, True)])
def test_directory_is_consistent(tmp_path, rows, images):
    """`verify` finds nothing wrong; with files their digests agree as well."""
    directory = write(tmp_path / "made", rows, images=images)
    with results_of(directory) as results:
        assert sum(1 for _ in results.rows()) == rows
        assert results.steps == ("advanced_general", "objects")
    done = batchrec("verify", *([] if images else ["--quick"]), str(directory))
    assert (done.returncode, "all agrees" in done.stdout) == (0, True), done.stdout


def test_rows_have_the_keys_of_real_ones(tmp_path):
    """Keys and their order are those of a row that a run writes."""
    batchrec("demo", str(tmp_path / "demo"), "--progress", "none")
    files = (tmp_path / "demo/results/demo/results.jsonl", write(tmp_path / "made", 10) / "results.jsonl")
    real, made = (json.loads(file.read_text("utf-8").splitlines()[0]) for file in files)
    assert [*made] == [*real]
    assert [*made["labels"][0]] == [*real["labels"][0]]
    assert type(made["response"]["log_id"]) is int
