"""Trained models on the emulator and the embedded endpoint: binding, results, versions in a job's journal."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image

from batchrec.commands.plan import plan
from batchrec.datasets.features import FeatureNetwork
from batchrec.emulator import OwnModels, Settings, best
from batchrec.engine import assembly
from batchrec.job.loading import build_job
from tests.datasets.faulty import turned
from tests.datasets.pictures import small
from tests.datasets.typed import typed
from tests.support.emulator import body_of, calling

SERVICE = "easydl_classification"


@pytest.fixture(scope="module")
def things(trained: Path, models: Path) -> Path:
    """The folder of two models, of which `things` has two versions; nothing is published."""
    return Path(shutil.copytree(trained, models, dirs_exist_ok=True)) / "models"


@contextmanager
def serving(things: Path) -> Iterator[dict[str, object]]:
    """Arguments of an emulator that serves the models."""
    with closing(best(OwnModels(things, live=True))) as answers:
        yield {"answers": answers}


def image(plain_set: Path, label: str, number: int = 0) -> bytes:
    """The bytes of an image of a class."""
    return sorted((plain_set / label).iterdir())[number].read_bytes()


async def test_published_and_bound_models_answer(plain_set, things) -> None:
    """Code 6 until a version is published and bound, both at once while the emulator runs; then V1, V2 and V1 again."""
    data = image(plain_set, "buildings")
    with serving(things) as served:
        async with calling(**served) as caller:

            async def names(model: str = "things") -> list[str]:
                reply = await caller.call(SERVICE, data, model=model)
                return [row["name"] for row in reply.get("results", [])] or [str(reply["error_code"])]

            assert await names() == ["6"]
            typed("dataset", "publish", "things", "V1")
            assert await names() == ["6"]
            typed("dataset", "bind", "things", "--app", "1")
            assert (await names())[0] == "buildings"
            typed("dataset", "publish", "things", "V2")
            assert sorted(await names()) == ["animals", "tools"]
            typed("dataset", "publish", "two", "V1")
            assert await names("two") == ["6"]
            typed("dataset", "publish", "things", "V1")
            assert (await names())[0] == "buildings"
            assert await caller.code("easydl_detection", data, model="things") == 6
            typed("dataset", "unbind", "things")
            assert await names() == ["6"]


@pytest.fixture
def bound(things) -> None:
    """V1 of `things` and V1 of `two` are published and bound."""
    for name in ("things", "two"):
        typed("dataset", "publish", name, "V1")
        typed("dataset", "bind", name, "--app", "1")


@pytest.mark.usefixtures("bound")
async def test_scores_are_those_of_the_training(plain_set, things, tmp_path) -> None:
    """The reply has the probabilities of the head on the features of the data set's code, for lying images as well."""
    lying = turned(small(sorted((plain_set / "animals").iterdir())[3]))
    network = FeatureNetwork()
    with np.load(things / "things" / "V1" / "head.npz") as head, serving(things) as served:
        async with calling(**served) as caller:
            for data in (image(plain_set, "tools", 1), lying):
                reply = await caller.call(SERVICE, data, model="things")
                logits = head["weights"] @ network.of_bytes(data) + head["bias"]
                due = np.exp(logits) / np.exp(logits).sum()
                found = {row["name"]: row["score"] for row in reply["results"]}
                assert [found[name] for name in head["classes"]] == pytest.approx(due.tolist(), abs=1e-5)
                assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.usefixtures("bound")
async def test_several_models_have_limits_of_their_own(plain_set, things) -> None:
    """Each model answers under its name, on the addresses of both editions; `daily` counts for each."""
    data = image(plain_set, "tools")
    with serving(things) as served:
        async with calling(Settings(daily=2), **served) as caller:
            three, two = [await caller.call(SERVICE, data, model=name) for name in ("things", "two")]
            assert [len(reply["results"]) for reply in (three, two)] == [3, 2]
            url = f"{caller.emulator.url}/rpc/2.0/ai_custom_pro/v1/classification/two"
            body = body_of(SERVICE, data, top_num=1)
            async with caller.http.post(url, params={"access_token": caller.token}, data=body) as response:
                assert [row["name"] for row in (await response.json())["results"]] == ["tools"]
            assert await caller.code(SERVICE, data, model="two") == 17
            assert await caller.code(SERVICE, data, model="things") == 0


@pytest.mark.usefixtures("bound")
async def test_names_of_no_model(plain_set, things) -> None:
    """6, or 3 by a switch; a path in the place of a name is none."""
    data = image(plain_set, "tools")
    with serving(things) as served:
        async with calling(Settings(unknown_model_code=3), **served) as caller:
            for name in ("none", "%2e%2e"):
                assert await caller.code(SERVICE, data, model=name) == 3
            caller.emulator.configure(unknown_model_code=6)
            assert await caller.code(SERVICE, data, model="none") == 6


def job_file(path: Path, plain_set: Path, model: str) -> Path:
    """Write the file of a job that calls a model on the embedded endpoint for a few images."""
    path.write_text(
        f'[input]\npaths = ["{plain_set}/tools"]\n[account]\nendpoint = "embedded"\n'
        f'[[recognize]]\nservice = "{SERVICE}"\nmodel = "{model}"\n'
    )
    return path


@contextmanager
def damage(path: Path, data: bytes) -> Iterator[str]:
    """A file with other bytes while the block lasts; its path is given."""
    whole = path.read_bytes()
    path.write_bytes(data)
    try:
        yield str(path)
    finally:
        path.write_bytes(whole)


def damages(things: Path) -> list[tuple[Path, bytes]]:
    """Damages of the model `things`: no JSON, another JSON, heads that are torn, with other bits, of another shape."""
    state, head = things / "things" / "model.json", things / "things" / "V1" / "head.npz"
    whole, wrong = head.read_bytes(), BytesIO()
    middle = len(whole) // 2
    np.savez(wrong, classes=np.array(["a", "b"]), weights=np.zeros((2, 7), np.float32), bias=np.zeros(2, np.float32))
    return [
        (state, b"{"),
        (state, b'{"service": 1}'),
        (head, whole[:middle]),
        (head, whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]),
        (head, wrong.getvalue()),
    ]


@pytest.mark.usefixtures("bound")
async def test_a_model_that_is_damaged_while_it_is_served(plain_set, things) -> None:
    """Error code 336100 with the name of the file, until it is whole again."""
    data = image(plain_set, "tools")
    with serving(things) as served:
        async with calling(**served) as caller:
            for path, content in damages(things):
                with damage(path, content):
                    reply = await caller.call(SERVICE, data, model="things")
                    assert reply["error_code"] == 336100, reply
                    assert f"{path.relative_to(things).as_posix()} is damaged: " in reply["error_msg"]
            assert (await caller.call(SERVICE, data, model="things"))["results"]


@pytest.mark.usefixtures("bound")
def test_commands_refuse_damaged_models(plain_set, things, tmp_path) -> None:
    """Exit code 2 with the path of the file, before anything is sent."""
    job = job_file(tmp_path / "job.toml", plain_set, "things")
    for path, content in damages(things)[:4]:
        with damage(path, content):
            for words in (("emulator", "--port", "0"), ("plan", str(job)), ("run", str(job))):
                done = typed(*words)
                assert (done.exit_code, done.stdout) == (2, "")
                assert f"{path}: is damaged (" in done.stderr
                assert "train again" in done.stderr


@pytest.mark.usefixtures("bound")
def test_damaged_versions_are_listed(things) -> None:
    """The row of a damaged version names the file; the other versions are listed as ever."""
    folder = things / "things" / "V1"
    for file, content in (
        ("head.npz", b"PK"),
        ("version.json", b"{"),
        ("version.json", b"{}"),
        ("evaluation.json", b"1"),
    ):
        with damage(folder / file, content):
            done = typed("dataset", "versions", "things")
            first, second, _bound = done.stdout.splitlines()
            assert done.exit_code == 0
            assert first.startswith("V1  damaged: ")
            assert str(folder) in first
            assert second.startswith("V2  20")
            assert "damaged" not in second
            rows = orjson.loads(typed("dataset", "versions", "things", "--json").stdout)["versions"]
            assert [bool(row["damaged"]) for row in rows] == [True, False]


def test_plan_and_run_say_why_a_model_may_not_be_called(plain_set, things, tmp_path, caplog) -> None:
    """Exit code 77 with the reason and the command: unknown, not published, not bound, of another service."""
    for name in ("things", "two"):
        typed("dataset", "unbind", name)
    state = things / "two" / "model.json"
    unpublished = {**orjson.loads(state.read_bytes()), "published": ""}
    due = {
        "none": "there is no model none; train one: batchrec dataset train DIR --name none",
        "two": "no version of two is published, of V1; publish one: batchrec dataset publish two V1",
        "things": "things V1 is published, and no application may call it; bind one: batchrec dataset bind things ",
    }
    typed("dataset", "publish", "things", "V1")
    with damage(state, orjson.dumps(unpublished)):
        for name, text in due.items():
            job = job_file(tmp_path / f"{name}.toml", plain_set, name)
            planned = typed("plan", str(job))
            assert (planned.exit_code, text in planned.stderr) == (77, True), planned.stderr
            ran = typed("run", str(job))
            assert (ran.exit_code, text in caplog.text) == (77, True), caplog.text
    job.write_text(job.read_text().replace(SERVICE, "easydl_detection"))
    assert (
        "things is a model of easydl_classification, and this step is of easydl_detection"
        in typed("plan", str(job)).stderr
    )
    found = orjson.loads(typed("plan", str(job), "--json").stdout)
    assert list(found["barred"]) == ["easydl_detection"]


def job_of(plain_set: Path, tmp_path: Path):
    """A job that calls `things` on the embedded endpoint for four images, one of them with its own orientation."""
    (tmp_path / "images").mkdir()
    for label in ("animals", "buildings", "tools"):
        (tmp_path / "images" / f"{label}.jpg").write_bytes(image(plain_set, label))
    (tmp_path / "images" / "lying.jpg").write_bytes(turned(Image.open(sorted((plain_set / "animals").iterdir())[1])))
    raw = {
        "input": {"paths": ["images"]},
        "recognize": [{"service": SERVICE, "model": "things"}],
        "account": {"endpoint": "embedded"},
    }
    return build_job(raw, tmp_path / "job.toml")


def top_labels(job) -> dict[str, str]:
    """The top label of each image, by the last line of results.jsonl."""
    rows = [orjson.loads(line) for line in (job.directory / "results.jsonl").read_bytes().splitlines()]
    return {row["image"]: row["labels"][0]["name"] for row in rows}


@pytest.mark.usefixtures("bound")
async def test_results_of_a_version_are_not_those_of_another(plain_set, models, tmp_path) -> None:
    """A rerun makes no call; after another version is published, plan and run call for every image again, once."""
    job = job_of(plain_set, tmp_path)
    environ = {"BATCHREC_STATE_DIR": str(tmp_path / "state"), "BATCHREC_DATA_DIR": str(models)}
    due = {f"images/{label}.jpg": label for label in ("animals", "buildings", "tools")} | {
        "images/lying.jpg": "animals"
    }
    assert (await assembly.run(job, environ=environ)).calls == 4
    assert top_labels(job) == due
    assert (await assembly.run(job, environ=environ)).calls == 0
    typed("dataset", "publish", "things", "V2")
    assert (await plan(job, environ=environ)).calls == 4
    assert (await assembly.run(job, environ=environ)).calls == 4
    assert top_labels(job)["images/buildings.jpg"] in ("animals", "tools")
    assert (await assembly.run(job, environ=environ)).calls == 0
    typed("dataset", "unbind", "things")
    assert (await assembly.run(job, environ=environ)).exit_code == 0
    typed("dataset", "publish", "things", "V1")
    summary = await assembly.run(job, environ=environ)
    assert (summary.exit_code, summary.calls) == (77, 1)
    assert len(top_labels(job)) == 4
