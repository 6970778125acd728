"""Complaints about a command line that cannot be read, in place of those of Typer and Click.

batchrec run: no option --limt; did you mean "--limit"?
usage: batchrec run JOB.toml [OPTIONS]; batchrec run --help explains it
"""

import math
import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeVar

import typer

from ..language import _, ngettext

_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's class of all complaints about a command line; Typer brings a copy of Click or not, by version."""

_DASHES = re.compile(r"[-\u2010-\u2015\u2212\uff0d]+(?=[^\W\d_])")
_FOLDED_DASHES = "--"

_Word = TypeVar("_Word", bound=Enum)
_Number = TypeVar("_Number", int, float)


# -- values


def whole_number(least: int, most: int | None = None) -> Callable[[Any], int]:
    """Parser of an option that takes a whole number from `least` to `most`."""

    def parse(given: Any) -> int:
        try:
            value = int(given)
        except ValueError:
            raise _unexpected(_("a whole number"), given) from None
        return _bounded(value, least, most, given)

    return parse


def number(least: float | None = None, most: float | None = None) -> Callable[[Any], float]:
    """Parser of an option that takes a number from `least` to `most`."""

    def parse(given: Any) -> float:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise _unexpected(_("a number"), given)
        return _bounded(value, least, most, given)

    return parse


def _bounded(value: _Number, least: float | None, most: float | None, given: Any) -> _Number:
    if least is not None and value < least:
        raise _unexpected(_("at least {least:g}").format(least=least), given)
    if most is not None and value > most:
        raise _unexpected(_("at most {most:,}").format(most=most), given)
    return value


def one_of(words: type[_Word]) -> Callable[[Any], _Word]:
    """Parser of an option that takes one of the words of an enumeration."""

    def parse(given: Any) -> _Word:
        for word in words:
            if given in (word, word.value):
                return word
        *others, last = (str(word.value) for word in words)
        expected = _("{others} or {last}").format(others=", ".join(others), last=last) if others else last
        raise _unexpected(expected, given)

    return parse


def _unexpected(expected: str, given: Any) -> typer.BadParameter:
    return typer.BadParameter(_('expected {expected}, found "{given}"').format(expected=expected, given=given))


# -- the line


def usage_line(command: Any, path: str) -> str:
    """`batchrec run JOB.toml [OPTIONS]`."""
    arguments = [argument(param) for param in command.params if param.param_type_name == "argument"]
    return " ".join((path, *arguments, *((_("COMMAND"),) if hasattr(command, "commands") else ()), _("[OPTIONS]")))


def argument(param: Any) -> str:
    """Name of an argument; in brackets where it may be left out."""
    name = param.metavar or (param.name or "").upper()
    return str(name) if param.required or name.startswith("[") else f"[{name}]"


@contextmanager
def complaining(command: Any, path: str) -> Iterator[None]:
    """Print a complaint about the command line to standard error, and end with 2.

    `path` is the command as it is typed.
    """
    try:
        yield
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a page of help
            raise
        from ..console.text import say

        usage = _("usage: {usage}; {path} --help explains it")
        say(f"{path}: {_complaint(command, error)}", usage.format(usage=usage_line(command, path), path=path))
        raise typer.Exit(2) from None
    except BrokenPipeError:  # `batchrec --help | true`
        from ..console.text import discard

        discard(sys.stdout)
        raise typer.Exit from None


def read_arguments(command: Any, ctx: Any, args: list[str], read: Callable[[Any, list[str]], list[str]]) -> list[str]:
    """Have Click `read` the arguments, between checks of our own. Returns those that are left."""
    if ctx.resilient_parsing:
        return read(ctx, args)
    _check_dashes(command, args)
    strict, ctx.allow_extra_args = not ctx.allow_extra_args, True
    rest = read(ctx, args)
    if rest and strict:
        given = " ".join(f'"{each}"' for each in rest)
        raise typer.BadParameter(
            ngettext("{given} is one argument too many", "{given} are arguments too many", len(rest)).format(
                given=given
            )
        )
    return rest


def check_command(command: Any, ctx: Any, args: Sequence[str]) -> None:
    """Complain where the group has no such command."""
    if args[0] not in command.commands and not ctx.resilient_parsing:
        raise typer.BadParameter(_no_command(command, ctx.command_path, args))


def _complaint(command: Any, error: Any) -> str:
    """The complaint in our words."""
    match type(error).__name__:
        case "MissingParameter":
            return _("{name} is missing").format(name=_name(error.param))
        case "NoSuchOption":
            return _no_option(command, error.option_name)
        case "BadOptionUsage":
            return _wrongly_used(command, error.option_name)
        case "BadParameter" if error.param is not None:
            return f"{_name(error.param)}: {error.message}"
        case "BadParameter":
            return str(error.message)
        case "UsageError" if hasattr(command, "commands"):
            return _("the name of a command is missing")
        case _:
            return str(error.format_message())


def _name(param: Any) -> str:
    """Name of an option or argument as it is typed."""
    long = [name for name in param.opts if name.startswith("--")]
    return str((long or [param.metavar or param.opts[0]])[0])


def _options(command: Any) -> dict[str, Any]:
    """Options of a command by each of their names."""
    return {
        name: param
        for param in command.params
        if param.param_type_name == "option"
        for name in (*param.opts, *param.secondary_opts)
    } | {"--help": None, "-h": None}


def _no_option(command: Any, name: str) -> str:
    from ..console.nearest import nearest

    said = _("no option {name}").format(name=name)
    options = _options(command)
    word = name.lstrip("-")
    homes = [each.name for each in getattr(command, "commands", {}).values() if name in _options(each)]
    if homes:
        line = f"batchrec {homes[0]} … {name}"
        return _with_hint(said, _("it stands behind the name of its command: {line}").format(line=line))
    if "--set" in options and (key := _key(word.replace("-", "_"))):
        return _with_hint(said, _("a key of the job file is changed by --set {key}=VALUE").format(key=key))
    if len(word) > 1 and (near := nearest(word, [known[2:] for known in options if known.startswith("--")])):
        return _with_hint(said, _('did you mean "{near}"?').format(near=f"--{near}"))
    return said


def _with_hint(said: str, hint: str) -> str:
    return _("{said}; {hint}").format(said=said, hint=hint)


def _key(name: str) -> str | None:
    """The key of the job file that has this name, where just one table has it."""
    from ..job.diagnostics import TABLES

    tables = [table for table in ("limits", "input", "account", "output") if name in TABLES[table].model_fields]
    return f"{tables[0]}.{name}" if len(tables) == 1 else None


def _wrongly_used(command: Any, name: str) -> str:
    param = _options(command).get(name)
    if param is None or param.is_flag:
        return _("{name} takes no value").format(name=name)
    return _("{name} needs a value: {name} {value}").format(name=name, value=param.metavar)


def _check_dashes(command: Any, args: Sequence[str]) -> None:
    """Complain about an option with the dashes or letters of a word processor or a Chinese keyboard."""
    options = _options(command)
    for given in args:
        if given == "--":
            return
        plain = unicodedata.normalize("NFKC", given)
        name = _DASHES.sub(_FOLDED_DASHES, plain, count=1).partition("=")[0]
        for meant in (name, name.removeprefix("-")):
            if not given.startswith(meant) and meant in options and not os.path.lexists(given):
                text = _('"{given}" is typed with other dashes or letters than {meant}').format(
                    given=given, meant=meant
                )
                raise typer.BadParameter(text)


def _no_command(command: Any, path: str, args: Sequence[str]) -> str:
    """The complaint about a command that does not exist."""
    from ..console.nearest import did_you_mean

    name = args[0]
    said = _('no command "{name}"').format(name=name)
    first = unicodedata.normalize("NFKC", name).split(" ")[0]
    if path.rpartition(" ")[0] == "" and first == name:
        if name.lower().endswith(".toml"):
            line = shlex.join((path, "run", *args))
            return _with_hint(said, _("this runs a job file: {line}").format(line=line))
        if os.path.lexists(name):
            line = shlex.join((path, "init" if os.path.isdir(name) else "recognize", name))
            return _with_hint(said, _("a file or folder stands behind its command: {line}").format(line=line))
    known = [each.name for each in command.commands.values() if not each.hidden]
    if hint := did_you_mean(first, known):
        return _with_hint(said, hint)
    return _with_hint(said, _("there are: {known}").format(known=", ".join(known)))
