"""Tables of a journal, the states in them, and the upgrade of a file of an earlier version."""

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

from ..errors import JobError
from ..language import _, mark
from .database import connect, read_only

VERSION = 5
"""Format of the file, in its `user_version`."""

PENDING, CLAIMED, PARKED, ANSWERED, FAILED, ASIDE = range(6)
"""States of an image at a step, in the column `items.state`.

- PENDING: on the list. CLAIMED: taken off the list by a run. PARKED: a copy, whose `leader` is being called for.
- ANSWERED: a row of results.jsonl, `length` bytes from `start` on. FAILED: with `kind`, `code` and `message`.
- ASIDE: failed before the condition of the step changed; FAILED again once the new condition asks for the image.

An image that is no input any more has the position NULL. It keeps its answers, and no call is made for it.
"""

IGNORED = "ignored"
"""Name of the note with the counts of ignored files: a JSON object, kind to count."""

SUPERSEDED_NOW = (
    "superseded o WHERE NOT EXISTS "
    f"(SELECT 1 FROM items i WHERE i.image = o.image AND i.step = o.step AND i.state = {ANSWERED})"
)
"""Superseded rows without a new answer, as tables and condition of a query."""

CALLING_SINCE = "calling_since"
"""Name of the note with the time from which the run under way calls (ISO 8601, UTC); absent while it opens."""

JOB_FILE = "job_file"
"""Name of the note with the path of the job file, from the output directory."""

UNFINISHED = f"< {ANSWERED}"
"""Condition on a state: PENDING, CLAIMED or PARKED."""

FINISHED = f"IN ({ANSWERED}, {FAILED})"
"""Condition on a state: ANSWERED or FAILED."""

_CALLS = """
CREATE TABLE calls (
    account TEXT, service TEXT, day TEXT, made INTEGER NOT NULL, counted INTEGER NOT NULL,
    PRIMARY KEY (account, service, day)) WITHOUT ROWID;
"""

_TILES_AND_SUPERSEDED = """
CREATE TABLE tiles (
    image INTEGER, step INTEGER, tile INTEGER, digest BLOB NOT NULL, attempts INTEGER NOT NULL,
    latency_ms REAL NOT NULL, reply BLOB NOT NULL, PRIMARY KEY (image, step, tile)) WITHOUT ROWID;
CREATE INDEX tiles_by_content ON tiles (digest);
CREATE TABLE superseded (
    image INTEGER, step INTEGER, at TEXT, sha256 BLOB, start INTEGER NOT NULL, length INTEGER NOT NULL,
    PRIMARY KEY (image, step)) WITHOUT ROWID;
"""

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE outputs (filename TEXT PRIMARY KEY, length INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE steps (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, service TEXT NOT NULL, fingerprint TEXT NOT NULL,
    condition TEXT NOT NULL, active INTEGER NOT NULL, treatment TEXT);
CREATE TABLE images (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, problem TEXT,
    sha256 BLOB, position INTEGER);
CREATE INDEX images_by_content ON images (sha256, position) WHERE sha256 IS NOT NULL;
CREATE TABLE items (
    image INTEGER, step INTEGER, state INTEGER NOT NULL, position INTEGER, leader INTEGER,
    attempts INTEGER, at TEXT, start INTEGER, length INTEGER, kind TEXT, code, message TEXT, variant TEXT,
    PRIMARY KEY (image, step)) WITHOUT ROWID;
CREATE INDEX items_pending ON items (step, position) WHERE state = {PENDING};
CREATE INDEX items_parked ON items (step, leader) WHERE state = {PARKED};
CREATE INDEX items_failed ON items (step) WHERE state = {FAILED};
{_CALLS}{_TILES_AND_SUPERSEDED}INSERT INTO meta VALUES ('ended', 0);
"""
"""`calls.made` are calls that left, `counted` those of them that the service may have counted.

The note `ended` has how many of them have come back with an outcome that is recorded: the others were under way when
a run was killed.

`items.variant` is the text of `images.variant` for the bytes at this step, NULL where it is not known: in rows of
earlier versions, and before the file was read. It begins with UNCHECKED where the treatment in `steps.treatment` is
newer. `steps.treatment` is NULL where the last run was one of an earlier version.

`tiles` has the answers of the tiles of images without a row, by number from 0; `digest` is that of what was sent.

`superseded` has the rows of results.jsonl whose images are called for again, since file, options or treatment changed.
Each stays until a new answer is committed; a rewrite of the file then takes it out. `sha256` is of the bytes of then.
"""

UNCHECKED = "?"
"""First character of a variant that could not be compared with the treatment: the file is gone, or cannot be read."""

IS_UNCHECKED = f"substr(i.variant, 1, 1) = '{UNCHECKED}'"
"""Condition on an item `i`: its variant is unchecked."""

SINCE = {
    1: _CALLS,
    2: """
INSERT INTO meta SELECT 'ended', (SELECT coalesce(sum(made), 0) FROM calls) - coalesce(sum(sent), 0) FROM items;
DROP INDEX items_sent;
ALTER TABLE items DROP COLUMN sent;
""",
    3: """
ALTER TABLE items ADD COLUMN variant TEXT;
ALTER TABLE steps ADD COLUMN treatment TEXT;
""",
    4: _TILES_AND_SUPERSEDED,
}
"""By version: the script that makes the next one of it.

Calls had no table in 1; 2 marked them at their images too; 3 did not know how an image had been treated; 4 had no
tiles, and dropped rows before their images were called for again.
"""

NOTE_DIGEST = "UPDATE images SET sha256 = ? WHERE id = ? AND sha256 IS NULL"
"""Note what the file of an image holds, where that is not known."""

UNLESS_LISTED = f"ON CONFLICT DO UPDATE SET state = {FAILED} WHERE state = {ASIDE}"
"""End of an insert into the lists: what is there stays, and what was set aside counts as failed again."""


def numbers(values: Sequence[int]) -> str:
    """Numbers as a list in SQL."""
    return ", ".join(str(int(value)) for value in values)


def current_copy(path: Path, opened: ExitStack) -> tuple[sqlite3.Connection, str]:
    """A journal in the current format, for reading, and the script that brings its file there.

    The script is empty where the file is current; else the connection is to a temporary copy. Raises JobError where the
    file is of a later version, or is not a journal: another program's, or one with more tables, triggers or views.
    """
    db = opened.enter_context(closing(read_only(path)))
    if script := _upgrade(path, db):
        earlier, db = db, opened.enter_context(closing(connect("")))
        earlier.backup(db)
        try:
            db.executescript(script)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # a full disk, say
                raise
            raise JobError(f"{path}: {_(_NO_JOURNAL)}") from exc
    if _schema(db) != _expected_schema():
        raise JobError(f"{path}: {_(_NO_JOURNAL)}")
    return db, script


_NO_JOURNAL = mark(
    "was made by something else: its tables are not those of a journal; give the job another output.directory"
)


def _upgrade(path: Path, db: sqlite3.Connection) -> str:
    """The script that brings a journal up to date: empty where it is, all of it for an empty database.

    Raises JobError where it is of a later version, or no journal.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return ""
    if version in SINCE:
        return _in_one_transaction("".join(SINCE[was] for was in range(version, VERSION)))
    if version == 0 and not _schema(db):
        return _in_one_transaction(SCHEMA)
    made = _("a newer version of batchrec") if version > VERSION else _("something else")
    raise JobError(
        _("{path}: was made by {made} (format {version}, this one writes {own})").format(
            path=path, made=made, version=version, own=VERSION
        )
    )


def _in_one_transaction(script: str) -> str:
    return f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;"


def _schema(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Everything that a database defines: kind, name and text, with white space made equal.

    Statistics are left out.
    """
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'")
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}


@cache
def _expected_schema() -> set[tuple[str, str, str]]:
    with closing(connect(":memory:")) as db:
        db.executescript(_in_one_transaction(SCHEMA))
        return _schema(db)
