"""Figures and the Markdown tables they end up in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import median

from .machine import described, versions

_PACKAGES = (
    *("batchrec", "aiohttp", "uvloop", "orjson", "pybase64", "pillow"),
    *("baidu-aip", "httpx", "async-batch-llm", "pyrate-limiter"),
)


class Effort(StrEnum):
    """How much a benchmark does: a look whether it works, the figures, or those that take long as well."""

    QUICK = "quick"
    USUAL = "usual"
    FULL = "full"


@dataclass
class Table:
    """Rows under columns; `notes` say what was measured."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: str = ""

    def add(self, *cells: str) -> None:
        """One row more."""
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table as it stands in a results file, its columns aligned for people who read the source."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]
        ruler = tuple("-" * width for width in widths)
        grid = [_line(line, widths) for line in (self.columns, ruler, *self.rows)]
        notes = f"\n\n{self.notes}" if self.notes else ""
        return f"## {self.title}\n\n" + "\n".join(grid) + notes + "\n"


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Median with least and most; a single value stands alone."""
    values = list(values)
    if not values:
        return "-"
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{least}-{most}]"


def write(into: Path, name: str, about: str, tables: Sequence[Table]) -> Path:
    """One benchmark's tables and the machine they were seen on, as a Markdown file."""
    into.mkdir(parents=True, exist_ok=True)
    page = into / f"{name}.md"
    machine = f"{described()}; {versions(_PACKAGES)}."
    parts = [f"# {name}: {about}\n", f"{machine}\n", *(table.markdown() for table in tables)]
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
