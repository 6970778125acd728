"""What an input is called and what a pattern means. Pure text: no file is looked at.

The pattern language, for `input.paths` and `input.exclude` alike:

    **/     where a name could start: any number of folders, none included
    **      elsewhere: any characters, also /
    *       any characters but /
    ?       one character but /
    [...]   one of these but /; ranges as in [0-9], all others as in [!0-9] or [^0-9]

An unclosed bracket stands for itself, and so does every other character.
"""

import json
import os
import re
from functools import lru_cache

NOT_UTF8 = "the name is not UTF-8"

_TOKEN = re.compile(
    r"(?P<folders>(?:^|(?<=/))\*\*+/)|(?P<anything>\*\*+)|(?P<star>\*)|(?P<one>\?)"
    r"|\[(?P<not>[!^])?+(?P<set>\][^]/]*|[^]/]+)\]|(?P<text>.)",
    re.DOTALL,
)
_MEMBER = re.compile(r"(.)-(.)|(.)", re.DOTALL)


def normal(path: str) -> str:
    """The path without detours: lexically, so links stay, and with / between names."""
    key = os.path.normpath(path).replace(os.sep, "/")
    # normpath keeps two leading slashes, which POSIX lets a system treat apart from one; those we run on do not.
    return key[1:] if os.name == "posix" and key.startswith("//") else key


def normal_pattern(pattern: str) -> str:
    """As `normal`; a trailing / is kept, because it names folders, which are never inputs."""
    return normal(pattern) + ("/" if pattern.endswith("/") else "")


def prefix(folder: str) -> str:
    """What the keys of a folder's entries start with."""
    if folder == ".":
        return ""
    return folder if folder.endswith("/") else folder + "/"


def printable(key: str) -> tuple[str, str | None]:
    """The key as text, and what is wrong with it: bytes that are not UTF-8 are written as \\xff."""
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            return _escaped(key), NOT_UTF8
    return key, None


def quoted(value: object) -> str:
    """A text or another JSON value as a complaint shows it: on one line, whatever it holds."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def is_pattern(text: str) -> bool:
    """Whether it holds a character that patterns give a meaning to."""
    return any(sign in text for sign in "*?[")


@lru_cache(maxsize=256)
def compiled(pattern: str, hidden: bool) -> re.Pattern[str]:
    """The pattern as a regular expression for `fullmatch`. `hidden`: wildcards match a leading dot too."""
    return re.compile(translated(pattern, hidden))


def translated(pattern: str, hidden: bool) -> str:
    """The pattern as the text of a regular expression, which can be joined with others.

    A star with another one behind it in the same name takes no more than it must, for good: the other takes the rest.
    Else a name of 200 characters that just fails to match `*_*_*_*_*.jpg` would be tried for seconds.
    """
    parts: list[str] = []
    star: int | None = None
    for token in _TOKEN.finditer(pattern):
        if token["star"]:
            if star is not None:
                parts[star] = f"(?>{parts[star]}?"
                parts[-1] += ")"
            star = len(parts)
        elif token["folders"] or token["anything"] or token["text"] == "/":
            star = None
        parts.append(_regex(token, hidden))
    return "".join(parts)


def _escaped(key: str) -> str:
    try:
        return os.fsencode(key).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which only a JSON manifest can hold
        return key.encode("utf-8", "backslashreplace").decode()


def _regex(token: re.Match[str], hidden: bool) -> str:
    if token["text"]:
        return re.escape(token["text"])
    if token["folders"]:
        # The empty name is the one before the / of an absolute key.
        return r"(?:[^/]*/)*" if hidden else r"(?:(?!\.)[^/]+/)*"
    starts_name = token.start() == 0 or token.string[token.start() - 1] == "/"
    guard = r"(?!\.)" if starts_name and not hidden else ""
    if token["anything"]:
        return guard + (r"(?s:.*)" if hidden else r"(?:[^/]|/(?!\.))*")
    if token["star"]:
        return guard + "[^/]*"
    return guard + ("[^/]" if token["one"] else _set(token["set"], negated=bool(token["not"])))


def _set(members: str, negated: bool) -> str:
    """One character of a bracket. A range may span the /, which no bracket matches; a backward one is empty."""
    parts = []
    for first, last, single in _MEMBER.findall(members):
        if single:
            parts.append(re.escape(single))
        elif first <= last:
            parts.append(f"{re.escape(first)}-{re.escape(last)}")
    if not parts:
        return "[^/]" if negated else r"(?!)"
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]"
