"""A service for benchmarks, in a process of its own: it counts strictly, over sockets. `python -m benchmarks.service`.

The path says how: `/KEY/LIMIT/WINDOW/WAY/THINKING`, the last two in milliseconds as `20-200`. A call is counted after
its way; a refused one is answered at once and takes no place. `GET /KEY` tells what became of the calls.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.simulation import Counter

from .machine import pin

_ANSWER = b'{"log_id":1,"result_num":1,"result":[{"keyword":"x","score":0.9,"root":"y"}]}'
_REFUSAL = b'{"error_code":18,"error_msg":"Open api qps request limit reached"}'


@dataclass
class _Cell:
    counter: Counter
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


class _Cells:
    def __init__(self) -> None:
        self._cells: dict[str, _Cell] = {}

    async def call(self, request: web.Request) -> web.Response:
        """One call."""
        await request.read()
        key, limit, window, way, thinking = request.match_info["rest"].split("/")
        cell = self._cells.setdefault(key, _Cell(Counter(int(limit), "fixed" if window == "fixed" else "sliding")))
        await _pass(way)
        now = time.monotonic()
        if not cell.counter.takes(now):
            cell.refused.append(now)
            return web.Response(body=_REFUSAL, content_type="application/json")
        cell.taken.append(now)
        await _pass(thinking)
        return web.Response(body=_ANSWER, content_type="application/json")

    async def told(self, request: web.Request) -> web.Response:
        """When calls of a key were taken and refused, by the machine's monotonic clock."""
        cell = self._cells.get(request.match_info["key"]) or _Cell(Counter(0, "sliding"))
        return web.json_response({"taken": cell.taken, "refused": cell.refused})


async def _pass(milliseconds: str) -> None:
    least, _, most = milliseconds.partition("-")
    seconds = random.uniform(float(least), float(most or least)) / 1000
    if seconds > 0:
        await asyncio.sleep(seconds)


async def _serve() -> None:
    pin(0)
    cells = _Cells()
    application = web.Application(client_max_size=1 << 26)
    application.router.add_get("/{key}", cells.told)
    application.router.add_post("/{rest:.+}", cells.call)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Its address, while a process of its own serves."""
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.service", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
