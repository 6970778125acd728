"""Preparation: places, memory and threads are bounded; a body holds the file. In virtual time."""

import asyncio
import os
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest

from batchrec.engine import preparation
from batchrec.engine.lane import Postponed
from batchrec.engine.preparation import Preparation
from batchrec.images import digest
from batchrec.sources.store import FileStore
from batchrec.values import Failure, Kind, Shortage, Task
from tests.support.virtual_time import virtual

from .parts import a_step, picture, turns

STEP = a_step("first")
HEAVY = 4 * 1024 * 1024
"""Bytes of a file that cannot be sent as it is: its base64 text has more than 4 MB."""


class Place:
    """A folder of files, their preparation on one core, and how often a place among the decoders was left."""

    def __init__(self, folder: Path, within: Path | None = None) -> None:
        self.folder = folder
        self.left = 0
        self.preparation = Preparation(FileStore(folder, within), self._on_place, cores=1)

    def _on_place(self) -> None:
        self.left += 1

    def put(self, number: int, data: bytes, **known: bytes) -> Task:
        """Write a file; the task is as the journal would list it."""
        path = self.folder / f"{number}.png"
        path.write_bytes(data)
        status = path.stat()
        return Task(number, 1, path.name, number, status.st_size, mtime_ns=status.st_mtime_ns, **known)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.preparation.close()


def a_task(number: int, size: int = 10) -> Task:
    return Task(number, 1, f"{number}.png", number, size)


# -- places


def test_two_images_a_core_have_a_place(place):
    """The third waits until one has left; whoever has a place keeps it however often it asks."""
    first, second, third = (a_task(number) for number in range(3))
    take = place.preparation.take_place
    assert [take(first), take(second), take(third), take(first)] == [True, True, False, True]
    place.preparation.leave_place(first)
    assert (take(third), take(first), place.left) == (True, False, 1)


def test_one_without_a_place_leaves_none(place):
    """Nobody is woken for an image that was not decoded."""
    place.preparation.leave_place(a_task(1))
    assert place.left == 0


def test_a_heavy_file_is_not_read_before_it_has_a_place(place):
    """A file too large to be sent as it is takes a place before it is read; a light one needs none."""
    heavy = [a_task(number, HEAVY) for number in range(3)]
    assert [place.preparation.admits(STEP, task) for task in heavy] == [True, True, False]
    assert place.preparation.admits(STEP, a_task(9))


@virtual
async def test_an_image_to_be_decoded_is_set_aside_without_a_place(place):
    """With all places taken a usual image is still prepared, and one to be decoded waits for a place."""
    usual, alpha = place.put(1, picture(1)), place.put(2, picture(2, "RGBA"))
    for number in (8, 9):
        place.preparation.take_place(a_task(number))
    prepared, body, _ = await place.preparation.prepare(STEP, usual, picture(1))
    assert (prepared.repaired, body) == ((), STEP.request.body(picture(1)))
    assert await place.preparation.prepare(STEP, alpha, picture(2, "RGBA")) is Postponed.SET_ASIDE
    place.preparation.leave_place(a_task(9))
    prepared, body, _ = await place.preparation.prepare(STEP, alpha, picture(2, "RGBA"))
    assert prepared.repaired
    assert body != STEP.request.body(picture(2, "RGBA"))


@virtual
async def test_what_is_no_image_is_a_failure(place):
    """The reason is the image's, and no call is made for it."""
    failure = await place.preparation.prepare(STEP, a_task(1), b"<html>")
    assert isinstance(failure, Failure)
    assert (failure.code, failure.counted) == ("not_an_image", False)


# -- memory


@virtual
async def test_memory_is_held_until_it_is_given_back(tmp_path, monkeypatch):
    """An image takes three times its file; the next one waits until the first keeps no more than its body."""
    monkeypatch.setattr(preparation, "_MOST_BYTES", 4000)
    monkeypatch.setattr(preparation, "_HEAVIEST", 3000)
    here = Place(tmp_path).preparation
    held = await here.hold(a_task(1, 900))
    assert held == 2700
    waiting = asyncio.ensure_future(here.hold(a_task(2, 500)))
    await turns()
    assert not waiting.done()
    assert here.keep(held, 1200) == 1200
    assert await waiting == 1500
    here.give(1200)
    here.give(1500)
    assert await here.hold(a_task(3, 10**9)) == 3000  # the heaviest leaves room for others
    assert await here.hold(a_task(4, -1)) == 0  # a file that is gone
    here.close()


# -- reading


@virtual
async def test_a_file_and_its_digest(place):
    """Small files are read on the event loop, large ones in a thread, with the same result."""
    for size in (100, 300 * 1024):
        data = os.urandom(size)
        assert await place.preparation.read(STEP, place.put(size, data)) == (data, digest(data), "")


@virtual
async def test_a_known_digest_is_trusted_while_the_file_is_as_it_was_listed(place):
    """The digest of an unchanged file is not computed again; that of a file with another time or size is."""
    task = place.put(1, b"abc", sha256=bytes(32))
    assert await place.preparation.read(STEP, task) == (b"abc", bytes(32), "")
    os.utime(place.folder / task.key, ns=(1, 1))
    assert await place.preparation.read(STEP, task) == (b"abc", digest(b"abc"), "")


@virtual
async def test_a_file_that_is_gone_is_a_failure(place):
    """The digest of nothing is empty."""
    failure, sha256, _ = await place.preparation.read(STEP, a_task(1))
    assert (failure.code, failure.message, sha256) == ("unreadable", "no such file", b"")


class ShortOf(FileStore):
    """A store that the machine has no descriptor for until `reads` of it were tried."""

    def __init__(self, folder: Path, reads: float) -> None:
        super().__init__(folder)
        self.reads = reads

    def read(self, key: str) -> bytes | Failure:
        self.reads -= 1
        short = Shortage(Kind.READ, "unreadable", "too many open files", counted=False)
        return super().read(key) if self.reads < 0 else short


@virtual
@pytest.mark.parametrize("size", [10, HEAVY])
async def test_a_descriptor_is_waited_for(tmp_path, size):
    """While the machine has none free, in the event loop or in a thread, the file is tried again."""
    (tmp_path / "1.png").write_bytes(bytes(size))
    here = Preparation(ShortOf(tmp_path, 20), lambda: None)
    assert (await here.read(STEP, a_task(1, size)))[0] == bytes(size)
    here.close()


@virtual
async def test_a_descriptor_is_not_waited_for_without_end(tmp_path):
    """After a minute the image fails, to be tried again by the next run."""
    time = asyncio.get_running_loop().time
    before = time()
    here = Preparation(ShortOf(tmp_path, inf), lambda: None)
    failure, *_ = await here.read(STEP, a_task(1))
    assert (failure.kind, failure.message) == (Kind.READ, "too many open files")
    assert 60 <= time() - before < 62
    here.close()


@virtual
async def test_a_folder_that_became_a_link_is_outside(tmp_path):
    """The boundary holds when the file is read, not only when it was listed."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_bytes(picture(1))
    here = Place(tmp_path / "in", within=tmp_path / "in")
    task = here.put(1, picture(1))
    assert (await here.preparation.read(STEP, task))[0] == picture(1)
    (tmp_path / "in" / "1.png").unlink()
    (tmp_path / "in" / "1.png").symlink_to(tmp_path / "out" / "1.png")
    failure, *_ = await here.preparation.read(STEP, task)
    assert failure.code == "outside"
    here.preparation.close()


@virtual
async def test_reading_leaves_the_loop_its_turns(place):
    """Of 200 files that are asked for at once at most 64 are read in one iteration of the event loop."""
    tasks = [asyncio.ensure_future(place.preparation.read(STEP, place.put(number, b"abc"))) for number in range(200)]
    done = [0]
    while done[-1] < len(tasks):
        await asyncio.sleep(0)
        done.append(sum(task.done() for task in tasks))
    assert max(later - earlier for earlier, later in pairwise(done)) <= 64
