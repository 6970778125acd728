"""Log of a run: times, a file with rotation, lines of JSON, repetitions counted.

Standard error gets what it always gets. With a log file and no terminal it gets errors alone, so that cron sends mail
for nothing else.
"""

import json
import logging
import logging.handlers
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ..errors import OutputFailed
from ..language import _, os_reason, speak_english
from ..redact import RedactingFormatter, redact
from .text import Fields, say, to_stderr, write_by

LogFormat = Literal["text", "json"]

_FILE_BYTES = 10_000_000
"""Size at which a log file becomes NAME.1: some 1,000 nights."""

_KEPT_FILES = 5
"""Older log files, NAME.1 to NAME.5."""

_AGAIN_SECONDS = 60.0
"""Time after which a warning that comes again and again is told again, with its count."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Options of a log: the least severe level, a file beside standard error, and the format of both."""

    level: str
    file: Path | None = None
    format: LogFormat = "text"


def start_log(options: LogOptions) -> None:
    """Log from now on, without secrets. Raises OutputFailed where the log file cannot be written."""
    if options.format == "json":
        speak_english()
    handler = _Said()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(message)s" if options.format == "text" else "%(message)s"))
    handler.addFilter(Repetitions(time.monotonic))
    logging.basicConfig(level=options.level.upper(), handlers=[handler])
    write_by(_Lines(None if options.file is None else _open(options.file), options.format))


class _Said(logging.Handler):
    """Handler that says each record: a live progress display replaces standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        say(*self.format(record).split("\n"), level=record.levelno, stamped=True)


class Repetitions(logging.Filter):
    """Lets the same warning through once, and then once a minute with its count. `now`: monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._told: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to tell a record; its count is added to its text."""
        if record.levelno < logging.WARNING:
            return True
        text, now = record.getMessage(), self._now()
        since, count = self._told.get(text, (None, 0))
        if since is not None and now - since < _AGAIN_SECONDS:
            self._told[text] = since, count + 1
            return False
        self._told[text] = now, 0
        if since is not None:
            record.msg, record.args = "%s (%d times in %.0f s)", (text, count + 1, now - since)
        return True


class _File(logging.handlers.RotatingFileHandler):
    """Log file with rotation. What cannot be written, on a full disk, is told once and ends nothing."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            to_stderr([f"{self.baseFilename}: cannot be written: {sys.exc_info()[1]}"])


def _open(path: Path) -> _File:
    try:
        handler = _File(
            path, maxBytes=_FILE_BYTES, backupCount=_KEPT_FILES, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as exc:
        raise OutputFailed(
            _("--log-file {path}: cannot be written: {reason}").format(path=path, reason=os_reason(exc))
        ) from exc
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


class _Lines:
    """Writer of lines to standard error and the log file."""

    def __init__(self, file: _File | None, format: LogFormat) -> None:
        self._file, self._json = file, format == "json"

    def __call__(self, lines: Sequence[str], level: int, *, stamped: bool, aside: bool, fields: Fields) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        if (terminal and aside) or (self._file is not None and not terminal and level < logging.ERROR):
            pass
        elif self._json:
            to_stderr([self._record(line, level, fields) for line in filter(None, lines)])
        else:
            to_stderr([f"{stamp()} {line}" for line in lines] if stamped and not terminal else lines)
        if self._file is not None:
            for line in filter(None, lines):
                text = self._record(line, level, fields) if self._json else f"{stamp()} {redact(line)}"
                self._file.handle(logging.makeLogRecord({"msg": text, "args": (), "levelno": level}))

    def _record(self, line: str, level: int, fields: Fields) -> str:
        name = logging.getLevelName(level).lower()
        return json.dumps({"time": stamp(), "level": name, "message": redact(line), **fields}, ensure_ascii=False)


def stamp() -> str:
    """The local time with its offset, to the second, in ISO 8601."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
