"""The job files in jobs/ load, and the photographs they need are there, free to use and small."""

import csv
import tomllib
from pathlib import Path

import jsonschema
import pytest

from batchrec.api.services import SERVICES
from batchrec.job.loading import load_job
from batchrec.job.spec import job_schema

JOBS = Path(__file__).parent.parent / "jobs"
PHOTOS = JOBS / "photos"
FILES = sorted(JOBS.glob("*.toml"))


def photographs() -> list[str]:
    return sorted(path.relative_to(PHOTOS).as_posix() for path in PHOTOS.rglob("*.jpg"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_job_loads(path):
    """Every job file in jobs/ is right as it stands."""
    assert load_job(path, environ={}).name == path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_job_agrees_with_schema(path):
    """An editor finds nothing to complain about in them, and they say where the schema is."""
    text = path.read_text(encoding="utf-8")
    jsonschema.validate(tomllib.loads(text), job_schema(), jsonschema.Draft202012Validator)
    directive, schema = text.splitlines()[0].split()
    assert (directive, (JOBS / schema).resolve().name) == ("#:schema", "job.schema.json")
    assert (JOBS / schema).is_file()


def test_jobs_are_these():
    """There is a demonstration, a crawl, a nightly run and an EasyDL model."""
    assert {path.stem for path in FILES} == {"demo", "crawled", "nightly", "easydl"}


def test_demo_needs_nobody():
    """The demonstration asks the emulator about the photographs beside it, in two steps, within seconds."""
    job = load_job(JOBS / "demo.toml", environ={})
    assert job.account.endpoint == "embedded"
    assert [step.name for step in job.recognize] == ["advanced_general", "animal"]
    assert job.directory == JOBS / "results" / "demo"
    assert len(photographs()) / job.limits.qps < 5


def test_crawled_asks_for_dishes_on_food_only():
    """The crawl is recognized in general first, and as dishes where that says food."""
    general, food = load_job(JOBS / "crawled.toml", environ={}).recognize
    assert general.service == "advanced_general"
    assert (food.service, food.when and food.when.step) == ("dish", "advanced_general")


def test_nightly_names_its_commands():
    """The nightly job shows how it is run and scheduled, and its list names images beside it."""
    text = (JOBS / "nightly.toml").read_text(encoding="utf-8")
    assert "batchrec run jobs/nightly.toml" in text
    assert "batchrec schedule install jobs/nightly.toml" in text
    head, *listed = (JOBS / "uploads.csv").read_text(encoding="utf-8").splitlines()
    assert head == "file"
    assert all((JOBS / path).is_file() for path in listed)


def test_easydl_names_its_model():
    """The EasyDL job names the model that answers."""
    (step,) = load_job(JOBS / "easydl.toml", environ={}).recognize
    assert SERVICES[step.service].custom
    assert step.model == "itcast_fruit"


def test_every_photograph_is_credited():
    """Each photograph has its row with licence, author and source, and no row lacks its photograph."""
    with (PHOTOS / "CREDITS.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert sorted(row["file"] for row in rows) == photographs()
    assert all(row["licence"].lower().startswith(("cc0", "public domain")) for row in rows)
    assert all(row["author"] and row["source"].startswith("https://") for row in rows)


def test_photographs_are_few_and_small():
    """About 25 of them, in folders with Chinese names, in 2 MB."""
    assert 20 <= len(photographs()) <= 30
    assert not any(name.isascii() for name in photographs())
    assert sum((PHOTOS / name).stat().st_size for name in photographs()) < 2_000_000
