"""A pseudo terminal for the commands that behave differently on one."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CONTROLLED = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell without job control starts `tests &` with Ctrl-C ignored
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the controlling terminal, whose Ctrl-C is a signal, and becomes the command."""


def on_terminal(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    answers: Sequence[tuple[str, str]] = (),
    seconds: float = 180,
    at_end: Callable[[bool], object] = lambda echoes: None,
    *,
    hidden: bool = True,
) -> tuple[int, str]:
    """Run a command on a terminal of 100 columns: its code, and all that it showed.

    Each of `answers` is a prompt to wait for and what is typed there; where `hidden`, once the terminal does not echo.
    `seconds` is how long it may show nothing; `at_end` is told whether the terminal echoes when the command has ended.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLED, *argv],
        cwd=cwd,
        env={"TERM": "xterm", "COLUMNS": "100", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    shown, waiting, deadline = b"", list(answers), time.monotonic() + seconds
    try:
        while (more := _read(ours)) or process.poll() is None:
            assert time.monotonic() < deadline, f"the command does not end: {shown!r}"
            if more:
                deadline = time.monotonic() + seconds
            shown += more
            if waiting and waiting[0][0].encode() in shown and not (hidden and _echoes(theirs)):
                os.write(ours, waiting.pop(0)[1].encode())
        at_end(_echoes(theirs))
        return process.returncode, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


def _read(terminal: int) -> bytes:
    """What was shown since; empty where that is nothing for a moment."""
    return os.read(terminal, 65536) if select.select([terminal], [], [], 0.02)[0] else b""


def _echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
