"""`batchrec recognize`: a few files without a job file, by the same engine in a temporary folder."""

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import orjson

from ..api.pasted import pasted
from ..api.services import OptionValue
from ..console.output import log_to_stderr, printing
from ..console.progress import Style
from ..console.text import say
from ..engine.assembly import Options, run
from ..engine.process import run_loop
from ..engine.setup import checked, unmatched_globs
from ..errors import BatchrecError, JobError
from ..exact_json import dumps, loads
from ..job.loading import build_job
from ..job.spec import Job
from ..language import _, ngettext
from ..outputs.directory import FAILURES
from ..values import ResultRow, Row, Summary
from .layout import show_table
from .outcome_text import LEAST_SCORE, label_text

_JOB_FILE = Path("recognize.toml")
_ARGUMENT, _VARIABLE = "argument", "BATCHREC_ENDPOINT"
"""Names of what named the endpoint, as complaints begin."""
_MOST_LABELS = 3
"""Labels of an image in the table."""

_ARGUMENTS = {"input.paths": "files", "recognize[0].": "", "account.": "", "limits.": ""}
"""Beginnings of a complaint's key, and the arguments of `recognize` that they stand for."""

_TYPED = {
    "input.paths": "FILE",
    "recognize[0].options.": "--option ",
    "recognize[0].": "--",
    "account.": "--",
    "limits.": "--",
}
"""The same for the command line."""


class ImagesFailed(BatchrecError):
    """Some images have no answer. `failures` are rows as in failures.jsonl; `exit_code` is the run's."""

    def __init__(self, failures: Sequence[Row], summary: Summary) -> None:
        super().__init__(f"{len(failures)} images have no result; the run ended with {summary.exit_code}")
        self.failures = tuple(failures)
        self.exit_code = summary.exit_code


File = str | os.PathLike[str] | tuple[str, bytes]
"""A path, or the name and the bytes of an image."""


async def recognize(
    files: File | Sequence[File],
    *,
    service: str = "advanced_general",
    model: str | None = None,
    options: Mapping[str, OptionValue] | None = None,
    endpoint: str | None = None,
    profile: str = "default",
    qps: float | None = None,
    reuse: bool = True,
    signals: bool = False,
) -> AsyncIterator[ResultRow]:
    """Recognize files, folders or globs; yields rows as in results.jsonl, as they are answered.

    `files` is one of them or several; `(name, bytes)` is an image in memory, whose rows have the name as `image`.

    `reuse`: take cached results of earlier jobs too.

    `endpoint` None: BATCHREC_ENDPOINT, else the service itself. A `profile` of credentials.toml is sent to its own
    endpoint only.

    Raises JobError where the arguments are wrong or a glob matches nothing, and ImagesFailed after the last row where
    images have no answer.
    """
    asked = _Asked(service, model, options or {}, endpoint, profile, qps)
    async with contextlib.aclosing(_recognized(files, asked, Options(reuse=reuse, signals=signals))) as rows:
        async for row in rows:
            yield row


@dataclass(frozen=True, slots=True)
class _Asked:
    """Arguments that make up the job file: the step, the account and its rate."""

    service: str
    model: str | None
    options: Mapping[str, OptionValue]
    endpoint: str | None
    profile: str
    qps: float | None


async def _recognized(
    files: File | Sequence[File],
    asked: _Asked,
    options: Options,
    ended: Callable[[Summary], None] = lambda summary: None,
    arguments: Mapping[str, str] = _ARGUMENTS,
) -> AsyncGenerator[ResultRow, None]:
    """Rows, as they come; at the end `ended` is given the summary. `arguments`: names for complaints."""
    with tempfile.TemporaryDirectory(prefix="batchrec-") as directory, _speaking_of(arguments):
        account, origins = _account(asked.endpoint, asked.profile, os.environ)
        names = _Names(Path(directory))
        job = build_job(_raw(names.paths(files), asked, account, str(names.results)), _JOB_FILE, origins)
        _check_globs(job)
        rows: asyncio.Queue[Row | None] = asyncio.Queue()

        def arrived(lines: Sequence[bytes]) -> None:
            for line in lines:
                rows.put_nowait(names.named(loads(line)))

        running = asyncio.ensure_future(run(job, replace(options, on_rows=arrived)))
        running.add_done_callback(lambda done: rows.put_nowait(None))
        try:
            while (row := await rows.get()) is not None:
                yield cast(ResultRow, row)
            summary = await running
        finally:
            running.cancel()
            await asyncio.wait({running})
        ended(summary)
        if summary.exit_code:
            raise ImagesFailed([names.named(row) for row in _failures(names.results)], summary)


class _Names:
    """Names of images that were given as bytes, which are temporary files meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self._images = folder / "images"
        self._names: dict[str, str] = {}

    def paths(self, files: File | Sequence[File]) -> list[str | os.PathLike[str]]:
        """The paths of all files. Raises JobError for what is none."""
        paths: list[str | os.PathLike[str]] = []
        for file in _several(files):
            match file:
                case (str(name), bytes() | bytearray() | memoryview() as data):
                    self._images.mkdir(exist_ok=True)
                    path = self._images / f"{len(self._names)}{_suffix(name)}"
                    path.write_bytes(data)
                    self._names[str(path)] = name
                    paths.append(path)
                case str() | os.PathLike():
                    paths.append(file)
                case _:
                    raise JobError(f"files: {type(file).__name__} is no file; expected a path, or (name, bytes)")
        return paths

    def named(self, row: Row) -> Row:
        """The row with the names in place of the temporary files."""
        for key in ("image", "same_as"):
            if row.get(key) in self._names:
                row[key] = self._names[row[key]]
        return row


def _several(files: File | Sequence[File]) -> Sequence[File]:
    """The files, where one or several were given."""
    if isinstance(files, str | os.PathLike):
        return [files]
    if isinstance(files, tuple) and len(files) == 2 and isinstance(files[1], bytes | bytearray | memoryview):
        return [cast(File, files)]
    return cast(Sequence[File], files)


def _suffix(name: str) -> str:
    """The suffix of a name, where it is a plain one."""
    suffix = os.path.splitext(name)[1]
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ".jpg"


def _check_globs(job: Job) -> None:
    """Raise JobError where a glob matches nothing, with complaints about inputs and credentials."""
    if unmatched := unmatched_globs(job):
        try:
            checked(job, os.environ)
        except JobError as error:
            unmatched += error.complaints
        raise JobError(*unmatched)


@dataclass(frozen=True, slots=True)
class Printing:
    """Options of the command line about what is printed, and how many images are taken."""

    json: bool
    limit: int | None
    progress: Style
    log_level: str


def print_rows(
    files: Sequence[str],
    printed: Printing,
    *,
    service: str,
    pairs: Sequence[str],
    model: str | None,
    endpoint: str | None,
    profile: str,
    qps: float | None,
    reuse: bool,
) -> int:
    """Recognize files; print a table on a terminal, else rows as in results.jsonl.

    `pairs` are options `K=V`. Returns the exit code.
    """
    log_to_stderr(printed.log_level)
    asked = _Asked(service, model, dict(_pair(text) for text in pairs), endpoint, profile, qps)
    tabular = sys.stdout.isatty() and not printed.json
    progress: Style = "none" if printed.progress == "auto" and not tabular else printed.progress
    options = Options(limit=printed.limit, reuse=reuse, progress=progress, signals=True)
    table: list[tuple[str, str]] = []

    def ended(summary: Summary) -> None:
        if tabular:
            with printing():
                if table:
                    show_table((_("image"), _("labels")), table)
        if summary.ignored or (tabular and printed.progress != "none"):
            say(_end(summary))

    async def show() -> int:
        try:
            async with contextlib.aclosing(_recognized(files, asked, options, ended, _TYPED)) as rows:
                async for row in rows:
                    if tabular:
                        table.append((row["image"], _labels(row)))
                        continue
                    with printing():
                        sys.stdout.buffer.write(dumps(row) + b"\n")
        except ImagesFailed as error:
            for failure in error.failures:
                say(f"{failure['image']}: {failure['message']} ({failure['code']})")
            return error.exit_code
        return 0

    return run_loop(show)


def _labels(row: ResultRow) -> str:
    """The best labels of a row with their scores."""
    labels = [
        label_text(cast(Row, label))
        for label in row["labels"][:_MOST_LABELS]
        if label["score"] is None or label["score"] >= LEAST_SCORE
    ]
    return ", ".join(labels) or _("no label")


def _end(summary: Summary) -> str:
    """The last line: images done, failed and remaining, and the files that folders have beside images."""
    done = summary.images - summary.left - summary.failed
    line = ngettext(
        "{done:,} image done, {failed:,} failed, {left:,} remaining · {calls:,} calls in {seconds:.1f} s",
        "{done:,} images done, {failed:,} failed, {left:,} remaining · {calls:,} calls in {seconds:.1f} s",
        done,
    ).format(done=done, failed=summary.failed, left=summary.left, calls=summary.calls, seconds=summary.seconds)
    if summary.ignored:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.ignored_by_kind.items())
        line += " · " + _("{count:,} files ignored ({kinds})").format(count=summary.ignored, kinds=kinds)
    return line


def _pair(text: str) -> tuple[str, Any]:
    """`k=v` with v as TOML has it, or else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise JobError(_("--option {given!r}: expected K=V, for example top_num=3").format(given=text))
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
    files: Sequence[str | os.PathLike[str]], asked: _Asked, account: Mapping[str, str], directory: str
) -> dict[str, Any]:
    """The job file that this amounts to; relative paths are relative to the current folder."""
    step: dict[str, Any] = {"service": asked.service, "options": dict(asked.options)}
    if asked.model is not None:
        step["model"] = asked.model
    raw: dict[str, Any] = {
        "name": "recognize",
        "input": {"paths": [os.fspath(file) for file in files]},
        "recognize": [step],
        "account": account,
        "output": {"directory": directory, "formats": ["jsonl"]},
    }
    if asked.qps is not None:
        raw["limits"] = {"qps": asked.qps}
    return raw


@contextlib.contextmanager
def _speaking_of(arguments: Mapping[str, str]) -> Iterator[None]:
    """Complaints about a job file that nobody wrote name the argument that was given instead of the key."""
    try:
        yield
    except JobError as error:
        raise JobError(*(_about_argument(complaint, arguments) for complaint in error.complaints)) from error


def _about_argument(complaint: str, arguments: Mapping[str, str] = _ARGUMENTS) -> str:
    text = (
        complaint.removeprefix(f"{_JOB_FILE}: ")
        .removeprefix(f"{_ARGUMENT}: ")
        .replace(_("relative to the job file"), _("relative to the current folder"))
        .replace('account.profile = "NAME"', 'profile "NAME"')
    )
    if named := re.match(r'input\.paths\[\d+\]: (?=")', text):  # the file itself, as it was given
        return text[named.end() :]
    for key, argument in arguments.items():
        if text.startswith(key):
            return argument + text.removeprefix(key)
    return text


def _failures(directory: Path) -> list[Row]:
    return [orjson.loads(line) for line in (directory / FAILURES).read_bytes().splitlines()]
