"""`batchrec verify`: whether everything that an output directory says agrees.

Reads, and writes nothing.

One pass over the answers in the order of results.jsonl: the journal says where each row stands, the row what it is,
and every other output must be what the rows make of it. Then the inputs, the views, the files that are still there, and
the counts.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson

from .. import images
from ..cluster.parts import Parts, damages, local_parts
from ..concurrency import mapped
from ..console.extras import require_extra
from ..errors import JobError
from ..exact_json import dumps
from ..job.follow_ups import Conditions, labels_of, triggered
from ..job.spec import When
from ..journal import AnswerPlace, Counts, Reader, reading
from ..language import _, os_reason
from ..outputs import OUTPUTS, JsonlOutput
from ..outputs.directory import FAILURES, SUMMARY
from ..outputs.files import Place, is_current, read_row
from ..sources import FileStore, is_url
from ..values import Failure, QuotaKey, Row

MOST_TOLD = 50
"""Problems that are told; of the others only the number."""

_BATCH = 1000
"""Inputs that are hashed between two reads of the journal."""

_NO_SUCH_FILE = "no such file"
_NOT_KEPT = "a URL whose bytes are not in the cache"


@dataclass(slots=True)
class Findings:
    """Problems of an output directory, each as a sentence; `problems` counts those beyond `MOST_TOLD` too.

    `hashed` and `gone` count inputs; they are 0 with `quick`, where no input was looked at. `unkept` counts URLs whose
    bytes are not in the cache: they are accounted for, and cannot be hashed.
    """

    counts: Counts
    quick: bool = False
    told: list[str] = field(default_factory=list)
    problems: int = 0
    hashed: int = 0
    gone: int = 0
    unkept: int = 0

    def add(self, problem: str) -> None:
        """One more thing that is wrong."""
        self.problems += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(problem)


def verify(
    directory: Path,
    counted: Callable[[QuotaKey], int],
    *,
    running: bool,
    quick: bool = False,
    kept: Callable[[bytes], bytes | None] = lambda sha256: None,
) -> Findings:
    """Everything that is wrong with an output directory.

    Raises JobError where it is none, or cannot be read.

    `counted` gives the calls that the quota has counted on something. While a run is going on, what it has not
    committed yet, and the views that it writes at its end, are left out. `quick`: the inputs are not read, so that it
    goes unnoticed where one of them has changed or is gone. `kept` gives the cached bytes of a URL by their SHA-256.
    """
    try:
        with reading(directory) as journal:
            findings = Findings(journal.counts(), quick)
            _check_rows(directory, journal, findings, running=running)
            _check_inputs(journal, findings)
            if not running:
                _check_views(directory, journal, findings)
            if not quick:
                _check_files(directory, journal, findings, kept)
            _check_counts(journal, counted, findings)
            if not running and local_parts(directory):
                _check_parts(directory, findings)
    except OSError as exc:
        raise JobError(
            _("{directory}: cannot be read: {reason}").format(directory=directory, reason=os_reason(exc))
        ) from exc
    return findings


# -- rows


def _check_rows(directory: Path, journal: Reader, findings: Findings, *, running: bool) -> None:
    following = _follow_ups(journal)
    with ExitStack() as stack:
        places = journal.outputs()
        files = {
            name: stack.enter_context(_Committed(directory / output.filename, places.get(output.filename), findings))
            for name, output in OUTPUTS.items()
        }
        results = files["jsonl"]
        made = [(file, OUTPUTS[name]) for name, file in files.items() if file is not results]
        # A file of an earlier dialect is what its run committed, by its checksum; the next run makes it anew.
        compared = [(file, output) for file, output in made if is_current(output, journal.note)]
        for file, output in compared:
            file.expect(output.header)
        for place in journal.answers():
            row = _row(results, place, findings)
            if row is not None:
                for file, output in compared:
                    file.expect(output.encode(row))
                if not place.superseded:
                    _check_follow_ups(journal, following.get(place.step, ()), place, row, findings)
        for file, output in compared:
            file.end(running=running, tail=() if running else map(output.encode_failure, journal.failures()))
        for file in files.values():
            file.end(running=running)


class _Committed:
    """Result file, read once from its beginning to `place`, as committed; None: it never was."""

    def __init__(self, path: Path, place: Place | None, findings: Findings) -> None:
        self.name = path.name
        self.at = 0
        self._path = path
        self._place = place
        self._findings = findings
        self._file: BinaryIO | None = None
        self._crc = 0
        self._differs = self._ended = False

    def __enter__(self) -> "_Committed":
        if self._place is not None:
            try:
                self._file = self._path.open("rb")
            except OSError as exc:
                if self._place[0] or not isinstance(exc, FileNotFoundError):
                    self._wrong(_("cannot be read: {reason}").format(reason=os_reason(exc)))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, length: int) -> bytes:
        """The next bytes."""
        data = self._file.read(length) if self._file is not None else b""
        self.at += len(data)
        self._crc = zlib.crc32(data, self._crc)
        return data

    def expect(self, text: bytes) -> None:
        """The next bytes are to be these. Where they are not, the rest is not looked at."""
        if self._file is None or self._differs:
            return
        at = self.at
        if self.read(len(text)) != text:
            self._wrong(
                _("differs from what {filename} makes of it, from byte {at} on").format(
                    filename=JsonlOutput.filename, at=at
                )
            )

    def end(self, *, running: bool, tail: Iterable[bytes] = ()) -> None:
        """End of the file: nothing may be missing, and only `tail` may follow. The first call counts."""
        if self._file is None or self._place is None or self._differs or self._ended:
            return
        self._ended = True
        committed, crc = self._place
        self.read(max(0, committed - self.at))
        length = self._path.stat().st_size
        if length < committed:
            self._wrong(
                _("has {length} bytes, but {committed} were committed").format(length=length, committed=committed)
            )
        elif self._crc != crc:
            self._wrong(_("its first {committed} bytes are not those that were committed").format(committed=committed))
        elif not running:
            self._check_tail(self._file, tail, length)

    def _check_tail(self, file: BinaryIO, tail: Iterable[bytes], length: int) -> None:
        """Compare what follows the committed bytes; `length` is the file's."""
        for text in tail:
            if file.read(len(text)) != text:
                self._wrong(_("its end is not what is failed now; run the job again"))
                return
        if (more := length - file.tell()) > 0:
            self._wrong(_("has {more} bytes of a run that was killed; the next run removes them").format(more=more))

    def _wrong(self, problem: str) -> None:
        self._differs = True
        self._findings.add(f"{self.name}: {problem}")


def _row(results: _Committed, place: AnswerPlace, findings: Findings) -> Row | None:
    """The row of an answer, where it stands, is whole and is that answer's."""
    whose = f"{place.image} ({place.step})"
    if place.start != results.at:
        findings.add(
            _("{file}: the row of {whose} stands at byte {start}, not at {at}").format(
                file=results.name, whose=whose, start=place.start, at=results.at
            )
        )
    if place.start < results.at:
        return None
    results.read(place.start - results.at)
    line = results.read(place.length)
    row = read_row(line)
    if row is None or line.count(b"\n") != 1:
        findings.add(
            _("{file}: the row of {whose} at byte {start} is not whole").format(
                file=results.name, whose=whose, start=place.start
            )
        )
        return None
    if (row["image"], row["step"]) != (place.image, place.step):
        findings.add(
            _("{file}: at byte {start} is another row than that of {whose}").format(
                file=results.name, whose=whose, start=place.start
            )
        )
        return None
    if None not in (place.sha256, row["sha256"]) and row["sha256"] != (place.sha256 or b"").hex():
        findings.add(
            _("{file}: the row of {whose} is of other bytes than the journal knows").format(
                file=results.name, whose=whose
            )
        )
    return row


def _follow_ups(journal: Reader) -> dict[str, Conditions]:
    """By a step's name: the steps that may follow it, as the job had them when it ran last."""
    following: dict[str, list[tuple[When, int]]] = {}
    for step in journal.active_steps():
        if step.condition:
            when = When.model_validate_json(step.condition.rpartition(" ")[0])
            following.setdefault(when.step, []).append((when, step.number))
    return dict(following)


def _check_follow_ups(
    journal: Reader, conditions: Conditions, place: AnswerPlace, row: Row, findings: Findings
) -> None:
    for number in triggered(conditions, labels_of(row)) if conditions else ():
        if not journal.listed(place.image, number):
            findings.add(
                _("{image}: its labels meet the condition of a step that it never came to").format(image=place.image)
            )


# -- inputs and views


def _check_inputs(journal: Reader, findings: Findings) -> None:
    for step in journal.active_steps():
        for key in journal.unlisted(step.number) if not step.condition else ():
            findings.add(
                _("{key}: has no result and no failure, and does not remain, at step {name}").format(
                    key=key, name=step.name
                )
            )


def _check_views(directory: Path, journal: Reader, findings: Findings) -> None:
    expected = (dumps(row) + b"\n" for row in journal.failures())
    if not _same(directory / FAILURES, expected):
        findings.add(_("{file}: is not what is failed now; run the job again").format(file=FAILURES))
    counts = findings.counts
    stood = {name: getattr(counts, name) for name in ("images", "answered", "failed", "duplicates")}
    later = {"left": journal.remaining(), "failures_by_code": journal.failures_by_code()}  # keys of later versions
    try:
        summary = orjson.loads((directory / SUMMARY).read_bytes())
        agrees = all(summary[name] == value for name, value in stood.items())
        agrees = agrees and all(summary.get(name, value) == value for name, value in later.items())
    except (OSError, ValueError, KeyError, TypeError):
        agrees = False
    if not agrees:
        findings.add(_("{file}: does not say how the job stands; run it again").format(file=SUMMARY))


def _same(path: Path, expected: Iterable[bytes]) -> bool:
    try:
        with path.open("rb") as file:
            return all(file.read(len(text)) == text for text in expected) and not file.read(1)
    except OSError:
        return False


def _check_parts(directory: Path, findings: Findings) -> None:
    """Parts that the nodes of a cluster have left are to be whole, and merged."""
    require_extra("ray", "batchrec verify", "fsspec")
    for part, reason in damages(Parts(str(directory))):
        findings.add(f"{part}: {reason}")
    text = _("{directory}: the parts of a cluster run are not merged: batchrec merge {directory}")
    findings.add(text.format(directory=directory))


# -- files and counts


def _check_files(directory: Path, journal: Reader, findings: Findings, kept: Callable[[bytes], bytes | None]) -> None:
    """The bytes of the inputs that are still there must be those that were answered."""
    store = FileStore(directory.resolve() / (journal.note("base") or "."))

    def problem(known: tuple[str, bytes]) -> str | None:
        key, sha256 = known
        if is_url(key):
            return _NOT_KEPT if kept(sha256) is None else ""
        data = store.read(key)
        if isinstance(data, Failure):
            return data.message
        return "" if images.digest(data) == sha256 else _("its bytes have changed; run the job again")

    with ThreadPoolExecutor() as pool:
        for batch in _batches(journal.inputs()):
            for (key, _digest), wrong in zip(batch, mapped(pool, problem, batch), strict=True):
                findings.gone += bool(wrong and wrong.startswith(_NO_SUCH_FILE))
                findings.hashed += wrong == ""
                findings.unkept += wrong == _NOT_KEPT
                if wrong and wrong != _NOT_KEPT and not wrong.startswith(_NO_SUCH_FILE):
                    findings.add(f"{key}: {_(wrong)}")


def _batches(known: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    while batch := list(islice(known, _BATCH)):
        yield batch


def _check_counts(journal: Reader, counted: Callable[[QuotaKey], int], findings: Findings) -> None:
    for charge, made in journal.calls():
        if (known := counted(charge)) < made:
            findings.add(
                _("quota: {service} on {day}: this job made {made:,} calls, but {known:,} are counted").format(
                    service=charge.service, day=charge.day, made=made, known=known
                )
            )
