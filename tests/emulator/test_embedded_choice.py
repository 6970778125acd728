"""The embedded endpoint's choice of answers; no job mixes them; pictures that cannot be decoded."""

import sys
from contextlib import closing
from importlib.util import find_spec

import pytest

from batchrec.console.extras import pip_install
from batchrec.emulator import Settings, Undecodable, advice, best
from batchrec.emulator.answers.stand_in import StandIn
from batchrec.engine import assembly
from batchrec.errors import JobError
from batchrec.job.loading import build_job
from tests.support.emulator import calling, picture

installed = find_spec("onnxruntime") is not None


@pytest.fixture
def without_the_extra(monkeypatch):
    """As if onnxruntime were not installed."""
    for name in ("model", "network"):
        monkeypatch.delitem(sys.modules, f"batchrec.emulator.answers.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def job_of(tmp_path):
    """A picture, asked about in two ways."""
    (tmp_path / "one.png").write_bytes(picture(format="PNG"))
    steps = [{"service": "advanced_general"}, {"service": "easydl_classification", "model": "mine"}]
    raw = {"input": {"paths": ["*.png"]}, "recognize": steps, "account": {"endpoint": "embedded"}}
    return build_job(raw, tmp_path / "job.toml")


def state(tmp_path):
    return {"BATCHREC_STATE_DIR": str(tmp_path / "state")}


@pytest.mark.skipif(not installed, reason="the extra 'local' is not installed")
def test_the_model_is_taken_where_it_is_installed():
    """It says nothing about itself, and has no models of the user's."""
    with closing(best()) as answers:
        assert (answers.name, advice(answers)) == ("model", None)
        assert answers.may_call("easydl_classification", "mine") is None


@pytest.mark.usefixtures("without_the_extra")
def test_the_stand_in_is_taken_elsewhere():
    """It says that its results are fake, and takes any name for a model."""
    with closing(best()) as answers:
        assert isinstance(answers, StandIn)
        assert answers.may_call("easydl_classification", "mine")
        assert "results are fake (mock)" in (advice(answers) or "")


@pytest.mark.skipif(not installed, reason="the extra 'local' is not installed")
async def test_the_model_knows_no_model_of_the_users(tmp_path, caplog):
    """EasyDL is refused by the service's own code 6, the rest is answered, and nobody is advised."""
    summary = await assembly.run(job_of(tmp_path), environ=state(tmp_path))
    assert (summary.exit_code, summary.answered) == (77, 1)
    assert "pip install" not in caplog.text


@pytest.mark.usefixtures("without_the_extra")
async def test_the_stand_in_answers_with_one_line_of_advice(tmp_path, caplog):
    """Once a run that asks; a run that has nothing to ask is silent."""
    for expected in (1, 1):
        summary = await assembly.run(job_of(tmp_path), environ=state(tmp_path))
        assert (summary.exit_code, summary.answered) == (0, 2)
        assert caplog.text.count(f"for those of a model: {pip_install('local')}") == expected


@pytest.mark.skipif(not installed, reason="the extra 'local' is not installed")
async def test_no_directory_holds_answers_of_both(tmp_path, request):
    """A job begun by the model is not continued by the stand-in: exit 2, and both are named."""
    await assembly.run(job_of(tmp_path), environ=state(tmp_path))
    before = (tmp_path / "results" / "job" / "results.jsonl").read_bytes()
    request.getfixturevalue("without_the_extra")
    with pytest.raises(JobError, match=r"embedded \(model\).*embedded \(stand-in\).*another output\.directory"):
        await assembly.run(job_of(tmp_path), environ=state(tmp_path))
    assert (tmp_path / "results" / "job" / "results.jsonl").read_bytes() == before


@pytest.mark.parametrize(("takes", "expected"), [(True, 17), (False, 216201)])
async def test_a_picture_that_cannot_be_seen_is_refused(takes, expected):
    """As any other picture that is not one; whether it counts is the same switch's business."""

    class Blind:
        async def answer(self, service, picture, options, model):
            raise Undecodable("torn")

    async with calling(Settings(daily=1, failed_calls_take_quota=takes), answers=Blind()) as caller:
        assert await caller.code("animal", picture()) == 216201
        assert await caller.code("animal", picture()) == expected


async def test_a_run_lets_go_of_its_answers(tmp_path, monkeypatch):
    """Once, at its end, whether anything was asked or not."""
    closed = []

    class Watched(StandIn):
        def close(self):
            closed.append(self)

    monkeypatch.setattr("batchrec.emulator.best", lambda own: Watched())
    for number in (1, 2):
        await assembly.run(job_of(tmp_path), environ=state(tmp_path))
        assert len(closed) == number
