"""Lines of results.jsonl read in part, beside the whole line as the standard library parses it."""

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchrec.journal.lines import beginning_of, labels_of, top_score_of
from batchrec.journal.results import Results
from batchrec.journal.search import search
from batchrec.journal.selection import Selection
from batchrec.outputs import JsonlOutput

_settings = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_TEXTS = st.text(max_size=8) | st.sampled_from(['"', "\\", '","score":1', '"root":"x"', '],"response":{', "\x7f", "猫"])
_NUMBERS = st.none() | st.floats(0, 1)
_BOXES = st.fixed_dictionaries(dict.fromkeys(("left", "top", "width", "height"), st.integers(0, 9)))
_LABELS = st.lists(
    st.fixed_dictionaries(
        {"name": st.none() | _TEXTS, "score": _NUMBERS},
        optional={"root": st.none() | _TEXTS, "calorie": _NUMBERS, "year": st.none() | _TEXTS, "box": _BOXES},
    ),
    max_size=4,
)
_RESPONSES = st.dictionaries(
    _TEXTS | st.sampled_from(["log_id", "attempts", "labels"]),
    st.integers(0, 2**70) | _TEXTS | st.dictionaries(st.just("log_id"), st.integers(0, 9)),
    max_size=4,
)
_ROWS = st.fixed_dictionaries(
    {
        "image": _TEXTS,
        "sha256": st.none() | st.just("0f" * 32),
        "step": _TEXTS,
        "service": st.just("dish"),
        "model": st.none() | _TEXTS,
        "labels": _LABELS,
        "response": _RESPONSES,
        "attempts": st.integers(0, 5),
        "repaired": st.none() | st.lists(_TEXTS, max_size=2),
        "tiles": st.none() | st.just(2),
    }
)


def shuffled(row: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """The row with its keys in another order."""
    return {key: row[key] for key in keys}


_LINES = (_ROWS | _ROWS.flatmap(lambda row: st.permutations(list(row)).map(lambda keys: shuffled(row, keys)))).map(
    JsonlOutput().encode
)


@_settings
@given(_LINES)
def test_labels_are_those_of_the_whole_line(line: bytes) -> None:
    """Names, scores and roots in any texts; a line of another order is left to the caller."""
    row = json.loads(line)
    if (found := labels_of(line, 0, len(line))) is not None:
        assert found == row["labels"]
    if (match := beginning_of(line)) is not None:
        assert [json.loads(text) for text in match.groups()[:2]] == [row["image"], row["step"]]
        best = row["labels"][0] if row["labels"] else None
        said = [None if text is None else json.loads(text) for text in match.groups()[2:]]
        assert said == ([None, None] if best is None else [best["name"], best["score"]])
    if (match := top_score_of(line, 0, len(line))) is not None:
        assert (match[1] and json.loads(match[1])) == (row["labels"][0]["score"] if row["labels"] else None)


def test_a_usual_row_is_read_in_part() -> None:
    """No row as batchrec writes it takes the slow way."""
    label = {"name": 'a"b', "score": 0.5, "root": "c", "calorie": 1.5, "box": {"left": 1, "top": 2}}
    row = {"image": "a", "sha256": None, "step": "s", "service": "dish", "model": None, "labels": [label, label]}
    line = JsonlOutput().encode({**row, "response": {"result": [], "log_id": 2**63}, "attempts": 1, "tiles": None})
    assert beginning_of(line) is not None
    assert top_score_of(line, 0, len(line)) is not None
    assert labels_of(line, 0, len(line)) == [label, label]


@dataclass
class _Directory:
    """Results of a directory in which no row is replaced, and the input order is that of the lines."""

    lines: list[bytes]
    steps: tuple[str, ...] = ()
    head = staticmethod(json.loads)

    @property
    def journal(self) -> "_Directory":
        return self

    def replaced(self) -> frozenset[int]:
        return frozenset()

    def blocks(self) -> list[tuple[int, bytes]]:
        return [(0, b"".join(self.lines))]

    def in_input_order(self, step: str | None, most: int | None = None) -> list[tuple[int, int]]:
        starts = accumulate(map(len, self.lines), initial=0)
        return list(zip(starts, map(len, self.lines), strict=False))[:most]


_EXPRESSIONS = st.none() | st.sampled_from(["猫", "猫|x", "[猫x]", "^$", ".", r"\\"])


@_settings
@given(
    st.lists(_LINES, max_size=5),
    st.builds(
        Selection,
        label=_EXPRESSIONS,
        not_label=_EXPRESSIONS,
        min_score=_NUMBERS,
        max_score=_NUMBERS,
        top=st.none() | st.just(1),
    ),
)
def test_search_finds_what_parsing_all_lines_finds(lines: list[bytes], selection: Selection) -> None:
    """The same rows, with labels of any names, in any order of keys and without scores; best scores first."""
    lines = [best_first(line) for line in lines]
    directory = _Directory(lines)
    places = dict(zip(lines, directory.in_input_order(None), strict=True)) if len(set(lines)) == len(lines) else {}
    wanted = [line for line in lines if selection.matches(json.loads(line))]
    if places:
        found = search(cast(Results, directory), selection)
        assert found.matches == [places[line] for line in wanted]
        filtered = selection.conditional or selection.not_label is not None
        assert found.total == (len(wanted) if filtered else None)
        assert search(cast(Results, directory), selection, most=2) == (found.matches[:2], found.total)
        wanted.sort(key=lambda line: score_of(selection, line))
        assert search(cast(Results, directory), selection, by_score=True).matches == [places[line] for line in wanted]
        assert search(cast(Results, directory), selection, by_score=True, most=2).matches == [
            places[line] for line in wanted[:2]
        ]


def best_first(line: bytes) -> bytes:
    """The line with its labels in the order in which rows have them."""
    row = json.loads(line)
    row["labels"].sort(key=lambda label: 1 if label["score"] is None else -label["score"])
    return JsonlOutput().encode(row)


def score_of(selection: Selection, line: bytes) -> float:
    """Negative score of the first selected label; 1 where there is none."""
    label = next(selection.labels(json.loads(line)), {})
    return 1 if label.get("score") is None else -label["score"]
