"""Canary images of a step: the same few at each run, with what the service last said of them.

They are kept in a note of the journal, and their results are no rows. At first they are the first that have a result.
Another note has the changes of models: it is written with the results that show them, and stays with their rows.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from ..values import ModelChange, Task
from .calls import Calls
from .database import Database
from .schema import ANSWERED

_COLUMNS = "m.id, m.key, m.size, m.mtime_ns, m.sha256"
_URL = "(m.key LIKE 'http://%' OR m.key LIKE 'https://%')"
_THERE = f"m.position IS NOT NULL AND m.sha256 IS NOT NULL AND (m.size >= 0 OR {_URL})"
_SENT = f"i.state = {ANSWERED} AND i.attempts > 0"

MODEL_CHANGES = "model_changes"
"""Name of the note with the changes of models: a JSON array, the oldest first; `told` says whether a person was."""


class CanaryImage(NamedTuple):
    """An image of a canary.

    `labels`: names, scores and boxes (left, top, width, height), None where they are in the row at `start`; `at`: ISO
    8601. `variant` is the text of `images.variant` for what was sent, None where it is not known. `pixel`: pixels of
    the image as displayed by which a box may differ and be the same.
    """

    task: Task
    at: str
    labels: list[list[Any]] | None
    start: int = 0
    length: int = 0
    variant: str | None = None
    pixel: float = 1.0


class Canaries:
    """The canary images of a job's steps."""

    def __init__(self, db: Database, calls: Calls) -> None:
        self._db = db
        self._calls = calls

    def images(self, step: int, name: str, fingerprint: str, count: int) -> list[CanaryImage]:
        """The images to send first: those of the note of this fingerprint, else the first that were answered.

        Images that are no input any more, or have other bytes, are left out; copies are no canaries.
        """
        note = orjson.loads(self._db.note(_key(name)) or "{}")
        kept = note.get("images", []) if note.get("fingerprint") == fingerprint else []
        with self._db.guarded():
            found = [each for image in kept[:count] if (each := self._kept(step, image)) is not None]
            if found:
                return found
            rows = self._db.execute(
                f"SELECT {_COLUMNS}, i.at, i.start, i.length, i.variant FROM items i JOIN images m ON m.id = i.image "
                f"WHERE i.step = ? AND {_SENT} AND {_THERE} "
                "ORDER BY m.position LIMIT ?",
                (step, count),
            ).fetchall()
        return [CanaryImage(_task(step, row), row[5], None, *row[6:]) for row in rows]

    def any_sent(self, step: int) -> bool:
        """Whether a call for an image of this step was ever answered."""
        with self._db.guarded():
            return bool(self._db.one(f"SELECT EXISTS (SELECT 1 FROM items i WHERE i.step = ? AND {_SENT})", step))

    def put(self, name: str, fingerprint: str, images: Sequence[CanaryImage], change: ModelChange | None) -> None:
        """Keep images with their labels for the next run, and a change that is to be told."""
        kept = [
            {
                "image": each.task.key,
                "sha256": (each.task.sha256 or b"").hex(),
                "labels": each.labels,
                "at": each.at,
                "variant": each.variant,
            }
            for each in images
        ]
        with self._db.transaction():
            note = orjson.dumps({"fingerprint": fingerprint, "images": kept}).decode()
            self._db.put_note(_key(name), note)
            if change is not None:
                self._put_changes([*self._changes(), {**asdict(change), "told": False}])

    def changes(self) -> tuple[ModelChange, ...]:
        """All changes of the job's models, the oldest first."""
        return changes_of(self._db.note(MODEL_CHANGES))

    def untold(self) -> list[ModelChange]:
        """Changes that are still to be told, also those of runs that were killed."""
        return [_change(each) for each in self._changes() if not each["told"]]

    def told(self, changes: Collection[ModelChange]) -> None:
        """Note that changes were told."""
        with self._db.transaction():
            self._put_changes([{**each, "told": each["told"] or _change(each) in changes} for each in self._changes()])

    def answered(self) -> None:
        """Note that a call for a canary image has come back with an answer."""
        with self._db.transaction():
            self._calls.end(1)

    def _changes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads(self._db.note(MODEL_CHANGES) or "[]")
        return found

    def _put_changes(self, changes: Sequence[dict[str, Any]]) -> None:
        self._db.put_note(MODEL_CHANGES, orjson.dumps(changes).decode() if changes else None)

    def _kept(self, step: int, image: dict[str, Any]) -> CanaryImage | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM images m WHERE m.key = ? AND m.sha256 = ? AND {_THERE}",
            (image["image"], bytes.fromhex(image["sha256"])),
        ).fetchone()
        if row is None:
            return None
        return CanaryImage(_task(step, row), image["at"], image["labels"], variant=image.get("variant"))


def changes_of(note: str | None) -> tuple[ModelChange, ...]:
    """The changes in the note `MODEL_CHANGES`, None where there is no note."""
    return tuple(map(_change, orjson.loads(note or "[]")))


def _change(kept: dict[str, Any]) -> ModelChange:
    return ModelChange(**{key: value for key, value in kept.items() if key != "told"})


def _key(step: str) -> str:
    return f"canary {step}"


def _task(step: int, row: Sequence[Any]) -> Task:
    image, key, size, mtime_ns, sha256 = row[:5]
    return Task(image, step, key, 0, size, sha256, mtime_ns=mtime_ns)
