"""Complaints about settings and fault plans: one line for one mistake."""

from pydantic_core import ErrorDetails

_LONGEST = 100
"""Characters of a given value that a complaint repeats."""


def complaint(error: ErrorDetails, secret: frozenset[str] = frozenset()) -> str:
    """One mistake: its key, what would be right, and what was given, but for the `secret` keys."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    where = f"{key}: " if key else ""
    hidden = error["type"] == "json_invalid" or not secret.isdisjoint(map(str, error["loc"]))
    given = "" if hidden else f", given {_shortened(error['input'])}"
    return f"{where}{error['msg'].removeprefix('Value error, ')}{given}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
