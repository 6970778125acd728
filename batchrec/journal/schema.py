"""What the journal's tables are, and the values that go in and out of them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ..values import Failure, InputEntry, Task

VERSION = 3

SCHEMA = """
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
    image INTEGER, step INTEGER, state INTEGER NOT NULL, position INTEGER, leader INTEGER,
    attempts INTEGER, at TEXT, start INTEGER, length INTEGER, kind TEXT, code, message TEXT,
    PRIMARY KEY (image, step)) WITHOUT ROWID;
CREATE INDEX items_pending ON items (step, position) WHERE state = 0;
CREATE INDEX items_parked ON items (step, leader) WHERE state = 2;
CREATE INDEX items_failed ON items (step) WHERE state = 4;
CREATE TABLE calls (
    account TEXT, service TEXT, day TEXT, made INTEGER NOT NULL, counted INTEGER NOT NULL,
    PRIMARY KEY (account, service, day)) WITHOUT ROWID;
INSERT INTO meta VALUES ('ended', 0);
"""
"""`calls.made` are calls that left, `counted` those of them that the service may have counted. The note `ended` has how
many of them have come back, and what they said is in here: the others were under way when a run was killed."""

SINCE = {
    1: """
CREATE TABLE calls (
    account TEXT, service TEXT, day TEXT, made INTEGER NOT NULL, counted INTEGER NOT NULL,
    PRIMARY KEY (account, service, day)) WITHOUT ROWID;
""",
    2: """
INSERT INTO meta SELECT 'ended', (SELECT coalesce(sum(made), 0) FROM calls) - coalesce(sum(sent), 0) FROM items;
DROP INDEX items_sent;
ALTER TABLE items DROP COLUMN sent;
""",
}
"""What makes a journal of a version one of the next: calls had no table, and then were marked at their images."""


def current(script: str) -> str:
    """A script, in one transaction, after which a journal is one of this version."""
    return f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;"


class State(IntEnum):
    """Where an image stands at a step. A gone image's position is NULL; it keeps its answers and is not asked.

    ASIDE is FAILED where the step's condition has changed since, until the new one asks for the image as well.
    """

    PENDING = 0
    CLAIMED = 1
    PARKED = 2
    ANSWERED = 3
    FAILED = 4
    ASIDE = 5


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as the journal compares it: an answer belongs to `fingerprint`; `condition` is its `when`, or empty."""

    name: str
    service: str
    fingerprint: str
    condition: str


@dataclass(frozen=True, slots=True)
class Changed:
    """An input whose file is not what it was: to be hashed if the journal knows its digest."""

    image: int
    found: InputEntry
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class Pending:
    """An input that is to be asked about, as it was listed: `size` in bytes, `mtime_ns` in nanoseconds."""

    number: int
    key: str
    size: int
    mtime_ns: int
    sha256: bytes | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal has for a content at a step: where in results.jsonl its row stands, or its failure."""

    image: int
    attempts: int
    start: int = 0
    length: int = 0
    failure: Failure | None = None


class Finished(NamedTuple):
    """An image and step that is done: its row's place in results.jsonl, or its failure, and the steps that follow."""

    task: Task
    sha256: bytes | None
    attempts: int
    at: str
    leader: int | None = None
    failure: Failure | None = None
    follow: tuple[int, ...] = ()
    start: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Of one step: images that are answered, failed, and still to be asked about."""

    answered: int = 0
    failed: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """`open` are images and steps still to be asked; `images` those that are inputs now, `duplicates` their copies."""

    images: int
    duplicates: int
    answered: int
    failed: int
    open: int
