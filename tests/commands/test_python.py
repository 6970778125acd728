"""The Python package: names, jobs built in Python, results, cancelling, images in memory."""

import asyncio
import json
import subprocess
import sys
import typing
from types import ModuleType

import pytest

import batchrec
from batchrec.console import notebook
from batchrec.values import Row

from ..support.synthetic import _jpeg, _samples, write


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHREC_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def photos(tmp_path):
    """A folder with twelve images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for sample in _samples(tmp_path, 12, images=False):
        (folder / f"{sample.number}.jpg").write_bytes(_jpeg(sample._replace(number=sample.number * 7)))
    return folder


def job_of(photos, **keys):
    """A job on the embedded endpoint."""
    asked = {"input": {"paths": [photos]}, "recognize": [{"service": "advanced_general"}]}
    return batchrec.Job(base=photos.parent, account={"endpoint": "embedded"}, **{**asked, **keys})


def test_names_are_listed_before_they_are_imported():
    """dir() has every public name, also in a fresh interpreter; each of them exists."""
    code = "import batchrec, sys; print(*dir(batchrec)); assert 'pydantic' not in sys.modules"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {*batchrec.__all__} <= {*listed}
    assert all(getattr(batchrec, name) is not None for name in batchrec.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        batchrec.Nothing  # noqa: B018


def test_typed_rows_have_the_keys_of_real_ones(tmp_path):
    """`Row` and `Failure` list the keys of results.jsonl and failures.jsonl, in their order."""
    directory = write(tmp_path / "made", 400)
    row = next(batchrec.results(directory))
    assert [*row] == [*typing.get_type_hints(batchrec.Row)]
    assert {*row["labels"][0]} <= {*typing.get_type_hints(batchrec.Label)}
    assert [*next(batchrec.failures(directory))] == [*typing.get_type_hints(batchrec.Failure)]
    assert sum(1 for _ in batchrec.results(tmp_path / "made" / "synthetic.toml")) == 400
    assert Row is not None
    with pytest.raises(batchrec.JobError, match="expected the output directory of a job"):
        next(batchrec.results(tmp_path))


async def test_job_built_in_python(photos):
    """It runs, its paths are relative to `base`, and a limit, a callback and results work."""
    job = job_of(photos, name="built", output={"formats": ["jsonl"]})
    seen = []
    summary = await batchrec.run(job, limit=5, on_progress=seen.append, progress="none")
    assert (summary.exit_code, summary.answered, summary.left) == (0, 5, 7)
    assert (seen[-1].done, seen[-1].total) == (5, 5)  # a limit is counted to
    assert {row["image"] for row in batchrec.results(photos.parent / "results/built")} == {
        str(photos / f"{number}.jpg") for number in (0, 1, 10, 11, 2)
    }
    assert isinstance(job, type(batchrec.load_job("jobs/demo.toml")))


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"recognize": [{"service": "annimal"}]}, 'Job: recognize[0].service: "annimal" is not a service'),
        ({"limits": {"qps": "ten"}}, "Job: limits.qps: "),
        ({"colour": "red"}, "Job: colour: "),
        ({"input": {}}, "Job: input.paths: is missing"),
    ],
)
def test_complaints_are_those_of_a_file(photos, keys, complaint):
    """JobError, with the key and what would be right; several at once."""
    with pytest.raises(batchrec.JobError) as error:
        job_of(photos, **keys)
    assert complaint in str(error.value)
    with pytest.raises(batchrec.JobError) as error:
        batchrec.Job(recognize=[{"service": "x"}], colour=1)
    assert len(error.value.complaints) == 3


async def test_cancelling_stops_like_sigterm(photos):
    """The summary says SIGTERM and 143 and comes with the error; the next run goes on."""
    job = job_of(photos, name="cancelled", limits={"concurrency": 1, "qps": 20})
    begun = asyncio.Event()

    def progressed(now):
        if now.done >= 2:
            begun.set()

    task = asyncio.create_task(batchrec.run(job, on_progress=progressed, progress="none"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as error:
        await task
    (summary,) = error.value.args
    said = json.loads((job.directory / "summary.json").read_text("utf-8"))
    assert (summary.exit_code, summary.stopped_by) == (143, "SIGTERM") == (said["exit_code"], said["stopped_by"])
    assert 2 <= summary.answered < 12
    assert sum(1 for _ in batchrec.results(job.directory)) == summary.answered
    assert (await batchrec.run(job)).answered == 12


@pytest.mark.parametrize("way", ["wait_for", "timeout", "TaskGroup"])
async def test_cancelling_works_with_the_tools_of_asyncio(photos, way):
    """A timeout and a task group stop a run, wait for its end, and raise as they always do."""
    job = job_of(photos, name=way, limits={"concurrency": 1, "qps": 20})
    begun = asyncio.Event()

    def progressed(now):
        if now.done >= 2:
            begun.set()

    async def failing():
        await begun.wait()
        raise ValueError("another task")

    async def stopped():
        running = batchrec.run(job, on_progress=progressed, progress="none")
        if way == "TaskGroup":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(running)
                tasks.create_task(failing())
        elif way == "wait_for":
            await asyncio.wait_for(running, 0.3)
        else:
            async with asyncio.timeout(0.3):
                await running

    with pytest.raises((TimeoutError, ExceptionGroup)) as error:
        await stopped()
    if way == "TaskGroup":
        assert [type(each) for each in error.value.exceptions] == [ValueError]
    else:
        assert isinstance(error.value.__cause__, asyncio.CancelledError)
        assert [summary.exit_code for summary in error.value.__cause__.args] in ([143], [])
        assert asyncio.current_task().cancelling() == 0
    said = job.directory / "summary.json"
    assert not said.exists() or json.loads(said.read_text("utf-8"))["exit_code"] == 143
    assert (await batchrec.run(job, progress="none")).answered == 12


async def test_retry_by_kind(photos):
    """`retry` takes True or kinds; a word that is no kind is refused."""
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    job = job_of(photos, name="torn")
    assert (await batchrec.run(job)).new_failures == 1
    assert (await batchrec.run(job)).new_failures == 0
    assert (await batchrec.run(job, retry=True)).new_failures == 1
    assert (await batchrec.run(job, retry=["transient"])).new_failures == 0
    with pytest.raises(batchrec.JobError, match="no kind of failure"):
        await batchrec.run(job, retry="often")


async def test_recognize_takes_a_path_and_bytes(photos):
    """One path, and images in memory, whose rows have their names; equal bytes are sent once."""
    rows = [row async for row in batchrec.recognize(photos / "1.jpg", endpoint="embedded")]
    assert [row["image"] for row in rows] == [str(photos / "1.jpg")]
    data = (photos / "1.jpg").read_bytes()
    files = [("upload/first.jpg", data), ("second", data)]
    rows = [row async for row in batchrec.recognize(files, endpoint="embedded")]
    assert {(row["image"], row["same_as"]) for row in rows} in (
        {("upload/first.jpg", None), ("second", "upload/first.jpg")},
        {("second", None), ("upload/first.jpg", "second")},
    )
    with pytest.raises(batchrec.ImagesFailed) as error:
        _ = [row async for row in batchrec.recognize(("empty.png", b""), endpoint="embedded")]
    assert [failure["image"] for failure in error.value.failures] == ["empty.png"]
    with pytest.raises(batchrec.JobError, match="int is no file"):
        _ = [row async for row in batchrec.recognize([3], endpoint="embedded")]


async def test_bar_in_a_notebook(photos, monkeypatch):
    """In a Jupyter kernel one display is made and then updated, without a line on standard error."""
    shown = []

    class Handle:
        def update(self, bundle, raw):
            shown.append(bundle)

    def display(bundle, raw, display_id):
        shown.append("made")
        return Handle()

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: type("Shell", (), {"kernel": None})()
    ipython.display = ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    assert notebook.in_notebook()
    await batchrec.run(job_of(photos, name="notebook"))
    assert shown.count("made") == 1
    assert '<progress value="12" max="12"' in shown[-1]["text/html"]
