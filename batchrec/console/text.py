"""Text for a terminal: escaped control characters, messages on standard error, durations."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, TextIO

from ..language import _
from ..redact import visible
from ..times import BEIJING

Fields = Mapping[str, object]

_DAY_SECONDS = 86400.0


class Writer(Protocol):
    """Writes lines to standard error, and to a log file where there is one."""

    def __call__(self, lines: Sequence[str], level: int, *, stamped: bool, aside: bool, fields: Fields) -> None:
        """Write lines of a level of `logging`. `stamped`: with the time where no terminal shows them.

        `aside`: for a log, not for a terminal. `fields` are added to a line of JSON.
        """
        ...


def say(
    *lines: str,
    level: int = logging.INFO,
    stamped: bool = False,
    aside: bool = False,
    fields: Fields = MappingProxyType({}),
) -> None:
    """Write each text as one line to standard error, made `visible`; `Writer` has the options.

    That nobody reads it any more is no reason to end a run, or to change its exit code.
    """
    _writer[-1]([visible(line) for line in lines], level, stamped=stamped, aside=aside, fields=fields)


def write_by(writer: Writer) -> None:
    """Have a writer do what `say` does, from now on."""
    _writer.append(writer)


def to_stderr(lines: Sequence[str]) -> None:
    """Write lines to standard error as they are; nothing where nobody reads it any more."""
    try:
        if sys.stderr is not None:
            print(*lines, sep="\n", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def _plain(lines: Sequence[str], level: int, *, stamped: bool, aside: bool, fields: Fields) -> None:
    if not aside:
        to_stderr(lines)


_writer: list[Writer] = [_plain]


def discard(stream: TextIO) -> None:
    """Let go of what cannot be written, now and when the interpreter flushes its streams at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `12 min`, `3 h 20 min`, `2 days 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return _("{seconds:.0f} s").format(seconds=seconds)
    if minutes < 60:
        return _("{minutes} min").format(minutes=minutes)
    if minutes < 48 * 60:
        return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)
    return _("{days} days {hours} h").format(days=minutes // 1440, hours=minutes % 1440 // 60)


def moment_in_words(moment: float, now: float) -> str:
    """A Unix time by the service's clock, and how far off it is: `00:00 Beijing (in 6 h 25 min)`.

    With the local time where that is another one: `00:00 Beijing (17:00 here, in 6 h 25 min)`.
    With the date where it is more than a day off.
    """
    there, here = datetime.fromtimestamp(moment, BEIJING), datetime.fromtimestamp(moment).astimezone()
    ahead = duration(max(0.0, moment - now))
    if moment - now > _DAY_SECONDS:
        return _("{time:%Y-%m-%d %H:%M} Beijing (in {ahead})").format(time=there, ahead=ahead)
    if there.utcoffset() == here.utcoffset():
        return _("{time:%H:%M} Beijing (in {ahead})").format(time=there, ahead=ahead)
    return _("{time:%H:%M} Beijing ({local:%H:%M} here, in {ahead})").format(time=there, local=here, ahead=ahead)
