"""The treatment of failures: the table, backoff, attempts, and the service counted as down."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.api.codes import CODES, WORDS, kind_of, kind_of_status
from batchrec.api.retry import ACTIONS, MISCONFIGURED_AFTER, Action, Breaker, Tries, backoff, counts, decide
from batchrec.values import Failure, Kind

TABLE: dict[Kind, tuple[Action, list[int]]] = {
    Kind.THROTTLED: (Action.REPEAT, [4, 18]),
    Kind.EXHAUSTED: (Action.CLOSE, [17, 19]),
    Kind.TOKEN: (Action.REPEAT, [13, 100, 110, 111]),
    Kind.REFUSED: (Action.HALT, [14, 15, 23]),
    Kind.TRANSIENT: (Action.AGAIN, [1, 2, 216630, 216634, 282000, 282112, 336000, 336100]),
    Kind.IMAGE: (
        Action.FAIL,
        [*range(216200, 216204), *range(282100, 282104), 282810, *range(336003, 336006)],
    ),
    Kind.REQUEST: (
        Action.FAIL,
        [3, 216100, 216101, 216102, 216103, 216110, 216199, 282003, 283300, 336001, 336002, 336006],
    ),
    Kind.UNKNOWN: (Action.AGAIN, [5, 7, 282018, 999999]),
}
"""The contract's table of kinds, codes and treatments."""

GIVEN_BACK = {4, 6, 14, 15, 17, 18, 19, 23, 100, 110, 111, 406006}  # the last one: of the data-set API


def failure(code: int) -> Failure:
    return Failure(kind_of(code), code, "")


def test_every_kind_has_an_action() -> None:
    """The table has no gap."""
    assert set(ACTIONS) == set(Kind)


@pytest.mark.parametrize(
    ("kind", "action", "code"),
    [(kind, action, code) for kind, (action, codes) in TABLE.items() for code in codes],
)
def test_code_is_treated_as_the_contract_says(kind: Kind, action: Action, code: int) -> None:
    """Each code has its kind, and each kind its treatment."""
    assert (kind, action) == (kind_of(code), decide(failure(code)))


def test_missing_permission_closes_its_step_alone() -> None:
    """Code 6 is a refusal, but the other steps go on."""
    assert (kind_of(6), decide(failure(6))) == (Kind.REFUSED, Action.CLOSE)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Kind.THROTTLED),
        (413, Kind.IMAGE),
        (400, Kind.REQUEST),
        (403, Kind.REQUEST),
        (404, Kind.REQUEST),
        (302, Kind.TRANSIENT),
        (500, Kind.TRANSIENT),
        (503, Kind.TRANSIENT),
    ],
)
def test_status_without_a_code(status: int, kind: Kind) -> None:
    """The meaning of a gateway's status alone."""
    assert kind == kind_of_status(status)


@pytest.mark.parametrize("code", sorted({*CODES, 5, 216199, 999999}))
def test_only_the_contracts_codes_are_given_back(code: int) -> None:
    """A call keeps its count unless its code is on the list."""
    assert (code not in GIVEN_BACK) == counts(failure(code))


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_call_without_a_code_keeps_its_count(word: str) -> None:
    """A timeout or a torn reply may have been counted."""
    assert counts(Failure(WORDS[word].kind, word, "")) is True


def test_a_call_that_never_left_is_given_back() -> None:
    """Without a connection nobody can have counted it."""
    assert counts(Failure(Kind.TRANSIENT, "connection", "", counted=False)) is False


@given(attempts=st.integers(0, 2000), seed=st.integers())
def test_backoff_stays_in_its_bounds(attempts: int, seed: int) -> None:
    """Full jitter under a ceiling that doubles from half a second to thirty."""
    ceiling = 0.5 * 2 ** min(attempts, 10)
    assert 0 <= backoff(attempts, random.Random(seed)) <= min(30.0, ceiling)


def test_backoff_uses_the_whole_range() -> None:
    """The jitter is full: short waits and long ones both occur."""
    rng = random.Random(1)
    waits = [backoff(3, rng) for _ in range(500)]
    assert min(waits) < 0.2
    assert max(waits) > 3.8


@given(limit=st.integers(1, 9), others=st.lists(st.booleans(), min_size=9, max_size=9))
def test_a_failing_image_among_answered_ones_has_its_attempts_and_no_more(limit: int, others: list[bool]) -> None:
    """With a service that has answered, one image that always fails is asked exactly `limit` times."""
    breaker, tries, asked = Breaker(60), Tries(limit), 0
    breaker.on_answer()
    for another_was_answered in others[:limit]:
        asked += 1
        breaker.failed("poison", asked, suspect=tries.suspect)
        tries.failed(breaker)
        if another_was_answered:
            breaker.on_answer()
        if not tries.settle(breaker):
            break
    assert limit == asked == tries.spent


@given(limit=st.integers(1, 9), failures=st.integers(1, 200))
def test_before_the_first_answer_no_attempt_is_spent(limit: int, failures: int) -> None:
    """A service that has never answered is to blame, not the images."""
    breaker, tries = Breaker(60), Tries(limit)
    for moment in range(failures):
        breaker.failed("image", moment / 1000, suspect=tries.suspect)
        tries.failed(breaker)
        assert tries.settle(breaker)
    assert tries.spent == 0


@given(limit=st.integers(1, 9), rounds=st.integers(1, 20), images=st.integers(3, 50))
def test_an_outage_of_everybody_spends_no_attempt(limit: int, rounds: int, images: int) -> None:
    """At least three images that fail together with no result between: none of them pays for it."""
    breaker = Breaker(60)
    breaker.on_answer()
    tries = [Tries(limit) for _ in range(images)]
    for moment in range(rounds):
        for image, its in enumerate(tries):
            breaker.failed(image, moment / 1000, suspect=its.suspect)
            its.failed(breaker)
        judged = {its.settle(breaker) for its in tries}
        assert judged == {True}
    assert {its.spent for its in tries} == {0}


Event = st.tuples(st.sampled_from(["answer", "fail", "malformed"]), st.integers(0, 5), st.booleans())


@given(events=st.lists(Event, max_size=60), patience=st.floats(0, 100))
def test_an_answer_always_ends_an_outage(events: list[tuple[str, int, bool]], patience: float) -> None:
    """After any history, an answer means that the service is up, and it stays so for a lone failure."""
    breaker = Breaker(patience)
    for moment, (event, image, suspect) in enumerate(events):
        if event == "answer":
            breaker.on_answer()
        elif event == "fail":
            breaker.failed(image, moment, suspect=suspect)
        else:
            breaker.malformed()
        assert breaker.failing or not breaker.expired(moment + 1000)
    breaker.on_answer()
    assert (breaker.failing, breaker.down, breaker.expired(1e9), breaker.misconfigured) == (False,) * 4
    breaker.failed("one", 1e9, suspect=False)
    assert breaker.down is False


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 0.9, 0.95])
def test_a_service_that_answers_some_calls_is_not_down(share: float, seed: int) -> None:
    """A bad hour of 5,000 calls: after 50 results, fewer than one call in 100 finds the service down."""
    breaker, rng, down = Breaker(60), random.Random(seed), 0
    for call in itertools.count():
        if breaker.answers >= 50 and call >= 5000:
            break
        down += breaker.answers >= 50 and breaker.down
        if rng.random() < share:
            breaker.failed(call, 0, suspect=False)
        else:
            breaker.on_answer()
    assert down < 50


@given(before=st.lists(st.integers(0, 9), max_size=200))
def test_an_outage_after_any_history_is_noticed(before: list[int]) -> None:
    """Up to 90 % of failures before: it takes at most ten times the longest row of them, and at least ten."""
    breaker = Breaker(60)
    breaker.on_answer()
    for row in before:
        for image in range(row):
            breaker.failed(image, 0, suspect=False)
        breaker.on_answer()
    calls = 0
    while not breaker.down:
        breaker.failed(calls, 0, suspect=False)
        calls += 1
    assert 10 <= calls <= 10 * max(1, *before, 0)


def test_a_bad_hour_is_forgotten() -> None:
    """After 100 results without a failure, ten failures in a row are an outage again."""
    breaker = Breaker(60)
    for _ in range(20):
        for image in range(19):
            breaker.failed(image, 0, suspect=False)
        breaker.on_answer()
    assert breaker.usual > 15
    for _ in range(100):
        breaker.on_answer()
    for image in range(10):
        assert not breaker.down
        breaker.failed(image, 0, suspect=False)
    assert breaker.down


def test_images_known_to_fail_do_not_bring_a_service_down() -> None:
    """Nine images that failed while others were answered say nothing about the service, ten do."""
    breaker = Breaker(60)
    breaker.on_answer()
    for call in range(90):
        breaker.failed(call % 9, 0, suspect=True)
    assert (breaker.failing, breaker.down) == (False, False)
    breaker.failed(9, 0, suspect=True)
    assert (breaker.failing, breaker.down) == (True, True)


def test_one_image_three_times_is_one_witness() -> None:
    """It takes three images, not three failures."""
    breaker = Breaker(60)
    breaker.on_answer()
    for _ in range(10):
        breaker.failed("same", 0, suspect=False)
    assert (breaker.failing, breaker.down) == (False, False)


def test_patience_counts_from_the_first_failure() -> None:
    """Down for so long as the job is willing to wait, and not a moment less."""
    breaker = Breaker(60)
    breaker.failed("a", 100, suspect=False)
    assert (breaker.expired(159.9), breaker.expired(160)) == (False, True)


def test_twenty_malformed_requests_and_nothing_answered() -> None:
    """The job is wrong; one answer in between shows that it is not."""
    breaker, working = Breaker(60), Breaker(60)
    working.on_answer()
    for _ in range(MISCONFIGURED_AFTER):
        assert breaker.misconfigured is False
        breaker.malformed()
        working.malformed()
    assert (breaker.misconfigured, working.misconfigured) == (True, False)


@given(patience=st.floats(0, 3600), failures=st.integers(0, 100), seed=st.integers())
def test_probes_fit_into_patience(patience: float, failures: int, seed: int) -> None:
    """Delays double up to a sixth of patience and ten seconds at most, and 15 fit into a long one."""
    breaker = Breaker(patience)
    for _ in range(failures):
        breaker.failed("a", 0, suspect=False)
    delay = breaker.probe_delay(random.Random(seed))
    assert 0 < delay <= min(10, max(0.1, patience / 6))
    assert delay <= max(4, patience / 15)
