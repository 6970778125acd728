"""`batchrec recognize`: a few files without a job file, by the same engine in a temporary folder."""

import asyncio
import contextlib
import os
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ..api.pasted import pasted
from ..api.services import OptionValue
from ..console.output import log_to_stderr, printing
from ..console.text import say
from ..engine.assembly import Options, run
from ..engine.process import run_loop
from ..errors import BatchrecError, JobError
from ..exact_json import dumps, loads
from ..job.loading import build_job
from ..outputs.directory import FAILURES
from ..values import Row, Summary

_JOB_FILE = Path("recognize.toml")
_ARGUMENT, _VARIABLE = "argument", "BATCHREC_ENDPOINT"
"""Names of what named the endpoint, as complaints begin."""
_ARGUMENTS = {"input.paths": "files", "recognize[0].": "", "account.": "", "limits.": ""}
"""Beginnings of a complaint's key, and the arguments of `recognize` that they stand for."""


class ImagesFailed(BatchrecError):
    """Some images have no answer. `failures` are rows as in failures.jsonl; `exit_code` is the run's."""

    def __init__(self, failures: Sequence[Row], summary: Summary) -> None:
        super().__init__(f"{len(failures)} images have no answer; the run ended with {summary.exit_code}")
        self.failures = tuple(failures)
        self.exit_code = summary.exit_code


async def recognize(
    files: Sequence[str | os.PathLike[str]],
    *,
    service: str = "advanced_general",
    model: str | None = None,
    options: Mapping[str, OptionValue] | None = None,
    endpoint: str | None = None,
    profile: str = "default",
    qps: float | None = None,
    reuse: bool = True,
    signals: bool = False,
) -> AsyncIterator[Row]:
    """Recognize files, folders or globs; yields rows as in results.jsonl, as they are answered.

    `reuse`: take cached results of earlier jobs too.

    `endpoint` None: BATCHREC_ENDPOINT, else the service itself. A `profile` of credentials.toml is sent to its own
    endpoint only.

    Raises JobError where the arguments are wrong, and ImagesFailed after the last row where images have no answer.
    """
    with tempfile.TemporaryDirectory(prefix="batchrec-") as directory, _speaking_of_arguments():
        account, origins = _account(endpoint, profile, os.environ)
        raw = _raw(files, service, model, options, account, qps, directory)
        job = build_job(raw, _JOB_FILE, origins)
        rows: asyncio.Queue[Row | None] = asyncio.Queue()

        def arrived(lines: Sequence[bytes]) -> None:
            for line in lines:
                rows.put_nowait(loads(line))

        running = asyncio.ensure_future(run(job, Options(reuse=reuse, signals=signals, on_rows=arrived)))
        running.add_done_callback(lambda _: rows.put_nowait(None))
        try:
            while (row := await rows.get()) is not None:
                yield row
            summary = await running
        finally:
            running.cancel()
            await asyncio.wait({running})
        if summary.exit_code:
            raise ImagesFailed(_failures(Path(directory)), summary)


def print_rows(
    files: Sequence[str],
    *,
    service: str,
    pairs: Sequence[str],
    model: str | None,
    endpoint: str | None,
    profile: str,
    reuse: bool,
    log_level: str,
) -> int:
    """Recognize files and print rows as in results.jsonl; `pairs` are options `K=V`.

    Returns the exit code.
    """
    log_to_stderr(log_level)
    options = dict(_pair(text) for text in pairs)

    async def show() -> int:
        rows = recognize(
            files,
            service=service,
            model=model,
            options=options,
            endpoint=endpoint,
            profile=profile,
            reuse=reuse,
            signals=True,
        )
        try:
            async for row in rows:
                with printing():
                    sys.stdout.buffer.write(dumps(row) + b"\n")
        except ImagesFailed as error:
            for failure in error.failures:
                say(f"{failure['image']}: {failure['message']} ({failure['code']})")
            return error.exit_code
        return 0

    return run_loop(show)


def _pair(text: str) -> tuple[str, Any]:
    """`k=v` with v as TOML has it, or else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise JobError(f"--option {text!r}: expected K=V, for example top_num=3")
    try:
        return name, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return name, value


def _account(
    endpoint: str | None, profile: str, environ: Mapping[str, str]
) -> tuple[dict[str, str], dict[tuple[str | int, ...], str]]:
    """The table `account` of the job file, and which of its keys were written elsewhere."""
    by = _ARGUMENT if endpoint else _VARIABLE
    endpoint = pasted(endpoint or environ.get(_VARIABLE, ""))
    if not endpoint:
        return {"profile": profile}, {}
    return {"profile": profile, "endpoint": endpoint}, {("account", "endpoint"): by}


def _raw(
    files: Sequence[str | os.PathLike[str]],
    service: str,
    model: str | None,
    options: Mapping[str, OptionValue] | None,
    account: Mapping[str, str],
    qps: float | None,
    directory: str,
) -> dict[str, Any]:
    """The job file that this amounts to; relative paths are relative to the current folder."""
    step: dict[str, Any] = {"service": service, "options": dict(options or {})}
    if model is not None:
        step["model"] = model
    raw: dict[str, Any] = {
        "name": "recognize",
        "input": {"paths": [os.fspath(file) for file in files]},
        "recognize": [step],
        "account": account,
        "output": {"directory": directory, "formats": ["jsonl"]},
    }
    if qps is not None:
        raw["limits"] = {"qps": qps}
    return raw


@contextlib.contextmanager
def _speaking_of_arguments() -> Iterator[None]:
    """Complaints about a job file that nobody wrote name the argument that was given instead of the key."""
    try:
        yield
    except JobError as error:
        raise JobError(*map(_about_argument, error.complaints)) from error


def _about_argument(complaint: str) -> str:
    text = (
        complaint.removeprefix(f"{_JOB_FILE}: ")
        .removeprefix(f"{_ARGUMENT}: ")
        .replace("relative to the job file", "relative to the current folder")
        .replace('account.profile = "NAME"', 'profile "NAME"')
    )
    for key, argument in _ARGUMENTS.items():
        if text.startswith(key):
            return argument + text.removeprefix(key)
    return text


def _failures(directory: Path) -> list[Row]:
    return [orjson.loads(line) for line in (directory / FAILURES).read_bytes().splitlines()]
