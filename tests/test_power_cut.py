"""A power cut at any moment: with any tails of the files, each answer stands once, whole."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchrec import images
from batchrec.api.services import SERVICES
from batchrec.commands.verify import verify
from batchrec.engine.recorder import Recorder, placed
from batchrec.engine.resume import RunRequest, open_directory
from batchrec.engine.rows import Asked, Outcome, answered
from batchrec.job.loading import build_job
from batchrec.journal import Journal
from batchrec.outputs import OUTPUTS, CsvOutput
from batchrec.outputs.files import ResultFiles
from batchrec.values import Answer, InputEntry, Label, Prepared, QuotaKey

CHARGE = QuotaKey("me", "advanced_general", "2026-11-23")
FIRST, SECOND = 4, 3
"""Answers of the group before the cut, and of the one that it meets."""

Damage = Callable[[bytes, int], bytes]


def cut(text: bytes, at: int) -> bytes:
    """The file ends there."""
    return text[:at]


def blank(text: bytes, at: int) -> bytes:
    """The file has its new length, but from there on the disk holds nothing yet."""
    return text[:at] + bytes(len(text) - at)


def garbled(text: bytes, at: int) -> bytes:
    """One byte of the tail did not arrive as it was written."""
    return text[:at] + bytes([text[at] ^ 0x55]) + text[at + 1 :] if at < len(text) else text


class World:
    """A job of eight pictures, and what is on the disk at each step of a commit."""

    def __init__(self, base: Path) -> None:
        self.base = base
        (base / "photos").mkdir(parents=True)
        for number in range(FIRST + SECOND + 1):
            (base / "photos" / f"{number}.jpg").write_bytes(bytes([number]) * 50)
        self.job = build_job(
            {"input": {"paths": ["photos"]}, "recognize": [{"service": "advanced_general"}]}, base / "job.toml"
        )
        self.directory = self.job.directory
        self.moments: dict[str, dict[str, bytes]] = {}

    def open(self, journal: Journal) -> tuple[ResultFiles, int]:
        """Open the directory as a run does; its files, and how many calls it says were lost."""
        files = ResultFiles(self.directory, [OUTPUTS[name] for name in ("jsonl", "csv")], {})
        opened = open_directory(self.job, journal, files, self.found(), RunRequest(), lambda: False)
        return files, opened.outcome_unknown

    def found(self) -> Iterator[InputEntry]:
        for path in (self.base / "photos").iterdir():
            status = path.stat()
            yield InputEntry(f"photos/{path.name}", 0, 0, status.st_size, status.st_mtime_ns)

    def note(self, moment: str) -> None:
        """Remember every byte of the directory."""
        paths = [path for path in self.directory.iterdir() if path.suffix != ".db-shm"]
        self.moments[moment] = {path.name: path.read_bytes() for path in paths}

    def put(self, content: dict[str, bytes]) -> None:
        """The directory after the power has come back."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        for name, data in content.items():
            (self.directory / name).write_bytes(data)

    async def live(self) -> None:
        """Two groups of answers, committed by the recorder; the second is looked at step by step."""
        self.directory.mkdir(parents=True)
        with closing(Journal(self.directory, boot="before")) as journal:
            files, _ = self.open(journal)
            async with files:
                recorder = Recorder(journal, files)
                await self.group(recorder, journal, FIRST)
                self.note("synced")
                tasks = journal.queue.claim([1], 2**62, SECOND)
                journal.calls.sent([CHARGE] * len(tasks))
                group = [outcome(self, task) for task in tasks]
                lines = await recorder._write([files.encode(outcome.row or {}) for outcome in group])
                self.note("written")
                files.sync()
                journal.answers.commit([done for done, _ in placed(group, lines)], files.places)
                self.note("committed")

    async def group(self, recorder: Recorder, journal: Journal, count: int) -> None:
        for task in journal.queue.claim([1], 2**62, count):
            journal.calls.sent([CHARGE])
            await recorder.add(outcome(self, task))
        recorder.close()
        await recorder.run()


def outcome(world: World, task: Any) -> Outcome:
    """The service's answer to a picture."""
    sha256 = images.digest((world.base / task.key).read_bytes())
    reply = {"log_id": 2**63 + task.image, "result": [{"keyword": "家具", "score": 0.5, "root": "商品"}]}
    labels = (Label("家具", 0.5, "商品"),)
    asked = Asked("advanced_general", SERVICES["advanced_general"], None)
    return answered(asked, task, sha256, Prepared(b""), Answer(reply, labels, 1.5), 1, "2026-11-23T00:00:00+00:00")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Lived through until the middle of the second commit."""
    world = World(tmp_path)
    await world.live()
    return world


def opened_again(world: World) -> tuple[int, int]:
    """Open the directory after the cut; all of it agrees. Returns its answers and the calls missing."""
    with closing(Journal(world.directory, boot="after")) as journal:
        _, unknown = world.open(journal)
        rows = [json.loads(line) for line in (world.directory / "results.jsonl").read_bytes().splitlines()]
        assert len({row["image"] for row in rows}) == len(rows) == journal.reader.counts().answered
        table = CsvOutput.header + b"".join(CsvOutput().encode(row) for row in rows)
        assert (world.directory / "results.csv").read_bytes() == table
        assert journal.reader.counts().open == FIRST + SECOND + 1 - len(rows)
    assert verify(world.directory, lambda charge: 10**6, running=True).told == []
    return len(rows), unknown


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv"])
@pytest.mark.parametrize("damage", [cut, blank, garbled])
def test_tail_of_a_result_file(world, name, damage):
    """An unsynced tail, cut or torn at every byte: the group is gone, everything before it stands."""
    before, after = world.moments["synced"], world.moments["written"]
    places = range(len(before[name]), len(after[name]) + 1)
    assert len(places) > 200
    for at in places:
        log = before if at % 2 else after
        world.put(after | {name: damage(after[name], at), "journal.db-wal": log["journal.db-wal"]})
        answers, unknown = opened_again(world)
        assert answers == FIRST
        assert unknown >= SECOND
    print(f"\n{name}, {damage.__name__} at {len(places)} places: {FIRST} of {FIRST} answers each time")


@pytest.mark.parametrize("damage", [cut, blank, garbled])
def test_tail_of_the_journal(world, damage):
    """The unsynced tail of the log, cut or torn at every byte: the group counts whole or not at all.

    At every place SQLite is asked what it makes of it; each state that comes out is then opened as a run does.
    """
    before, after = world.moments["synced"], world.moments["committed"]
    start, text = len(before[LOG]), after[LOG]
    world.put(after)
    states: dict[object, list[int]] = {}
    # From the end on, so that each place differs in one byte from the one before it.
    for at in range(len(text), start - 1, -1):
        with damaged(world.directory / LOG, text, at, damage):
            states.setdefault(read_as_it_is(world.directory), []).append(at)
    assert sum(map(len, states.values())) == len(text) + 1 - start
    assert len(states) == 2
    for places in states.values():
        world.put(after | {LOG: damage(text, places[0])})
        answers, unknown = opened_again(world)
        assert answers in (FIRST, FIRST + SECOND)
        assert unknown >= FIRST + SECOND - answers
    print(f"\n{LOG}, {damage.__name__} at {len(text) + 1 - start} places: {[len(x) for x in states.values()]}")


LOG = "journal.db-wal"


@contextmanager
def damaged(log: Path, text: bytes, at: int, damage: Damage) -> Iterator[None]:
    """The log damaged at a place, where it was damaged at the next one before."""
    with log.open("r+b") as file:
        if damage is cut:
            file.truncate(at)
        elif at < len(text):
            file.seek(at)
            file.write(damage(text[at : at + 1], 0))
    yield
    if damage is garbled and at < len(text):
        with log.open("r+b") as file:
            file.seek(at)
            file.write(text[at : at + 1])


def read_as_it_is(directory: Path) -> tuple[Any, ...]:
    """The journal's lengths of the result files and its answers, without writing to its file or log."""
    (directory / "journal.db-shm").unlink(missing_ok=True)
    with closing(sqlite3.connect(f"file:{directory}/journal.db?mode=ro", uri=True)) as db:
        outputs = db.execute("SELECT * FROM outputs ORDER BY 1").fetchall()
        return (*outputs, *db.execute("SELECT count(*) FROM items WHERE state = 3"))


def test_disk_that_kept_the_log_and_lost_the_rows(world):
    """A disk that lies about a sync: results.jsonl lacks rows of the journal. The run stops, and says so."""
    after = world.moments["committed"]
    world.put(after | {"results.jsonl": world.moments["synced"]["results.jsonl"]})
    with (
        closing(Journal(world.directory, boot="after")) as journal,
        pytest.raises(Exception, match="results are missing"),
    ):
        world.open(journal)
    assert os.path.getsize(world.directory / "results.jsonl") == len(world.moments["synced"]["results.jsonl"])
