"""Pages of help for people: plain text in two columns, as wide as the terminal.

Typer's own pages name Python types (`<bool>`) and ranges (`[1<=x<=10]`), and importing what they are made with takes
longer than the rest of the command.
"""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from ..language import _, titled
from .usage import argument, check_command, complaining, read_arguments, usage_line

START = _("Start")
JOBS = _("Jobs")
RESULTS = _("Results")
ACCOUNT = _("Account and services")
TOOLS = _("Tools")
GROUPS = (START, JOBS, RESULTS, ACCOUNT, TOOLS)
"""Headings of groups of commands, in the order of the page."""

_MOST_COLUMNS = 100
"""Widest line: longer ones are hard to read."""

_FEWEST_COLUMNS = 24
"""Narrowest line; a terminal below it folds lines itself."""

_MOST_NAME_COLUMNS = 26
"""Widest first column; a longer name has a line of its own."""

_NARROW_COLUMNS = 56
"""Width up to which the text stands below its name instead of beside it."""

_WORD = re.compile(r"\s+|[\u2e80-\uffef][，。；：、！？）》」』”’]*|[^\s\u2e80-\uffef]+")
"""A piece of text that is not divided: a word, or a Chinese character with the punctuation that follows it."""

_EXAMPLE = re.compile(r"([^`\n]+[:：]\s*)`([^`\n]+)`")
"""A paragraph that shows a command."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command with a page of help, and complaints, for people."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(page(self, ctx))

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the command line. Raises typer.Exit where it cannot be read."""
        with complaining(self, _path(parent, info_name)):
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; returns those that are left."""
        return read_arguments(self, ctx, args, super().parse_args)


class Group(TyperGroup):
    """A group of commands with a page of help, and complaints, for people."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(page(self, ctx))

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the command line up to the command. Raises typer.Exit where it cannot be read."""
        with complaining(self, _path(parent, info_name)):
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; returns those that are left."""
        return read_arguments(self, ctx, args, super().parse_args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the line names. Raises typer.Exit where it names none."""
        with complaining(self, ctx.command_path):
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the line names."""
        check_command(self, ctx, args)
        return super().resolve_command(ctx, args)


def _path(parent: Any, name: str | None) -> str:
    """The command as it is typed: `batchrec quota set`."""
    return f"{parent.command_path} {name}" if parent is not None else str(name)


class App(typer.Typer):
    """An application all of whose commands have such pages."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        """Add a command."""
        return super().command(name, **{"cls": Command, **settings})


def page(command: Any, ctx: Any) -> str:
    """The page of a command: usage, text, arguments, commands by group, options, epilog."""
    columns = max(_FEWEST_COLUMNS, min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - 1)
    params = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in params if param.param_type_name == "argument"]
    options = [param for param in params if param.param_type_name == "option"]
    commands = getattr(command, "commands", {})
    parts = [_heading(_("Usage:")) + " " + usage_line(command, ctx.command_path)]
    parts += _paragraphs(command.help or "", columns)
    described = [(argument(param), param.help) for param in arguments if param.help]
    parts += _section(_("Arguments"), described, columns)
    parts += _commands(commands, columns)
    parts += _section(_("Options"), [(_names(param), _meaning(param)) for param in options], columns)
    parts += [_epilog(block, columns) for block in (command.epilog or "").split("\n\n") if block]
    return "\n\n".join(parts) + "\n"


def _commands(commands: Mapping[str, Any], columns: int) -> Iterator[str]:
    """The groups of commands, all with a first column of one width."""
    seen = [each for each in commands.values() if not each.hidden]
    width = max((len(each.name) for each in seen), default=0)
    for heading in (*GROUPS, None):
        below = [each for each in seen if _group(each) == heading]
        rows = [(each.name.ljust(width), _first_paragraph(each.help or "")) for each in below]
        yield from _section(heading or _("Commands"), rows, columns)


def _group(command: Any) -> str | None:
    found = getattr(command, "rich_help_panel", None)
    return found if found in GROUPS else None


def _names(param: Any) -> str:
    """`-n, --limit N`; options without a short form begin below the long ones of the others."""
    short = [name for name in param.opts if not name.startswith("--")]
    long = [name for name in param.opts if name.startswith("--")]
    value = "" if _is_flag(param) else f" {param.metavar or (param.name or '').upper()}"
    return ("" if short else "    ") + ", ".join((*short, *long)) + value


def _is_flag(param: Any) -> bool:
    return bool(getattr(param, "is_flag", False)) or param.name in ("install_completion", "show_completion")


def _meaning(param: Any) -> str:
    """The text of an option, and its default where it has one to speak of."""
    if param.name == "help":
        return _("Show this page and exit.")
    text = _(param.help) if param.help else ""  # Typer has texts of its own for completion
    default = getattr(param.default, "value", param.default)
    if _is_flag(param) or not param.show_default or not isinstance(default, str | int | float) or default == "":
        return text
    return f"{text} " + _("Default: {value}.").format(value=default)


def _heading(text: str) -> str:
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return f"\033[1m{text}\033[0m" if bold else text


def _first_paragraph(text: str) -> str:
    return text.strip().partition("\n\n")[0]


def _paragraphs(text: str, columns: int) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if example := _EXAMPLE.fullmatch(paragraph.strip()):
            yield f"  {example[1]}{example[2]}"  # on one line, to be copied
        elif paragraph:
            yield "\n".join(f"  {line}" for line in _folded(paragraph, columns - 2))


def _section(heading: str, rows: Iterable[tuple[str, str]], columns: int) -> Iterator[str]:
    """A heading with its rows; nothing where there are none."""
    listed = list(rows)
    if listed:
        yield "\n".join((_heading(titled(heading)), *_table(listed, columns)))


def _table(rows: list[tuple[str, str]], columns: int) -> Iterator[str]:
    """Rows of names and texts: beside each other, or below each other where that is too narrow."""
    width = max((size for name, _text in rows if (size := _width(name)) <= _MOST_NAME_COLUMNS), default=0)
    beside = columns > _NARROW_COLUMNS
    indent = width + 4 if beside else 6
    for name, text in rows:
        lines = _folded(text, columns - indent) or [""]
        if beside and _width(name) <= width:
            yield f"  {name}{' ' * (width - _width(name))}  {lines.pop(0)}".rstrip()
        else:
            yield f"  {name.rstrip() if beside else name.strip()}"
        yield from (" " * indent + line for line in lines if line)


def _epilog(block: str, columns: int) -> str:
    """A heading and its lines `NAME: text`, in columns as the options are; one line alone is text."""
    heading, *lines = block.split("\n")
    if not lines:
        return "\n".join(_folded(heading, columns))
    rows = [(name, text) for name, _colon, text in (line.partition(": ") for line in lines)]
    return "\n".join((_heading(heading), *_table(rows, columns)))


def _folded(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many columns; a Chinese character takes two."""
    lines, line = [], ""
    for piece in _WORD.findall(text.strip()):
        if piece.isspace():
            line += " " if line else ""
        elif line and _width(line.rstrip() if not line.endswith(" ") else line) + _width(piece) > columns:
            lines.append(line.rstrip())
            line = piece
        else:
            line += piece
    return [*lines, line.rstrip()] if line.strip() else lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
