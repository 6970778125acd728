"""Where the processor's time goes while batchrec runs, or the bare loop: `python -m benchmarks.stages OUT.json ...`.

Functions of the running program are measured from outside, as they are called: every step of a coroutine, in whatever
thread. What a stage spends in another stage is that one's. A function that is not there any more is said to be.
"""

import functools
import importlib
import inspect
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import clients

Places = tuple[tuple[str, str], ...]
"""Modules, and the names in them that are measured."""

OURS: dict[str, Places] = {
    "source: inputs listed, directory opened": (("batchrec.engine.assembly", "open_directory"),),
    "journal: claim": (("batchrec.journal.queue", "Queue.claim"), ("batchrec.journal.queue", "Queue.unfinished")),
    "prepare: read": (("batchrec.sources.store", "FileStore.read"),),
    "prepare: hash": (("batchrec.images", "digest"),),
    "prepare: judge": (("batchrec.images", "as_it_is"), ("batchrec.images", "prepare")),
    "known answers: get": (
        ("batchrec.journal.answers", "Answers.finished_content"),
        ("batchrec.state.answer_cache", "AnswerCache.get"),
    ),
    "gate: line, health, token": (("batchrec.limits.gate", "Gate.enter"), ("batchrec.limits.gate", "Gate.settle")),
    "gate: pace": (
        ("batchrec.limits.rate_limiter", "RateLimiter.acquire"),
        ("batchrec.limits.rate_limiter", "RateLimiter.on_answer"),
        ("batchrec.limits.rate_limiter", "RateLimiter.stale"),
    ),
    "gate: count": (("batchrec.limits.quota", "Quota.reserve"),),
    "journal: note": (("batchrec.journal.calls", "Calls.sent"), ("batchrec.journal.calls", "Calls.settled")),
    "client: address, headers": (("batchrec.api.client", "Client.call"),),
    "client: body": (("batchrec.api.client", "Request.body"),),
    "client: HTTP": (("batchrec.api.http", "SessionTransport.post"), ("batchrec.api.direct", "DirectTransport.post")),
    "client: verdict": (("batchrec.api.client", "parse_reply"),),
    "record: rows": (("batchrec.engine.engine", "answered"),),
    "record: groups": (
        ("batchrec.engine.recorder", "Recorder.add"),
        ("batchrec.engine.recorder", "Recorder.run"),
        ("batchrec.engine.engine", "Engine._committed"),
    ),
    "outputs: encode": (("batchrec.outputs.files", "ResultFiles.encode"),),
    "outputs: append": (("batchrec.outputs.files", "ResultFiles.append"),),
    "outputs: sync": (("batchrec.outputs.files", "ResultFiles.sync"),),
    "outputs: writes in threads": (("concurrent.futures.thread", "_WorkItem.run"),),
    "journal: commit": (("batchrec.journal.answers", "Answers.commit"),),
    "journal: sync": (("batchrec.journal.calls", "Calls.sync"),),
    "known answers: put": (("batchrec.engine.duplicates", "Duplicates.remember"),),
}
"""What an image costs in batchrec, in the order of its life."""

BARE: dict[str, Places] = {
    "prepare: read": (("benchmarks.clients", "read"),),
    "prepare: hash": (("benchmarks.clients", "digest"),),
    "client: body": (("benchmarks.clients", "encoded"),),
    "client: HTTP": (("aiohttp", "ClientSession._request"), ("aiohttp", "ClientResponse.read")),
    "client: verdict": (("benchmarks.clients", "parsed"),),
}
"""The same in the bare loop, which has no more stages."""


class Stopwatch:
    """Seconds of processor time by stage, and how often each was called."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.missing: list[str] = []
        self._local = threading.local()

    def watch(self, stages: dict[str, Places]) -> None:
        """Measure these functions from now on, in the whole process."""
        for stage, places in stages.items():
            for module, name in places:
                self._replace(stage, module, name)

    def _replace(self, stage: str, module: str, name: str) -> None:
        *path, last = name.split(".")
        try:
            owner = functools.reduce(getattr, path, importlib.import_module(module))
            function = getattr(owner, last)
        except (ImportError, AttributeError):
            self.missing.append(f"{module}.{name}")
            return
        setattr(owner, last, self.measured(stage, function))

    def measured(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which counts for a stage."""

        async def later(*args: Any, **named: Any) -> Any:
            self.calls[stage] += 1
            return await _Steps(self, stage, function(*args, **named))

        def at_once(*args: Any, **named: Any) -> Any:
            self.calls[stage] += 1
            began = self._begin()
            try:
                return function(*args, **named)
            finally:
                self._end(stage, began)

        return functools.wraps(function)(later if inspect.iscoroutinefunction(function) else at_once)

    def step(self, stage: str, function: Callable[..., Any], value: Any) -> Any:
        """One step of a coroutine."""
        began = self._begin()
        try:
            return function(value)
        finally:
            self._end(stage, began)

    def _begin(self) -> float:
        inner = self._local.__dict__.setdefault("inner", [])
        inner.append(0.0)
        return time.thread_time()

    def _end(self, stage: str, began: float) -> None:
        spent = time.thread_time() - began
        inner: list[float] = self._local.inner
        self.seconds[stage] += spent - inner.pop()
        if inner:
            inner[-1] += spent


class _Steps:
    """Runs a coroutine, each of its steps measured."""

    def __init__(self, watch: Stopwatch, stage: str, coroutine: Any) -> None:
        self._watch, self._stage, self._coroutine = watch, stage, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        go_on, value = self._coroutine.send, None
        while True:
            try:
                waited_for = self._watch.step(self._stage, go_on, value)
            except StopIteration as end:
                return end.value
            try:
                go_on, value = self._coroutine.send, (yield waited_for)
            except BaseException as exc:  # a cancellation, which is the coroutine's to deal with
                go_on, value = self._coroutine.throw, exc


def main() -> None:
    """Run `batchrec run ...` or a client of `benchmarks.clients`, and write what its stages took."""
    out, program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    watch = Stopwatch()
    watch.watch(OURS if program == "batchrec" else BARE)
    with ExitStack() as stack:
        stack.callback(_keep, watch, Path(out))
        if program == "batchrec":
            importlib.import_module("batchrec.__main__").main()
        else:
            clients.main()


def _keep(watch: Stopwatch, out: Path) -> None:
    told = {"seconds": watch.seconds, "calls": watch.calls, "missing": watch.missing}
    out.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
