"""Search of results: the rows that a selection matches, in the order of the inputs or by score.

A million rows are a gigabyte of JSON, which takes several seconds to parse. So a line is read only where its bytes do
not rule it out, no more of it than its labels, and a label that was seen before is not judged again.
"""

import re
from collections.abc import Callable, Iterator
from heapq import nsmallest
from itertools import islice
from math import inf
from typing import NamedTuple

from ..exact_json import dumps
from .lines import labels_of, remembered, top_score_of
from .results import Results
from .selection import Selection

_WORD = r'[^\\^$.|?*+()\[\]{}"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+'
_LITERAL = re.compile(rf"{_WORD}(?:\|{_WORD})*")
"""Regular expressions that are words, or words with `|` between them, and stand in JSON as they are."""


_UNSCORED = 1.0
"""Rank of a row without a score: behind all others, whose rank is their score, negative."""

_Test = Callable[[bytes, int, int], object]
"""Function of a line, which is given as a block with its start and end there: lines are not cut out of their block."""

_Judge = Callable[[bytes, int, int], float | None]
"""Function from such a line to its rank; None where it does not match."""


class Match(NamedTuple):
    """A row that matches: its place in results.jsonl, in bytes."""

    start: int
    length: int


class Found(NamedTuple):
    """Rows that match, in order, and the number of all that do: None where they were not counted."""

    matches: list[Match]
    total: int | None = None


def search(results: Results, selection: Selection, *, by_score: bool = False, most: int | None = None) -> Found:
    """The matching rows in the order of the inputs, or the best scores first; `most`: at most so many.

    The score of a row is that of its first label that meets the conditions. Holds the places of all matches. Raises as
    `Results.groups` does, and JobError for a step that the job does not have.
    """
    selection.check_steps(results.steps)
    if by_score:
        found = _matches(results, selection)
        ranked = sorted(found) if most is None else nsmallest(most, found)
        return Found([Match(start, length) for _rank, start, length in ranked])
    if not selection.restrictive:
        return Found([Match(*place) for place in results.journal.in_input_order(selection.step, most)])
    wanted = {start for _rank, start, _length in _matches(results, selection)}
    count = len(wanted) if most is None else min(len(wanted), most)
    ordered = results.journal.in_input_order(selection.step) if count else iter(())
    return Found([*islice((Match(*place) for place in ordered if place[0] in wanted), count)], len(wanted))


def _matches(results: Results, selection: Selection) -> Iterator[tuple[float, int, int]]:
    """The matching rows in order of completion: rank, offset and length."""
    may_match, judge, replaced = _sieve(selection), _judge(results, selection), results.journal.replaced()
    may_hold = _holder(words) if (words := _words(selection.label)) else None
    for offset, block in results.blocks():
        size, start = len(block), 0
        if may_hold and not may_hold(block, 0, size):  # none of its lines, in a quarter of a megabyte
            continue
        while start < size:
            end = block.find(b"\n", start) + 1 or size
            if may_match(block, start, end) and offset + start not in replaced:
                rank = judge(block, start, end)
                if rank is not None:
                    yield rank, offset + start, end - start
            start = end


def _judge(results: Results, selection: Selection) -> _Judge:
    """Function that judges a line which the sieve has let through."""

    def parsed(block: bytes, start: int, end: int) -> float | None:
        row = results.head(block[start:end])
        if not selection.matches(row):
            return None
        label = next(selection.labels(row), None)
        return _rank(None if label is None else label.get("score"))

    by_labels = _by_labels(selection, parsed)
    if selection.label is not None or not (selection.top == 1 or not selection.conditional):
        return by_labels
    by_top_label = _by_top_label(selection, parsed)
    if selection.not_label is None:
        return by_top_label
    if not (words := _words(selection.not_label)):
        return by_labels
    may_be_barred = _holder(words)
    return lambda *line: by_labels(*line) if may_be_barred(*line) else by_top_label(*line)


def _by_top_label(selection: Selection, parsed: _Judge) -> _Judge:
    """Function that judges a line by the score of its top label."""
    low, high = _bounds(selection) if selection.conditional else (-inf, inf)
    without = None if selection.conditional else _UNSCORED

    def judge(block: bytes, start: int, end: int) -> float | None:
        if (found := top_score_of(block, start, end)) is None:
            return parsed(block, start, end)
        text = found[1]
        if text is None or text == b"null":
            return without
        return -score if low <= (score := float(text)) <= high else None

    return judge


def _by_labels(selection: Selection, parsed: _Judge) -> _Judge:
    """Function that judges a line by its labels."""
    named, barred, within = remembered(selection.named), remembered(selection.barred), _interval(selection)
    top, conditional, bars = selection.top, selection.conditional, selection.not_label is not None

    def judge(block: bytes, start: int, end: int) -> float | None:
        labels = labels_of(block, start, end)
        if labels is None:
            return parsed(block, start, end)
        try:
            if bars and any(barred(label["name"], label.get("root")) for label in labels):
                return None
            for label in labels[:top]:
                if named(label["name"], label.get("root")) and within(label["score"]):
                    return _rank(label["score"])
        except (KeyError, TypeError):  # not as batchrec writes them
            return parsed(block, start, end)
        return None if conditional else _UNSCORED

    return judge


def _interval(selection: Selection) -> Callable[[float | None], bool]:
    """Function that tells whether a score meets the conditions."""
    least, most = selection.min_score, selection.max_score
    if least is None and most is None:
        return lambda score: True
    low, high = _bounds(selection)
    return lambda score: score is not None and low <= score <= high


def _bounds(selection: Selection) -> tuple[float, float]:
    least, most = selection.min_score, selection.max_score
    return -inf if least is None else least, inf if most is None else most


def _rank(score: float | None) -> float:
    return _UNSCORED if score is None else -score


def _sieve(selection: Selection) -> _Test:
    """Function that is false for lines that cannot match; it looks at bytes alone."""
    tests: list[_Test] = []
    if selection.step is not None:
        tests.append(_holder((b'"step":' + dumps(selection.step),)))
    if words := _words(selection.label):
        tests.append(_holder(words))
    if selection.label is not None and (least := selection.min_score) is not None:
        tests.append(_reaching(least))
    if not tests:
        return lambda block, start, end: True
    if len(tests) == 1:
        return tests[0]
    return lambda *line: all(test(*line) for test in tests)


def _words(label: str | None) -> tuple[bytes, ...]:
    """Bytes of which each line with such a label holds one; none for other expressions than words."""
    return tuple(word.encode() for word in label.split("|")) if label is not None and _LITERAL.fullmatch(label) else ()


def _reaching(least: float) -> _Test:
    """Function that is false where the top label, which has the highest score, is below `least`."""

    def reaches(block: bytes, start: int, end: int) -> bool:
        found = top_score_of(block, start, end)
        return found is None or found[1] in (None, b"null") or float(found[1]) >= least

    return reaches


def _holder(words: tuple[bytes, ...]) -> _Test:
    if len(words) == 1:
        (word,) = words
        return lambda block, start, end: block.find(word, start, end) >= 0
    return re.compile(b"|".join(map(re.escape, words))).search
