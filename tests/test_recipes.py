"""Recipes of reading-results.md, each run on the results of the demo."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from openpyxl import load_workbook

from batchrec.commands.demo import run_demo

PAGE = Path(__file__).parent.parent / "docs" / "en" / "reading-results.md"
RECIPES = re.findall(r"^## ([^\n]+)\n\n```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the results of the demo in jobs/results/demo."""
    folder = tmp_path_factory.mktemp("recipes")
    assert run_demo(folder / "jobs", "none") == 0
    return folder


@pytest.fixture(scope="module")
def results(place):
    """The rows, by image and step."""
    lines = (place / "jobs/results/demo/results.jsonl").read_text("utf-8").splitlines()
    return {(row["image"], row["step"]): row for row in map(json.loads, lines)}


def run(command, place):
    """The output of a recipe."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command, cwd=place, env={**os.environ, "PATH": path}, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_every_recipe():
    """No recipe is left out by a change of the page."""
    names = ["Python", "pandas", "polars", "DuckDB", "gojq", "sqlite-utils", "Miller"]
    assert [name for name, _, _ in RECIPES] == names


@pytest.mark.parametrize(("language", "text"), [recipe[1:] for recipe in RECIPES], ids=[name for name, *_ in RECIPES])
def test_recipe_prints_what_the_file_holds(place, results, language, text):
    """Every image and step once, with its top label and its exact log_id."""
    output = run([sys.executable, "-c", text] if language == "python" else ["sh", "-ec", text], place)
    separator = "," if "," in output else " "
    printed = [row for row in csv.reader(output.splitlines(), delimiter=separator) if row]
    found = {(row[0], row[1]): row[2:] for row in printed if row[0] != "image"}
    assert found.keys() == results.keys()
    for key, (name, *score, log_id) in found.items():
        assert (name, int(log_id)) == (results[key]["labels"][0]["name"], results[key]["response"]["log_id"])
        assert all(float(each) == results[key]["labels"][0]["score"] for each in score)


def test_workbook_holds_what_the_file_holds(place, results):
    """The command under Excel: every image and step, with its top label, score and exact log_id."""
    (text,) = re.findall(r"^## Excel\n.*?^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    run(["sh", "-ec", text], place)
    head, *lines = load_workbook(place / "jobs/results/demo/export/xlsx/results.xlsx").worksheets[0].values
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    found = {
        (row["image"], step): (row[f"{step}: label 1"], row[f"{step}: score 1"], int(row[f"{step}: log_id"]))
        for row in rows
        for step in ("advanced_general", "animal")
        if row[f"{step}: log_id"]
    }
    tops = {key: (row["labels"][0], row["response"]["log_id"]) for key, row in results.items()}
    assert found == {key: (label["name"], label["score"], log_id) for key, (label, log_id) in tops.items()}
