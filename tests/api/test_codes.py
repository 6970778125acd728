"""The service's error codes: every code that the contract names has its kind."""

import pytest

from batchrec.api.codes import CODES, WORDS, Code, Word, kind_of, kind_of_status
from batchrec.api.retry import Action, cluster_busy, counts, decide
from batchrec.values import Failure, Kind

CONTRACT = {
    Kind.THROTTLED: [18, 4],
    Kind.EXHAUSTED: [17, 19],
    Kind.TOKEN: [100, 110, 111, 13],
    Kind.REFUSED: [14, 15, 23, 6],
    Kind.TRANSIENT: [1, 2, 216630, 216634, 282000, 282112, 336000, 336100],
    Kind.IMAGE: [216200, 216201, 216202, 216203, 282100, 282101, 282102, 282103, 282810, 336003, 336004, 336005],
    Kind.REQUEST: [3, *range(216100, 216200), 282003, 283300, 336001, 336002, 336006],
    Kind.UNKNOWN: [0, -1, 5, 7, 216099, 216204, 282999, 336007, 2161, 21610000],
}


@pytest.mark.parametrize(("kind", "numbers"), CONTRACT.items())
def test_kinds(kind, numbers):
    """A code is treated as the contract says; what it does not name is unknown."""
    assert {number: kind_of(number) for number in numbers} == dict.fromkeys(numbers, kind)


def test_the_table_has_no_gap():
    """Every code of the contract but 2161xx is explained; every kind that is the service's has codes."""
    named = {n for kind, row in CONTRACT.items() if kind != Kind.UNKNOWN for n in row if n // 100 != 2161}
    assert named <= CODES.keys()
    assert {code.kind for code in CODES.values()} == set(Kind) - {Kind.UNKNOWN, Kind.READ, Kind.FETCH}
    assert all(number == code.number and code.message and code.advice for number, code in CODES.items())
    assert all(name == word.word and word.meaning for name, word in WORDS.items())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Kind.THROTTLED),
        (413, Kind.IMAGE),
        (400, Kind.REQUEST),
        (404, Kind.REQUEST),
        (499, Kind.REQUEST),
        (500, Kind.TRANSIENT),
        (502, Kind.TRANSIENT),
        (200, Kind.TRANSIENT),
        (302, Kind.TRANSIENT),
    ],
)
def test_statuses(status, kind):
    """An HTTP status speaks where the body holds no JSON of the service."""
    assert kind_of_status(status) == kind


def test_a_status_may_have_a_row_of_its_own(monkeypatch):
    """The row of a status wins over that of its hundred: another one that passes is one row."""
    assert kind_of_status(425) == Kind.REQUEST
    monkeypatch.setitem(WORDS, "http_425", Word("http_425", Kind.TRANSIENT, "a gateway wants the call later"))
    assert kind_of_status(425) == Kind.TRANSIENT


@pytest.mark.parametrize(
    ("row", "action", "counted", "busy"),
    [
        (Code(777, "new", Kind.TRANSIENT, "wait"), Action.AGAIN, True, False),
        (Code(777, "new", Kind.REFUSED, "pay", billed=False), Action.HALT, False, False),
        (Code(777, "new", Kind.REFUSED, "tick it", billed=False, one_service=True), Action.CLOSE, False, False),
        (Code(777, "new", Kind.THROTTLED, "wait", cluster_busy=True), Action.REPEAT, True, True),
    ],
)
def test_a_new_code_is_one_row(monkeypatch, row, action, counted, busy):
    """A row decides how a code is treated, whether its call counts, and whether all calls wait."""
    monkeypatch.setitem(CODES, row.number, row)
    failure = Failure(kind_of(row.number), row.number, row.message)
    assert (decide(failure), counts(failure), cluster_busy(failure)) == (action, counted, busy)
