"""The benchmarks run: tiny, without the extra `bench`, and without assertions on times."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchrec import images
from batchrec.api.services import SERVICES
from batchrec.values import Treatment
from benchmarks.__main__ import BENCHMARKS
from benchmarks.against import interval
from benchmarks.clients import CLIENTS
from benchmarks.cluster import recovery
from benchmarks.fast_service import serving
from benchmarks.pictures import files, made
from benchmarks.process import ROOT
from benchmarks.stages import OURS
from benchmarks.tables import Table, spread
from benchmarks.throughput import CEILING

_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?( \[-?[\d,.]+--?[\d,.]+\])?%?")


def quick(name: str, into: Path) -> list[dict[str, str]]:
    """The rows of a benchmark's tables as it writes them, by their columns."""
    command = [sys.executable, "-m", "benchmarks", "--quick", name, "--into", str(into)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return rows((into / f"{name}.md").read_text(encoding="utf-8"))


def rows(page: str) -> list[dict[str, str]]:
    """Every row of every Markdown table of a page."""
    found: list[dict[str, str]] = []
    columns: list[str] = []
    for line in page.splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
        elif not set(line) <= set("|- "):
            found.append(dict(zip(columns, cells, strict=True)))
    return found


def numeric(row: dict[str, str], *columns: str) -> bool:
    """Whether these cells hold figures."""
    return all(_NUMBER.fullmatch(row[column]) for column in columns)


def test_throughput_shows_every_client(tmp_path: Path) -> None:
    """Each has a row with figures, or is said to be missing."""
    seen = quick("throughput", tmp_path)
    for title in ("batchrec", *(client.title for client in CLIENTS.values())):
        row = next(row for row in seen if row.get("client") == title)
        assert row["images"].startswith("not installed") or numeric(row, "images", "images/s", "CPU us/image")
    assert numeric(next(row for row in seen if "rate to bare" in row), "batchrec images/s", "CPU over bare, us")
    assert not CLIENTS[CEILING].missing


def test_overhead_shows_every_stage(tmp_path: Path) -> None:
    """Each function that is measured is still there, and was called."""
    seen = {row["stage"]: row for row in quick("overhead", tmp_path)}
    assert "Not found" not in (tmp_path / "overhead.md").read_text(encoding="utf-8")
    for stage in OURS:
        assert numeric(seen[stage], "batchrec", "calls of batchrec's an image")
        assert float(seen[stage]["calls of batchrec's an image"]) > 0
    assert numeric(seen["journal and outputs together"], "batchrec")


def test_scale_counts_what_is_on_the_disk(tmp_path: Path) -> None:
    """Time, memory and bytes, a row each."""
    times, memory, disk = quick("scale", tmp_path)
    assert numeric(times, *times)
    assert numeric(memory, *memory)
    assert numeric(disk, *disk)
    assert disk["results.jsonl"] != "0"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("prepare", "CPU ms/image"),
        ("plan", "CPU us/file"),
        ("startup", "CPU ms"),
        ("quota", "us a call, alone"),
        ("photographs", "CPU ms"),
    ],
)
def test_the_others_have_figures(tmp_path: Path, name: str, column: str) -> None:
    """At least one table with a row for everything that it measures."""
    found = [row for row in quick(name, tmp_path) if column in row]
    assert found
    assert all(numeric(row, column) for row in found)


def test_uplink_counts_calls_and_the_link(tmp_path: Path) -> None:
    """One call for each image, at both rates."""
    seen = quick("uplink", tmp_path)
    assert [row["qps"] for row in seen] == ["10", "1,000"]
    for row in seen:
        assert row["calls received"] == row["answered"] == row["images"]
        assert numeric(row, "link used", "seconds", "peak MB")
        assert row["ended by itself"] == "yes"


def test_another_commit_is_measured_in_pairs(tmp_path: Path) -> None:
    """Each workload has a median ratio with an interval; the other commit's batchrec is really run."""
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".*", "results", "__pycache__", "tests", "docs")
    shutil.copytree(ROOT, clone, ignore=ignored)
    git(clone, "init", "-q")
    git(clone, "add", "batchrec")
    git(clone, *AS_SOMEBODY, "commit", "-qm", "all")
    (clone / "batchrec" / "__init__.py").write_text("import time\ntime.sleep(0)\nsum(range(30_000_000))\n")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--against", "HEAD", "startup", "--into", str(tmp_path)]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = {row["what"]: row for row in rows((tmp_path / "against.md").read_text(encoding="utf-8"))}
    assert len(seen) == 3
    row = seen['python -c "import batchrec"']
    assert row["pairs"] == "2"
    assert float(row["median ratio"]) > 1.5
    assert re.fullmatch(r"\d+\.\d{3}-\d+\.\d{3} \(50%\)", row["interval"])


AS_SOMEBODY = ("-c", "user.name=t", "-c", "user.email=t@example.com")


def git(folder: Path, *arguments: str) -> None:
    """Run git there, without the settings of whoever runs the tests."""
    environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, env=environ)


@pytest.mark.parametrize(
    ("arguments", "word"), [(("no-such-commit",), "no-such-commit"), (("HEAD", "scale"), "not scale")]
)
def test_nothing_else_is_measured_against_a_commit(tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    """A commit that is none and a benchmark without pairs are refused before anything is measured."""
    command = [sys.executable, "-m", "benchmarks", "--into", str(tmp_path), "--against", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "bounds", "confidence"),
    [(1, (0, 0), 0.0), (2, (0, 1), 0.5), (6, (0, 5), 0.969), (9, (1, 7), 0.961), (25, (7, 17), 0.957)],
)
def test_interval_of_a_median(count: int, bounds: tuple[int, int], confidence: float) -> None:
    """As tables of order statistics have it (David and Nagaraja, 2003, section 7.1)."""
    low, high, share = interval([float(value) for value in range(count)])
    assert (low, high) == bounds
    assert share == pytest.approx(confidence, abs=0.001)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    """Before anything is measured."""
    command = [sys.executable, "-m", "benchmarks", "nonsense", "--into", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_is_explained() -> None:
    """Each has a section in the folder's README that names its tables."""
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for name in BENCHMARKS:
        assert f"results/{name}.md" in text


@pytest.mark.parametrize("size", [1000, 20_000, 100_000])
def test_pictures_are_distinct_and_need_no_repair(tmp_path: Path, size: int) -> None:
    """Of the wanted size, to the byte."""
    contents = {Path(path).read_bytes() for path in files(made(tmp_path, size, 5))}
    limits = SERVICES["advanced_general"].limits
    assert len(contents) == 5
    for content in contents:
        assert len(content) == size
        assert images.as_it_is(content, limits, Treatment(upright=True)) is not None


def test_the_fast_service_counts_what_it_answers() -> None:
    """Control requests are no calls."""
    with serving() as service:
        service.forget()
        assert service.seen().calls == 0


def test_table_in_markdown() -> None:
    """A title, aligned columns, and notes below."""
    table = Table("things", ("name", "us"), notes="Told.")
    table.add("a", spread([3, 1, 2]))
    assert table.markdown() == "## things\n\n| name | us      |\n| ---- | ------- |\n| a    | 2 [1-3] |\n\nTold.\n"


@pytest.mark.parametrize(
    ("values", "digits", "text"), [([], 0, "-"), ([1234.5], 1, "1,234.5"), ([1, 2, 4], 0, "2 [1-4]")]
)
def test_spread(values: list[float], digits: int, text: str) -> None:
    """The median with least and most, or the only value."""
    assert spread(values, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [([2.04], "2.0"), ([None], "-, not seen in 1"), ([11.0, None, 12.0], "11.5 [11.0-12.0], not seen in 1")],
)
def test_a_recovery_that_was_not_seen_is_no_quick_one(seconds: list[float | None], text: str) -> None:
    """It is counted beside the others, and is in none of their figures."""
    assert recovery(seconds) == text
