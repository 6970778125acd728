"""Progress for programs: a callback some times a second, and a bar in notebooks."""

import asyncio
import html
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from .progress import Meter, Snapshot, line

_SECONDS = 0.25


@asynccontextmanager
async def reported(report: Callable[[Snapshot], None] | None, snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
    """Call `report` four times a second for as long as the block lasts, and once at its end; None: do not."""
    if report is None:
        yield
        return

    async def repeat() -> None:
        while True:
            report(snapshot())
            await asyncio.sleep(_SECONDS)

    task = asyncio.ensure_future(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # the callback's
        report(snapshot())


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process. IPython is not imported for that."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class NotebookBar:
    """A callback that shows progress below the cell: a bar, and the line that other displays show."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._meter = Meter()

    def __call__(self, now: Snapshot) -> None:
        """Show or update the bar."""
        display = import_module("IPython.display").display  # there in every kernel, and nowhere else needed
        text = line(now, self._meter.rates(now.steps))
        bar = f'<progress value="{now.done}" max="{max(now.total, 1)}" style="width: 20em"></progress>'
        bundle = {"text/plain": text, "text/html": f"{bar} <span>{html.escape(text)}</span>"}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
