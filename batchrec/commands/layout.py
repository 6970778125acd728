"""Layout of tables on standard output."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from ..console.screen import Screen
from ..redact import visible
from .outcome_text import ignored

_LEAST_COLUMNS = 200
"""Width where standard output is no terminal: lines do not fold."""


def show_table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under their headings; texts from outside are spelled out."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(visible, row))
    plain_console().print(table, markup=False)


def plain_console() -> Console:
    """Standard output; where it is no terminal, lines are wide enough not to fold."""
    console = Screen()
    return Screen(width=None if console.is_terminal else max(console.width, _LEAST_COLUMNS), markup=True)


def ignored_part(by_kind: Mapping[str, int]) -> str:
    """Number of ignored files, then by kind, as the next part of a line; empty where there is none."""
    return f"; {ignored(by_kind).plain}" if by_kind else ""
