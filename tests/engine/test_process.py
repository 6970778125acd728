"""SIGINT and SIGTERM: asked to stop, then told to leave."""

import asyncio
import os
import signal

import pytest

from batchrec.engine.process import Stopper
from batchrec.errors import Interrupted

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def send(number):
    os.kill(os.getpid(), number)


@BOTH
async def test_the_first_signal_asks(number):
    """`ask` is called on the loop, nothing is cancelled, and the signal is remembered."""
    stopper, asked = Stopper(), asyncio.Event()
    stopper.ask = asked.set
    with stopper.listening():
        assert not stopper.came()
        send(number)
        await asyncio.wait_for(asked.wait(), 5)
    assert (stopper.came(), stopper.signal) == (True, number)


@BOTH
async def test_the_second_signal_leaves(number):
    """The block ends at once, with the exit code of the first signal."""
    stopper, asked = Stopper(), asyncio.Event()
    stopper.ask = asked.set

    async def work():
        with stopper.listening():
            send(number)
            await asked.wait()
            send(signal.SIGTERM)
            await asyncio.sleep(60)

    with pytest.raises(Interrupted) as end:
        await asyncio.wait_for(asyncio.ensure_future(work()), 5)
    assert end.value.exit_code == 128 + number


@BOTH
async def test_who_stops_by_himself_need_not_know_the_signal(number):
    """Interrupted, raised within the block, gets the code of the signal that came."""
    stopper, asked = Stopper(), asyncio.Event()
    stopper.ask = asked.set

    async def work():
        with stopper.listening():
            send(number)
            await asked.wait()
            raise Interrupted("stopped while listing")

    with pytest.raises(Interrupted, match="while listing") as end:
        await work()
    assert end.value.exit_code == 128 + number


async def test_cancelling_from_outside_stays_a_cancellation():
    """No signal came: whoever cancels the task gets CancelledError."""
    stopper = Stopper()

    async def work():
        with stopper.listening():
            await asyncio.sleep(60)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_afterwards_signals_are_what_they_were():
    """Outside of the block Ctrl-C is Ctrl-C again."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Stopper().listening():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert signal.getsignal(signal.SIGTERM) == before[1]
    assert signal.getsignal(signal.SIGINT) in (before[0], signal.default_int_handler)


async def test_where_a_loop_knows_no_signals(monkeypatch):
    """Windows: the handler of the interpreter passes the signal to the loop."""

    def unknown(*_):
        raise NotImplementedError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", unknown)
    monkeypatch.setattr(loop, "remove_signal_handler", unknown)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stopper, asked = Stopper(), asyncio.Event()
    stopper.ask = asked.set
    with stopper.listening():
        send(signal.SIGTERM)
        await asyncio.wait_for(asked.wait(), 5)
    assert stopper.signal == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
