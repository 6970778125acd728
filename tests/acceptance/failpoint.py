"""Runs the command line, and kills it with SIGKILL at a named step: `python failpoint.py POINT NTH run job.toml ...`.

What is patched is this process of a test, from outside: the product knows of no failpoint.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from batchrec.__main__ import main
from batchrec.api.http import SessionTransport
from batchrec.engine.recorder import Recorder
from batchrec.journal import Journal
from batchrec.journal.answers import Answers
from batchrec.journal.calls import Calls
from batchrec.limits.gate import Gate
from batchrec.limits.quota import Quota
from batchrec.outputs import summary
from batchrec.outputs.files import ResultFiles
from batchrec.state.answer_cache import AnswerCache

POINTS: dict[str, tuple[Any, str, str]] = {
    # a call
    "before the reservation": (Quota, "reserve", "before"),
    "between reservation and note": (Quota, "reserve", "after"),
    "between note and sending": (SessionTransport, "post", "before"),
    "between answer and its record": (Gate, "settle", "before"),
    "after the call was settled": (Gate, "settle", "after"),
    "between the return of a note and that of its count": (Quota, "give_back", "before"),
    "after a count was given back": (Quota, "give_back", "after"),
    # a commit
    "before the write": (ResultFiles, "append", "before"),
    "amid the write of a line": (ResultFiles, "_append", "torn"),
    "between the writes of two files": (ResultFiles, "_append", "after"),
    "between write and sync": (ResultFiles, "sync", "before"),
    "between sync and transaction": (Answers, "commit", "before"),
    "within the transaction": (Calls, "move_bound", "before"),
    "between transaction and known answers": (AnswerCache, "put", "before"),
    "between known answers and the sync of the log": (Journal, "sync", "before"),
    "after the commit": (Recorder, "_note", "after"),
    # the end
    "before failures.jsonl is made": (summary, "write_failures", "before"),
    "before the failures in the CSV": (summary, "append_failures", "before"),
    "after the failures in the CSV": (summary, "append_failures", "after"),
    "before a file is put in place": (os, "replace", "before"),
    "between failures.jsonl and summary.json": (summary, "write_failures", "after"),
    "before the run is concluded": (Journal, "conclude", "before"),
    "after the run was concluded": (Journal, "conclude", "after"),
}
"""Where it may be killed: whose function, its name, and whether before or after it, or amid what it writes."""


def die() -> None:
    """The end of this process, at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(real: Callable[..., Any], when: str, nth: int) -> Callable[..., Any]:
    """The same function, which ends the process at its nth call."""
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls == nth

    async def later(*args: Any, **named: Any) -> Any:
        mine = due()
        if mine and when == "before":
            die()
        if mine and when == "torn":
            files, output, text = args
            await real(files, output, text[: len(text) // 2])
            die()
        result = await real(*args, **named)
        if mine:
            die()
        return result

    def at_once(*args: Any, **named: Any) -> Any:
        mine = due()
        if mine and when == "before":
            die()
        result = real(*args, **named)
        if mine:
            die()
        return result

    return later if asyncio.iscoroutinefunction(real) else at_once


if __name__ == "__main__":
    owner, name, when = POINTS[sys.argv[1]]
    setattr(owner, name, deadly(getattr(owner, name), when, int(sys.argv[2])))
    del sys.argv[1:3]
    main()
