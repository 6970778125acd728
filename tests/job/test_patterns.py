"""Label patterns: those that explode are refused when they are loaded, and no others; labels are cut."""

import subprocess
import sys
import time

import pytest

from batchrec.errors import JobError
from batchrec.job import patterns
from batchrec.job.loading import build_job
from batchrec.job.patterns import explodes, found

EXPLODING = [
    r"(a+)+b",
    r"(a|a)*b",
    r"(a|aa)+$",
    r"^(\w+\s?)*$",
    r"foo(bar|b.r)*z",
    r"(?=(x+x+)+y)",
    r"(食+)+菜",
    r"([^食]+)+食",
    r"(?:(?:水果|水|果)+)+x",
    r".*.*.*.*.*x",
    r"(a|a)" * 26 + "b",
]
HARMLESS = [
    "",
    "食|菜|餐",
    r"^fruit",
    r"(?:食|菜)品?",
    r".*食.*菜.*",
    r"\d{2,4}年款?",
    r"(宝马|奔驰).*[0-9]系",
    r"^(?!非).*车$",
    r"(?i)apple|pear",
    r"[\u4e00-\u9fff]+",
    r"(a)(b)\1",
    r"^(食|菜)+$",
]


@pytest.mark.parametrize("pattern", EXPLODING)
def test_a_pattern_that_explodes_is_refused(pattern: str) -> None:
    """The job file is refused with the key; the search that would not end ran in a process that was ended."""
    step = {"service": "dish", "when": {"step": "advanced_general", "label": pattern}}
    with pytest.raises(JobError) as caught:
        build_job(
            {"input": {"paths": ["a"]}, "recognize": [{"service": "advanced_general"}, step]},
            "/jobs/x.toml",
        )
    (complaint,) = caught.value.complaints
    assert "recognize[1].when.label" in complaint
    assert "takes seconds or years" in complaint


@pytest.mark.parametrize("pattern", HARMLESS)
def test_a_usual_pattern_is_not_refused(pattern: str) -> None:
    """Repetitions, lookaround and references are fine as long as they end."""
    assert not explodes(pattern)


def test_alternatives_of_literals_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot explode is not tried, and what was tried is not tried again."""
    monkeypatch.setattr(sys, "executable", "/nowhere")
    for pattern in ("食|菜|餐", "", r"^fruit\b", r"a\.jpg|[abc]$"):
        assert not explodes(pattern)
    monkeypatch.setattr(subprocess, "run", None)
    assert not explodes("食|菜|餐|饭")


def test_a_process_that_cannot_be_started_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's shortage is not the pattern's fault."""
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert not explodes(r"(b+)+c")


def test_labels_are_cut() -> None:
    """The first 200 characters are looked at; what ends there ends."""
    assert found("x", "a" * 199 + "x")
    assert not found("x", "a" * 200 + "x")
    assert found("a$", "a" * 200 + "x")
    began = time.process_time()
    assert not found(r"(\w*)-(\w*)-(\w*)$", "a" * 2_000_000)
    assert time.process_time() - began < 5


def test_verdicts_are_kept_within_bounds() -> None:
    """Equal labels are judged once; a service that invents labels fills no memory."""
    patterns._found.cache_clear()
    for number in range(10_000):
        assert found(r"^\d+$", str(number))
    assert patterns._found.cache_info().currsize == patterns._KEPT_VERDICTS
    hits = patterns._found.cache_info().hits
    assert found(r"^\d+$", "9999")
    assert patterns._found.cache_info().hits == hits + 1
