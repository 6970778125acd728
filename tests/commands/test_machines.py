"""Machines of a job: cores by rate and repair, and whether more of them are of use."""

from types import SimpleNamespace

import pytest

from batchrec.commands.machines import Machines, machines_of, machines_text


def plan(qps: float | None, repaired: int = 0, limited_by: str | None = "rate", calls: int = 1000) -> SimpleNamespace:
    seconds = None if qps is None else calls / qps
    steps = [SimpleNamespace(service="dish", model=None, qps=qps, calls=calls)]
    return SimpleNamespace(
        calls=calls, seconds=seconds, steps=steps, images=1000, to_repair=repaired, limited_by=limited_by
    )


@pytest.mark.parametrize(
    ("of", "cores", "machines", "gain"),
    [
        (plan(50), 1, 1, False),
        (plan(1000), 2, 1, False),
        (plan(1000, 1000), 67, 9, True),
        (plan(1000, 1000, "uplink"), 67, 9, False),
        (plan(5000, 500), 173, 22, True),
    ],
)
def test_cores_by_rate_and_repair(of: SimpleNamespace, cores: int, machines: int, gain: bool) -> None:
    """On machines of eight cores; an uplink that is the limit is shared by all of them."""
    assert machines_of(of, 8) == Machines(cores, 8, machines, gain, of.limited_by)


def step(service: str, qps: float, calls: int = 1000, model: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(service=service, model=model, qps=qps, calls=calls)


@pytest.mark.parametrize(
    ("steps", "cores"),
    [
        ([step("dish", 1000), step("car", 500)], 101),
        ([step("dish", 1000), step("dish", 1000)], 67),
        ([step("dish", 1000), step("car", 500, calls=0)], 67),
        ([step("easydl", 1000, model="a"), step("easydl", 500, model="b")], 101),
    ],
)
def test_rates_of_services_add_up(steps: list[SimpleNamespace], cores: int) -> None:
    """Two services have a quota each, as two models have; two steps of one share it, and a finished step has none."""
    found = plan(1000, 1000)
    found.steps = steps
    needed = machines_of(found, 8)
    assert needed is not None
    assert needed.cores == cores


def test_nothing_is_said_without_calls_or_rate() -> None:
    """As of a job that is done, and one whose rate is to be found."""
    assert machines_of(plan(50, calls=0), 8) is machines_of(plan(None), 8) is None
    assert machines_text(None).startswith("machines: nothing")


def test_calls_of_no_time_need_cores_too() -> None:
    """A plan rounds its seconds to a tenth: three calls at 1,000 a second take 0.0 s."""
    found = plan(1000, 1000, calls=3)
    found.seconds = 0.0
    assert machines_of(found, 8) == Machines(67, 8, 9, True, "rate")


def test_the_line_names_what_is_of_use() -> None:
    """More machines, none, or smaller images."""
    said = [machines_text(machines_of(of, 8)) for of in (plan(50), plan(1000, 1000), plan(1000, 1000, "uplink"))]
    assert said[0].endswith("about 1 core, and this one has 8: more machines gain nothing")
    assert said[1].endswith("about 67 cores: 9 machines like this one, which has 8")
    assert "input.max_side" in said[2]
