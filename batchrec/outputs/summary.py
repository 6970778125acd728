"""Views of the journal at the end of a run: failures.jsonl, summary.json, failures in other files.

The two files are replaced in one step. Failures stand behind the committed bytes of an output; the next run cuts
them off, as it does with what a killed run left.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson

from ..exact_json import dumps
from ..state.durable import sync_file
from ..values import Row, Summary
from .directory import FAILURES, NEW, SUMMARY, create_own, open_own
from .files import ResultFiles, writing


def write_failures(directory: Path, failures: Iterable[Row]) -> None:
    """Write what is failed now, a line each; an empty file where nothing is. Raises OutputFailed."""
    with _replacing(directory / FAILURES) as file:
        for row in failures:
            file.write(dumps(row) + b"\n")


def append_failures(files: ResultFiles, failures: Callable[[], Iterable[Row]]) -> None:
    """Write what is failed now behind the results of each output that holds failures. Raises OutputFailed.

    The files must be closed, as after a run. `failures` is called for each of these outputs.
    """
    for output in files.outputs:
        path = files.directory / output.filename
        try:
            with open(path, "ab", opener=open_own) as file:
                file.truncate(files.places[output.filename][0])
                for failure in failures():
                    file.write(output.encode_failure(failure))
        except OSError as exc:
            raise writing(path, exc) from exc


def write_summary(directory: Path, summary: Summary) -> None:
    """Write the state of the job and the figures of this run. Raises OutputFailed."""
    with _replacing(directory / SUMMARY) as file:
        file.write(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


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
