"""Settings from outside, checked one by one, and settings as shown outside, without secrets."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from pydantic import ValidationError

from .complaints import complaint
from .services import SERVICES
from .settings import SECRET, Settings


class SettingsError(ValueError):
    """Settings cannot be used.

    The message has a line for each: its key, what is right, and what was given.
    """


def changed(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """The settings with these changed.

    SettingsError lists everything that is wrong, without values of secrets.
    """
    names = [field.name for field in fields(Settings)]
    problems = [f"{key:.100}: unknown; right would be one of {', '.join(names)}" for key in changes if key not in names]
    known: dict[str, Any] = {key: value for key, value in changes.items() if key in names}
    try:
        new = replace(settings, **known)
    except ValidationError as exc:
        raise SettingsError("\n".join(problems + [complaint(error, SECRET) for error in exc.errors()])) from None
    if unknown := sorted((new.services or frozenset()) - SERVICES.keys()):
        problems.append(f"services: {unknown[0]!r} is unknown; right would be some of {', '.join(SERVICES)}")
    if problems:
        raise SettingsError("\n".join(problems))
    return new


def shown(settings: Settings) -> dict[str, object]:
    """The settings as JSON can hold them, without the secret ones."""
    values = {key: value for key, value in asdict(settings).items() if key not in SECRET}
    return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in values.items()}
