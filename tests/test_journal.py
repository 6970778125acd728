"""The journal by itself: its file, its claims, its counts of calls, and what it costs at size."""

import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchrec.errors import JobError, OutputFailed
from batchrec.journal import Counts, Finished, Journal, StepRecord, reading
from batchrec.values import Failure, InputEntry, Kind, QuotaKey, Task

EVERYTHING = 2**62
CHARGE = QuotaKey("me", "dish", "2026-11-23")
FIRST = StepRecord("first", "dish", "asked so", "")
SECOND = StepRecord("second", "dish", "asked otherwise", "")


def found(*keys: str, size: int = 10) -> list[InputEntry]:
    return [InputEntry(key, 0, 0, size, 1) for key in keys]


def finished(task: Task, content: str = "", **more: object) -> Finished:
    sha256 = hashlib.sha256((content or task.key).encode()).digest()
    return Finished(task, sha256, 1, "now", **more)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Two steps of one service, and the images a, b, c, d to be asked at both."""
    journal = Journal(tmp_path)
    steps = journal.take_steps([FIRST, SECOND])
    list(journal.take_inputs(found(*"dbca")))
    journal.fill(steps.values())
    yield journal
    journal.close()


def test_claims_in_input_order(journal):
    """Whatever the number of steps, images come in the order of the inputs, and nothing comes twice."""
    claimed = [(task.key, task.step) for _ in range(5) for task in journal.claim([1, 2], EVERYTHING, 2)]
    assert claimed == [(key, step) for key in "abcd" for step in (1, 2)]


def test_claims_up_to_the_horizon(journal):
    """Inputs beyond the horizon are not touched."""
    assert [task.key for task in journal.claim([2], 2, 100)] == ["a", "b"]
    assert journal.claim([2], 2, 100) == []
    assert journal.unfinished([2], 2)
    assert not journal.unfinished([2], 2, unclaimed=True)
    assert not journal.unfinished([], EVERYTHING)


def test_sent_and_settled(journal):
    """What recovery tells is calls that were sent, less those that came back without an answer or with one."""
    a, b, c, d = journal.claim([1], EVERYTHING, 4)
    journal.sent([CHARGE] * 6)
    journal.settled(CHARGE, counted=True)
    copy = finished(a, leader=b.image)._replace(attempts=0)
    given_up = finished(d, failure=Failure(Kind.TRANSIENT, 282000, ""))
    journal.commit([finished(b), finished(c), copy, given_up], {})
    assert journal.recover() == 3
    assert journal.recover() == 3
    journal.conclude("{}")
    assert journal.recover() == 0


def test_calls_are_kept_by_what_they_were_counted_on(journal):
    """Calls of a day that the service may have counted: all that left, less those that it did not count."""
    a, b = journal.claim([1], EVERYTHING, 2)
    tomorrow = CHARGE._replace(day="2026-11-24")
    journal.sent([CHARGE])
    journal.sent([CHARGE])
    journal.settled(CHARGE, counted=False)
    journal.sent([tomorrow])
    journal.commit([finished(a), finished(b)], {})
    assert journal.calls() == [(CHARGE, 1), (tomorrow, 1)]


@pytest.fixture
def powered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal with 400 images; `power_cut` gives what of it is on the disk, as of the last sync."""
    (tmp_path / "before").mkdir()

    def synced(handle: int) -> None:
        shutil.rmtree(tmp_path / "after", ignore_errors=True)
        shutil.copytree(tmp_path / "before", tmp_path / "after")

    monkeypatch.setattr("batchrec.journal.journal.sync_file", synced)
    journal = Journal(tmp_path / "before", boot="before")
    journal.take_steps([FIRST])
    list(journal.take_inputs(found(*(f"{number:03}" for number in range(400)))))
    journal.fill([1])
    journal.recover()
    journal.sync()
    yield journal
    journal.close()


def power_cut(tmp_path: Path) -> Journal:
    """The journal as the next boot of the machine finds it."""
    return Journal(tmp_path / "after", boot="after")


@pytest.mark.parametrize("calls", [0, 1, 100, 128, 129, 300])
def test_notes_that_a_power_cut_took(powered, tmp_path, calls):
    """However many calls left without any answer, an upper bound of them is told, once, and never fewer."""
    for _ in range(calls):
        powered.sent([CHARGE])
    journal = power_cut(tmp_path)
    assert calls <= journal.recover() <= 3 * calls + 8
    journal.conclude("{}")
    assert journal.recover() == 0
    journal.close()


def test_a_calm_group_after_a_busy_one_leaves_the_bound_where_it_was(powered, tmp_path):
    """Until the next sync calls leave up to the bound of the last one, so no commit may lower what is on the disk."""
    busy = powered.claim([1], EVERYTHING, 100)
    for _ in busy:
        powered.sent([CHARGE])
    powered.commit([finished(task) for task in busy], {})
    powered.sync()
    powered.commit([], {})
    for _ in range(150):
        powered.sent([CHARGE])
    journal = power_cut(tmp_path)
    assert journal.recover() >= 150
    journal.close()


def test_an_opening_without_a_call_leaves_nothing_in_doubt(tmp_path):
    """A run that ends before its first call, and then another boot: no call was lost."""
    for boot in ("one", "two", "three"):
        with closing(Journal(tmp_path, boot=boot)) as journal:
            assert journal.recover() == 0


def test_answers_are_not_in_doubt_after_a_power_cut(powered, tmp_path):
    """A group that was committed and synced is not told again; what left after it is bounded."""
    tasks = powered.claim([1], EVERYTHING, 100)
    for _ in tasks:
        powered.sent([CHARGE])
    powered.commit([finished(task) for task in tasks], {})
    powered.sync()
    for _ in range(50):
        powered.sent([CHARGE])
    journal = power_cut(tmp_path)
    assert 50 <= journal.recover() <= 200
    journal.close()


def test_orderly_end_leaves_nothing_in_doubt(powered, tmp_path):
    """After a run that came to its end, a new boot of the machine finds no call of unknown outcome."""
    (task,) = powered.claim([1], EVERYTHING, 1)
    powered.sent([CHARGE])
    powered.commit([finished(task)], {})
    powered.conclude("")
    powered.sync()
    journal = power_cut(tmp_path)
    assert journal.recover() == 0
    journal.close()


def test_known_content(journal):
    """A content's answer is known by step; a failure only where it is the image's own fault."""
    torn = Failure(Kind.IMAGE, "torn", "the picture ends early")
    a, b, c, d = journal.claim([1], EVERYTHING, 4)
    journal.commit(
        [
            finished(a, "one", start=100, length=20),
            finished(b, "two", failure=torn),
            finished(c, "three", failure=Failure(Kind.TRANSIENT, 282000, "internal error")),
        ],
        {},
    )
    journal.park(d, hashlib.sha256(b"four").digest(), a.image)
    known = {
        name: journal.finished_content(1, hashlib.sha256(name.encode()).digest())
        for name in ("one", "two", "three", "four")
    }
    assert (known["one"].image, known["one"].start, known["one"].length) == (a.image, 100, 20)
    assert known["two"].failure == torn
    assert (known["three"], known["four"]) == (None, None)
    assert journal.finished_content(2, hashlib.sha256(b"one").digest()) is None


def test_parked_copies(journal):
    """A copy that is set aside comes back when its leader is finished, and after a kill without that."""
    a, b, *_ = journal.claim([1], EVERYTHING, 4)
    sha256 = hashlib.sha256(b"same").digest()
    journal.park(b, sha256, a.image)
    journal.unpark(2, a.image)
    assert journal.claim([1], EVERYTHING, 4) == []
    journal.unpark(1, a.image)
    (again,) = journal.claim([1], EVERYTHING, 4)
    assert (again.key, again.sha256) == ("b", sha256)
    journal.park(again, sha256, a.image)
    journal.recover()
    assert [task.key for task in journal.claim([1], EVERYTHING, 4)] == list("abcd")


def test_counts(journal):
    """Images, copies, answers, failures, and what is left to ask."""
    a, b, c, _ = journal.claim([1], EVERYTHING, 4)
    journal.commit([finished(a, "same"), finished(b, "same"), finished(c, failure=Failure(Kind.IMAGE, "torn", ""))], {})
    assert journal.counts() == Counts(images=4, duplicates=1, answered=2, failed=1, open=5)


def test_outputs_and_notes(journal):
    """A commit replaces the lengths of the files it names; a note of None is none."""
    journal.commit([], {"results.jsonl": (10, 1), "results.csv": (5, 2)})
    journal.put_outputs({"results.jsonl": (20, 3)}, drop=["results.csv"], swap="results.jsonl")
    assert journal.outputs() == {"results.jsonl": (20, 3)}
    assert journal.note("swap") == "results.jsonl"
    journal.put_note("swap", None)
    assert journal.note("swap") is None


def test_failed_listing_changes_nothing(journal):
    """A source that ends in an error leaves the inputs as they were."""

    def broken() -> Iterator[InputEntry]:
        yield from found("x")
        raise JobError("no such manifest")

    with pytest.raises(JobError):
        journal.take_inputs(broken())
    assert [task.key for task in journal.claim([1], EVERYTHING, 9)] == list("abcd")


def test_a_key_twice_is_one_image(journal):
    """The first source that names an image gives its place."""
    entries = [InputEntry("d", 0, 0, 10, 1), InputEntry("a", 1, 0, 10, 1), InputEntry("d", 2, 0, 10, 1)]
    assert list(journal.take_inputs(entries)) == []
    journal.fill([1])
    assert [task.key for task in journal.claim([1], EVERYTHING, 9)] == ["d", "a"]


def test_changes_beyond_one_batch(tmp_path):
    """Each changed file is told once, however many there are."""
    keys = [f"{number:05d}" for number in range(2500)]
    journal = Journal(tmp_path)
    assert list(journal.take_inputs(found(*keys))) == []
    told = []
    for change in journal.take_inputs(found(*keys, size=11)):
        journal.touch(change, same=True)
        told.append(change.found.key)
    assert told == keys
    assert list(journal.take_inputs(found(*keys, size=11))) == []
    journal.close()


def test_notes_beside_commits(journal):
    """Calls counted in one thread and commits from another do not disturb each other, and none is lost."""
    a, *_ = journal.claim([1], EVERYTHING, 4)

    def commit() -> None:
        for _ in range(50):
            journal.commit([finished(a)], {})
            journal.sync()

    thread = threading.Thread(target=commit)
    thread.start()
    for _ in range(200):
        journal.sent([CHARGE])
    thread.join()
    assert journal.recover() == 150


def test_log_stays_short(journal, tmp_path):
    """A write-ahead log that one large listing made long is short again after: else each commit would move it."""
    journal.put_note("large", "x" * 20_000_000)
    journal.sync()
    journal.put_note("small", 1)
    assert (tmp_path / "journal.db-wal").stat().st_size <= 4 * 1024 * 1024


def test_claims_do_not_sort_whole_lists(journal):
    """A claim of two steps reads as many rows as it takes, not all that are pending."""
    count = 20_000
    list(journal.take_inputs(found(*(f"{number:06d}" for number in range(count)))))
    journal.fill([1, 2])
    turns = 0

    def turn() -> int:
        nonlocal turns
        turns += 1
        return 0

    journal._db.set_progress_handler(turn, 1000)
    tasks = journal.claim([1, 2], EVERYTHING, 16)
    journal._db.set_progress_handler(None, 0)
    assert [task.position for task in tasks] == [1 + number // 2 for number in range(16)]
    assert turns < 10


def test_copies_of_one_failure(journal):
    """What is known of a content that thousands of files have is found without passing over all of them."""
    torn = Failure(Kind.IMAGE, "torn", "")
    list(journal.take_inputs(found(*(f"{number:06d}" for number in range(5000)))))
    journal.fill([1])
    journal.commit([finished(t, "same", failure=torn) for t in journal.claim([1], EVERYTHING, 5000)], {})
    turns = []
    journal._db.set_progress_handler(lambda: turns.append(1), 1000)
    known = journal.finished_content(1, hashlib.sha256(b"same").digest())
    journal._db.set_progress_handler(None, 0)
    assert known.failure == torn
    assert len(turns) < 2


# -- the file


def test_newer_version(tmp_path):
    """A journal of a newer batchrec is left alone, and said to be one."""
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JobError, match="was made by a newer version of batchrec"):
        Journal(tmp_path)


FORMAT_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE outputs (filename TEXT PRIMARY KEY, length INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE steps (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, service TEXT NOT NULL, fingerprint TEXT NOT NULL,
    condition TEXT NOT NULL, active INTEGER NOT NULL);
CREATE TABLE images (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, problem TEXT,
    sha256 BLOB, position INTEGER);
CREATE INDEX images_by_content ON images (sha256, position) WHERE sha256 IS NOT NULL;
CREATE TABLE items (
    image INTEGER, step INTEGER, state INTEGER NOT NULL, position INTEGER, sent INTEGER NOT NULL DEFAULT 0,
    leader INTEGER, attempts INTEGER, at TEXT, start INTEGER, length INTEGER, kind TEXT, code, message TEXT,
    PRIMARY KEY (image, step)) WITHOUT ROWID;
CREATE INDEX items_pending ON items (step, position) WHERE state = 0;
CREATE INDEX items_parked ON items (step, leader) WHERE state = 2;
CREATE INDEX items_failed ON items (step) WHERE state = 4;
CREATE INDEX items_sent ON items (sent) WHERE sent > 0;
INSERT INTO meta VALUES ('name', 'mine');
INSERT INTO steps VALUES (1, 'first', 'dish', 'asked so', '', 1);
INSERT INTO images (id, key, size, mtime_ns, position)
VALUES (1, 'a', 10, 1, 1), (2, 'b', 10, 1, 2), (3, 'c', 10, 1, 3);
UPDATE images SET sha256 = zeroblob(32) WHERE id = 1;
INSERT INTO items VALUES (1, 1, 3, 1, 0, NULL, 1, 'now', 0, 20, NULL, NULL, NULL);
INSERT INTO items (image, step, state, position, sent) VALUES (2, 1, 1, 2, 2), (3, 1, 0, 3, 0);
PRAGMA user_version = 1;
"""
"""One image answered, one with two calls under way, one to be asked."""

FORMAT_2 = f"""{FORMAT_1}
CREATE TABLE calls (
    account TEXT, service TEXT, day TEXT, made INTEGER NOT NULL, counted INTEGER NOT NULL,
    PRIMARY KEY (account, service, day)) WITHOUT ROWID;
INSERT INTO calls VALUES ('payer', 'dish', '2026-11-22', 5, 4), ('payer', 'dish', '2026-11-23', 2, 2);
PRAGMA user_version = 2;
"""


@pytest.mark.parametrize(("script", "counted"), [(FORMAT_1, []), (FORMAT_2, [4, 2])])
def test_earlier_version(tmp_path, script, counted):
    """A journal of an earlier version is brought up to date by a run, and keeps what it holds."""
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(script)
    before = (tmp_path / "journal.db").read_bytes()
    with reading(tmp_path) as reader:
        assert ([calls for _, calls in reader.calls()], reader.counts().answered) == (counted, 1)
    assert (tmp_path / "journal.db").read_bytes() == before
    for _ in range(2):
        with closing(Journal(tmp_path)) as journal:
            assert (journal.note("name"), [calls for _, calls in journal.calls()]) == ("mine", counted)
            assert journal.recover() == 2
    with closing(Journal(tmp_path)) as journal:
        a, b = journal.claim([1], EVERYTHING, 5)
        assert ([a.key, b.key], journal.counts().answered) == (["b", "c"], 1)
        journal.sent([CHARGE])
        journal.commit([finished(a)], {})
        assert journal.recover() == 2
    (tmp_path / "new").mkdir()
    with closing(Journal(tmp_path)) as journal, closing(Journal(tmp_path / "new")) as new:
        assert sorted(schema(journal)) == sorted(schema(new))


def schema(journal: Journal) -> list[tuple[str, str]]:
    """Tables, their columns, and indexes."""
    with closing(sqlite3.connect(journal.path)) as db:
        columns = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        return db.execute(f"{columns} UNION SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'").fetchall()


def test_database_of_something_else(tmp_path):
    """A database that is no journal is left alone."""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(JobError, match="was made by something else"):
        Journal(tmp_path)


def test_no_place_for_the_file(tmp_path):
    """A directory that cannot hold a journal is an output that cannot be written."""
    with pytest.raises(OutputFailed, match="cannot be written"):
        Journal(tmp_path / "missing")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(OutputFailed, match="cannot be written"):
        Journal(tmp_path)


def test_full_disk(journal):
    """A transaction that finds no room changes nothing, and the next one works once there is room."""
    pages = journal._one("PRAGMA page_count")
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputFailed, match="full"):
        journal.put_note("large", "x" * 100_000)
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert journal.note("large") is None
    journal.put_note("large", "x" * 100_000)
    assert len(journal.note("large")) == 100_000


def test_identity_is_claimed_whole(tmp_path):
    """A directory that is refused for one word does not take another one over."""
    journal = Journal(tmp_path)
    journal.claim_identity({"name": "mine"})
    with pytest.raises(JobError):
        journal.claim_identity({"endpoint": "embedded", "name": "yours"})
    assert journal.note("endpoint") is None
    journal.close()
