"""A job on nodes of this process against the emulator: shards, merge, follow-ups, limits, deaths."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer
from fsspec.implementations.local import LocalFileSystem

from batchrec.api.credentials import Credentials
from batchrec.cluster import keeper
from batchrec.cluster.job import run_on
from batchrec.cluster.keeper import Holder
from batchrec.cluster.keeper_actor import KeeperActor, TokenSource
from batchrec.cluster.node import Report, Shard
from batchrec.cluster.parts import Parts, PartWriter, local_parts
from batchrec.cluster.storage import Storage
from batchrec.commands.verify import verify
from batchrec.emulator import Emulator, Settings, serve
from batchrec.engine.assembly import Options, run
from batchrec.engine.process import Stopper
from batchrec.engine.resume import RunRequest
from batchrec.engine.setup import credentials_of, targets_of
from batchrec.errors import JobError, ResultsDamaged, ServiceUnavailable
from batchrec.job.loading import load_job
from batchrec.job.spec import Account, Job, OutputSpec
from batchrec.values import Summary
from tests.acceptance.harness import KEY, SECRET, picture, until_async

from .fleet import LocalFleet, local_fleet

IMAGES = 60
DISH = '[[recognize]]\nservice = "dish"\n'


class Place:
    """A job of sixty images, and the nodes that work on it."""

    def __init__(self, path: Path, emulator: Emulator) -> None:
        self.path, self.emulator = path, emulator
        (path / "photos").mkdir()
        for number in range(IMAGES):
            (path / "photos" / f"{number:03}.png").write_bytes(picture(number))
        self.environ = {
            "BAIDU_API_KEY": KEY,
            "BAIDU_SECRET_KEY": SECRET,
            "BATCHREC_ENDPOINT": emulator.url,
            "BATCHREC_STATE_DIR": str(path / "state"),
            "BATCHREC_CONFIG_DIR": str(path / "config"),
        }
        (path / "keeper").mkdir()

    def job(
        self,
        steps: str = '[[recognize]]\nservice = "dish"\n',
        limits: str = "qps = 100",
        inputs: str = 'paths = ["photos"]',
    ) -> Job:
        text = f'[input]\n{inputs}\n{steps}[limits]\n{limits}\n[account]\nendpoint = "{self.emulator.url}"\n'
        (self.path / "job.toml").write_text(text)
        return load_job(self.path / "job.toml")

    async def run(
        self,
        job: Job,
        nodes: int = 2,
        meddle: Callable[[LocalFleet], Any] | None = None,
        stopper: Stopper | None = None,
        options: Options | None = None,
    ) -> Summary:
        """Run the job in shards of fifteen; `meddle` is a coroutine function that is given the fleet."""

        @asynccontextmanager
        async def opened(job: Job, credentials: Credentials, output: str, known: bytes) -> AsyncIterator[LocalFleet]:
            async with local_fleet(job, credentials, output, known, self.path / "keeper", nodes) as fleet:
                meddling = asyncio.ensure_future(meddle(fleet)) if meddle else None
                yield fleet
                if meddling is not None:
                    await meddling

        return await run_on(job, options or Options(), opened if nodes else None, 15, self.environ, stopper)

    async def left(self, job: Job, rows: int) -> PartWriter:
        """Run a job, and leave of its results a part of some rows, as a run that was cut short does."""
        await self.run(job)
        results = self.path / "results/job"
        lines = (results / "results.jsonl").read_bytes().splitlines()
        for path in results.iterdir():
            if path.is_file():
                path.unlink()
        writer = PartWriter(Parts(str(results)), "000001-dead", 1)
        step, treatment = job.recognize[0], job.treatment.decisive
        for line in lines[:rows]:
            file = (self.path / json.loads(line)["image"]).stat()
            subject = json.dumps([step.fingerprint, treatment, file.st_size, file.st_mtime_ns]).encode()
            writer.add([b'{"variant":"","subject":' + subject + b',"row":' + line + b"}\n"])
        return writer

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "results/job/results.jsonl").read_text().splitlines()]

    def calls(self) -> int:
        """Calls that have reached the service."""
        return self.emulator.counters.calls["dish"]

    def sound(self) -> None:
        """One row for each image, and a directory in which all agrees."""
        assert Counter(row["image"] for row in self.rows()) == {f"photos/{n:03}.png": 1 for n in range(IMAGES)}
        assert verify(self.path / "results/job", lambda key: IMAGES * 2, running=False).told == []
        assert not local_parts(self.path / "results/job")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with serve(Settings(qps=200, api_key=KEY, secret_key=SECRET)) as emulator:
        yield Place(tmp_path, emulator)


async def test_a_job_is_done_by_two_nodes(place: Place) -> None:
    """One row an image, one call an image, and the summary of one machine."""
    summary = await place.run(place.job())
    place.sound()
    assert (summary.exit_code, summary.images, summary.answered, summary.left) == (0, IMAGES, IMAGES, 0)
    assert summary.calls == IMAGES
    again = await place.run(place.job())
    assert (again.exit_code, again.calls, again.left) == (0, 0, 0)
    assert len(place.rows()) == IMAGES


async def test_steps_that_follow_are_called_for_in_the_same_shard(place: Place) -> None:
    """Once each, and their rows are merged; a step of its own beside them as well."""
    steps = (
        '[[recognize]]\nservice = "advanced_general"\n'
        '[[recognize]]\nservice = "dish"\nwhen = { step = "advanced_general", label = "." }\n'
        '[[recognize]]\nservice = "logo"\n'
    )
    summary = await place.run(place.job(steps))
    calls = Counter(row["step"] for row in place.rows())
    assert calls["advanced_general"] == calls["logo"] == IMAGES
    assert 0 < calls["dish"] <= IMAGES
    assert (summary.exit_code, summary.left, summary.calls) == (0, 0, calls.total())
    assert verify(place.path / "results/job", lambda key: 10**6, running=False).told == []


async def test_a_node_dies(place: Place) -> None:
    """Its shards go to the other one: no row lost or doubled; calls of a quarter second may be paid twice."""

    async def meddle(fleet: LocalFleet) -> None:
        await until_async(lambda: place.calls() >= 20, 60)
        fleet.nodes[0].kill()

    assert (await place.run(place.job(), meddle=meddle)).exit_code == 0
    place.sound()
    assert place.calls() <= IMAGES + 100 / 4


async def test_a_node_freezes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sign of life it is fenced, and what it had is done by the other one."""
    monkeypatch.setattr(keeper, "SILENT_SECONDS", 3.0)

    async def meddle(fleet: LocalFleet) -> None:
        await until_async(lambda: place.calls() >= 20, 60)
        fleet.nodes[0].frozen.set()

    assert (await place.run(place.job(limits="qps = 50"), meddle=meddle)).exit_code == 0
    place.sound()
    assert place.calls() == IMAGES


async def test_a_run_that_was_cut_short_goes_on_from_its_parts(place: Place) -> None:
    """What a driver that died had not merged is not called for again; `merge` alone makes no call."""
    steps = '[[recognize]]\nservice = "dish"\n'
    results = place.path / "results/job"
    (await place.left(place.job(steps), 40)).flush()
    assert local_parts(results)
    merged = await place.run(place.job(steps), nodes=0)
    assert (merged.answered, merged.left, merged.calls) == (40, IMAGES - 40, 0)
    summary = await place.run(place.job(steps), options=Options(reuse=False))
    assert (summary.exit_code, summary.calls) == (0, IMAGES - 40)
    place.sound()


async def test_parts_of_other_files_do_not_count(place: Place) -> None:
    """An image that a lost run had recognized is sent again where its file is another one; not one that was touched."""
    (await place.left(place.job(), 40)).flush()
    (place.path / "photos" / "003.png").write_bytes(picture(IMAGES))
    (place.path / "photos" / "004.png").touch()
    merged = await place.run(place.job(), nodes=0)
    assert (merged.answered, merged.left) == (39, IMAGES - 39)


@pytest.mark.parametrize(
    ("steps", "inputs"),
    [
        (DISH + "options = { top_num = 3 }\n", 'paths = ["photos"]'),
        (DISH, 'paths = ["photos"]\nmax_side = 16'),
    ],
)
async def test_parts_of_another_request_stay_until_a_run(
    place: Place, steps: str, inputs: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A merge says so and keeps them, so that they count once the job file is as before; a run sends them again."""
    (await place.left(place.job(), 40)).flush()
    merged = await place.run(place.job(steps, inputs=inputs), nodes=0)
    assert (merged.answered, merged.left) == (0, IMAGES)
    assert "40 results that nodes have left belong to other options" in caplog.text
    assert (await place.run(place.job(), nodes=0)).answered == 40
    (await place.left(place.job(), 40)).flush()
    summary = await place.run(place.job(steps, inputs=inputs), options=Options(reuse=False))
    assert (summary.exit_code, summary.calls) == (0, IMAGES)
    place.sound()


@pytest.mark.parametrize("stale", ["listings", "sizes"])
async def test_network_file_systems_that_show_parts_late(
    place: Place, monkeypatch: pytest.MonkeyPatch, stale: str
) -> None:
    """As NFS keeps attributes for seconds: no row is missed, and nothing is taken for damaged."""
    seen: dict[Any, tuple[float, Any]] = {}

    def kept(key: Any, look: Callable[[], Any]) -> Any:
        now = time.monotonic()
        if key not in seen or now - seen[key][0] > 2:
            seen[key] = now, look()
        return seen[key][1]

    listed, info = Storage.listed, LocalFileSystem.info

    def old_listing(self: Storage, folder: str = "") -> Any:
        return kept((self.url, folder), lambda: listed(self, folder))

    def old_size(self: LocalFileSystem, path: Any, **named: Any) -> Any:
        if not isinstance(path, str) or not path.endswith(".jsonl"):
            return info(self, path, **named)
        return kept(path, lambda: info(self, path, **named))

    if stale == "listings":
        monkeypatch.setattr(Storage, "listed", old_listing)
    else:
        monkeypatch.setattr(LocalFileSystem, "info", old_size)
    summary = await place.run(place.job(limits="qps = 50"))
    assert (summary.exit_code, summary.answered, summary.left) == (0, IMAGES, 0)
    assert place.calls() == IMAGES


async def test_a_signal_while_shards_are_handed_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No further shard is given."""
    stopper, begun = Stopper(), []
    begin = LocalFleet.begin

    async def begin_and_stop(self: LocalFleet, shard: str, floor: int) -> Any:
        begun.append(shard)
        if len(begun) == 2:
            stopper.stop(SIGTERM)
        return await begin(self, shard, floor)

    monkeypatch.setattr(LocalFleet, "begin", begin_and_stop)
    summary = await place.run(place.job(limits="qps = 20"), stopper=stopper)
    assert (summary.exit_code, summary.stopped_by, len(begun)) == (143, "SIGTERM", 2)
    assert summary.calls <= 15
    assert (await place.run(place.job())).exit_code == 0
    place.sound()


async def test_a_signal_while_shards_are_opened(place: Place) -> None:
    """Ends with the signal's exit code, as any other signal."""
    stopper = Stopper()

    async def stop(fleet: LocalFleet) -> None:
        await until_async(lambda: any(node.stopper for node in fleet.nodes), 30)
        stopper.stop(SIGTERM)

    summary = await place.run(place.job(limits="qps = 50"), meddle=stop, stopper=stopper)
    assert (summary.exit_code, summary.stopped_by) == (143, "SIGTERM")


async def test_a_keeper_that_is_gone_ends_the_run_with_its_results(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 69, and a summary of what was done until the third shard; the next run goes on."""
    begin, begun = LocalFleet.begin, []

    async def begin_twice(self: LocalFleet, shard: str, floor: int) -> Any:
        begun.append(shard)
        if len(begun) > 2:
            raise ServiceUnavailable("the keeper of the rate is gone")
        return await begin(self, shard, floor)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFleet, "begin", begin_twice)
        summary = await place.run(place.job(), nodes=1)
    assert summary.exit_code == 69
    assert 15 <= summary.answered == IMAGES - summary.left <= 30
    assert (await place.run(place.job())).exit_code == 0
    place.sound()


async def test_a_frozen_keeper_ends_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although its workers wait for it for ever; it is not asked again for each shard."""
    asked: list[str] = []

    async def frozen(self: LocalFleet, *_arguments: Any) -> Any:
        asked.append("")
        raise ServiceUnavailable("it has not replied for 60 s")

    async def hanging(self: LocalFleet, shard: Shard, holder: Holder) -> Report:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("batchrec.cluster.driver._LAST_SECONDS", 1.0)
    for name, method in (("silent", frozen), ("end", frozen), ("start", hanging)):
        monkeypatch.setattr(LocalFleet, name, method)
    async with asyncio.timeout(30):
        summary = await place.run(place.job())
    assert (summary.exit_code, summary.left, len(asked)) == (69, IMAGES, 1)


async def test_a_stop_keeps_parts_of_another_request(place: Place) -> None:
    """A run with options that were changed by mistake is stopped: the results count once they are changed back."""
    (await place.left(place.job(), 40)).flush()
    stopper = Stopper()

    async def stop(fleet: LocalFleet) -> None:
        stopper.stop(SIGTERM)

    other = place.job(DISH + "options = { top_num = 3 }\n")
    summary = await place.run(other, meddle=stop, stopper=stopper, options=Options(reuse=False))
    assert (summary.exit_code, summary.answered) == (143, 0)
    assert (await place.run(place.job(), nodes=0)).answered == 40


async def test_a_merge_fetches_nothing(place: Place) -> None:
    """So that it needs no --allow-private where the job has input.fetch.private."""
    inputs = 'paths = ["photos"]\nfetch = { private = true }'
    assert (await place.run(place.job(inputs=inputs), nodes=0)).left == IMAGES


async def test_a_damaged_part_ends_the_run_before_any_call(place: Place) -> None:
    """With 74, and `verify` names it as well; with --rebuild, what it held is called for again."""
    results = place.path / "results/job"
    (await place.left(place.job(), 40)).done()
    calls = place.calls()
    (part,) = (results / "parts/000001-dead").glob("*.jsonl")
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(ResultsDamaged, match=f"{part.name}: has .* were written.*--rebuild"):
        await place.run(place.job())
    assert place.calls() == calls
    told = verify(results, lambda key: IMAGES * 2, running=False).told
    assert any(part.name in each for each in told)
    again = await place.run(place.job(), options=Options(request=RunRequest(rebuild=True), reuse=False))
    assert (again.exit_code, again.calls) == (0, IMAGES)
    place.sound()


async def test_results_of_an_earlier_job_are_reused(place: Place) -> None:
    """Those of a job on the nodes are kept as those of a run here; other options have results of their own."""
    dish = '[[recognize]]\nservice = "dish"\n'
    await place.run(place.job(dish))
    again = '[output]\ndirectory = "again"\n'
    summary = await place.run(place.job(dish + again))
    assert (summary.answered, summary.calls, place.calls()) == (IMAGES, 0, IMAGES)
    rows = [json.loads(line) for line in (place.path / "again/results.jsonl").read_text().splitlines()]
    assert all(row["reused"] for row in rows)
    anew = dish + 'options = { top_num = 3 }\n[output]\ndirectory = "anew"\n'
    assert (await place.run(place.job(anew))).calls == IMAGES


async def test_logins_of_urls_reach_the_nodes(place: Place) -> None:
    """The nodes fetch with them, and no file has them."""

    async def image(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != encode_basic_auth("me", "pass-4711"):
            raise web.HTTPUnauthorized
        return web.Response(body=picture(int(request.match_info["number"])), content_type="image/png")

    application = web.Application()
    application.router.add_get("/{number}.png", image)
    async with TestServer(application) as server:
        urls = [f"http://me:pass-4711@127.0.0.1:{server.port}/{number}.png\n" for number in range(20)]
        (place.path / "urls.txt").write_text("".join(urls))
        job = place.job(inputs='manifest = "urls.txt"\nfetch = { private = true }')
        summary = await place.run(job, options=Options(allow_private=True))
    assert (summary.exit_code, summary.answered) == (0, 20)
    kept = [path for folder in ("results", "keeper") for path in (place.path / folder).rglob("*") if path.is_file()]
    assert not any(b"pass-4711" in path.read_bytes() for path in kept)


async def test_a_daily_limit_ends_the_run(place: Place) -> None:
    """With 75, and not a call more than the limit over all nodes."""
    summary = await place.run(place.job(limits="qps = 100\ndaily = 25"))
    assert (summary.exit_code, summary.stopped_by) == (75, "daily_limit")
    assert summary.left == IMAGES - summary.answered
    assert place.calls() <= 25
    assert summary.answered >= 24


async def test_a_limit_ends_the_steps_of_its_service_alone(place: Place) -> None:
    """A step that follows is left where its service is closed, and what it follows goes on."""
    steps = (
        '[[recognize]]\nservice = "dish"\ndaily = 25\n'
        '[[recognize]]\nservice = "logo"\n'
        '[[recognize]]\nservice = "car"\nwhen = { step = "logo", label = "." }\ntotal = 10\n'
    )
    summary = await place.run(place.job(steps))
    rows = Counter(row["step"] for row in place.rows())
    assert (summary.exit_code, summary.stopped_by) == (75, "daily_limit")
    assert 24 <= rows["dish"] <= place.calls() <= 25
    assert rows["logo"] == IMAGES
    assert rows["car"] in (9, 10)


async def test_a_signal_ends_the_run(place: Place) -> None:
    """What has left is waited for and merged; the next run goes on."""
    stopper = Stopper()

    async def meddle(fleet: LocalFleet) -> None:
        await until_async(lambda: place.calls() >= 15, 60)
        stopper.stop(SIGTERM)

    summary = await place.run(place.job(limits="qps = 50"), meddle=meddle, stopper=stopper)
    assert (summary.exit_code, summary.stopped_by) == (143, "SIGTERM")
    assert summary.answered == place.calls() < IMAGES
    assert (await place.run(place.job(limits="qps = 50"))).exit_code == 0
    place.sound()
    assert place.calls() == IMAGES


async def test_a_refused_key_ends_the_run(place: Place) -> None:
    """With 77, told once."""
    place.environ["BAIDU_SECRET_KEY"] = "wrong"
    summary = await place.run(place.job())
    assert (summary.exit_code, summary.answered) == (77, 0)


async def test_a_run_beside_a_cluster_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the rates in the state folder, and so does the cluster's keeper."""
    job, said = place.job(limits="qps = 200"), "this account is also used by a run on a cluster"
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    credentials = credentials_of(job, place.environ)
    target, _steps = next(targets_of(job, credentials))
    async with aclosing(KeeperActor(TokenSource(job.account.endpoint, credentials, 30.0, 60.0, 200.0))) as keeper:
        assert not await keeper.shares([target])
        await run(job, Options(), place.environ)
        assert said not in caplog.text
        assert await keeper.shares([target])
        await keeper.lease(await keeper.begin("1", 0), target, ())
        anew = job.model_copy(update={"output": OutputSpec(directory=str(place.path / "anew"))})
        await run(anew, Options(reuse=False), place.environ)
        assert said in caplog.text


async def test_the_embedded_endpoint_is_no_cluster_s(place: Place) -> None:
    """It is in one process; the message says so, and nothing is sent."""
    job = place.job().model_copy(update={"account": Account(endpoint="embedded")})
    with pytest.raises(JobError, match="embedded endpoint"):
        await place.run(job)
