"""Keys of inputs and the meaning of patterns. Pure text: no file is looked at.

The pattern language, for `input.paths` and `input.exclude` alike:

    **/     where a name could start: any number of folders, none included
    **      elsewhere: any characters, also /
    *       any characters but /
    ?       one character but /
    [...]   one of these but /; ranges as in [0-9], all others as in [!0-9] or [^0-9]

An unclosed bracket stands for itself, and so does every other character. Where a name holds a whole bracket
literally, that is what is meant: `readings` lists what a pattern may mean.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Protocol

from .logins import without_logins

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
    """Prefix of the keys of a folder's entries."""
    if folder == ".":
        return ""
    return folder if folder.endswith("/") else folder + "/"


def printable(key: str) -> tuple[str, str | None]:
    """The key as text, and what is wrong with it: bytes that are not UTF-8 are written as \\xff."""
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            return escaped(key), NOT_UTF8
    return key, None


def quoted(value: object) -> str:
    """A text or another JSON value as a complaint shows it: on one line, without the logins of URLs."""
    if isinstance(value, str):
        value = without_logins(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def is_pattern(text: str) -> bool:
    """Whether it holds a character that patterns give a meaning to."""
    return any(sign in text for sign in "*?[")


def literal(text: str) -> str:
    """A pattern that matches this text alone."""
    return re.sub(r"[*?[]", r"[\g<0>]", text)


def readings(pattern: str) -> list[str]:
    """Patterns that this one may mean: with all brackets literal, with some, with none, in this order."""
    pieces = [match[0] for match in _TOKEN.finditer(pattern)]
    brackets = [at for at, piece in enumerate(pieces) if len(piece) > 2 and piece[0] == "[" and piece not in _SINGLE]
    choices: Iterable[tuple[bool, ...]] = product((True, False), repeat=len(brackets))
    if len(brackets) > _MOST_MIXED:
        choices = [(True,) * len(brackets), (False,) * len(brackets)]
    found = []
    for choice in sorted(choices, key=sum, reverse=True):
        taken = {at for at, chosen in zip(brackets, choice, strict=True) if chosen}
        found.append("".join(literal(piece) if at in taken else piece for at, piece in enumerate(pieces)))
    return found


_SINGLE = ("[*]", "[?]", "[[]")
"""Brackets that can only be meant to take away a character's meaning."""

_MOST_MIXED = 3
"""Brackets in a pattern of which some may be literal and some not: each more doubles the readings to be tried."""


def decided(patterns: Sequence[Sequence[str]], keys: Iterable[str]) -> list[str]:
    """Of the readings of each pattern the first that matches any of the keys, the last where none does."""
    best = [len(choices) - 1 for choices in patterns]
    matchers = [[compiled(reading, hidden=True) for reading in choices] for choices in patterns]
    for key in keys if any(best) else ():
        for number, choices in enumerate(matchers):
            found = (at for at in range(best[number]) if choices[at].fullmatch(key))
            best[number] = next(found, best[number])
        if not any(best):
            break
    return [choices[at] for choices, at in zip(patterns, best, strict=True)]


class Matcher(Protocol):
    """A pattern that can be held against a key; a compiled regular expression is one."""

    def fullmatch(self, key: str, /) -> object | None:
        """Anything where the whole key matches, else None."""
        ...


@lru_cache(maxsize=256)
def compiled(pattern: str, hidden: bool) -> Matcher:
    """The pattern for `fullmatch`. `hidden`: wildcards match a leading dot too."""
    return any_of([pattern], hidden)


def any_of(patterns: Sequence[str], hidden: bool) -> Matcher:
    """A matcher of keys that one of the patterns matches."""
    quick = [pattern for pattern in patterns if _folder_wildcards(pattern) <= _MOST_QUICK]
    slow = [_Positions(pattern, hidden) for pattern in patterns if _folder_wildcards(pattern) > _MOST_QUICK]
    expression = re.compile("|".join(f"(?:{translated(pattern, hidden)})" for pattern in quick) or r"(?!)")
    return _AnyOf([expression, *slow]) if slow else expression


_MOST_QUICK = 2
"""Wildcards for folders in a pattern up to which a regular expression is quick: each more multiplies its time."""


def _folder_wildcards(pattern: str) -> int:
    return sum(bool(token["folders"] or token["anything"]) for token in _TOKEN.finditer(pattern))


class _AnyOf:
    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self._matchers = matchers

    def fullmatch(self, key: str) -> object | None:
        return True if any(matcher.fullmatch(key) is not None for matcher in self._matchers) else None


def _wildcard(token: re.Match[str]) -> str:
    """The kind of wildcard that a token is; empty for text."""
    return next((kind for kind in ("folders", "anything", "star", "one", "set") if token[kind] is not None), "")


class _Positions:
    """A pattern as the positions of a key that each of its parts leads to from those of the part before.

    A regular expression tries every division of the key among its wildcards: of `**/a/**/b/**/c/**/d` as many as the
    fourth power of its folders. Here the steps are the parts times the characters, each of them slower.
    """

    def __init__(self, pattern: str, hidden: bool) -> None:
        self._hidden = hidden
        self._parts = [(_wildcard(token), re.compile(_regex(token, True))) for token in _TOKEN.finditer(pattern)]

    def fullmatch(self, key: str) -> object | None:
        """True where the whole key matches, else None."""
        reached = {0}
        for wildcard, expression in self._parts:
            if wildcard in ("folders", "anything", "star"):
                reached = set(self._passed(key, wildcard, reached))
            else:
                free = [at for at in reached if not (wildcard and self._is_hidden(key, at))]
                reached = {at + 1 for at in free if expression.match(key, at)}
            if not reached:
                return None
        return True if len(key) in reached else None

    def _passed(self, key: str, wildcard: str, starts: set[int]) -> Iterator[int]:
        """Positions at which a wildcard may end that starts at one of these."""
        inside = False
        for at in range(min(starts), len(key) + 1):
            dot = self._is_hidden(key, at)
            if wildcard == "folders":
                if at in starts:
                    inside = True
                if inside and (at in starts or key[at - 1] == "/"):
                    yield at
                empty = at < len(key) and key[at] == "/" and (at == 0 or key[at - 1] == "/")
                inside = inside and not dot and (self._hidden or not empty)
            else:
                inside = (inside or at in starts) and not dot
                if inside:
                    yield at
                inside = inside and (wildcard == "anything" or key[at : at + 1] != "/")

    def _is_hidden(self, key: str, at: int) -> bool:
        """Whether a name with a leading dot starts here that wildcards do not match."""
        return not self._hidden and key[at : at + 1] == "." and (at == 0 or key[at - 1] == "/")


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


def escaped(key: str) -> str:
    """Text of a path with the bytes that are not UTF-8 escaped, as in `\\xff`."""
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
    """One character of a bracket.

    A range may span the /, which no bracket matches; a backward one is empty.
    """
    parts = []
    for first, last, single in _MEMBER.findall(members):
        if single:
            parts.append(re.escape(single))
        elif first <= last:
            parts.append(f"{re.escape(first)}-{re.escape(last)}")
    if not parts:
        return "[^/]" if negated else r"(?!)"
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]"
