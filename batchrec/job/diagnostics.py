"""Diagnostics of a job file: the key, the value given, and the values expected.

Faults within a key are found by the models of `spec.py` and put into words here; faults between keys (a step's options
and its service, two steps of one name) are found here, on what was written, so that neither hides the other.
A value that may be a secret is never shown.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..api.services import SERVICES, Option, Service, service_meant
from ..console.nearest import did_you_mean
from ..language import _, mark
from ..sources.logins import without_logins
from .spec import Account, Fetch, Input, Job, Limits, Notify, OutputSpec, Step, Table, When

Loc = tuple[str | int, ...]
StepLoc = tuple[str, int]
Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong: the keys and indices that lead to it, and the sentence about it."""

    loc: Loc
    text: str


def find_diagnostics(raw: Raw, within: ValidationError | None) -> list[Diagnostic]:
    """Every fault of the job file `raw`, one for each place, in the order of the tables as documented.

    `within` is what the models had to say of it, if anything.
    """
    errors = within.errors(include_url=False) if within is not None else []
    faults: dict[Loc, Diagnostic] = {}
    for fault in (*map(_fault, errors), *_between(raw)):
        faults.setdefault(fault.loc, fault)
    return sorted(faults.values(), key=_reading_order)


def _reading_order(fault: Diagnostic) -> tuple[int, int]:
    """The table's place in the file, and for a step its number."""
    tables = list(Job.model_fields)
    table, index = (*fault.loc, 0)[:2]
    place = tables.index(table) if isinstance(table, str) and table in tables else len(tables)
    return place, index if isinstance(index, int) else 0


# What was given, and where

HIDDEN: Final = mark("(not shown)")
_SECRET = re.compile(r"(key|secret|token|password|bearer|credentials?)$|^[as]k$", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"^bce-|//[^/]*@|access_token")
_SECRET_IN_LINE = re.compile(
    r"(key|secret|token|password|bearer|credentials?|\b[as]k)[\"'”’]?\s*[=:＝：]|bce-|@|access_token", re.IGNORECASE
)
_LONGEST = 60  # characters or digits


def secret(key: str | int) -> bool:
    """Whether a key sounds as if it held a secret."""
    return isinstance(key, str) and _SECRET.search(key) is not None


def shown(value: object, *loc: str | int) -> str:
    """Format `value` for a complaint, much as in TOML: short, on one line, hidden where it may be secret."""
    if any(map(secret, loc)) or (isinstance(value, str) and _sounds_secret(value, *loc)):
        return _(HIDDEN)
    match value:
        case str():
            value = without_logins(value)
            cut = value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
            return json.dumps(cut, ensure_ascii=not cut.isprintable()).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case int() if abs(value) >= 10**_LONGEST:
            return _("a number of very many digits")
        case list():
            return _("a list") if value else "[]"
        case dict():
            return _("a table") if value else "{}"
        case _:
            return str(value)


def sounds_secret(line: str) -> bool:
    """Whether a line of a job file may hold a secret, by its key or its text."""
    return _SECRET_IN_LINE.search(line) is not None


def _sounds_secret(text: str, *loc: str | int) -> bool:
    """Whether it may hold a secret.

    In an endpoint, whatever its form, what stands before an @ is a password.
    """
    return _SECRET_TEXT.search(text) is not None or (loc[-1:] == ("endpoint",) and "@" in text)


def toml(value: object) -> str:
    """An example, as TOML writes it on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def key_path(loc: Sequence[str | int]) -> str:
    """`recognize[0].options.top_num`; a key that TOML would quote is quoted."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            bare = re.fullmatch(r"[\w-]+", part) is not None
            path += ("." if path else "") + (part if bare else shown(part))
    return path


# Faults within a key

TABLES: dict[str, type[Table]] = {
    "": Job,
    "input": Input,
    "recognize": Step,
    "fetch": Fetch,
    "when": When,
    "account": Account,
    "limits": Limits,
    "output": OutputSpec,
    "notify": Notify,
}

RIGHT: dict[str, str] = {
    "string_type": mark("text in quotes"),
    "bool_type": mark("true or false"),
    "int_type": mark("a whole number"),
    "float_type": mark("a number"),
    "tuple_type": mark("a list"),
    "dict_type": mark("a table"),
    "model_type": mark("a table"),
    "finite_number": mark("a finite number"),
    "greater_than": mark("above {gt:g}"),
    "greater_than_equal": mark("at least {ge:g}"),
    "less_than_equal": mark("at most {le:,.0f}"),
    "string_unicode": mark("Unicode text"),
    "string_too_short": mark("text with something in it"),
}
"""By pydantic's error type, the end of the sentence "<what was given> is not ...\""""


def _fault(error: ErrorDetails) -> Diagnostic:
    """A pydantic error in our words."""
    loc = tuple(part for part in error["loc"] if part != "[key]")
    kind, ctx = error["type"], error.get("ctx", {})
    given = shown(error["input"], *loc)
    if secret(loc[-1]):
        return Diagnostic(loc, _(SECRET_KEY))
    if loc[0] == "notify" and loc[-1] in ("command", "url"):
        return Diagnostic(loc, _(NOTIFY_KEY))
    if kind in ("extra_forbidden", "invalid_key"):
        return Diagnostic(loc, _unknown_key(loc))
    if kind == "missing":
        return Diagnostic(loc, _("is missing{example}").format(example=_example(loc)))
    if kind == "value_error":
        return Diagnostic(loc, f"{given} {ctx['error']}")
    if kind == "literal_error":
        choices = re.findall(r"'(.*?)'", ctx["expected"])
        meant = did_you_mean(error["input"], choices) if isinstance(error["input"], str) else ""
        return Diagnostic(
            loc,
            _("{given} is not {choices}{meant}").format(
                given=given, choices=_(" or ").join(map(shown, choices)), meant=meant and f"; {meant}"
            ),
        )
    if kind in RIGHT:
        return Diagnostic(
            loc,
            _("{given} is not {right}{example}").format(
                given=given, right=_(RIGHT[kind]).format(**ctx), example=_example(loc)
            ),
        )
    return Diagnostic(loc, _("{given} is not what belongs here{example}").format(given=given, example=_example(loc)))


def _fields(loc: Loc) -> Mapping[str, FieldInfo]:
    """The keys of the table in which `loc` ends."""
    tables = [part for part in loc[:-1] if isinstance(part, str)]
    return TABLES[tables[-1] if tables else ""].model_fields


def _example(loc: Loc) -> str:
    """Schema of the key at `loc`, or of an entry of a list, `prices` or `free`."""
    *outer, last = loc
    entry = isinstance(last, int) or outer[-1:] in (["prices"], ["free"])
    holder = tuple(outer) if entry else loc
    (example,) = _fields(holder)[str(holder[-1])].examples or [""]
    if entry:
        example = next(iter(example.values() if isinstance(example, dict) else example))
    return _("; for example: {example}").format(example=toml(example))


def _unknown_key(loc: Loc) -> str:
    key = str(loc[-1])
    known = _fields(loc)
    homes = [name for name, table in TABLES.items() if key in table.model_fields and name]
    if homes:
        return _("unknown key here; it belongs under {homes}").format(homes=_(" or ").join(homes))
    if hint := did_you_mean(key, known):
        return _("unknown key, {hint}").format(hint=hint)
    return _("unknown key; here may stand: {known}").format(known=", ".join(known))


NOTIFY_KEY: Final = mark(
    "never in a job file, since job files are shared; notify.toml in the config folder holds it, in a table that "
    "notify.use names"
)
SECRET_KEY: Final = mark("never a key in a job file; `batchrec login` keeps it")

# Faults between keys, looked for in what was written, whatever else is wrong with it


def _between(raw: Raw) -> Iterator[Diagnostic]:
    yield from _nothing_named(raw.get("input"))
    steps = raw.get("recognize")
    steps = steps if isinstance(steps, list) else []
    names = [_name(step) for step in steps]
    for index, step in enumerate(steps):
        if isinstance(step, dict):
            loc = ("recognize", index)
            yield from _name_faults(loc, names)
            yield from _service_faults(loc, step)
            yield from _when_faults(loc, step.get("when"), names)


def _nothing_named(table: object) -> Iterator[Diagnostic]:
    if isinstance(table, dict) and table.get("paths", []) == [] and "manifest" not in table:
        yield Diagnostic(("input", "paths"), _('is missing, and so is a manifest; for example: ["photos"]'))


def _name(step: object) -> str | None:
    """Name of a step, also of one whose service is misspelt; None where there is no telling."""
    if not isinstance(step, dict):
        return None
    service = step.get("service")
    if isinstance(service, str) and service not in SERVICES:
        service = service_meant(service) or service
    name = step.get("step", service)
    return name if isinstance(name, str) else None


def _name_faults(loc: StepLoc, names: list[str | None]) -> Iterator[Diagnostic]:
    name = names[loc[1]]
    first = names.index(name)
    if name is not None and first != loc[1]:
        other = f"{name}-{loc[1] + 1}"
        text = _("{name} is already the name of {step}; for example: {other}").format(
            name=shown(name), step=key_path((loc[0], first)), other=shown(other)
        )
        yield Diagnostic((*loc, "step"), text)


def _service_faults(loc: StepLoc, step: Raw) -> Iterator[Diagnostic]:
    """Diagnostics that depend on the service: whether it takes a model, and its options."""
    name, options = step.get("service"), step.get("options")
    service = SERVICES.get(name) if isinstance(name, str) else None
    if service is not None and service.custom and "model" not in step:
        text = _('is missing: {name} uses a model of yours; for example: "itcast_fruit"').format(name=service.name)
        yield Diagnostic((*loc, "model"), text)
    if service is not None and not service.custom and "model" in step:
        given = shown(step["model"])
        yield Diagnostic(
            (*loc, "model"),
            _("{given} is one too many: {name} takes no model; leave it out").format(given=given, name=service.name),
        )
    if service is not None and not service.custom and "canary" in step:
        text = _("is for models of your own, and {name} is none; leave it out").format(name=service.name)
        yield Diagnostic((*loc, "canary"), text)
    for key, value in options.items() if isinstance(options, dict) else ():
        if wrong := _option_fault(service, key, value):
            yield Diagnostic((*loc, "options", key), wrong)


def _option_fault(service: Service | None, key: str, value: object) -> str | None:
    if secret(key):
        return _(SECRET_KEY)
    if service is None:
        return None
    option = service.option(key)
    if option is None:
        known = [option.name for option in service.options]
        hint = did_you_mean(key, known)
        takes = _("(it takes: {options})").format(options=", ".join(known)) if known else _("(it takes none)")
        hint = hint and f"; {hint}"
        return _("{service} has no such option{hint} {takes}").format(service=service.name, hint=hint, takes=takes)
    if not option.accepts(value):
        return _("{value} is not {type}: {meaning}; for example: {usual}").format(
            value=shown(value), type=_(OPTION_TYPES[option.type]), meaning=_(option.meaning), usual=_usual(option)
        )
    return None


OPTION_TYPES = {bool: mark("true or false"), int: mark("a whole number"), float: mark("a number")}


def _usual(option: Option) -> str:
    return shown(0.5 if option.default is None else option.default)


def _when_faults(loc: StepLoc, when: object, names: list[str | None]) -> Iterator[Diagnostic]:
    wanted = when.get("step") if isinstance(when, dict) else None
    earlier = [name for name in names[: loc[1]] if name is not None]
    if not isinstance(wanted, str) or wanted == "" or wanted in earlier:
        return
    if wanted == names[loc[1]]:
        text = _("is this step itself; it takes one that stands earlier in the file")
    elif wanted in names:
        text = _("stands later in the file; put it before this step")
    elif earlier:
        hint = did_you_mean(wanted, earlier) or _("earlier in the file stand")
        text = _("is no step of this file; {hint} ({earlier})").format(hint=hint, earlier=", ".join(earlier))
    else:
        text = _("is no step of this file; no step stands before the first one")
    yield Diagnostic((*loc, "when", "step"), f"{shown(wanted)} {text}")
