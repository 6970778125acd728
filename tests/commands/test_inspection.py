"""Inspection: every pending image gets a verdict, and what the cache knows is not read again."""

from contextlib import closing

import pytest

from batchrec.commands.inspection import Inspection
from batchrec.job.loading import build_job
from batchrec.journal import Journal
from batchrec.sources import FileStore
from batchrec.state.inspection_cache import InspectionCache
from batchrec.values import InputEntry


class CountedStore(FileStore):
    """A store that notes which keys were read."""

    def __init__(self, base):
        super().__init__(base)
        self.keys = []

    def read(self, key):
        self.keys.append(key)
        return super().read(key)


@pytest.fixture
def job(tmp_path):
    """A job of one step, with four inputs: sound, no picture, listed with a problem, gone."""
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "good.jpg")
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    return build_job({"input": {"paths": ["."]}, "recognize": [{"service": "dish"}]}, tmp_path / "job.toml")


def inspect(job, tmp_path, name):
    """One inspection with a journal of its own; the state folder is kept."""
    for folder in (name, "state"):
        (tmp_path / folder).mkdir(exist_ok=True)
    store = CountedStore(tmp_path)
    with closing(Journal(tmp_path / name)) as journal, closing(InspectionCache(tmp_path / "state")) as cache:
        journal.opening.claim_identity({"name": "x", "endpoint": "y"})
        entries = [
            InputEntry(key, 0, 0, (path := tmp_path / key).stat().st_size, path.stat().st_mtime_ns)
            for key in ("good.jpg", "page.jpg")
        ]
        entries += [InputEntry("pipe", 0, 0, 0, 0, "is not a regular file"), InputEntry("gone.jpg", 0, 0, -1, 0)]
        list(journal.opening.take_inputs(entries))
        from batchrec.engine.resume import step_records

        numbers = journal.opening.take_steps(step_records(job))
        journal.queue.fill(numbers.values())
        journal.survey.begin_looking()
        inspection = Inspection(job, store, cache)
        sizes = list(inspection.run(journal))
        looked = list(journal.survey.contents(next(iter(numbers.values())), ()))
    return inspection, store.keys, sizes, looked


def test_counts_and_verdicts(job, tmp_path):
    """Unreadable and refused images are counted; what has a problem already is not opened."""
    inspection, keys, sizes, looked = inspect(job, tmp_path, "one")
    assert (inspection.unreadable, inspection.refused, inspection.to_repair) == (2, 1, 0)
    assert sorted(keys) == ["gone.jpg", "good.jpg", "page.jpg"]
    assert sum(sizes) == 4
    assert sorted(each.words[0] for each in looked if each.words) == ["", "not_an_image"]


def test_second_inspection_reads_nothing_that_is_known(job, tmp_path):
    """The cache of the state folder serves other jobs too; only what was not readable is tried again."""
    inspect(job, tmp_path, "one")
    inspection, keys, _, _ = inspect(job, tmp_path, "two")
    assert keys == ["gone.jpg"]
    assert (inspection.unreadable, inspection.refused) == (2, 1)


def test_another_treatment_is_inspected_once(job, tmp_path):
    """Files are read again for a job with other settings, and both jobs are known then."""
    other = build_job(
        {"input": {"paths": ["."], "upright": False}, "recognize": [{"service": "dish"}]}, tmp_path / "job.toml"
    )
    inspect(job, tmp_path, "one")
    assert sorted(inspect(other, tmp_path, "two")[1]) == ["gone.jpg", "good.jpg", "page.jpg"]
    assert inspect(other, tmp_path, "three")[1] == ["gone.jpg"]
    assert inspect(job, tmp_path, "four")[1] == ["gone.jpg"]
