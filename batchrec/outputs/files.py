"""Result files of a run: appended to in blocks, cut back to the committed length, rewritten as one.

Bytes beyond the committed length were written by a run that was killed before its commit.
"""

import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import accumulate, count
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import aiofiles
import orjson

from ..errors import OutputFailed, ResultsDamaged
from ..exact_json import dumps, loads
from ..interfaces import Output
from ..language import _
from ..redact import may_hold_secret, redact_json
from ..state.durable import sync_directory, sync_file
from ..state.file_system import OUTPUT_REMEDY, with_cause
from ..values import Row
from . import JsonlOutput
from .directory import NEW, OUTPUT_FILES, create_own, open_own

Place = tuple[int, int]
"""Committed length in bytes, and the CRC-32 of those bytes."""

Line = tuple[int, bytes]
"""Offset of a row in results.jsonl, and its text with the line's end."""

Texts = tuple[bytes, ...]
"""A row as each of the files has it, in the order of the outputs."""

_BLOCK = 1024 * 1024  # bytes read at a time for a checksum
_TEXTS = ("image", "step", "service", "answered_at")
_SCALARS = ("name", "score", "root", "calorie", "year")


class ResultFiles:
    """The result files of a directory. `places` are the current lengths; the journal commits them."""

    def __init__(self, directory: Path, outputs: Sequence[Output], places: dict[str, Place]) -> None:
        self.directory = directory
        self.outputs = tuple(outputs)
        self.places = places
        self.results = directory / JsonlOutput.filename
        # Index of the output that holds all that the others do.
        self._whole = next((n for n, output in enumerate(self.outputs) if isinstance(output, JsonlOutput)), 0)
        self._stack = AsyncExitStack()
        self._files: dict[str, Any] = {}
        self._untouched: frozenset[str] = frozenset()
        self._left: dict[str, int] = {}  # by name: the size that the last run left, where it came to its end

    # -- opening

    def trust(self, stamps: str | None, *, concluded: bool = False) -> None:
        """Do not read the files whose size and mtime are still those of `stamps` to check their bytes.

        `concluded`: the last run came to its end, so that what follows the committed bytes is not a killed run's.
        """
        try:
            then = dict(orjson.loads(stamps or "{}"))
        except (ValueError, TypeError):  # somebody has edited the journal
            then = {}
        self._untouched = frozenset(name for name, stamp in then.items() if stamp == self._stamp(name))
        if concluded:
            self._left = {name: stamp[0] for name, stamp in then.items() if stamp}

    def stamps(self) -> str:
        """Size and mtime of each file now, for `trust`."""
        return orjson.dumps({output.filename: self._stamp(output.filename) for output in self.outputs}).decode()

    def check(self) -> None:
        """Cut results.jsonl back to what was committed. Raises ResultsDamaged if some of that is missing."""
        committed = self.places.get(JsonlOutput.filename, (0, 0))[0]
        length = max(_length(self.results), 0)
        if length < committed:
            raise ResultsDamaged(
                _(
                    "{results}: has {length} bytes, but {committed} were committed: results are "
                    "missing. Put the file back, or run again with --rebuild to send again what is "
                    "missing"
                ).format(results=self.results, length=length, committed=committed)
            )
        if committed and not self.intact(JsonlOutput.filename):
            raise ResultsDamaged(
                _(
                    "{results}: its first {committed} bytes are not those that were written: it was "
                    "edited. Put the file back, or run again with --rebuild to keep its whole rows and "
                    "send the others again"
                ).format(results=self.results, committed=committed)
            )
        _cut(self.results, committed)

    def intact(self, filename: str) -> bool:
        """Whether a file begins with the bytes that were committed."""
        place = self.places.get(filename)
        if place is None:
            return False
        return filename in self._untouched or _checksum(self.directory / filename, place[0]) == place[1]

    def behind(self, outdated: Collection[str] = ()) -> list[Output]:
        """Outputs but results.jsonl that are missing, damaged, new or `outdated`; cut the others back."""
        behind = []
        for output in self.outputs:
            if output.filename == JsonlOutput.filename:
                continue
            if output.filename not in outdated and self._unchanged(output.filename):
                _cut(self.directory / output.filename, self.places[output.filename][0])
            else:
                behind.append(output)
        return behind

    def rows(self) -> Iterator[tuple[bytes, Row]]:
        """Every whole row of results.jsonl, as it stands there and as it reads."""
        if not self.results.exists():
            return
        with _opened(self.results) as file:
            for line in file:
                row = read_row(line)
                if row is not None:
                    yield line, row

    def rewrite(self, outputs: Sequence[Output], keep: Callable[[Row, int, int], bool]) -> dict[str, Place]:
        """Write the outputs anew beside the old ones, with the rows that `keep(row, start, length)` keeps.

        `start` and `length` are the row's place in the new results.jsonl. `swap` puts the new files in place.
        """
        places: dict[str, Place] = {}
        files: list[tuple[Output, BinaryIO]] = []
        try:
            for output in outputs:
                files.append((output, create_own(self.directory / (output.filename + NEW))))
                places[output.filename] = _append(files[-1][1], output.header, (0, 0))
            start = 0
            for line, row in self.rows():
                if not keep(row, start, len(line)):
                    continue
                start += len(line)
                for output, file in files:
                    text = line if isinstance(output, JsonlOutput) else output.encode(row)
                    places[output.filename] = _append(file, text, places[output.filename])
            for _name, file in files:
                file.flush()
                sync_file(file.fileno())
        finally:
            for _name, file in files:
                file.close()
        if files:
            sync_directory(self.directory)
        return places

    def keep_edited(self) -> Iterator[str]:
        """Move edited files aside, before `swap` puts new ones in their place; yields a sentence for each.

        A file that a kill or a power cut left short or with zeros at its end was not edited.
        """
        for output in self.outputs:
            path = self.directory / output.filename
            new = self.directory / (output.filename + NEW)
            if isinstance(output, JsonlOutput) or not path.exists() or not new.exists():
                continue
            if not self._unchanged(output.filename) and not self._torn(path, new):
                kept = _free_name(path)
                os.rename(path, kept)
                yield (
                    _(
                        "{path}: was edited; the edited file is kept as {name}, and {name2} is written anew "
                        "from {name3}"
                    ).format(path=path, name=kept.name, name2=path.name, name3=self.results.name)
                )

    def _torn(self, path: Path, new: Path) -> bool:
        """Whether a file is a beginning of the new one, as an accident leaves it, not an editor."""
        if path.name in self.places and self._left and _ends_a_line(path):
            return False
        return _begins(new, path)

    def _unchanged(self, filename: str) -> bool:
        """Whether a file holds what was committed, and nothing that somebody has appended since."""
        grown = _length(self.directory / filename) > self.places.get(filename, (0, 0))[0]
        if grown and self._left.get(filename, -1) not in (-1, _length(self.directory / filename)):
            return False
        return self.intact(filename)

    def swap(self, filenames: Sequence[str]) -> None:
        """Replace the old files by the new ones; those already swapped by a killed run are left.

        A name that is no result file's is left out: it comes from the journal, which somebody may have prepared.
        """
        for filename in set(OUTPUT_FILES).intersection(filenames):
            new = self.directory / (filename + NEW)
            if new.exists():
                os.replace(new, self.directory / filename)
        sync_directory(self.directory)

    def tidy(self) -> None:
        """Remove new files that a killed run left before it came to swap them."""
        for filename in OUTPUT_FILES:
            (self.directory / (filename + NEW)).unlink(missing_ok=True)

    # -- running

    async def __aenter__(self) -> "ResultFiles":
        for output in self.outputs:
            path = self.directory / output.filename
            try:
                opened = await self._stack.enter_async_context(aiofiles.open(path, "ab", buffering=0, opener=open_own))
                self._files[output.filename] = opened
            except OSError as exc:
                await self._stack.aclose()
                raise writing(path, exc) from exc
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._stack.aclose()
        except OSError as late:  # a network's disk may say only now that it is full; what went wrong before says more
            if exc is None:
                raise writing(self.directory, late) from late

    def encode(self, row: Row) -> Texts:
        """A row as `append` takes it. Secrets that the service repeats in its reply are masked."""
        texts = tuple([output.encode(row) for output in self.outputs])
        if may_hold_secret(texts[self._whole]):
            masked = _without_secrets(row)
            texts = tuple([output.encode(masked) for output in self.outputs])
        return texts

    async def append(self, rows: Sequence[Texts]) -> list[Line]:
        """Append rows to every file, without a sync. Returns each row's offset in results.jsonl, and its line."""
        lines: list[Line] = []
        for output, texts in zip(self.outputs, zip(*rows, strict=True), strict=False):
            if isinstance(output, JsonlOutput):
                starts = accumulate(map(len, texts), initial=self.places[output.filename][0])
                lines = list(zip(starts, texts, strict=False))
            await self._append(output, b"".join(texts))
        return lines

    def sync(self) -> None:
        """Wait until results.jsonl is on the disk: the other files can be made from it.

        Blocks: call it in a thread.
        """
        sync_file(self._files[JsonlOutput.filename].fileno())

    def read(self, start: int, length: int) -> Row:
        """A row that was appended before. Raises ResultsDamaged where somebody has changed the file meanwhile."""
        try:
            with _opened(self.results) as file:
                file.seek(start)
                row: Row = loads(file.read(length))
        except (OSError, ValueError) as exc:
            raise ResultsDamaged(
                _("{results}: was changed while the run went on").format(results=self.results)
            ) from exc
        return row

    def _stamp(self, filename: str) -> list[int] | None:
        path = self.directory / filename
        if not path.exists():
            return None
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]

    async def _append(self, output: Output, text: bytes) -> None:
        left = memoryview(text)
        while left:  # the operating system may take a part, above all of a block that does not fit on the disk
            left = left[await self._files[output.filename].write(left) :]
        self.places[output.filename] = _grown(self.places[output.filename], text)


def dialect_note(output: Output) -> str:
    """Key of the journal's note that says in which dialect an output's file is; dialect 1 has no note."""
    return f"{output.name}_dialect"


def is_current(output: Output, note: Callable[[str], Any]) -> bool:
    """Whether the file of an output is in today's dialect. `note` gives the journal's notes."""
    return bool((note(dialect_note(output)) or 1) == output.dialect)


def writing(path: Path | str, exc: OSError) -> OutputFailed:
    """The error for an output that cannot be written."""
    return OutputFailed(
        _("{path}: cannot be written: {reason}").format(path=path, reason=with_cause(exc, OUTPUT_REMEDY))
    )


def _append(file: BinaryIO, text: bytes, place: Place) -> Place:
    file.write(text)
    return _grown(place, text)


def _grown(place: Place, text: bytes) -> Place:
    return place[0] + len(text), zlib.crc32(text, place[1])


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _opened(path: Path) -> BinaryIO:
    return open(path, "rb", opener=open_own)


def _ends_a_line(path: Path) -> bool:
    with _opened(path) as file:
        file.seek(max(0, _length(path) - 1))
        return file.read() == b"\n"


def _begins(whole: Path, part: Path) -> bool:
    """Whether a file begins with the bytes of another one; zeros at the end of that one do not count."""
    with _opened(whole) as expected, _opened(part) as found:
        while block := found.read(_BLOCK):
            if not expected.read(len(block)).startswith(block.rstrip(b"\0")):
                return False
    return True


def _free_name(path: Path) -> Path:
    """A name beside a file that nothing has, such as `results.edited.csv`; a spreadsheet opens it."""
    for number in count(1):
        name = path.with_suffix(f".edited{f'-{number}' if number > 1 else ''}{path.suffix}")
        if not os.path.lexists(name):
            break
    return name


def _cut(path: Path, length: int) -> None:
    """Cut a file back to a length; one that is missing is made."""
    with open(path, "ab", opener=open_own) as file:
        if file.tell() > length:
            file.truncate(length)


def _checksum(path: Path, length: int) -> int | None:
    """CRC-32 of the first `length` bytes, None where the file is shorter."""
    if _length(path) < length:
        return None
    checksum = 0
    with _opened(path) as file:
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            checksum = zlib.crc32(block, checksum)
            length -= len(block)
    return checksum


def _without_secrets(row: Row) -> Row:
    """The row with every remembered secret masked in labels and response. Names of images stay."""
    return {**row, **{key: loads(redact_json(dumps(row[key]))) for key in ("labels", "response")}}


def read_row(line: bytes) -> Row | None:
    """The row of a line, or None where it is not whole or lacks what every output needs."""
    try:
        row = loads(line)
    except ValueError:
        return None
    return row if line.endswith(b"\n") and isinstance(row, dict) and _sound(row) else None


def _sound(row: Row) -> bool:
    labels = row.get("labels")
    return (
        all(isinstance(row.get(name), str) for name in _TEXTS)
        and isinstance(row.get("sha256", 0), str | None)  # null where the service fetched the image
        and isinstance(row.get("response"), dict)
        and isinstance(labels, list)
        and all(isinstance(label, dict) and _sound_label(label) for label in labels)
    )


def _sound_label(label: dict[str, Any]) -> bool:
    return isinstance(label.get("box"), dict | None) and not any(
        isinstance(label.get(name), dict | list) for name in _SCALARS
    )
