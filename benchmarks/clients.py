"""What batchrec is measured against: usual ways to send many pictures, and the bare loop that is the ceiling.

`python -m benchmarks.clients NAME URL FOLDER --body form|json --concurrency N` sends every picture of a folder and
prints what that took as JSON. The token, the imports and the list of files are not in it.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import resource
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pybase64

from .fast_service import FORM_PATH, JSON_PATH, TOKEN_PATH
from .machine import CLIENT_CORE, pin
from .pictures import files

USUAL_CONCURRENCY = 32
"""Of the scripts and of the SDK's threads, whatever the others have."""

_TYPES = {"form": "application/x-www-form-urlencoded", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class Given:
    """What a client is to send, and where to."""

    url: str
    token: str
    paths: Sequence[str]
    body: str
    concurrency: int

    @property
    def address(self) -> str:
        """Where the pictures go, with the token."""
        path = FORM_PATH if self.body == "form" else JSON_PATH
        return f"{self.url}{path}?access_token={self.token}"


class Clock:
    """Seconds on the clock and of this process's time, all threads included, while it is on."""

    seconds = cpu = 0.0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Measure what is inside."""
        began, cpu = time.monotonic(), _cpu()
        yield
        self.seconds += time.monotonic() - began
        self.cpu += _cpu() - cpu


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


# -- the ceiling


def encoded(data: bytes, body: str) -> bytes:
    """The body for a picture, as fast as Python makes one."""
    text = pybase64.b64encode(data)
    if body == "json":
        return b"".join((b'{"image":"', text, b'"}'))
    return b"image=" + text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")


def read(path: str) -> bytes:
    """The file's bytes."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def digest(data: bytes) -> str:
    """The SHA-256 of a picture."""
    return hashlib.sha256(data).hexdigest()


def parsed(reply: bytes) -> dict[str, Any]:
    """The service's JSON."""
    content: dict[str, Any] = orjson.loads(reply)
    return content


async def bare(given: Given, clock: Clock) -> None:
    """Nothing but the work itself: workers off one iterator read, hash, encode, post and parse."""
    import aiohttp

    paths = iter(given.paths)
    headers = {"Content-Type": _TYPES[given.body]}

    async def work(session: aiohttp.ClientSession) -> None:
        for path in paths:
            data = read(path)
            digest(data)
            async with session.post(given.address, data=encoded(data, given.body), headers=headers) as response:
                _check(parsed(await response.read()))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with clock.on():
            await asyncio.gather(*(work(session) for _ in range(given.concurrency)))


# -- the usual ways


def sdk_loop(given: Given, clock: Clock) -> None:
    """The official SDK, one picture after the other."""
    call = _sdk(given)
    with clock.on():
        for path in given.paths:
            call(path)


def sdk_threads(given: Given, clock: Clock) -> None:
    """The official SDK in a pool of threads."""
    call = _sdk(given)
    with clock.on(), ThreadPoolExecutor(USUAL_CONCURRENCY) as threads:
        for _ in threads.map(call, given.paths):
            pass


def _sdk(given: Given) -> Callable[[str], None]:
    """A call of the SDK. It knows no other host than Baidu's, so its class attributes are replaced."""
    import aip

    aip.base.AipBase._AipBase__accessTokenUrl = given.url + TOKEN_PATH
    aip.AipImageClassify._AipImageClassify__advancedGeneralUrl = given.url + FORM_PATH
    client = (aip.AipImageClassify if given.body == "form" else aip.EasyDL)("1", "key", "secret")
    client._auth()  # it keeps its token

    def call(path: str) -> None:
        data = read(path)
        if given.body == "form":
            _check(client.advancedGeneral(data))
        else:
            _check(client.predictImage(given.url + JSON_PATH, data))

    return call


async def script(given: Given, clock: Clock) -> None:
    """The usual script: a task for each picture, a semaphore, and the base64 text in a dict."""
    import aiohttp

    slots = asyncio.Semaphore(USUAL_CONCURRENCY)

    async def recognize(session: aiohttp.ClientSession, path: str) -> None:
        async with slots:
            image = base64.b64encode(read(path)).decode()
            async with session.post(given.address, **_as_usual(given, image)) as response:
                _check(await response.json())

    async with aiohttp.ClientSession() as session:
        with clock.on():
            await asyncio.gather(*(recognize(session, path) for path in given.paths))


async def httpx_script(given: Given, clock: Clock) -> None:
    """The same script with httpx."""
    import httpx

    slots = asyncio.Semaphore(USUAL_CONCURRENCY)

    async def recognize(client: httpx.AsyncClient, path: str) -> None:
        async with slots:
            image = base64.b64encode(read(path)).decode()
            _check((await client.post(given.address, **_as_usual(given, image))).json())

    async with httpx.AsyncClient(timeout=60) as client:
        with clock.on():
            await asyncio.gather(*(recognize(client, path) for path in given.paths))


def _as_usual(given: Given, image: str) -> dict[str, Any]:
    return {"data" if given.body == "form" else "json": {"image": image}}


async def async_batch_llm(given: Given, clock: Clock) -> None:
    """async-batch-llm around the bare loop's call, with its SQLite store; a run that it could resume.

    The settings are those that its documentation has for large runs: streamed results and bounded queues.
    """
    import aiohttp
    import async_batch_llm as abl

    headers = {"Content-Type": _TYPES[given.body]}

    async def invoke(prompt: str, *, attempt: int, timeout: float, state: object) -> Any:  # noqa: ASYNC109 - its name
        data = read(prompt)
        sha256 = digest(data)
        async with session.post(given.address, data=encoded(data, given.body), headers=headers) as response:
            reply = _check(parsed(await response.read()))
        return abl.CallOutcome({"sha256": sha256, "response": reply})

    async def source() -> AsyncIterator[tuple[str, str]]:
        for path in given.paths:
            yield path, path

    identity = abl.ArtifactIdentity(provider="baidu", model="advanced_general")
    config = abl.ProcessorConfig(
        concurrency=given.concurrency, max_queue_size=4 * given.concurrency, max_result_queue_size=4 * given.concurrency
    )
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            with clock.on():
                store = abl.SqliteArtifactStore(Path(folder) / "run.sqlite", identity=identity)
                strategy = abl.CallableStrategy(invoke, identity=identity)
                async for result in abl.process_stream(
                    strategy,
                    source(),
                    config=config,
                    artifact_store=store,
                    resume=abl.ResumePolicy.REUSE_SUCCESSES,
                ):
                    if not result.success:
                        raise RuntimeError(f"{result.item_id}: {result.error}")


def _check(reply: dict[str, Any]) -> dict[str, Any]:
    """A client whose calls fail must not be measured."""
    if "log_id" not in reply:
        raise RuntimeError(f"no answer: {reply}")
    return reply


# -- the table


@dataclass(frozen=True, slots=True)
class Client:
    """A row of the tables: how it runs, and which modules beyond batchrec's own it needs."""

    title: str
    run: Callable[[Given, Clock], None] | Callable[[Given, Clock], Awaitable[None]]
    uvloop: bool = False
    needs: tuple[str, ...] = ()
    slow: bool = True
    """Whether it is given fewer pictures."""
    alone: bool = False
    """Whether it has one call in flight."""

    @property
    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        needed = (*self.needs, "uvloop") if self.uvloop else self.needs
        return [name for name in needed if find_spec(name) is None]


CLIENTS = {
    "bare": Client("bare aiohttp loop", bare, slow=False),
    "bare-uvloop": Client("bare aiohttp loop, uvloop", bare, uvloop=True, slow=False),
    "async-batch-llm": Client(
        "async-batch-llm, SQLite store, uvloop", async_batch_llm, uvloop=True, needs=("async_batch_llm",), slow=False
    ),
    "script": Client("usual script: gather, Semaphore(32), aiohttp", script),
    "httpx": Client("usual script: gather, Semaphore(32), httpx", httpx_script, needs=("httpx",)),
    "sdk": Client("official SDK, a loop", sdk_loop, needs=("aip", "chardet"), alone=True),
    "sdk-threads": Client("official SDK, 32 threads", sdk_threads, needs=("aip", "chardet")),
}


def main() -> None:
    """Send the pictures and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CLIENTS)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--body", choices=_TYPES, default="form")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--most", type=int, help="send only so many of them")
    wanted = parser.parse_args()
    pin(CLIENT_CORE)
    paths = files(wanted.folder)[: wanted.most]
    given = Given(wanted.url, _token(wanted.url), paths, wanted.body, wanted.concurrency)
    urllib.request.urlopen(f"{wanted.url}/forget").close()
    clock = Clock()
    _start(CLIENTS[wanted.name], given, clock)
    print(json.dumps({"images": len(paths), "seconds": clock.seconds, "cpu": clock.cpu}))


def _start(client: Client, given: Given, clock: Clock) -> None:
    if not asyncio.iscoroutinefunction(client.run):
        client.run(given, clock)
        return
    factory = None
    if client.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(client.run(given, clock))


def _token(url: str) -> str:
    with urllib.request.urlopen(url + TOKEN_PATH) as response:
        return str(json.load(response)["access_token"])


if __name__ == "__main__":
    main()
