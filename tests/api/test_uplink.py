"""The uplink in virtual time: bodies through a link of a known speed."""

import asyncio

import pytest

from batchrec.api.uplink import BUSY_SECONDS, FIRST_BYTES, STALLED_SECONDS, Uplink
from tests.support.virtual_time import virtual

REPLY = 20.0
"""Seconds that a call may take after its body has left."""


class Link:
    """Connections, each a number, that share `rate` bytes per second and hold what they have not sent."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.holds: dict[int, float] = {}
        self.most = 0.0
        self.uplink = Uplink(lambda transport: round(self.unsent(transport)))
        self._at = asyncio.get_running_loop().time()

    def unsent(self, number: object) -> float:
        """Bytes that a connection holds now; all that hold some share what went through since the last time."""
        now = asyncio.get_running_loop().time()
        passed, self._at = (now - self._at) * self.rate, now
        while passed > 1e-9 and (busy := [key for key, size in self.holds.items() if size > 0]):
            share = min([passed / len(busy), *(self.holds[key] for key in busy)])
            for key in busy:
                self.holds[key] -= share
            passed -= share * len(busy)
        return self.holds.get(number, 0.0)  # type: ignore[call-overload]

    async def send(self, number: int, size: int) -> float:
        """Send one body; returns when it had left. Raises TimeoutError where its call is over time."""
        upload = self.uplink.upload(size)
        await upload.admit()
        try:
            async with asyncio.timeout(None) as deadline:
                for piece in upload.pieces(bytes(size), number, deadline, REPLY):  # type: ignore[arg-type]
                    self.unsent(number)
                    self.holds[number] = self.holds.get(number, 0.0) + len(piece)
                    self.most = max(self.most, sum(self.holds.values()))
                while self.unsent(number):  # noqa: ASYNC110 - a socket tells nobody
                    await asyncio.sleep(0.01)
                upload.replied()
                return asyncio.get_running_loop().time()
        finally:
            upload.end()


@pytest.mark.parametrize("size", [100_000, 3_700_000])
@virtual
async def test_as_much_as_the_link_carries_in_five_seconds(size: int) -> None:
    """The bytes on the way stay under the bound and the link is never idle, for any number of bodies."""
    link = Link(3_750_000)
    count = 80_000_000 // size
    began = asyncio.get_running_loop().time()
    ends = await asyncio.gather(*(link.send(number, size) for number in range(count)))
    assert max(ends) - began == pytest.approx(count * size / link.rate, rel=0.02)
    assert link.most <= 1.3 * max(BUSY_SECONDS * link.rate, 2 * size)
    assert link.most >= 0.5 * BUSY_SECONDS * link.rate


@virtual
async def test_two_bodies_always_go(caplog: pytest.LogCaptureFixture) -> None:
    """A link that carries 100 KB in five seconds still gets the next body while one leaves."""
    link = Link(20_000)
    calls = [asyncio.ensure_future(link.send(number, 3 * FIRST_BYTES)) for number in range(3)]
    await asyncio.sleep(1)
    assert sorted(link.holds) == [0, 1]
    assert link.uplink.limiting
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


@virtual
async def test_a_call_has_its_time_after_its_body_has_left() -> None:
    """An upload may take as long as it moves; the reply's time begins when it has left."""
    link = Link(10_000)
    began = asyncio.get_running_loop().time()
    upload = link.uplink.upload(1_000_000)
    await upload.admit()
    async with asyncio.timeout(REPLY) as deadline:
        for piece in upload.pieces(bytes(1_000_000), 1, deadline, REPLY):  # type: ignore[arg-type]
            link.holds[1] = link.holds.get(1, 0.0) + len(piece)
        await asyncio.sleep(100 + 0.9 * REPLY)
        assert deadline.when() == pytest.approx(began + 100 + REPLY, abs=0.1)


@virtual
async def test_an_upload_that_does_not_move_is_given_up() -> None:
    """After 30 s, whatever the timeout of the call is; the room goes to the next body."""
    link = Link(0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await link.send(1, FIRST_BYTES)
    assert asyncio.get_running_loop().time() - began == pytest.approx(STALLED_SECONDS, abs=0.1)
    link.rate, link.holds = 1e6, {}
    await link.send(2, FIRST_BYTES)


@virtual
async def test_a_cancelled_body_gives_its_room_back() -> None:
    """Before it is admitted, while it waits, and on its way."""
    link = Link(0)
    calls = [asyncio.ensure_future(link.send(number, FIRST_BYTES)) for number in range(5)]
    await asyncio.sleep(1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert not link.uplink.limiting
    link.rate, link.holds = 1e6, {}
    await link.send(9, FIRST_BYTES)


@virtual
async def test_a_repeated_call_goes_first() -> None:
    """A throttled call waits for room before all others."""
    link = Link(0)
    on_their_way = [link.uplink.upload(FIRST_BYTES) for _ in range(2)]
    for upload in on_their_way:
        await upload.admit()
    order: list[str] = []

    async def admitted(name: str, *, first: bool) -> None:
        await link.uplink.upload(FIRST_BYTES).admit(first=first)
        order.append(name)

    waiting = [asyncio.ensure_future(admitted(name, first=name == "again")) for name in ("one", "two", "again")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    on_their_way[0].end()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["again"]
    for task in waiting:
        task.cancel()
