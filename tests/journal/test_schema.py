"""Formats of the file: earlier and later versions, and other programs' databases."""

import sqlite3
from contextlib import closing

import pytest

from batchrec.errors import JobError
from batchrec.journal import Journal, reading

from .parts import CHARGE, EVERYTHING, finished


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
            assert (journal.note("name"), [calls for _, calls in journal.reader.calls()]) == ("mine", counted)
            assert journal.opening.recover() == 2
    with closing(Journal(tmp_path)) as journal:
        a, b = journal.queue.claim([1], EVERYTHING, 5)
        assert ([a.key, b.key], journal.reader.counts().answered) == (["b", "c"], 1)
        journal.calls.sent([CHARGE])
        journal.answers.commit([finished(a)], {})
        assert journal.opening.recover() == 2
    (tmp_path / "new").mkdir()
    with closing(Journal(tmp_path)) as journal, closing(Journal(tmp_path / "new")) as new:
        assert sorted(schema(journal)) == sorted(schema(new))


def schema(journal: Journal) -> list[tuple[str, str]]:
    """Tables, their columns, and indexes."""
    with closing(sqlite3.connect(journal.database.path)) as db:
        columns = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        return db.execute(f"{columns} UNION SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'").fetchall()


def test_database_of_something_else(tmp_path):
    """A database that is no journal is left alone."""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(JobError, match="was made by something else"):
        Journal(tmp_path)
