"""failures.jsonl and summary.json: replaced whole, or not at all."""

import json
import resource
from dataclasses import fields

import pytest

from batchrec.errors import OutputFailed
from batchrec.outputs.summary import write_failures, write_summary
from batchrec.values import Summary

SUMMARY = (
    *("job", "version", "endpoint", "base", "started_at", "finished_at", "exit_code"),
    *("images", "answered", "failed", "left", "duplicates", "ignored", "ignored_by_kind", "failures_by_code"),
    *("new_failures", "calls", "throttled", "retries", "token_refreshes", "outcome_unknown", "seconds", "rate"),
    *("stopped_by", "resume_at"),
)


def test_failures(tmp_path):
    """A line for each failure, and an empty file where there is none."""
    failures = [{"image": "a\u2028.jpg", "code": 216201}, {"image": "二.jpg", "code": "torn"}]
    write_failures(tmp_path, failures)
    assert [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()] == failures
    write_failures(tmp_path, [])
    assert (tmp_path / "failures.jsonl").read_bytes() == b""


def test_summary(tmp_path):
    """The contract's keys in its order."""
    write_summary(tmp_path, Summary(images=3, answered=2, failed=1, ignored=4, stopped_by="daily_limit", exit_code=75))
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert tuple(summary) == SUMMARY
    assert [summary[key] for key in ("images", "ignored", "stopped_by", "exit_code")] == [3, 4, "daily_limit", 75]
    assert {*SUMMARY, "model_changes"} == {field.name for field in fields(Summary)}


def test_the_old_view_stays_until_the_new_one_is_whole(tmp_path):
    """A view that cannot be finished leaves the one before it."""

    def broken():
        yield {"image": "b"}
        raise OutputFailed("the journal cannot be read")

    write_failures(tmp_path, [{"image": "a"}])
    with pytest.raises(OutputFailed):
        write_failures(tmp_path, broken())
    assert (tmp_path / "failures.jsonl").read_bytes() == b'{"image":"a"}\n'


def test_place_that_cannot_be_written(tmp_path):
    """A view that cannot be put in place is an output that cannot be written."""
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OutputFailed, match=r"summary.json: cannot be written: "):
        write_summary(tmp_path, Summary(0, 0, 0, 0, 0))


def test_full_disk(tmp_path):
    """A full disk is an output that cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OutputFailed, match=r"failures.jsonl: cannot be written: File too large"):
            write_failures(tmp_path, [{"image": "a"}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_link_in_the_place_of_a_new_file(tmp_path):
    """It is removed, and where it leads nothing changes."""
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "failures.jsonl.new").symlink_to("precious")
    write_failures(tmp_path, [{"image": "a"}])
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "failures.jsonl").read_text() == '{"image":"a"}\n'
