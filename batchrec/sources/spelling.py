"""Spellings of a path: as it is written, with `~` expanded, with / for the backslashes of Windows."""

import os
from pathlib import Path

from ..language import _
from ..values import Notice
from .keys import quoted


def spellings(given: str) -> list[str]:
    """The paths that may be meant, the likeliest first."""
    slashed = [given, given.replace("\\", "/")] if os.sep == "/" and "\\" in given else [given]
    return list(dict.fromkeys(spelling for text in slashed for spelling in (text, expanded(text))))


def expanded(path: str) -> str:
    """The path with the home folder for a leading `~`, as a shell writes it."""
    try:
        return os.path.expanduser(path)
    except ValueError:  # no user can have such a name
        return path


def notices(key: str, given: str, spelling: str) -> list[Notice]:
    """The notice that a path, the value of `key`, is taken with / for its backslashes; else none."""
    if "\\" not in given or "\\" in spelling:
        return []
    return [
        Notice(
            _("{key}: {given} is taken as {spelling}, with / for the backslashes").format(
                key=key, given=quoted(given), spelling=quoted(spelling)
            )
        )
    ]


def advice(given: str) -> str:
    """Advice about a path that does not exist, to be put behind that; empty where there is none."""
    if (home := expanded(given)) != given:
        return f" ({quoted(home)})"
    return _(", nor with / for its backslashes, which Windows alone takes") if os.sep == "/" and "\\" in given else ""


def at_home(base: Path, given: str) -> Path:
    """A path of the job file, absolute: `~` is the home folder, unless there is something of that name."""
    place = base / given
    return base / expanded(given) if given.startswith("~") and not place.exists() else place
