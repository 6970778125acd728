"""The user's crontab: one marked block a job, everything else byte for byte as it was.

Read by `crontab -l` and written by `crontab -`. A block is known by the absolute path of its job file.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError, OutputFailed
from ..language import _, os_reason
from ..state.directory import state_directory, write_private

_BEGIN, _END = b"# >>> batchrec ", b"# <<< batchrec "
_BEGIN_TAIL, _END_TAIL = b" (do not edit) >>>", b" <<<"
_BLOCK = re.compile(
    rb"^%s(?P<job>[^\n]+)%s\n(?P<text>(?:[^\n]*\n)*?)%s(?P=job)%s(?:\n|\Z)"
    % tuple(map(re.escape, (_BEGIN, _BEGIN_TAIL, _END, _END_TAIL))),
    re.MULTILINE,
)
_ZONE_LINE = re.compile(rb"^[ \t]*[\"']?CRON_TZ[\"']?[ \t]*=", re.MULTILINE)
"""A line that moves all lines below it in cronie, the cron of Fedora and others."""

_COMMAND_SECONDS = 30.0
BACKUP = "crontab.backup"
"""File in the state folder: the crontab before it was last changed."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a crontab: the job file, and its lines."""

    job: str
    text: str


def blocks_in(table: bytes) -> list[Block]:
    """The blocks of a crontab, in order."""
    return [
        Block(os.fsdecode(found["job"]), found["text"].decode(errors="replace")) for found in _BLOCK.finditer(table)
    ]


def with_block(table: bytes, job: str, text: str) -> bytes:
    """The crontab with a job's block put in, or replaced in its place. `text` ends each of its lines.

    A new block stands at the end, or before a line that sets CRON_TZ.
    """
    name = os.fsencode(job)
    block = b"".join((_BEGIN, name, _BEGIN_TAIL, b"\n", text.encode(errors="surrogateescape"), _END, name, _END_TAIL))
    if found := _of(table, job):
        return table[: found.start()] + block + b"\n" + table[found.end() :]
    zone = _ZONE_LINE.search(table)
    place = zone.start() if zone else len(table)
    # Never within the block of another job.
    place = next((found.start() for found in _BLOCK.finditer(table) if found.start() < place < found.end()), place)
    ended = b"" if place in (0, table.rfind(b"\n", 0, place) + 1) else b"\n"
    return table[:place] + ended + block + b"\n" + table[place:]


def without_block(table: bytes, job: str) -> bytes | None:
    """The crontab without a job's block; None where it has none."""
    found = _of(table, job)
    return None if found is None else table[: found.start()] + table[found.end() :]


def _of(table: bytes, job: str) -> re.Match[bytes] | None:
    return next((found for found in _BLOCK.finditer(table) if os.fsdecode(found["job"]) == job), None)


def available() -> bool:
    """Whether the machine has the command `crontab`."""
    return shutil.which("crontab") is not None


def read_table() -> bytes:
    """The user's crontab, empty where there is none. Raises JobError."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if b"no crontab for" in done.stderr or b"can't open" in done.stderr:  # busybox says the latter
        return b""
    raise _failed("crontab -l", done)


def write_table(before: bytes, after: bytes, environ: Mapping[str, str]) -> None:
    """Replace the user's crontab, and keep the one before in the state folder.

    Nothing is done without a change.

    Raises JobError where cron refuses it, OutputFailed where it holds something else afterwards.
    """
    if before == after:
        return
    backup = state_directory(environ) / BACKUP
    try:
        write_private(backup, before)
    except OSError as exc:
        raise OutputFailed(_("{path}: cannot be written: {reason}").format(path=backup, reason=os_reason(exc))) from exc
    done = _crontab("-", given=after)
    if done.returncode != 0:
        raise _failed("crontab -", done)
    if read_table() != after:
        raise OutputFailed(
            _("the crontab is not what was written; the one before is kept in {path}").format(path=backup)
        )


def _crontab(word: str, given: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    path = shutil.which("crontab")
    if path is None:
        raise JobError(_("there is no command `crontab` on this machine; use --systemd, or install cron"))
    try:
        return subprocess.run(
            (path, word),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise JobError(_("crontab {word}: {reason}").format(word=word, reason=exc)) from exc


def _failed(command: str, done: "subprocess.CompletedProcess[bytes]") -> JobError:
    said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
    return JobError(_("{command}: {said}").format(command=command, said=said))


def quoted(words: list[str]) -> str:
    """Words as a command of a crontab, for a POSIX shell.

    `%` ends a command there. It becomes `\\%` outside of quotes, which is right in busybox as well: it takes `%` as it
    is, and the shell takes the backslash away.
    """
    return " ".join("\\%".join(_quote(part) for part in word.split("%")) if word else "''" for word in words)


def _quote(part: str) -> str:
    return shlex.quote(part) if part else ""


def has_line_end(path: Path) -> bool:
    """Whether a path cannot stand in a line."""
    return any(sign in str(path) for sign in "\n\r\0")


def variable_in(text: str, name: str) -> list[str]:
    """Values of a variable in the commands of a block."""
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            words = shlex.split(line.replace("\\%", "%"))
            found += [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return found
