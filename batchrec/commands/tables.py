"""Tables of services and errors, and JSON objects, on standard output."""

import difflib
from collections.abc import Mapping
from typing import Any

import orjson

from ..api.codes import CODES, WORDS, kind_of
from ..api.retry import ACTIONS, Action, decide
from ..api.services import SERVICES, Service
from ..console.exit_codes import EXIT_CODES
from ..errors import JobError
from ..language import _
from ..periods import PERIODS
from ..values import Failure
from .estimate import Plan
from .layout import plain_console as _console
from .layout import show_table as _show
from .status import Status


def show_services() -> None:
    """The catalogue, a line a service."""
    rows = (
        (service.name, service.title, ", ".join(option.name for option in service.options))
        for service in SERVICES.values()
    )
    _show((_("service"), _("what it recognizes"), _("options")), rows)


def show_service(service: Service) -> None:
    """One service: options with type and default, path, and what images it takes."""
    limits = service.limits
    console = _console()
    console.print(f"{service.name}: {service.title}", markup=False)
    console.print(_("POST {path} ({body} body)").format(path=service.path, body=service.body), markup=False)
    if service.custom:
        console.print(_('needs model = "..." in the job file: the name of your published model'), markup=False)
    console.print(
        _(
            "images: {formats}; {least} to {most:,} px a side, at most {ratio:g}:1, {count:,} bytes of base64; "
            "batchrec repairs what it can"
        ).format(
            formats=", ".join(limits.formats),
            least=limits.min_side,
            most=limits.max_side,
            ratio=limits.max_ratio,
            count=limits.base64_bytes,
        ),
        markup=False,
    )
    console.print(_("labels: {fields}").format(fields=", ".join(service.reading.fields)), markup=False)
    if service.options:
        rows = (
            (
                option.name,
                option.type.__name__,
                "" if option.default is None else str(option.default),
                _(option.meaning),
            )
            for option in service.options
        )
        _show((_("option"), _("type"), _("default"), _("meaning")), rows)


def show_errors() -> None:
    """Every code and word, with how it is treated, and every exit code."""
    codes = ((str(c.number), c.kind.value, c.message) for c in CODES.values())
    _show((_("error code"), _("kind"), _("the service says")), codes)
    words = ((word.word, word.kinds, _(word.meaning)) for word in WORDS.values())
    _show((_("word"), _("kind"), _("meaning")), words)
    _show((_("exit code"), _("meaning")), ((str(code.number), _(code.meaning)) for code in EXIT_CODES.values()))


def show_error(code: str) -> None:
    """One code or word: what it means, what to do, what batchrec does.

    A number that is an exit code as well is explained as both. Raises JobError where it is neither.
    """
    console = _console()
    if code in WORDS:
        word = WORDS[code]
        lines = (f"{word.word}: {_(word.meaning)}", _kind(word.kinds, ACTIONS[word.kind]), _page(f"error-{code}"))
        console.print("\n".join(lines), markup=False)
        return
    stops = {period.stopped_by: period for period in PERIODS.values()}
    if code in stops:
        console.print(f"{code}: {_(stops[code].reason)}", markup=False)
        return
    if not code.isdecimal():
        words = [*WORDS, *stops]
        near = difflib.get_close_matches(code.lower(), words, n=1)
        hint = _(" (did you mean {word!r}?)").format(word=near[0]) if near else ""
        known = _("{code!r} is neither a number nor one of: {words}").format(code=code, words=", ".join(words))
        raise JobError(known + hint)
    number = int(code)
    if number in CODES or number not in EXIT_CODES:
        console.print(_about_error_code(number), markup=False)
    if number in EXIT_CODES:
        exit_code = EXIT_CODES[number]
        lines = (
            _("exit code {number}: {meaning}").format(number=number, meaning=_(exit_code.meaning)),
            _("what helps: {advice}").format(advice=_(exit_code.advice)),
            _page(f"exit-{number}"),
        )
        console.print("\n".join(lines), markup=False)


def _about_error_code(number: int) -> str:
    known, kind = CODES.get(number), kind_of(number)
    action = decide(Failure(kind, number, ""))
    message = known.message if known else _("in none of the tables of the service")
    lines = [
        _("error code {number}: {message}").format(number=number, message=message),
        _kind(kind.value, action),
    ]
    if known:
        lines += (_("what helps: {advice}").format(advice=_(known.advice)), _page(f"error-{number}"))
    return "\n".join(lines)


def _page(anchor: str) -> str:
    """The line that names a heading of the page of all codes, which docs/reference.py writes."""
    return _("documentation: {page}").format(page=f"error-codes.md#{anchor}")


def _kind(kinds: str, action: Action) -> str:
    """The line about the kinds of a failure and the engine's action."""
    return _("kind: {kinds} ({action})").format(kinds=kinds, action=_(action.value))


def show_json(found: Plan | Status | Mapping[str, Any]) -> None:
    """The same for programs: one JSON object."""
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
