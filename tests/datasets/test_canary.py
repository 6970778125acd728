"""`recognize.canary`: the same images are sent first, and a model that has changed is told."""

import asyncio
import functools
import json
import logging
import os
import shutil
import stat
import sys
import threading
from dataclasses import asdict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from batchrec.commands.plan import plan
from batchrec.emulator import Box, Guess, serve
from batchrec.engine import assembly
from batchrec.engine.canary import describe, forget_changes
from batchrec.job.loading import build_job
from batchrec.values import ModelChange
from tests.datasets.typed import typed

SERVICE, DETECTION = "easydl_classification", "easydl_detection"


class Model:
    """Model behind an emulator, whose version and whose boxes can be changed; it sends one result an image."""

    version, left = 1, 5.0

    def may_call(self, service: str, model: str) -> bool | None:
        """The application is bound."""
        return True

    async def answer(self, service: str, picture: object, options: object, model: str | None = None) -> list[Guess]:
        """The version as a name, in a box for detection."""
        box = Box(self.left, 5, 20, 10) if service == DETECTION else None
        return [Guess(f"V{self.version}", 0.9, box=box)]


@pytest.fixture
def model() -> Model:
    """A model of version 1."""
    return Model()


class Place:
    """A job with a canary of two at an emulator; its counters tell the calls."""

    def __init__(self, tmp_path: Path, images: list[Path], url: str) -> None:
        self.folder, self._images = tmp_path, images
        (tmp_path / "images").mkdir()
        self.environ = {
            "BAIDU_API_KEY": "k",
            "BAIDU_SECRET_KEY": "s",
            "BATCHREC_ENDPOINT": url,
            "BATCHREC_STATE_DIR": str(tmp_path / "state"),
        }
        self.told: list[ModelChange] = []
        self._url = url
        self.set_step(SERVICE)

    def set_step(self, service: str) -> None:
        """Have the job call a service."""
        step = {"service": service, "model": "things", "canary": 2}
        self._raw = {"recognize": [step], "account": {"endpoint": self._url}, "limits": {"qps": 500}}
        self.set_input()

    def set_input(self, **keys: object) -> None:
        """Set keys of [input] beside its path."""
        self.job = build_job({"input": {"paths": ["images"], **keys}, **self._raw}, self.folder / "job.toml")

    def add(self, count: int) -> None:
        """Add images to the input."""
        for _ in range(count):
            path = self._images.pop(0)
            (self.folder / "images" / f"{len(self._images):03}{path.name}").write_bytes(path.read_bytes())

    async def run(self):
        """Run the job, and have it forget changes that were told; its plan agrees on the calls. Returns the summary."""
        planned = await plan(self.job, environ=self.environ)
        summary = await assembly.run(self.job, assembly.Options(on_model_change=self.told.append), self.environ)
        assert (summary.exit_code, summary.calls) == (0, planned.calls)
        forget_changes(self.job.directory, self.told)
        return summary

    def rows(self) -> list[str]:
        """The images of the rows of results.jsonl."""
        lines = (self.job.directory / "results.jsonl").read_text().splitlines()
        return [json.loads(line)["image"] for line in lines]


async def test_a_changed_model_is_told(plain_set, model, tmp_path, caplog) -> None:
    """No canary at the first run and none without other calls; two calls more at each other run; V2 is told once.

    Images that are sent in another size now are not compared, and are from the next run on.
    """
    images = [path for label in ("buildings", "animals") for path in sorted((plain_set / label).iterdir())]
    async with serve(answers=model) as emulator:
        place = Place(tmp_path, images, emulator.url)
        place.add(4)
        assert (await place.run()).calls == 4
        assert (await place.run()).calls == 0
        place.add(1)
        assert (await place.run()).calls == 1 + 2
        assert place.told == []
        model.version = 2
        assert (await place.run()).calls == 0
        place.add(1)
        with caplog.at_level(logging.WARNING):
            assert (await place.run()).calls == 1 + 2
        told = describe(place.told[0])
        assert len(place.told) == 1
        assert "the model under this address has changed since 20" in told
        assert "2 of 2 canary images" in told
        assert told in caplog.text
        assert "give the job another output.directory" in told
        place.add(1)
        assert (await place.run()).calls == 1 + 2
        assert len(place.told) == 1
        assert len(place.rows()) == len(set(place.rows())) == 7
        assert emulator.counters.snapshot()["calls"][SERVICE] == 7 + 3 * 2
        place.set_input(max_side=40)
        assert (await place.run()).calls == 7 + 2
        assert len(place.told) == 1
        model.version = 1
        place.add(1)
        assert (await place.run()).calls == 1 + 2
        assert len(place.told) == 2


async def test_canaries_that_are_gone_are_replaced(plain_set, model, tmp_path) -> None:
    """An image whose file is gone is no canary; where none is left, others are."""
    images = sorted((plain_set / "animals").iterdir())
    async with serve(answers=model) as emulator:
        place = Place(tmp_path, images, emulator.url)
        place.add(4)
        await place.run()
        place.add(1)
        assert (await place.run()).calls == 1 + 2
        for path in sorted((tmp_path / "images").iterdir())[1:3]:  # the canaries are the first of four
            path.unlink()
        place.add(1)
        assert (await place.run()).calls == 1 + 2
        assert place.told == []


async def test_a_change_is_told_after_a_kill_and_a_failed_notification(plain_set, model, tmp_path) -> None:
    """The event attention comes with the sentence at the first end at which it can be sent, and never again."""
    seen, config = tmp_path / "seen", tmp_path / "config"
    command = tmp_path / "tell"
    command.write_text(
        f"#!{sys.executable}\nimport os\nwith open({str(seen)!r}, 'r+') as seen:\n"
        "    seen.write(os.environ['BATCHREC_EVENT'] + ' ' + os.environ['BATCHREC_MESSAGE'])\n"
    )
    command.chmod(stat.S_IRWXU)
    config.mkdir(mode=0o700)
    (config / "notify.toml").write_text(f'[ops]\ncommand = ["{command}"]\n')
    (config / "notify.toml").chmod(0o600)

    async def start(*words: str) -> asyncio.subprocess.Process:
        environ = {**os.environ, **place.environ, "BATCHREC_CONFIG_DIR": str(config), "BATCHREC_LANG": "en"}
        command = (sys.executable, "-m", "batchrec", "run", str(tmp_path / "job.toml"), *words)
        return await asyncio.create_subprocess_exec(*command, env=environ, stderr=asyncio.subprocess.PIPE)

    async def run() -> str:
        process = await start()
        said = (await process.communicate())[1].decode()
        assert process.returncode == 0, said
        return said

    async with serve(answers=model) as emulator:
        place = Place(tmp_path, sorted((plain_set / "animals").iterdir()), emulator.url)
        (tmp_path / "job.toml").write_text(
            '[input]\npaths = ["images"]\n'
            f'[[recognize]]\nservice = "{SERVICE}"\nmodel = "things"\ncanary = 2\n'
            f'[account]\nendpoint = "{emulator.url}"\n[limits]\nqps = 500\n[notify]\nuse = "ops"\n'
        )
        place.add(4)
        await place.run()
        model.version = 2
        place.add(1)
        # Both canary images are sent, and then the run waits for the next day.
        process = await start("--set", "limits.daily=6", "--set", 'limits.on_daily_limit="wait"')
        said = b""
        while b"has changed since" not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line
        process.kill()
        await process.wait()
        assert "attention is not told" in await run()
        seen.touch()
        assert "2 of 2 canary images have another result" in await run()
        assert seen.read_text().startswith("attention job: exit code 0")
        assert "2 of 2 canary images have another result" in seen.read_text()
        await place.run()
        assert place.told == []


async def test_a_moved_box_is_a_change(plain_set, model, tmp_path) -> None:
    """A box that has moved by three pixels, at the same score, is another model; by one pixel, it is none.

    Boxes of images that are sent smaller than they are may differ by a pixel of what was sent.
    """
    async with serve(answers=model) as emulator:
        place = Place(tmp_path, sorted((plain_set / "animals").iterdir()), emulator.url)
        place.set_step(DETECTION)
        for left, changes in ((5.0, 0), (6.0, 0), (9.0, 1), (9.0, 1)):
            model.left = left
            place.add(2)
            await place.run()
            assert len(place.told) == changes
        place.set_input(max_side=40)
        for left, changes in ((9.0, 1), (10.0, 1), (13.0, 2)):
            model.left = left
            place.add(1 if left > 9 else 0)
            await place.run()
            assert len(place.told) == changes


async def test_images_in_tiles_are_sent_again(plain_set, model, tmp_path) -> None:
    """A long image takes a call for each tile, as canary too; the plan counts them, and a change is told."""
    async with serve(answers=model) as emulator:
        place = Place(tmp_path, [], emulator.url)
        place.set_input(long="split")
        photos = sorted((plain_set / "animals").iterdir())

        def add(number: int) -> None:
            Image.open(photos[number]).resize((400, 100)).save(tmp_path / "images" / f"{number}.png")

        add(0)
        tiles = (await place.run()).calls
        assert tiles > 1
        for number, version, changes in ((1, 1, 0), (2, 2, 1), (3, 2, 1)):
            model.version = version
            add(number)
            assert (await place.run()).calls == tiles * 2
            assert len(place.told) == changes


async def test_urls_are_fetched_and_sent_again(plain_set, model, tmp_path, caplog) -> None:
    """A change is told; where the addresses have other bytes now, nothing can be sent again, and that is said."""
    served = tmp_path / "served"
    shutil.copytree(plain_set / "animals", served)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=served)
    names = sorted(path.name for path in served.iterdir())
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        async with serve(answers=model) as emulator:
            place = Place(tmp_path, [], emulator.url)
            place.set_input(paths=[], manifest="list.txt", fetch={"private": True})

            async def run(count: int) -> int:
                urls = (f"http://127.0.0.1:{web.server_port}/{name}\n" for name in names[:count])
                (tmp_path / "list.txt").write_text("".join(urls))
                options = assembly.Options(allow_private=True, on_model_change=place.told.append)
                summary = await assembly.run(place.job, options, place.environ)
                assert (summary.exit_code, summary.answered) == (0, count)
                forget_changes(place.job.directory, place.told)
                return summary.calls

            assert await run(1) == 1
            assert await run(2) == 1 + 1
            model.version = 2
            assert await run(3) == 1 + 1
            assert len(place.told) == 1
            assert "could be sent again" not in caplog.text
            shutil.rmtree(tmp_path / "state")  # with the cache of what was fetched
            for name in names[:3]:
                (served / name).write_bytes((served / names[9]).read_bytes())
            assert await run(4) == 1
            assert caplog.text.count("none of its images could be sent again") == 1
        web.shutdown()


async def test_a_change_stays_with_the_results(plain_set, model, tmp_path) -> None:
    """summary.json, `status` and `show` have it, also after runs that have nothing to tell."""
    async with serve(answers=model) as emulator:
        place = Place(tmp_path, sorted((plain_set / "animals").iterdir()), emulator.url)
        for version in (1, 2, 2):
            model.version = version
            place.add(2)
            await place.run()
    (change,) = place.told
    assert (change.step, change.changed, change.compared) == (SERVICE, 2, 2)
    (kept,) = json.loads((place.job.directory / "summary.json").read_bytes())["model_changes"]
    assert kept == asdict(change)
    assert kept["since"] < kept["at"]
    assert json.loads(typed("status", str(place.job.directory), "--json").stdout)["model_changes"] == [kept]
    said = f"the model under this address has changed since {change.since}"
    assert said in " ".join(typed("status", str(place.job.directory)).stdout.split())
    assert said in typed("show", str(place.job.directory)).stderr


def test_only_models_have_canaries(tmp_path) -> None:
    """Another service is refused with the key's path."""
    job = tmp_path / "job.toml"
    job.write_text('[input]\npaths = ["."]\n[[recognize]]\nservice = "dish"\ncanary = 5\n')
    done = typed("plan", str(job))
    assert done.exit_code == 2
    assert "recognize[0].canary" in done.stderr
