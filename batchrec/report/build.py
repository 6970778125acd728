"""Building of a report: data of an output directory as scripts, thumbnails, and the page's own files.

journal, results.jsonl ─▶ thumbnails ─▶ columns, full results ─▶ meta ─▶ the folder takes its place
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from urllib.parse import quote

import orjson

from .. import __version__
from ..api.codes import CODES, WORDS
from ..errors import OutputFailed
from ..journal.reader import Counts
from ..language import _, language
from ..outputs.files import writing
from ..values import Row
from .columns import CHUNK_ROWS, SCORE_STEPS, Columns
from .entries import Directory, Entry, entries_of
from .folder import Scripts, copy_page, mark, replacing
from .thumbnails import PACK_FILES, TYPICAL_BYTES, Maker, Packs, Thumbnails, is_address, missing

ANSWER_ROWS = 1_000
"""Full results of a script, which is loaded when one of them is looked at."""

_MANY_FILES = 20_000
"""Thumbnails whose size is said before they are made."""

_PRICE_CALLS = 1_000  # that a price is for
_GIGABYTE_BYTES = 1e9


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of the job, where its file is known.

    `qps`: calls/s by step, None: no limit. `prices`: yuan for 1,000 calls by service.
    """

    qps: Mapping[str, float | None] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """Report that is asked for.

    `target`: the folder it is written to. `side`: the longer side of its thumbnails in pixels, 0: none. `other`: an
    output directory that is compared with it. `running`: whether a run is under way. `state`: what summary.json says.
    """

    target: Path
    side: int
    other: Path | None = None
    running: bool = False
    state: Mapping[str, object] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Built:
    """Counts of a report: its images and rows, thumbnails in all and made now, images that have moved."""

    images: int
    rows: int
    thumbnails: int
    made: int
    gone: int


def build(directory: Path, request: Request, tell: Callable[[str], None], on_made: Callable[[int, int], None]) -> Built:
    """Build the report of an output directory; the earlier one stays where it fails.

    `tell` is given what a person should know before it takes long; `on_made` thumbnails made and wanted, as they are
    made. Raises JobError for a directory that is none or a target that is no report, OutputFailed where nothing can be
    read or written.
    """
    with ExitStack() as opened:
        ours = opened.enter_context(entries_of(directory))
        other = opened.enter_context(entries_of(request.other)) if request.other is not None else None
        folder = opened.enter_context(replacing(request.target))
        try:
            return _Builder(ours, other, request, folder).run(tell, on_made)
        except (OSError, sqlite3.Error) as exc:
            raise _failed(request.target, exc) from exc


def _failed(target: Path, exc: OSError | sqlite3.Error) -> OutputFailed:
    return writing(target, exc) if isinstance(exc, OSError) else OutputFailed(f"{target}: {exc}")


class _Builder:
    """Building of one report in a folder that is not in its place yet."""

    def __init__(self, ours: Directory, other: Directory | None, request: Request, folder: Path) -> None:
        self._ours, self._other, self._request, self._folder = ours, other, request, folder
        self._columns = Columns()
        self._lines: list[bytes] = []
        self._only_ours = 0

    def run(self, tell: Callable[[str], None], on_made: Callable[[int, int], None]) -> Built:
        copy_page(self._folder)
        thumbnails = self._thumbnails(tell, on_made)
        scripts = Scripts(self._folder)
        try:
            self._write_rows(scripts, thumbnails)
            scripts.put("meta", orjson.dumps(self._meta(thumbnails)))
        finally:
            scripts.close()
        results = self._ours.results
        mark(self._folder, {"batchrec": __version__, "job": results.name, "rows": self._columns.rows})
        found = sum(place > 0 for place in thumbnails.places)
        return Built(self._columns.images, self._columns.rows, found, thumbnails.made, thumbnails.gone)

    def _thumbnails(self, tell: Callable[[str], None], on_made: Callable[[int, int], None]) -> Thumbnails:
        side, journal = self._request.side, self._ours.results.journal
        if not side:
            return Thumbnails()
        packs = Packs(self._folder, self._request.target, side)
        wanted = missing(journal, packs)
        if wanted > _MANY_FILES:
            size = wanted * TYPICAL_BYTES / _GIGABYTE_BYTES
            tell(
                _(
                    "{count:,} thumbnails are to be made, about {size:.1f} GB; --thumbnails 0 makes a report without"
                ).format(count=wanted, size=size)
            )
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            on_made(done, wanted)

        found = Maker(packs, self._ours.results.base, side, count).run(journal, wanted)
        packs.close()
        return found

    def _write_rows(self, scripts: Scripts, thumbnails: Thumbnails) -> None:
        chunk = answers = 0
        for entry, step, same_image in self._entries():
            self._columns.add(entry, step, thumb=thumbnails.of(self._number), same_image=same_image)
            self._lines.append(entry.line)
            if len(self._lines) == ANSWER_ROWS:
                answers = self._write_lines(scripts, answers)
            if self._columns.full:
                scripts.put(f"rows/{chunk:05d}", self._columns.take())
                chunk += 1
        if self._columns.rows % CHUNK_ROWS:
            scripts.put(f"rows/{chunk:05d}", self._columns.take())
        if self._lines:
            self._write_lines(scripts, answers)

    def _write_lines(self, scripts: Scripts, number: int) -> int:
        scripts.put(f"full/{number:05d}", b"\n".join(self._lines))
        self._lines = []
        return number + 1

    def _entries(self) -> Iterator[tuple[Entry, str, bool]]:
        """Entries of every image with the names of their steps: its own, then those of the other directory."""
        for _number, group in groupby(self._ours.entries(), attrgetter("number")):
            entries = list(group)
            self._number = entries[0].number
            yield from ((entry, entry.step, False) for entry in entries)
            if self._other is None:
                continue
            sha256 = entries[0].sha256
            theirs = self._other.entries_of(sha256) if sha256 is not None else []
            self._only_ours += not theirs
            yield from ((each, self._name_of(each), True) for each in theirs if each.number == theirs[0].number)

    def _name_of(self, entry: Entry) -> str:
        """The page's name of a step of the other directory."""
        assert self._other is not None
        return f"{entry.step} · {self._other.results.name} ({self._other.results.directory.name})"

    def _meta(self, thumbnails: Thumbnails) -> dict[str, object]:
        journal, columns, request = self._ours.results.journal, self._columns, self._request
        counts, calls = journal.counts(), self._calls()
        return {
            "version": __version__,
            "language": language(),
            "job": self._ours.results.name,
            "endpoint": self._ours.results.endpoint,
            "base": str(self._ours.results.base),
            "running": request.running,
            "state": {key: request.state.get(key) for key in ("finished_at", "stopped_by", "resume_at", "exit_code")},
            "counts": _counts(counts, sum(journal.ignored().values())),
            "calls": calls,
            "cost": self._cost(calls),
            "qps": dict(request.terms.qps),
            "rows": columns.rows,
            "images": columns.images,
            "labelCount": columns.label_count,
            "chunk": CHUNK_ROWS,
            "full": ANSWER_ROWS,
            "pack": PACK_FILES,
            "scores": SCORE_STEPS,
            "side": request.side,
            "gone": thumbnails.gone,
            "steps": [_step(name, columns.step_rows[name]) for name in columns.steps],
            "codes": [(code, _meaning(code)) for code in columns.codes],
            "folders": [(_shown(name), self._link(name)) for name in columns.folders],
            "labels": [*map(_shown, columns.labels)],
            "roots": [*map(_shown, columns.roots)],
            "other": self._other and self._other.results.name,
        }

    def _calls(self) -> dict[str, int]:
        """Calls that the service may have counted, by service."""
        found: dict[str, int] = {}
        for key, counted in self._ours.results.journal.calls():
            found[key.service] = found.get(key.service, 0) + counted
        return found

    def _cost(self, calls: Mapping[str, int]) -> float | None:
        """Yuan that the calls cost; None where a price is not known."""
        prices = self._request.terms.prices
        if not calls or any(service.partition("/")[0] not in prices for service in calls):
            return None
        return sum(count * prices[service.partition("/")[0]] / _PRICE_CALLS for service, count in calls.items())

    def _link(self, folder: str) -> str:
        """The way from the page to a folder of images, percent-encoded; empty for an address."""
        if is_address(folder + "/"):
            return ""
        path = os.path.join(self._ours.results.base, folder)
        try:
            return quote(os.path.relpath(path, self._request.target.resolve()).replace(os.sep, "/"), errors="replace")
        except ValueError:  # another drive of Windows
            return Path(path).as_uri()


def _counts(counts: Counts, ignored: int) -> dict[str, int]:
    return {
        "images": counts.images,
        "duplicates": counts.duplicates,
        "answered": counts.answered,
        "failed": counts.failed,
        "remaining": counts.open,
        "ignored": ignored,
    }


def _step(name: str, row: Row) -> dict[str, object]:
    return {"name": _shown(name), "service": row.get("service"), "model": row.get("model")}


def _meaning(code: str) -> str:
    """The meaning of a failure's code, in the language of the command."""
    if code.isdecimal():
        known = CODES.get(int(code))
        return known.message if known else ""
    return _(WORDS[code].meaning) if code in WORDS else ""


def _shown(text: str) -> str:
    """A text that JSON can hold: half characters become question marks."""
    return text.encode("utf-8", "replace").decode()
