"""SIGKILL at any moment, and faults of every kind: each answer exactly once, and what was lost is told."""

import os
import random
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from harness import Place, images_of, picture, until

from batchrec.emulator import Emulator, FaultPlan

IMAGES = int(os.environ.get("BATCHREC_ACCEPTANCE_IMAGES", "800"))
"""Pictures of the large jobs; 2,000 is the figure to quote."""

IN_FLIGHT = 256
"""Calls that a kill may cost at most: those in flight."""

EVERY_KIND: tuple[Mapping[str, object], ...] = (
    {"kind": "code", "code": 18},
    {"kind": "code", "code": 4},
    {"kind": "code", "code": 282000},
    {"kind": "code", "code": 216630},
    {"kind": "code", "code": 110},
    {"kind": "code", "code": 111},
    {"kind": "code", "code": 13},
    {"kind": "latency", "seconds": 0.3},
    {"kind": "reset"},
    {"kind": "html_502"},
    {"kind": "torn"},
    {"kind": "hang"},
    {"kind": "not_json"},
    {"kind": "no_result"},
    {"kind": "http", "status": 503},
)
GIVEN_BACK = {"4", "6", "14", "15", "17", "18", "19", "23", "100", "110", "111"}
"""Outcomes of calls that the service does not count."""


def five_percent_of_everything() -> FaultPlan:
    """5 % of the calls meet an accident, every kind as often as the others."""
    share = 0.05 / len(EVERY_KIND)
    return FaultPlan.parse({"seed": 7, "faults": [{**fault, "share": share} for fault in EVERY_KIND]})


def counted_by_the_service(emulator: Emulator) -> int:
    """Calls that the service may have counted against the account's quota."""
    outcomes = emulator.counters.outcomes["advanced_general"]
    return sum(count for outcome, count in outcomes.items() if outcome not in GIVEN_BACK)


def test_faults_of_every_kind_cost_no_answer(place: Place, emulator: Emulator) -> None:
    """5 % of calls go wrong in fifteen ways; every image is answered exactly once, and the run ends with 0."""
    keys = place.pictures(IMAGES)
    place.job(limits={"qps": 200, "timeout": 1.5, "patience": 30, "attempts": 10})
    emulator.plan = five_percent_of_everything()
    done = place.run()
    assert (done.code, images_of(place.rows()), place.failures()) == (0, sorted(keys), [])
    summary, counters = place.summary(), emulator.counters
    assert summary["answered"] == len(keys)
    assert summary["calls"] == counters.calls["advanced_general"] > len(keys)
    assert summary["throttled"] == sum(counters.outcomes["advanced_general"][code] for code in ("18", "4"))
    assert summary["retries"] > 0
    assert place.counted() >= counted_by_the_service(emulator)
    print(f"\n{IMAGES} images: {summary}")


@dataclass
class Lives:
    """A job that is killed again and again: what the runs reported, in sum."""

    place: Place
    unknown: int = 0

    def killed_at(self, rows: int) -> None:
        """Run until so many rows are there, then SIGKILL."""
        running = self.place.start_run("--progress", "none")
        until(lambda: self.place.row_count() >= rows or running.process.poll() is not None, seconds=60)
        assert running.process.poll() is None
        running.kill()

    def finished(self) -> Mapping[str, Any]:
        """Run to the end; the summary, whose outcome_unknown is of the kill before."""
        assert self.place.run("--progress", "none").code == 0
        summary = self.place.summary()
        self.unknown += summary["outcome_unknown"]
        return summary


def test_two_kills_amid_faults_cost_no_answer(place: Place, emulator: Emulator) -> None:
    """Faults and two SIGKILLs: every answer once; sent-but-lost calls are told, and counted against the quota."""
    keys = place.pictures(IMAGES)
    place.job(limits={"qps": 200, "timeout": 1.5, "patience": 30, "attempts": 10})
    emulator.plan = five_percent_of_everything()
    lives = Lives(place)
    lives.killed_at(IMAGES // 3)
    lives.killed_at(2 * IMAGES // 3)
    summary = lives.finished()
    rows = place.rows()
    assert images_of(rows) == sorted(keys)
    assert sorted({row["image"] for row in place.csv()}) == sorted(keys)
    repeated = sum(emulator.counters.images["advanced_general"].values()) - len(keys)
    torn = emulator.counters.outcomes["advanced_general"]["torn"]
    assert repeated <= 2 * IN_FLIGHT + torn
    assert summary["outcome_unknown"] <= IN_FLIGHT
    assert place.counted() >= counted_by_the_service(emulator)
    print(f"\n{IMAGES} images, two kills: repeated {repeated} (torn {torn}), {summary}")


def test_outcome_unknown_is_what_the_service_saw_and_the_results_lack(place: Place, emulator: Emulator) -> None:
    """After a kill the next run tells how many calls were sent and never recorded: neither fewer nor a guess."""
    keys = place.pictures(120)
    place.job(limits={"qps": 60})
    emulator.configure(latency=0.3)
    running = place.start_run()
    until(lambda: place.row_count() >= 20)
    running.kill()
    until(lambda: emulator.counters.in_flight == 0)
    seen = emulator.counters.calls["advanced_general"]
    assert place.run().code == 0
    first = place.summary()
    recorded = len(keys) - first["calls"]
    assert seen - recorded <= first["outcome_unknown"] <= seen - recorded + 2
    assert first["outcome_unknown"] > 0
    assert place.counted() >= emulator.counters.calls["advanced_general"]
    assert place.run().code == 0
    assert place.summary()["outcome_unknown"] == 0


KILLS = int(os.environ.get("BATCHREC_ACCEPTANCE_KILLS", "50"))
"""Random SIGKILLs of one job."""

ARRIVED = 0.25
"""Seconds before a kill from which on answers may not be recorded yet: they cost a call, like those in flight."""


@dataclass
class Toll:
    """What kills have cost, in calls: those in flight as they came, those told as unknown afterwards."""

    in_flight: int = 0
    told: int = 0

    def hear(self, err: str) -> None:
        """What a run said about those before it, of which none came to its end."""
        self.told = max([self.told, *(int(number) for number in re.findall(r"was cut short: (\d+) calls", err))])


def test_many_kills_at_random_moments_tear_nothing(place: Place, emulator: Emulator) -> None:
    """Fifty SIGKILLs, at start-up and amid calls and commits: no row lost, none doubled, and what they cost is told."""
    steps, qps = ("advanced_general", "animal"), 60
    keys = place.pictures(KILLS * 12)
    place.job(limits={"qps": qps}, steps=[{"service": step} for step in steps])
    emulator.configure(latency=0.1)
    chance, toll = random.Random(20261123), Toll()
    for _ in range(KILLS):
        running = place.start_run("--progress", "none")
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(chance.uniform(0.4, 1.4))
        toll.in_flight += emulator.counters.in_flight
        running.kill()
        toll.hear(running.said()[1])
    done = place.run("--progress", "none", "--set", "limits.qps=1000")
    assert done.code == 0
    toll.hear(done.err)
    rows = place.rows()
    assert sorted((row["image"], row["step"]) for row in rows) == sorted((key, step) for key in keys for step in steps)
    assert len(place.csv()) == sum(max(1, len(row["labels"])) for row in rows)
    assert place.failures() == []
    sent = sum(emulator.counters.calls[step] for step in steps)
    again = sent - len(rows)
    assert 0 <= again <= toll.told <= again + 2 * KILLS
    assert again <= toll.in_flight + KILLS * len(steps) * (qps * ARRIVED + 2)
    assert sum(place.counted(step) for step in steps) >= sent
    assert place.batchrec("verify", str(place.output)).code == 0
    print(
        f"\n{KILLS} kills, {len(rows)} rows: 0 lost, 0 doubled; {again / KILLS:.1f} calls sent again per kill "
        f"({toll.in_flight / KILLS:.1f} were in flight), {toll.told} told as unknown of {again}"
    )


def test_a_kill_amid_repairs_costs_no_more(place: Place, emulator: Emulator) -> None:
    """Commits do not wait behind pictures that are being decoded: what was answered a second ago stands."""
    large, qps = picture(1, "JPEG", (4200, 3200)), 30
    for number in range(40):
        place.put(f"家居/{number}.jpg", large + bytes([number]))
    place.pictures(200, start=1000)
    place.job(limits={"qps": qps})
    running = place.start_run("--progress", "none")
    until(lambda: emulator.counters.outcomes.get("advanced_general", {}).get("ok", 0) >= 2 * qps)
    answered = emulator.counters.outcomes["advanced_general"]["ok"]
    running.kill()
    place.job(limits={"qps": 1000})
    assert place.run("--progress", "none", "--limit", "1").code == 0
    assert len(place.rows()) - 1 >= answered - qps


def test_a_kill_between_rows_and_commit_leaves_no_double_row(place: Place) -> None:
    """Rows beyond the last commit, whole or torn, are cut off when the job is opened again."""
    keys = place.pictures(10)
    place.job()
    assert place.run("--limit", "4").code == 0
    with (place.output / "results.jsonl").open("ab") as file:
        file.write((place.output / "results.jsonl").read_bytes().splitlines(keepends=True)[0])
        file.write(b'{"image": "torn')
    assert place.run().code == 0
    assert images_of(place.rows()) == keys


EDITS = {
    "a cell": lambda whole: whole.replace(b"0.", b"9.", 1),
    "a row more": lambda whole: whole + b"mine,,,,,,,,,,,,,,,\r\n",
    "the last row less": lambda whole: b"".join(whole.splitlines(keepends=True)[:-1]),
    "saved in another encoding": lambda whole: whole.decode("utf-8-sig").encode("gb18030"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("more", [0, 2])
def test_an_edited_csv_is_kept_beside_the_new_one(place: Place, edit: Callable[[bytes], bytes], more: int) -> None:
    """Whatever somebody did to it between two runs, which recognize more images or none: nothing of it is lost."""
    place.pictures(5)
    place.job()
    assert place.run().code == 0
    path = place.output / "results.csv"
    whole = path.read_bytes()
    edited = edit(whole)
    for name in ("results.edited.csv", "results.edited-2.csv"):
        path.write_bytes(edited)
        place.pictures(more, start=place.summary()["images"])
        done = place.run()
        assert (done.code, done.err.count(f"was edited; the edited file is kept as {name}")) == (0, 1)
        assert (place.output / name).read_bytes() == edited
        assert path.read_bytes()[: len(whole)] == whole
        assert "was edited" not in place.run().err
    assert len({row["image"] for row in place.csv()}) == place.summary()["images"]


def test_an_edited_csv_is_kept_when_rows_are_taken_out(place: Place) -> None:
    """A run that writes all result files anew, since an image has changed, keeps it as well."""
    keys = place.pictures(3)
    place.job()
    assert place.run().code == 0
    path = place.output / "results.csv"
    edited = path.read_bytes().replace(b"0.", b"9.", 1)
    path.write_bytes(edited)
    place.put(keys[0], picture(99))
    assert "was edited" in place.run().err
    assert (place.output / "results.edited.csv").read_bytes() == edited
    assert images_of(place.rows()) == keys


@pytest.mark.parametrize("damage", ["missing", "shortened", "empty", "zeros"])
def test_a_damaged_csv_is_made_again_from_the_results(place: Place, damage: str) -> None:
    """results.csv is a view: whatever happens to it, the next run restores it, without a call."""
    place.pictures(5)
    place.job()
    assert place.run().code == 0
    path = place.output / "results.csv"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        left = {"shortened": whole[:100], "empty": b"", "zeros": whole[:100] + bytes(len(whole) - 100)}
        path.write_bytes(left[damage])
    assert place.run().code == 0
    assert not list(place.output.glob("*edited*"))
    assert path.read_bytes() == whole
    assert place.summary()["calls"] == 0
