"""batchrec from Python, as its docstring says it: load_job, run, recognize; and nothing is left behind."""

import asyncio
import gc
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from harness import KEY, SECRET, Place, images_of, until_async

import batchrec
from batchrec.commands.recognize import ImagesFailed
from batchrec.emulator import Emulator
from batchrec.engine import preparation
from batchrec.engine.assembly import Options, run
from batchrec.errors import JobError

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> None:
    """Folders of its own, and a key that is sent to the emulator; temporary files where the test can count them."""
    for name, value in {
        "BATCHREC_STATE_DIR": str(tmp_path / "state"),
        "BATCHREC_CONFIG_DIR": str(tmp_path / "config"),
        "BAIDU_API_KEY": KEY,
        "BAIDU_SECRET_KEY": SECRET,
        "BATCHREC_ENDPOINT": emulator.url,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


async def alone() -> None:
    """Wait until no other task of this loop is left."""
    await until_async(lambda: len(asyncio.all_tasks()) == 1)


def paths(place: Place, count: int) -> list[Path]:
    """Pictures, as absolute paths."""
    return [place.root / key for key in place.pictures(count)]


async def test_a_job_from_a_file(place: Place) -> None:
    """`await batchrec.run(batchrec.load_job(path))` gives the summary, and leaves no task."""
    keys = place.pictures(5)
    job = batchrec.load_job(place.job())
    summary = await batchrec.run(job)
    assert (summary.exit_code, summary.answered, summary.calls) == (0, 5, 5)
    assert images_of(place.rows()) == keys
    await alone()


async def test_the_same_loop_runs_two_jobs_at_once(place: Place, emulator: Emulator) -> None:
    """Two jobs side by side share the token of the account and nothing else."""
    place.pictures(5)
    place.job()
    jobs = [batchrec.load_job(place.root / "furniture.toml", [f'output.directory="results/{n}"']) for n in (1, 2)]
    summaries = await asyncio.gather(*(batchrec.run(job) for job in jobs))
    assert [summary.exit_code for summary in summaries] == [0, 0]
    assert emulator.counters.calls["advanced_general"] == 10


async def test_a_run_keeps_collections_rare_and_restores_them(place: Place) -> None:
    """While runs go on garbage is collected seldom, as on the command line; after the last one as before."""
    place.pictures(5)
    place.job()
    jobs = [batchrec.load_job(place.root / "furniture.toml", [f'output.directory="results/{n}"']) for n in (1, 2)]
    during: list[tuple[int, bool]] = []

    def look(lines: object) -> None:
        during.append((gc.get_threshold()[0], gc.get_freeze_count() > 0))

    before = gc.get_threshold(), gc.get_freeze_count()
    await asyncio.gather(*(run(job, Options(on_rows=look)) for job in jobs))
    assert set(during) == {(50_000, True)}
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


async def test_a_twin_that_waits_for_memory_is_a_copy(
    place: Place, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content, known from an earlier step, is answered meanwhile: no second call, and its row names the first."""
    keys = place.pictures(13)
    twin = place.put("家居/家居_9999.png", (place.root / keys[0]).read_bytes())
    await batchrec.run(batchrec.load_job(place.job()))
    emulator.configure(latency=0.3)
    size = (place.root / twin).stat().st_size
    monkeypatch.setattr(preparation, "_MOST_BYTES", 5 * size)
    monkeypatch.setattr(preparation, "_HEAVIEST", 4 * size)
    job = batchrec.load_job(place.job(steps=[{"service": "advanced_general"}, {"service": "dish"}]))
    await batchrec.run(job, Options(reuse=False))
    assert emulator.counters.calls["dish"] == 13
    (row,) = [row for row in place.rows() if (row["image"], row["step"]) == (twin, "dish")]
    assert (row["same_as"], row["attempts"], row["reused"]) == (keys[0], 0, None)


async def test_a_wrong_job_file_raises(tmp_path: Path) -> None:
    """What the command line answers with exit 2 is a JobError with every complaint."""
    (tmp_path / "bad.toml").write_text('[input]\npaths = ["a"]\n[limits]\nqps = -1\n')
    with pytest.raises(JobError) as error:
        batchrec.load_job(tmp_path / "bad.toml")
    assert len(error.value.complaints) == 2


async def test_cancelling_a_run_keeps_what_was_answered(place: Place, emulator: Emulator) -> None:
    """A cancelled run ends, leaves no task, and a later one goes on from there."""
    keys = place.pictures(30)
    job = batchrec.load_job(place.job(limits={"qps": 20}))
    running = asyncio.ensure_future(batchrec.run(job))
    await until_async(lambda: place.row_count() >= 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await alone()
    assert (await batchrec.run(job)).exit_code == 0
    assert images_of(place.rows()) == keys
    assert emulator.counters.calls["advanced_general"] < 2 * len(keys)


async def test_recognize_yields_rows(place: Place, tmp_path: Path) -> None:
    """`async for row in batchrec.recognize(files, service=...)`: the rows; no task and no folder is left."""
    files = paths(place, 4)
    rows = [row async for row in batchrec.recognize(files, service="animal", endpoint=place.endpoint, qps=50)]
    assert images_of(rows) == sorted(map(str, files))
    assert {row["service"] for row in rows} == {"animal"}
    assert list((tmp_path / "temporary").iterdir()) == []
    await alone()


async def test_recognize_raises_after_the_last_row(place: Place) -> None:
    """Images without an answer raise ImagesFailed once the others are there, with rows as in failures.jsonl."""
    bad = place.root / place.put("家居/bad.png", b"<html>")
    rows: Any = batchrec.recognize([*paths(place, 3), bad], endpoint=place.endpoint, qps=50)
    assert len({(await anext(rows))["image"] for _ in range(3)}) == 3
    with pytest.raises(ImagesFailed) as error:
        await anext(rows)
    assert [failure["image"] for failure in error.value.failures] == [str(bad)]
    assert error.value.exit_code == 1


@pytest.mark.parametrize("files", [["nowhere.png"], []])
async def test_recognize_of_nothing_raises(place: Place, files: list[str]) -> None:
    """Files that are not there, or none at all, are a JobError."""
    rows: Any = batchrec.recognize(files, endpoint=place.endpoint)
    with pytest.raises(JobError):
        await anext(rows)
    await alone()


async def test_leaving_the_loop_early_cleans_up(place: Place, tmp_path: Path, emulator: Emulator) -> None:
    """`break` after the first row: the rest is not asked, no task and no folder is left."""
    files = paths(place, 40)
    async for row in batchrec.recognize(files, endpoint=place.endpoint, qps=10):
        assert row["labels"]
        break
    await alone()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert emulator.counters.calls["advanced_general"] < 40


async def test_closing_the_generator_cleans_up(place: Place, tmp_path: Path) -> None:
    """`aclose()` returns when everything is gone."""
    rows: Any = batchrec.recognize(paths(place, 20), endpoint=place.endpoint, qps=10)
    assert (await anext(rows))["image"]
    await rows.aclose()
    assert len(asyncio.all_tasks()) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_demonstration_runs(apart: Place) -> None:
    """jobs/demo.toml with its photographs, in a copy: exit 0 without an account, both steps answered."""
    shutil.copytree(JOBS, apart.root / "jobs", ignore=shutil.ignore_patterns("results"))
    done = apart.batchrec("run", "jobs/demo.toml", env={"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""})
    assert done.code == 0
    apart.output = apart.root / "jobs" / "results" / "demo"
    steps = [row["step"] for row in apart.rows()]
    assert steps.count("advanced_general") == apart.summary()["images"] == 27
    assert 0 < steps.count("animal") < 27
