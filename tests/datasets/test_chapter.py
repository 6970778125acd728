"""`jobs/easydl`: the chapter from a data set to results, command by command, as the documentation has it."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.datasets.typed import typed

JOBS = Path(__file__).parents[2] / "jobs"
TOOLS = JOBS / "easydl" / "tools"


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """The jobs of a fresh clone, for a user without models."""
    for name in ("easydl", "photos"):
        shutil.copytree(JOBS / name, tmp_path / "jobs" / name)
    monkeypatch.setenv("BATCHREC_DATA_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("BATCHREC_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "jobs"


def test_the_chapter_runs(clone) -> None:
    """At least 27 of 30 images are right by cross-validation; the run names hammer, scissors and windmill."""
    assert typed("dataset", "check", "jobs/easydl/tools").exit_code == 1
    trained = typed("dataset", "train", "jobs/easydl/tools", "--name", "tools", "--json")
    figures = json.loads(trained.stdout)["evaluation"]
    right = sum(row[number] for number, row in enumerate(figures["confusion"]))
    assert sum(map(sum, figures["confusion"])) == 30
    assert right >= 27
    assert figures["majority_class"] == pytest.approx(9 / 30)
    assert typed("dataset", "publish", "tools", "V1").exit_code == 0
    assert typed("dataset", "bind", "tools", "--app", "1").exit_code == 0
    assert typed("run", "jobs/easydl/tools.toml", "--quiet").exit_code == 0
    rows = [json.loads(line) for line in (clone / "results" / "tools" / "results.jsonl").read_text().splitlines()]
    top = {Path(row["image"]).stem: row["labels"][0]["name"] for row in rows}
    assert len(top) == 8
    assert [top[name] for name in ("hammer", "scissors", "windmill")] == ["hammer", "scissors", "windmill"]
    assert typed("report", "jobs/results/tools").exit_code == 0


def test_images_are_small_and_credited() -> None:
    """Each has its row with licence, author and source; all of them take less than half a megabyte."""
    images = sorted(TOOLS.rglob("*.jpg"))
    with (TOOLS.parent / "CREDITS.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert sorted(row["file"] for row in rows) == [path.relative_to(TOOLS).as_posix() for path in images]
    assert all(row["licence"].lower().startswith(("cc0", "public domain")) for row in rows)
    assert all(row["author"] and row["source"].startswith("https://") for row in rows)
    assert sum(path.stat().st_size for path in images) < 500_000
