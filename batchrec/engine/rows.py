"""Outcomes: a finished image and step, with its row of results.jsonl."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..api.services import Service
from ..journal import Finished, Known
from ..values import Answer, Failure, Label, Prepared, Row, Task


@dataclass(frozen=True)
class Asked:
    """The names that the rows of a step hold; `model` is None but for EasyDL."""

    step: str
    service: Service
    model: str | None

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Keys of a label of this service, beside its box."""
        return self.service.reading.fields


class Outcome(NamedTuple):
    """A finished image and step: the journal's note of it, and its row; None where it failed."""

    finished: Finished
    row: Row | None = None

    def followed_by(self, steps: tuple[int, ...]) -> "Outcome":
        """Return the outcome with the numbers of follow-up steps that its labels ask for."""
        return self._replace(finished=self.finished._replace(follow=steps)) if steps else self


def answered(
    asked: Asked, task: Task, sha256: bytes | None, sent: Prepared, answer: Answer, attempts: int, at: str
) -> Outcome:
    """Return the outcome of an answered call.

    `at` is ISO 8601, `sha256` None where the service fetched the image.
    """
    row: Row = {
        "image": task.key,
        "sha256": None if sha256 is None else sha256.hex(),
        "step": asked.step,
        "service": asked.service.name,
        "model": asked.model,
        "labels": [_label(asked.fields, label, sent) for label in answer.labels],
        "response": answer.reply,
        "attempts": attempts,
        "latency_ms": round(answer.latency_ms, 3),
        "repaired": list(sent.repaired) or None,
        "same_as": None,
        "reused": None,
        "answered_at": at,
        "tiles": len(sent.tiles) or None,
    }
    return Outcome(Finished(task, sha256, attempts, at, in_tiles=bool(sent.tiles)), row)


def copied(task: Task, sha256: bytes | None, known: Known, row: Row) -> Outcome:
    """Return the outcome of a copy from the row of an image with the same bytes; it took no call."""
    origin = row["same_as"]
    if origin in (None, task.key):  # its own answer may come back to it through a copy
        origin = row["image"]
    copy = {**_complete(row), "image": task.key, "same_as": origin, "attempts": 0}
    return Outcome(Finished(task, sha256, 0, row["answered_at"], leader=known.image), copy)


def reused(asked: Asked, task: Task, sha256: bytes, row: Row) -> Outcome:
    """Return the outcome of an image from the row that an earlier job has for its bytes; it took no call."""
    at = row["answered_at"]
    mine = {
        **_complete(row),
        "image": task.key,
        "sha256": sha256.hex(),
        "step": asked.step,
        "attempts": 0,
        "reused": at,
    }
    return Outcome(Finished(task, sha256, 0, at), mine)


def failed(
    task: Task, sha256: bytes | None, failure: Failure, attempts: int, at: str, leader: int | None = None
) -> Outcome:
    """Return the outcome of an image that failed."""
    return Outcome(Finished(task, sha256, attempts, at, leader=leader, failure=failure))


def _complete(row: Row) -> Row:
    """The row with a key that rows of earlier versions lack."""
    return {**row, "tiles": row.get("tiles")}


def _label(fields: Sequence[str], label: Label, sent: Prepared) -> dict[str, Any]:
    """Return a label with the keys that its service has, its box in pixels of the image as displayed."""
    values: dict[str, Any] = {field: getattr(label, field) for field in fields}
    if label.box is not None:
        values["box"] = sent.displayed(label.box).sides
    return values
