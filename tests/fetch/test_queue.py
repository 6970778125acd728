"""Queue of fetches: so many of a host, a bounded amount ahead, each image once."""

import asyncio

from batchrec.fetch.client import retry_after
from batchrec.fetch.queue import FetchQueue
from batchrec.values import Failure, Kind

GONE = Failure(Kind.FETCH, "fetch_404", "HTTP 404 Not Found")


class Hosts:
    """A fetcher whose images come when a test lets them; keys are `host/name`."""

    per_host = 2
    ahead_bytes = 250

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.fetched: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}

    def has(self, key: str) -> int | None:
        return 100

    def host(self, key: str) -> str:
        return key.partition("/")[0]

    def address(self, key: str) -> str:
        return key

    async def fetch(self, key: str) -> Failure | None:
        self.under_way.append(key)
        await self.doors.setdefault(self.host(key), asyncio.Event()).wait()
        self.under_way.remove(key)
        self.fetched.append(key)
        return GONE if "gone" in key else None


async def turns() -> None:
    """Let everything go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_slow_host_waits_alone() -> None:
    """Two of a host at once; the other host's images are there although the first host never answers."""
    hosts, came, tasks = Hosts(), [], []
    queue = FetchQueue(hosts, lambda work: tasks.append(asyncio.ensure_future(work)))
    for key in ("slow/1", "slow/2", "slow/3", "quick/1", "quick/gone", "quick/1"):
        queue.add(key, lambda failure, key=key: came.append((key, failure)))
    hosts.doors["quick"] = asyncio.Event()
    hosts.doors["quick"].set()
    await turns()
    assert hosts.under_way == ["slow/1", "slow/2"]
    assert came == [("quick/1", None), ("quick/1", None), ("quick/gone", GONE)]
    for task in tasks:
        task.cancel()


async def test_little_is_fetched_ahead() -> None:
    """Once enough bytes wait for their call no more are fetched, until some are used."""
    hosts, came, tasks = Hosts(), [], []
    queue = FetchQueue(hosts, lambda work: tasks.append(asyncio.ensure_future(work)))
    hosts.doors["h"] = asyncio.Event()
    hosts.doors["h"].set()
    for number in range(10):
        queue.add(f"h/{number}", lambda failure, number=number: came.append(number))
    await turns()
    ahead = len(came)
    assert 3 <= ahead <= 4
    queue.used("h/0")
    queue.used("h/1")
    await turns()
    assert ahead < len(came) < 10
    for number in range(2, 10):
        queue.used(f"h/{number}")
        await turns()
    assert sorted(came) == list(range(10))
    await asyncio.gather(*tasks)


async def test_unwanted_is_not_fetched() -> None:
    """Once no call may leave, what waits for its fetch comes back at once, and no server is asked."""
    hosts, came, tasks = Hosts(), [], []
    queue = FetchQueue(hosts, lambda work: tasks.append(asyncio.ensure_future(work)))
    over = False
    for number in range(5):
        queue.add(f"h/{number}", lambda failure, number=number: came.append((number, failure)), lambda: not over)
    await turns()
    over = True
    hosts.doors["h"].set()
    await asyncio.gather(*tasks)
    assert (hosts.fetched, sorted(came)) == (["h/0", "h/1"], [(number, None) for number in range(5)])


def test_retry_after() -> None:
    """A number of seconds, or a date; anything else asks for nothing."""
    assert [retry_after(text, 0.0) for text in ("7", " 0 ", "soon", "", "-5")] == [7, 0, 0, 0, 0]
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10.0) == 50
    assert retry_after("Thu, 01 Jan 1970 00:00:05 GMT", 10.0) == 0
