"""failures.jsonl and summary.json: views of the journal, each replaced in one step."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import orjson

from ..exact_json import dumps
from ..state.durable import sync_file
from ..values import Row, Summary
from .directory import FAILURES, NEW, SUMMARY, create_own
from .files import writing


def write_failures(directory: Path, failures: Iterable[Row]) -> None:
    """Write what is failed now, a line each; an empty file where nothing is. Raises OutputFailed."""
    with _replacing(directory / FAILURES) as file:
        for row in failures:
            file.write(dumps(row) + b"\n")


def write_summary(directory: Path, summary: Summary) -> None:
    """Write the state of the job and the figures of this run. Raises OutputFailed."""
    with _replacing(directory / SUMMARY) as file:
        file.write(orjson.dumps(asdict(summary), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    new = path.with_name(path.name + NEW)
    try:
        with create_own(new) as file:
            yield file
            file.flush()
            sync_file(file.fileno())
        os.replace(new, path)
    except OSError as exc:
        raise writing(path, exc) from exc
