"""Label patterns: regular expressions, searched in labels without blocking the event loop.

The language is that of Python's `re`, which backtracks: `(a+)+b` takes 2**n steps for n letters, and only a signal
handler in the main thread interrupts it. Two libraries do not fit: google-re2 takes linear time, but has no lookaround
and no references, so it refuses job files that are right; `regex` has a timeout for each search, but reads some
patterns otherwise, and a search would end without a verdict in the middle of a run. So a pattern is tried when it is
loaded, in a process that can be killed, on texts that are made to be adverse for it; and labels are cut. Patterns of
literals and alternatives (`食|菜|餐`) cannot explode and are not tried: they cost nothing. Others cost some 50 ms.

This file is also the program of that process, so it imports the standard library alone.
"""

import functools
import itertools
import re
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

MAX_CHARACTERS = 200
"""As much of a label is looked at; services' labels have some 20."""

_FLAT = re.compile(r"(?:[^*+?{(\\]|\\[^0-9])*")
_KEPT_VERDICTS = 4096  # labels: a service has some thousand
_SLOWEST, _ENOUGH, _LIMIT, _WAIT = 0.1, 1.0, 2, 60.0
"""Seconds: of processor time for one text, for all of them, at most; and until a process is given up."""

_EXPLODES = 3  # exit code of the process that tries a pattern: it takes too long
_LENGTHS = (24, MAX_CHARACTERS)  # characters of adverse texts
_LETTERS = "a0 _-.食"
_MOST_LETTERS = 24  # different characters that adverse texts are made of
_END = "\n\0"  # no dot takes the first, and no $ stands before it


@functools.lru_cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression. Raises re.error, OverflowError or RecursionError where it is none."""
    with warnings.catch_warnings():
        # "[[" works as it reads; Python only announces that it may mean more one day.
        warnings.simplefilter("ignore")
        return re.compile(pattern)


def found(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text's first MAX_CHARACTERS characters."""
    return _found(pattern, text[:MAX_CHARACTERS])


@functools.lru_cache(_KEPT_VERDICTS)
def _found(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text) is not None


@functools.lru_cache
def explodes(pattern: str) -> bool:
    """Whether a search takes more than 0.1 s for some short text, as far as trying tells."""
    if _FLAT.fullmatch(pattern):
        return False
    import subprocess

    try:
        tried = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            input=pattern.encode("utf-8", "surrogatepass"),
            env={},
            capture_output=True,
            timeout=_WAIT,
        )
    except subprocess.TimeoutExpired:
        return True
    except OSError:  # none can be started: the machine's shortage is not the pattern's fault
        return False
    return tried.returncode == _EXPLODES or tried.returncode < 0  # killed by its limit of processor time


def _try() -> int:
    """In the process: the exit code for the pattern on standard input."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_LIMIT, _LIMIT))
    except (ImportError, OSError, ValueError):
        pass
    pattern = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    search, started = compiled(pattern).search, time.process_time()
    for text in _adverse(pattern):
        before = time.process_time()
        search(text)
        after = time.process_time()
        if after - before > _SLOWEST:
            return _EXPLODES
        if after - started > _ENOUGH:
            break
    return 0


def _adverse(pattern: str) -> Iterator[str]:
    """Texts on which the pattern's repetitions match for long and the whole does not.

    Before each repetition stands what leads up to it; then what it repeats, or letters that it may repeat, again and
    again; then something that no pattern expects.
    """
    from re import _parser  # type: ignore[attr-defined]

    tree = _parser.parse(pattern)
    letters = "".join(dict.fromkeys([*_literals(tree), *_LETTERS]))[:_MOST_LETTERS]
    starts = list(dict.fromkeys(_repeated(tree, "")))
    pairs = map("".join, itertools.product(letters, repeat=2))
    for length in _LENGTHS:
        for before, unit in starts:
            for filling in dict.fromkeys([unit or "a", *letters]):
                yield (before + filling * length)[: length - 2] + _END
    for pair in pairs:
        for before, _ in starts:
            yield (before + pair * MAX_CHARACTERS)[: MAX_CHARACTERS - 2] + _END


def _nested(arguments: Any) -> Iterator[Any]:
    """The parts of a pattern that a node of the parser's tree holds."""
    if type(arguments).__name__ == "SubPattern":
        yield arguments
    elif isinstance(arguments, tuple | list):
        for argument in arguments:
            yield from _nested(argument)


def _literals(tree: Any) -> Iterator[str]:
    """The characters that a pattern names, and the first of each range."""
    for kind, arguments in tree:
        if str(kind) in ("LITERAL", "NOT_LITERAL"):
            yield chr(arguments)
        elif str(kind) == "IN":
            yield from _literals((k, a) for k, a in arguments if str(k) != "NEGATE")
        elif str(kind) == "RANGE":
            yield chr(arguments[0])
        else:
            for part in _nested(arguments):
                yield from _literals(part)


def _repeated(tree: Any, before: str) -> Iterator[tuple[str, str]]:
    """For each repetition, and for the start: a text that leads up to it, and one that it repeats."""
    yield before, before[-1:]
    for kind, arguments in tree:
        for part in _nested(arguments):
            if str(kind).endswith("REPEAT"):
                yield before, _sample(part)
            yield from _repeated(part, before)
        before += _sample([(kind, arguments)])


def _sample(tree: Any) -> str:
    """A text that a part of a pattern is likely to match, with each repetition as short as it may be."""
    text = ""
    for kind, arguments in tree:
        match str(kind):
            case "LITERAL":
                text += chr(arguments)
            case "NOT_LITERAL" | "ANY" | "CATEGORY":
                text += {"CATEGORY_DIGIT": "0", "CATEGORY_SPACE": " "}.get(str(arguments), "a")
            case "RANGE":
                text += chr(arguments[0])
            case "IN":
                text += "a" if str(arguments[0][0]) == "NEGATE" else _sample(arguments[:1])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                text += _sample(arguments[2]) * min(max(arguments[0], 1), MAX_CHARACTERS)
            case "BRANCH":
                text += _sample(arguments[1][0])
            case "SUBPATTERN" | "ATOMIC_GROUP":
                text += "".join(map(_sample, _nested(arguments)))
    return text[:MAX_CHARACTERS]


if __name__ == "__main__":
    sys.exit(_try())
