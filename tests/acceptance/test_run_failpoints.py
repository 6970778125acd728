"""SIGKILL at every step of a call, of a commit and of the end: what each costs, and that nothing is lost or doubled."""

from pathlib import Path

import pytest
from failpoint import POINTS
from harness import Place, images_of, until

from batchrec.emulator import Emulator, FaultPlan

IMAGES = 30

NOTED_ONLY = 9
"""Calls that may be noted as sent at the kill without having reached the service: on a busy machine all in flight."""

NTH = {
    "between the return of a note and that of its count": (1, 2),
    "after a count was given back": (1, 2),
    "within the transaction": (3, 4),
    "between known answers and the sync of the log": (3, 5),
    "before a file is put in place": (1, 2, 3),
    "before failures.jsonl is made": (1,),
    "between failures.jsonl and summary.json": (1,),
    "before the failures in the CSV": (1,),
    "after the failures in the CSV": (1,),
    "before the run is concluded": (1,),
    "after the run was concluded": (1,),
}
"""Which calls of the function are deadly, where not the first and the fourth. Files are: the token, two views."""

CASES = [(point, nth) for point in POINTS for nth in NTH.get(point, (1, 4))]


@pytest.mark.parametrize(("point", "nth"), CASES, ids=[f"{point}, {nth}" for point, nth in CASES])
def test_a_kill_at_any_step_loses_nothing(place: Place, emulator: Emulator, point: str, nth: int) -> None:
    """After the kill and one more run every answer stands once, all agrees, and what was lost was told and counted."""
    keys = place.pictures(IMAGES)
    place.job(limits={"qps": 60})
    emulator.configure(latency=0.15)
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "code", "code": 18, "calls": [2, 9]}]})
    launcher = Path(__file__).with_name("failpoint.py")
    done = place.start("run", "furniture.toml", launcher=[str(launcher), point, str(nth)]).wait()
    assert done.code == -9, done.err
    until(lambda: emulator.counters.in_flight == 0)
    in_file, sent = place.row_count(), arrived(emulator)
    assert place.run().code == 0
    summary = place.summary()
    assert images_of(place.rows()) == keys
    assert len(place.csv()) == sum(max(1, len(row["labels"])) for row in place.rows())
    resent = arrived(emulator) - IMAGES
    assert 0 <= resent <= summary["outcome_unknown"] <= resent + NOTED_ONLY
    assert place.counted() >= arrived(emulator)
    assert place.batchrec("verify", str(place.output)).code == 0
    print(
        f"\n{point} ({nth}): {sent} calls had been sent, {in_file} rows stood; "
        f"{summary['outcome_unknown']} told as unknown, {resent} sent again"
    )


def arrived(emulator: Emulator) -> int:
    """Calls that the service saw and did not refuse with 18."""
    counters = emulator.counters
    return counters.calls["advanced_general"] - counters.outcomes.get("advanced_general", {}).get("18", 0)
