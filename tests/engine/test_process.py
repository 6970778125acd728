"""SIGINT, SIGTERM and SIGHUP: asked to stop, then told to leave."""

import asyncio
import gc
import os
import signal
from contextlib import ExitStack

import pytest

from batchrec.engine.process import RareCollections, Stopper
from batchrec.errors import Interrupted

EACH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture
def asked():
    """Set by the first signal, through `Stopper.ask`."""
    return asyncio.Event()


@pytest.fixture
def stopper(asked):
    """A stopper that sets `asked`."""
    stopper = Stopper()
    stopper.ask = asked.set
    return stopper


async def interrupted(work, match=None):
    """The Interrupted with which a coroutine ends, in good time."""
    with pytest.raises(Interrupted, match=match) as end:
        await asyncio.wait_for(work, 60)
    return end.value


@EACH
async def test_the_first_signal_asks(stopper, asked, number):
    """`ask` is called on the loop, nothing is cancelled, and the signal is remembered."""
    with stopper.listening():
        assert not stopper.came()
        send(number)
        await asyncio.wait_for(asked.wait(), 60)
    assert (stopper.came(), stopper.signal) == (True, number)


@EACH
async def test_the_second_signal_leaves(stopper, asked, number):
    """The block ends at once, with the exit code of the first signal."""

    async def work():
        with stopper.listening():
            send(number)
            await asked.wait()
            send(signal.SIGTERM)
            await asyncio.sleep(60)

    assert (await interrupted(work())).exit_code == 128 + number


@EACH
async def test_who_stops_by_himself_need_not_know_the_signal(stopper, asked, number):
    """Interrupted, raised within the block, gets the code of the signal that came."""

    async def work():
        with stopper.listening():
            send(number)
            await asked.wait()
            raise Interrupted("stopped while listing")

    assert (await interrupted(work(), "while listing")).exit_code == 128 + number


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


async def test_where_a_loop_knows_no_signals(monkeypatch, stopper, asked):
    """Windows: the handler of the interpreter passes the signal to the loop."""

    def unknown(*_):
        raise NotImplementedError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", unknown)
    monkeypatch.setattr(loop, "remove_signal_handler", unknown)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stopper.listening():
        send(signal.SIGTERM)
        await asyncio.wait_for(asked.wait(), 60)
    assert stopper.signal == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# -- garbage


def collector() -> tuple[object, bool]:
    """The garbage collector's settings: thresholds, and whether objects are frozen."""
    return gc.get_threshold(), gc.get_freeze_count() > 0


def test_overlapping_runs_restore_the_collector_with_the_last():
    """The run that ends first restores nothing: another one goes on."""
    before, collections = collector(), RareCollections()
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(collections)
        during = collector()
        second.enter_context(collections)
        first.close()
        assert collector() == during != before
    assert collector() == before


@pytest.mark.parametrize("threshold", [0, 1_000_000])
def test_a_process_that_collects_less_often_keeps_its_way(threshold):
    """A threshold of its own, or none, is neither lowered nor restored."""
    before = gc.get_threshold()
    gc.set_threshold(threshold)
    try:
        with RareCollections():
            assert gc.get_threshold()[0] == threshold
        assert gc.get_threshold()[0] == threshold
    finally:
        gc.set_threshold(*before)


def test_frozen_objects_of_the_process_stay_frozen():
    """A process that has frozen its objects, as one does before a fork, finds them frozen after a run."""
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with RareCollections():
            pass
        assert gc.get_freeze_count() == count > 0
    finally:
        gc.unfreeze()
