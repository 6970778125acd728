"""The fault plan: what it may say, and which calls it hits."""

from pathlib import Path

import pytest

from batchrec.emulator import FaultPlan, FaultPlanError
from batchrec.emulator.faults import KEYS


def plan(*faults: dict[str, object], seed: int = 0) -> FaultPlan:
    return FaultPlan.parse({"seed": seed, "faults": list(faults)})


def hits(plan: FaultPlan, service: str, until: int) -> list[int]:
    return [number for number in range(1, until + 1) if plan.pick(service, number)]


def test_empty_plan_hits_nothing() -> None:
    """No faults, no accidents."""
    assert hits(FaultPlan(), "dish", 100) == []


def test_calls_are_counted_from_one_for_each_service() -> None:
    """``calls`` names numbers, ``from`` and ``to`` a range, both ends included."""
    assert hits(plan({"kind": "reset", "calls": [3, 7]}), "dish", 10) == [3, 7]
    assert hits(plan({"kind": "reset", "from": 4, "to": 6}), "dish", 10) == [4, 5, 6]
    assert hits(plan({"kind": "reset", "from": 9}), "dish", 10) == [9, 10]


def test_service_restricts_and_the_token_endpoint_is_meant_only_by_name() -> None:
    """A fault without a service is for all recognitions and spares the token."""
    everywhere, dish = plan({"kind": "reset"}), plan({"kind": "reset", "service": "dish"})
    token = plan({"kind": "http", "status": 500, "service": "token"})
    assert [bool(everywhere.pick(name, 1)) for name in ("dish", "car", "token")] == [True, True, False]
    assert [bool(dish.pick(name, 1)) for name in ("dish", "car", "token")] == [True, False, False]
    assert [bool(token.pick(name, 1)) for name in ("dish", "car", "token")] == [False, False, True]


def test_share_is_kept_and_repeats_for_a_seed() -> None:
    """About the share is hit, the same calls each time, others for another seed or service."""
    fault = {"kind": "code", "code": 18, "share": 0.1}
    first = hits(plan(fault, seed=7), "dish", 5000)
    assert 400 < len(first) < 600
    assert first == hits(plan(fault, seed=7), "dish", 5000)
    assert first != hits(plan(fault, seed=8), "dish", 5000)
    assert first != hits(plan(fault, seed=7), "car", 5000)


def test_first_fault_that_hits_is_the_one() -> None:
    """Order is precedence."""
    both = plan({"kind": "hang", "calls": [2]}, {"kind": "reset"})
    picked = [both.pick("dish", number) for number in (1, 2)]
    assert [fault and fault.kind for fault in picked] == ["reset", "hang"]


def test_only_answers_are_delayed_and_torn_unless_said_otherwise() -> None:
    """By default the others happen instead of the work; ``before`` decides where it is given."""
    needed = {"code": {"code": 1}, "latency": {"seconds": 1}, "http": {"status": 503}}
    service = {"invalid_client": {"service": "token"}}
    faults = [{"kind": kind, **needed.get(kind, {}), **service.get(kind, {})} for kind in KEYS]
    late = [fault.kind for fault in plan(*faults).faults if not fault.early]
    assert late == ["latency", "torn"]
    assert plan({"kind": "reset", "before": False}).faults[0].early is False


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"kind": "explode"}, r"plan\.json: faults\[0\]\.kind: .*'code'.*given 'explode'"),
        ({"kind": "code"}, r"faults\[0\]: kind 'code' needs the key 'code'"),
        ({"kind": "reset", "code": 3}, r"faults\[0\]: kind 'reset' has no key 'code'"),
        ({"kind": "code", "code": "18"}, r"faults\[0\]\.code: .*integer.*given '18'"),
        ({"kind": "reset", "share": 1.5}, r"faults\[0\]\.share: .*less than or equal to 1.*given 1\.5"),
        ({"kind": "reset", "calls": [0]}, r"faults\[0\]\.calls\[0\]: .*greater than or equal to 1"),
        ({"kind": "reset", "servce": "dish"}, r"faults\[0\]\.servce: .*not permitted"),
        ({"kind": "reset", "service": "soup"}, r"unknown service 'soup'.*advanced_general"),
        ({"kind": "reset", "from": 5, "to": 4}, r"'to' lies before 'from'"),
        ({"kind": "torn", "before": True}, r"'before' cannot be true"),
        ({"kind": "invalid_client"}, r"belongs to service 'token'"),
        ({"kind": "http", "status": 200}, r"faults\[0\]\.status: .*400"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, fault: dict[str, object], complaint: str) -> None:
    """The message has the file, the key, what is wrong and what was given."""
    with pytest.raises(FaultPlanError, match=complaint):
        FaultPlan.parse({"faults": [fault]}, origin="plan.json")


def test_every_mistake_is_listed() -> None:
    """Two mistakes are two lines."""
    with pytest.raises(FaultPlanError) as caught:
        FaultPlan.parse({"seed": "x", "faults": [{"kind": "reset", "share": 0}]}, origin="p")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["seed", "faults[0].share"]


def test_file_is_loaded_or_named_in_the_complaint(tmp_path: Path) -> None:
    """A plan is a JSON file; one that is missing or no JSON is named."""
    good, bad, missing = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "missing.json"
    good.write_text('{"seed": 7, "faults": [{"kind": "code", "code": 18, "share": 0.5}]}')
    bad.write_text('{"seed": 7,')
    assert FaultPlan.load(good).seed == 7
    with pytest.raises(FaultPlanError, match=r"bad\.json: Invalid JSON"):
        FaultPlan.load(bad)
    with pytest.raises(FaultPlanError, match=r"missing\.json: cannot be read: No such file"):
        FaultPlan.load(missing)
