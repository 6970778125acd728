"""Results as their readers see them, from directories that the command line made."""

import json
from pathlib import Path

import pytest

from batchrec.commands.demo import run_demo
from batchrec.errors import JobError, ResultsDamaged
from batchrec.job.loading import output_directory
from batchrec.journal.results import results_of


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demo's folder."""
    folder = tmp_path_factory.mktemp("demo")
    assert run_demo(folder, "none") == 0
    return folder


def test_rows_base_and_steps(demo):
    """Every row once; images are found below `base`."""
    directory = output_directory(demo / "demo.toml")
    with results_of(directory) as results:
        rows = list(results.rows())
        assert results.name == "demo"
        assert {row["step"] for row in rows} <= set(results.steps)
        assert all((results.base / row["image"]).is_file() for row in rows)
        assert list(results.failures()) == []
    assert [json.dumps(row) for row in rows] == [
        json.dumps(json.loads(line)) for line in (directory / "results.jsonl").read_text("utf-8").splitlines()
    ]


def test_uncommitted_bytes_are_left_out(demo):
    """Bytes behind the committed length are no row; a shorter file is damaged."""
    directory = output_directory(demo / "demo.toml")
    path = directory / "results.jsonl"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole + b'{"image": "x"')
        with results_of(directory) as results:
            assert b"".join(results.lines()) == whole
        path.write_bytes(whole[:-1])
        with results_of(directory) as results, pytest.raises(ResultsDamaged, match="were committed"):
            list(results.lines())
    finally:
        path.write_bytes(whole)


def test_no_output_directory(tmp_path):
    """A folder without a journal is named."""
    with pytest.raises(JobError, match="expected the output directory of a job"), results_of(tmp_path):
        pass
