"""Lines for a screen: cut and folded by the cells that they take, with few colours.

A Chinese character takes two cells. Colours repeat what the words say, so that a screen reads the same without them.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ..redact import visible
from .text import discard, say

GOOD, WARN, BAD, FAINT = "green", "yellow", "red", "dim"
"""Styles: done; below the full rate or stopped; failed; beside the point."""

WIDE = 100
"""Columns that are filled where there is no terminal."""

_CUT = "…"
_BETWEEN = " · "


class Screen(Console):
    """Console that names no emoji; an error of writing is the caller's, as of `print`."""

    def __init__(self, stream: TextIO | None = None, *, width: int | None = None, markup: bool = False) -> None:
        # A file may be called :cat:.jpg.
        super().__init__(file=stream, width=width, highlight=False, emoji=False, markup=markup)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError: rich would end the process with 1."""
        raise BrokenPipeError


def console(stream: TextIO | None = None) -> Console:
    """Console that writes text as it is, to standard output unless told otherwise."""
    return Screen(stream)


def columns(stream: TextIO) -> int:
    """Columns of the terminal that a stream leads to; WIDE where it leads to none."""
    screen = console(stream)
    return screen.width if screen.is_terminal else WIDE


def show(lines: Iterable[Text], stream: TextIO) -> None:
    """Write lines, unfolded. Raises OSError where they cannot be written."""
    screen = console(stream)
    for line in lines:
        screen.print(line, soft_wrap=True)


def show_notes(lines: Iterable[Text]) -> None:
    """Write lines to standard error. Where nobody reads it any more, that ends nothing."""
    if sys.stderr is None or not sys.stderr.isatty():
        say(*(line.plain for line in lines))
        return
    try:
        show(lines, sys.stderr)
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def words(text: str, style: str = "") -> Text:
    """A text with its control characters spelled out."""
    return Text(visible(text), style=style)


def cut_front(text: str, cells: int) -> str:
    """The text without its beginning where it takes more cells: names differ at their end."""
    if cell_len(text) <= cells:
        return text
    end = len(text) - 1
    room = cells - cell_len(_CUT)
    start = len(text)
    while start > 0 and cell_len(text[start - 1 : end + 1]) <= room:
        start -= 1
    return _CUT + text[start:]


def cut_end(text: str, cells: int) -> str:
    """The text without its end where it takes more cells."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, max(0, cells - cell_len(_CUT))).rstrip() + _CUT


def padded(text: str, cells: int) -> str:
    """The text with blanks up to a number of cells."""
    return text + " " * max(0, cells - cell_len(text))


def flow(parts: Sequence[Text], cells: int, indent: int = 0) -> list[Text]:
    """Join parts with dots, in as many lines as they need.

    A line breaks between two parts, or between words.

    Lines after the first begin with `indent` blanks.
    """
    lines: list[Text] = []
    line = Text()
    for part in parts:
        if line.cell_len and line.cell_len + cell_len(_BETWEEN) + part.cell_len > cells:
            lines.append(line)
            line = Text(" " * indent)
        elif line.cell_len:
            line.append(_BETWEEN)
        line.append_text(part)
    lines.append(line)
    return [folded for line in lines for folded in _fold(line, cells, indent)]


def _fold(line: Text, cells: int, indent: int) -> list[Text]:
    """Break one line between words, where it is longer than a line may be."""
    if line.cell_len <= cells:
        return [line]
    begin = len(line.plain) - len(line.plain.lstrip(" "))
    room = max(8, cells - max(begin, indent))
    folded = line[begin:].wrap(console(), room)
    for each in folded:
        each.rstrip()
    return [Text(" " * (begin if not number else indent)).append_text(each) for number, each in enumerate(folded)]
