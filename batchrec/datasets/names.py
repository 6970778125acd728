"""New names of classes: those of mapping.toml, and safe ones for what EasyDL does not take.

    [names]
    "钳子" = "pliers"

A name that is not given is derived where it can be read as ASCII (`screw driver` becomes `screw_driver`); else it is
`c01`, `c02` and so on. Nothing is translated or guessed. The file keeps the old names: results show the new ones.
"""

import json
import re
import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ..errors import JobError
from ..job.syntax import syntax_complaints
from ..language import _, os_reason
from .check import name_fault
from .rules import Rules


def read_names(path: Path | None, labels: Sequence[str], taken: Rules) -> dict[str, str]:
    """The new names of a mapping.toml. Raises JobError where it or a name in it is wrong."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise JobError(_("{path}: cannot be read: {reason}").format(path=path, reason=os_reason(exc))) from exc
    except UnicodeDecodeError as exc:
        raise JobError(_("{path}: is not TOML in UTF-8; save it as UTF-8").format(path=path)) from exc
    try:
        data = tomllib.loads(text)
    except ValueError as exc:
        first, *others = syntax_complaints(text, exc)
        raise JobError(f"{path}: {first}", *others) from exc
    names = data.get("names")
    if not isinstance(names, dict) or data.keys() != {"names"}:
        raise JobError(_('{path}: expected one table [names] with lines such as "钳子" = "pliers"').format(path=path))
    wrong = []
    for old, new in names.items():
        if old not in labels:
            wrong.append(
                _("{path}: names.{key}: there is no such class; there are: {classes}").format(
                    path=path, key=json.dumps(old, ensure_ascii=False), classes=", ".join(labels[:20])
                )
            )
        elif not isinstance(new, str) or name_fault(new, taken):
            wrong.append(
                _(
                    "{path}: names.{key}: {given!r} is no name for EasyDL; expected digits, letters, - and _, at most "
                    "{most} bytes"
                ).format(path=path, key=json.dumps(old, ensure_ascii=False), given=new, most=taken.label_bytes)
            )
    if wrong:
        raise JobError(*wrong)
    return names


def new_names(labels: Sequence[str], given: dict[str, str], taken: Rules) -> dict[str, str]:
    """A name for each class. Raises JobError where two would have one, but for capital letters."""
    names = {}
    for number, label in enumerate(labels, start=1):
        names[label] = given.get(label) or (label if not name_fault(label, taken) else _derived(label, number, taken))
    owners: dict[str, str] = {}
    for label, name in names.items():
        if (other := owners.setdefault(name.casefold(), label)) != label:
            raise JobError(
                _(
                    "classes {first!r} and {second!r} would both be {name!r}, but for capital letters; put their "
                    "images into one folder, or give other names with --names mapping.toml"
                ).format(first=other, second=label, name=name)
            )
    return names


def write_names(path: Path, names: dict[str, str]) -> None:
    """Write the old and the new name of each class that was renamed. Raises OSError."""
    lines = ["# Old and new names of classes. Results show the new ones.", "[names]"]
    lines += [f"{_quoted(old)} = {_quoted(new)}" for old, new in names.items() if old != new]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but that TOML escapes DEL as well."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _derived(label: str, number: int, taken: Rules) -> str:
    plain = unicodedata.normalize("NFKD", label)
    if all(each.isascii() or unicodedata.combining(each) for each in plain):
        name = re.sub(r"[^0-9A-Za-z_-]+", "_", "".join(each for each in plain if each.isascii())).strip("_")
        name = name[: taken.label_bytes].rstrip("_")
        if name:
            return name
    return f"c{number:02d}"
