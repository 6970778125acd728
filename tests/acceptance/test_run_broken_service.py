"""Services that fail for everybody, and jobs that cannot be right: one probe at a time, and a reason. Counted there."""

import re
from typing import Any

import pytest
from harness import Place, calls_of, images_of, until

from batchrec.emulator import Emulator, FaultPlan

PATIENCE = 1.0


def plan(*faults: dict[str, Any]) -> FaultPlan:
    """A fault plan of these."""
    return FaultPlan.parse({"faults": faults})


def calls(emulator: Emulator, service: str = "advanced_general") -> int:
    """Calls of a service that arrived."""
    return emulator.counters.calls[service]


def ended(emulator: Emulator, how: str) -> int:
    """Calls of advanced_general that ended so."""
    return emulator.counters.outcomes["advanced_general"][how]


BROKEN = {
    "503": ({"kind": "http", "status": 503}, "HTTP 503 (http_503)"),
    "282000": ({"kind": "code", "code": 282000}, "internal error (282000)"),
    "hang": ({"kind": "hang"}, "no reply within limits.timeout (timeout)"),
}
"""What the service does to everybody, and how the reason is told."""


# -- a service that fails for everybody


@pytest.mark.parametrize("word", ["503", "282000"])
def test_69_a_service_that_is_down_is_probed_by_one_call_at_a_time(place: Place, emulator: Emulator, word: str) -> None:
    """Down from the start: never two calls at once, 69 after patience and the reason; no image is blamed."""
    fault, reason = BROKEN[word]
    keys = place.pictures(100)
    place.job(limits={"qps": 500, "attempts": 1, "patience": PATIENCE})
    emulator.configure(latency=0.05)
    emulator.plan = plan(fault)
    done = place.run()
    assert (done.code, place.summary()["stopped_by"]) == (69, "service")
    assert f"advanced_general: {reason}" in done.err
    assert emulator.counters.max_in_flight == 1
    assert 2 <= calls(emulator) <= 20
    assert PATIENCE <= place.summary()["seconds"] <= PATIENCE + 10  # on a busy machine; not one attempt for each of 100
    assert (place.rows(), place.failures()) == ([], [])
    emulator.plan = plan()
    emulator.configure(latency=0)
    assert place.run().code == 0
    assert images_of(place.rows()) == keys
    assert {row["attempts"] for row in place.rows()} == {1}


def test_69_a_service_that_breaks_amid_a_run_is_probed_by_one_call_at_a_time(place: Place, emulator: Emulator) -> None:
    """Down after 100 answers, many calls out: they fail, then one call at a time; 69, answers kept, none failed."""
    fault, reason = BROKEN["hang"]
    keys = place.pictures(400)
    place.job(limits={"qps": 300, "attempts": 2, "timeout": 0.6, "patience": PATIENCE})
    emulator.configure(latency=0.1)
    running = place.start_run()
    until(lambda: place.row_count() >= 100)
    emulator.plan = plan(fault)
    until(lambda: ended(emulator, "hang") >= 3 and emulator.counters.in_flight == 0)
    emulator.counters.max_in_flight, before = 0, calls(emulator)
    done = running.wait()
    assert (done.code, place.summary()["stopped_by"]) == (69, "service")
    assert f"advanced_general: {reason}" in done.err
    assert emulator.counters.max_in_flight == 1
    assert 1 <= calls(emulator) - before <= 20
    assert len(place.rows()) >= 100
    assert place.failures() == []
    emulator.plan = plan()
    assert place.run("--set", "limits.qps=1000").code == 0
    assert images_of(place.rows()) == keys


def test_an_outage_within_patience_costs_no_image(place: Place, emulator: Emulator) -> None:
    """Down after 100 answers, well after a few probes, one at a time: every image is answered, exit 0."""
    keys = place.pictures(300)
    place.job(limits={"qps": 300, "attempts": 2, "patience": 4})
    emulator.configure(latency=0.1)
    running = place.start_run()
    until(lambda: place.row_count() >= 100)
    emulator.plan = plan(BROKEN["282000"][0])
    until(lambda: ended(emulator, "282000") >= 3 and emulator.counters.in_flight == 0)
    emulator.counters.max_in_flight, before = 0, calls(emulator)
    until(lambda: calls(emulator) >= before + 3)
    assert emulator.counters.max_in_flight == 1
    emulator.plan = plan()
    assert running.wait().code == 0
    assert (images_of(place.rows()), place.failures()) == (keys, [])
    assert max(row["attempts"] for row in place.rows()) <= 2


def test_a_service_that_answers_some_calls_is_not_down(place: Place, emulator: Emulator) -> None:
    """Four calls of five fail: the run goes on with many calls at once, and every image has its attempts."""
    keys = place.pictures(100)
    place.job(limits={"qps": 300, "attempts": 3, "patience": 10})
    emulator.configure(latency=0.1)
    emulator.plan = plan({"kind": "code", "code": 282000, "share": 0.8, "from": 2})
    done = place.run()
    assert done.code == 1, done.err
    assert sorted(images_of(place.rows()) + [row["image"] for row in place.failures()]) == sorted(keys)
    assert {row["attempts"] for row in place.failures()} == {3}
    assert emulator.counters.max_in_flight > 20


def test_another_service_goes_on_meanwhile(place: Place, emulator: Emulator) -> None:
    """One of two services is down: the other answers all its images before patience ends the run with 69."""
    keys = place.pictures(100)
    place.job(
        steps=[{"service": "dish"}, {"service": "animal"}], limits={"qps": 200, "attempts": 1, "patience": PATIENCE}
    )
    emulator.plan = plan({"kind": "code", "code": 2, "service": "dish"})
    done = place.run()
    assert done.code == 69
    assert "dish: Service temporarily unavailable (2)" in done.err
    assert (images_of(place.rows()), {row["step"] for row in place.rows()}) == (keys, {"animal"})
    assert calls(emulator, "dish") <= 20


# -- a job that cannot be right

WRONG = {
    "336001": ({"service": "easydl_classification", "model": "fruit"}, {"kind": "code", "code": 336001}),
    "404": ({"service": "advanced_general"}, {"kind": "http", "status": 404}),
}
TOLD = {"336001": "Invalid argument (336001)", "404": "HTTP 404 (http_404)"}


@pytest.mark.parametrize("case", WRONG)
def test_69_a_misconfigured_job_stops_after_twenty_calls(place: Place, emulator: Emulator, case: str) -> None:
    """Every request is refused: twenty calls are made, however many could be out at once, then 69 and why."""
    step, fault = WRONG[case]
    place.pictures(300)
    place.job(steps=[step], limits={"qps": 1000, "concurrency": 256})
    emulator.configure(latency=0.05)
    emulator.plan = plan(fault)
    done = place.run()
    assert (done.code, calls(emulator, step["service"])) == (69, 20)
    assert f"the job is misconfigured: {TOLD[case]}" in done.err
    assert len(place.failures()) == 20
    assert {(row["kind"], row["attempts"]) for row in place.failures()} == {("request", 1)}
    emulator.plan = plan()
    emulator.configure(latency=0)
    assert place.run("--retry-failed").code == 0
    assert len(place.rows()) == 300


@pytest.mark.parametrize("earlier", [True, False], ids=["in an earlier run", "in this run"])
def test_1_refusals_after_answers_are_failed_images(place: Place, emulator: Emulator, earlier: bool) -> None:
    """A job that was answered is not misconfigured, also not by sixty refusals in a row: those images have failed."""
    keys = place.pictures(5)
    place.job(limits={"qps": 500})
    if earlier:
        assert place.run().code == 0
    keys += place.pictures(60, start=5)
    emulator.plan = plan({"kind": "code", "code": 216100, "from": 6})
    assert place.run().code == 1
    assert (len(place.rows()), len(place.failures()), calls(emulator)) == (5, 60, 65)
    assert {(row["kind"], row["code"], row["attempts"]) for row in place.failures()} == {("request", 216100, 1)}
    assert images_of([*place.rows(), *place.failures()]) == keys


# -- the token endpoint


def test_69_without_a_token_endpoint_no_call_leaves(place: Place, emulator: Emulator) -> None:
    """It hangs, and is asked a few times; then 69 with its address and reason; the service itself is never called."""
    keys = place.pictures(30)
    place.job(limits={"attempts": 1, "timeout": 0.4, "patience": PATIENCE})
    emulator.plan = plan({"kind": "hang", "service": "token"})
    done = place.run()
    assert (done.code, place.summary()["stopped_by"]) == (69, "service")
    assert PATIENCE <= place.summary()["seconds"] <= PATIENCE + 10
    assert f"no token from {emulator.url}/oauth/2.0/token: no reply within limits.timeout" in done.err
    assert re.search(r"\(\d+ attempts?\)", done.err)
    assert (calls_of(emulator) - calls(emulator, "token"), place.failures()) == (0, [])
    assert 2 <= calls(emulator, "token") <= 20
    emulator.plan = plan()
    assert place.run("--set", "limits.qps=1000").code == 0
    assert images_of(place.rows()) == keys


def test_69_a_token_endpoint_that_is_down_when_a_new_token_is_needed(place: Place, emulator: Emulator) -> None:
    """Revoked amid a run with no new token to be had: 69, what was answered is kept, and no attempt is spent."""
    keys = place.pictures(200)
    place.job(limits={"qps": 150, "attempts": 1, "patience": PATIENCE})
    running = place.start_run()
    until(lambda: place.row_count() >= 50)
    emulator.plan = plan({"kind": "http", "status": 502, "service": "token"})
    emulator.revoke_tokens()
    done = running.wait()
    assert (done.code, place.failures()) == (69, [])
    assert "the token endpoint answered HTTP 502" in done.err
    assert 50 <= len(place.rows()) == ended(emulator, "ok")
    emulator.plan = plan()
    assert place.run("--set", "limits.qps=1000").code == 0
    assert images_of(place.rows()) == keys
