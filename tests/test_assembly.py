"""From a job to an engine: a service's limits, the number of workers, the account, the folder's lock."""

import fcntl
import threading

import pytest

from batchrec.api.credentials import Credentials
from batchrec.api.http import DIRECT_ABOVE
from batchrec.engine import assembly, setup
from batchrec.errors import DirectoryBusy, JobError, OutputFailed
from batchrec.job.loading import build_job
from batchrec.outputs.directory import LOCK
from batchrec.values import Caps

KEY = Credentials("a-key", "a-secret", account="ours")


def job_of(tmp_path, *steps, **tables):
    """A job as if a file held it."""
    raw = {"input": {"paths": ["."]}, "recognize": list(steps or [{"service": "dish"}]), **tables}
    return build_job(raw, tmp_path / "job.toml")


def test_steps_of_one_service_share_a_lane(tmp_path):
    """Limits are counted per service, and for EasyDL per model."""
    job = job_of(
        tmp_path,
        {"service": "dish"},
        {"service": "dish", "step": "again", "options": {"top_num": 1}},
        {"service": "easydl_detection", "step": "a", "model": "one"},
        {"service": "easydl_detection", "step": "b", "model": "two"},
    )
    lanes = setup.by_service(job)
    assert {name: [step.name for step in steps] for name, steps in lanes.items()} == {
        "dish": ["dish", "again"],
        "easydl_detection/one": ["a"],
        "easydl_detection/two": ["b"],
    }


def test_a_lane_keeps_to_the_smallest_of_its_limits(tmp_path):
    """A step's own qps, daily and total win over [limits]; of a shared service the strictest step counts."""
    job = job_of(
        tmp_path,
        {"service": "dish", "qps": 3, "daily": 100},
        {"service": "dish", "step": "again", "options": {"top_num": 1}, "total": 7},
        limits={"qps": 10, "daily": 500},
    )
    assert setup.caps_of(job, job.recognize) == Caps.of(3.0, daily=100, total=7)


@pytest.mark.parametrize(("qps", "expected"), [(1e-300, 16), (2, 16), (10, 40), (1000, 256), (1e308, 256)])
def test_workers_follow_the_rate(qps, expected):
    """Enough for slow answers at the full rate, never more than 256."""
    assert assembly._workers(Caps(qps)) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://aip.baidubce.com", "ours"),
        ("http://127.0.0.1:8087", "ours@http://127.0.0.1:8087"),
    ],
)
def test_another_endpoint_is_another_account(tmp_path, endpoint, expected):
    """Calls to an emulator are never counted against the real account."""
    assert setup.payer(job_of(tmp_path, account={"endpoint": endpoint}), KEY) == expected


def test_embedded_needs_no_credentials(tmp_path):
    """The emulator of this process is nobody's account."""
    credentials = setup.credentials_of(job_of(tmp_path, account={"endpoint": "embedded"}), {})
    assert credentials.identity == "embedded"


def test_one_run_holds_a_folder(tmp_path):
    """The second one is told at once, and may have it afterwards."""
    folder = tmp_path / "results"
    with setup.hold(folder):
        with pytest.raises(DirectoryBusy, match="results"), setup.hold(folder):
            pass
        assert folder.is_dir()
    with setup.hold(folder):
        assert (folder / LOCK).exists()


def test_a_folder_that_cannot_be_made_is_an_output_that_cannot_be_written(tmp_path):
    """Exit 74, with the operating system's reason."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailed, match="cannot be written"), setup.hold(tmp_path / "file" / "results"):
        pass


def test_complaints_about_inputs_name_the_job_file(tmp_path):
    """They come while listing, when nobody knows any more which file said so."""
    job = job_of(tmp_path, input={"paths": ["nowhere"]})
    with pytest.raises(JobError, match=r"^job\.toml: .*nowhere"):
        list(setup.inputs_of(job))


async def test_a_job_without_images_leaves_its_files(tmp_path):
    """Nothing to send: no connection, no state but the views, exit code 66."""
    (tmp_path / "pictures").mkdir()
    job = job_of(tmp_path, input={"paths": ["pictures"]}, account={"endpoint": "embedded"})
    summary = await assembly.run(job, environ={"BATCHREC_STATE_DIR": str(tmp_path / "state")})
    assert (summary.exit_code, summary.images, summary.calls) == (66, 0, 0)
    assert {path.name for path in job.directory.iterdir()} >= {"results.jsonl", "failures.jsonl", "summary.json"}


def test_a_look_at_the_lock_turns_no_run_away(tmp_path):
    """A mere look whether a run is going on holds the lock for a moment, which a run waits out."""
    with (tmp_path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert setup.is_held(tmp_path)
        threading.Timer(0.05, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        with setup.hold(tmp_path):
            assert setup.is_held(tmp_path)


@pytest.mark.parametrize(
    ("steps", "limits", "expected"),
    [
        ([{"service": "dish"}], {"qps": 500}, 500),
        ([{"service": "dish"}, {"service": "animal"}], {"qps": 300}, 600),
        ([{"service": "dish", "qps": 20}, {"service": "animal", "qps": 30}], {}, 50),
        ([{"service": "dish"}, {"service": "dish", "step": "again", "options": {"top_num": 1}}], {"qps": 300}, 300),
    ],
)
def test_rate_of_a_job_is_that_of_its_services_together(tmp_path, steps, limits, expected):
    """It chooses the transport: services add up, steps of one service share its limit."""
    assert setup.rate_of(job_of(tmp_path, *steps, limits=limits)) == expected


def test_rate_that_is_to_be_found_has_no_bound(tmp_path):
    """With "auto" any rate may come of it, so that the fast transport is chosen."""
    assert setup.rate_of(job_of(tmp_path, {"service": "dish"}, limits={"qps": "auto"})) > DIRECT_ABOVE
