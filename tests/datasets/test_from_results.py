"""`batchrec dataset from-results`: class folders and tasks out of results, surest or least sure first."""

import json
import shutil
import tomllib
import warnings
from collections import Counter
from pathlib import Path

import pytest

from tests.datasets.faulty import PHOTOS, jpeg, photo
from tests.datasets.typed import typed


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> tuple[Path, list[dict]]:
    """An output directory of the demo photographs and three copies, and its rows with other labels."""
    root = tmp_path_factory.mktemp("results")
    (root / "images").mkdir()
    for number, path in enumerate(PHOTOS[:15]):
        (root / "images" / f"{number:02}.jpg").write_bytes(path.read_bytes())
    (root / "images" / "same.jpg").write_bytes(PHOTOS[0].read_bytes())
    (root / "images" / "near.jpg").write_bytes(jpeg(photo(1).resize((200, 150)), quality=60))
    (root / "images" / "none.jpg").write_bytes(PHOTOS[20].read_bytes())
    job = '[input]\npaths = ["images"]\n[[recognize]]\nservice = "advanced_general"\n[account]\nendpoint = "embedded"\n'
    (root / "job.toml").write_text(job + '[output]\ndirectory = "out"\n')
    assert typed("run", str(root / "job.toml"), "--progress", "none").exit_code == 0
    return root, [json.loads(line) for line in (root / "out" / "results.jsonl").read_bytes().splitlines()]


def top(rows: list[dict], least: float = 0.0) -> dict[str, dict]:
    """Rows by image whose top label has a score."""
    return {row["image"]: row for row in rows if row["labels"] and row["labels"][0]["score"] >= least}


def margin(row: dict) -> float:
    """Score of the first label less that of the second."""
    scores = [label["score"] for label in row["labels"][:2]]
    return scores[0] - (scores[1] if len(scores) > 1 else 0.0)


def test_folders_hold_each_image_once(results, tmp_path) -> None:
    """Copies are left out by bytes and by looks, names are EasyDL's, the old ones are kept, and check has no error."""
    root, rows = results
    done = typed("dataset", "from-results", str(root / "job.toml"), "--out", str(tmp_path / "set"))
    assert done.exit_code == 0, done.stderr
    assert "copies of an image that is there: 2" in done.stderr
    kept = {path.read_bytes() for path in (tmp_path / "set").rglob("*.jpg")}
    assert len(kept) == len(list((tmp_path / "set").rglob("*.jpg"))) == len(top(rows)) - 2
    report = json.loads(typed("dataset", "check", str(tmp_path / "set"), "--json").stdout)
    assert {each["kind"] for each in report["findings"] if each["severity"] == "error"} == set()
    names = tomllib.loads((tmp_path / "set" / "mapping.toml").read_text(encoding="utf-8"))["names"]
    assert set(names.values()) <= set(report["classes"])


def test_scores_and_numbers_choose(results, tmp_path) -> None:
    """--min-score holds for the top label, --max-per-class for each class."""
    root, rows = results
    least = sorted(row["labels"][0]["score"] for row in top(rows).values())[len(top(rows)) // 2]
    options = ("--min-score", str(least), "--max-per-class", "1")
    done = typed("dataset", "from-results", str(root / "out"), "--out", str(tmp_path / "set"), *options)
    assert done.exit_code == 0, done.stderr
    found = Counter(path.parent.name for path in (tmp_path / "set").rglob("*.jpg"))
    assert set(found.values()) == {1}
    assert len(found) == len({row["labels"][0]["name"] for row in top(rows, least).values()})


def test_tasks_have_the_unsure_first_and_are_valid(results, tmp_path) -> None:
    """The N of the smallest margin, in that order; Label Studio's own validation has no complaint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pydantic gives up
        from label_studio_sdk.label_interface import LabelInterface

    root, rows = results
    options = ("--format", "labelstudio", "--unsure", "6")
    done = typed("dataset", "from-results", str(root / "out"), "--out", str(tmp_path / "tasks"), *options)
    assert done.exit_code == 0, done.stderr
    tasks = json.loads((tmp_path / "tasks" / "tasks-0001.json").read_bytes())
    margins = [margin(top(rows)[task["data"]["path"]]) for task in tasks]
    assert len(tasks) == 6
    assert margins == sorted(margins)
    assert margins[-1] <= sorted(map(margin, top(rows).values()))[7]
    interface = LabelInterface((tmp_path / "tasks" / "config.xml").read_text("utf-8"))
    predictions = [one for task in tasks for one in task["predictions"]]
    assert [interface.validate_prediction(one, return_errors=True) for one in predictions] == [[]] * 6
    (control,) = interface.controls
    assert control.attr["choice"] == "single"
    assert {label["name"] for row in rows for label in row["labels"]} == set(control.labels)
    tops = [[top(rows)[task["data"]["path"]]["labels"][0]["name"]] for task in tasks]
    assert [one["result"][0]["value"]["choices"] for one in predictions] == tops


def test_other_things_are_no_class(results, tmp_path) -> None:
    """Images of [default] are left out of the folders with their count."""
    root, rows = results
    name = next(iter(top(rows).values()))["labels"][0]["name"]
    shutil.copytree(root, tmp_path / "job")
    lines = tmp_path / "job" / "out" / "results.jsonl"
    lines.write_bytes(lines.read_bytes().replace(json.dumps(name, ensure_ascii=False).encode(), b'"[default]"'))
    count = sum(row["labels"][0]["name"] == name for row in top(rows).values())
    done = typed("dataset", "from-results", str(tmp_path / "job" / "out"), "--out", str(tmp_path / "set"))
    assert (done.exit_code, f"for --other of dataset train: {count}\n" in done.stderr) == (0, True), done.stderr
    assert "[default]" not in (tmp_path / "set" / "mapping.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--min-score", "1"), "no image is left"),
        (("--min-score", "2"), "expected a score from 0 to 1"),
        (("--step", "dish"), "has no step"),
        (("--format", "labelstudio", "--names", "x.toml"), "leave it out"),
    ],
)
def test_mistakes_end_with_2(results, tmp_path, options, word) -> None:
    """Nothing is written, and what to change is said."""
    root, _rows = results
    done = typed("dataset", "from-results", str(root / "out"), "--out", str(tmp_path / "set"), *options)
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert word in done.stderr
