"""Two days of a job in virtual time: tokens that end, two resets, an outage, kills, a power cut."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from batchrec.commands.verify import verify
from batchrec.job.loading import load_job
from batchrec.limits.quota import Quota
from batchrec.values import QuotaKey
from tests.two_days import ANSWER_SECONDS, DAILY, NOON, OUTAGE, TOKEN_HOURS

IMAGES = 2 * DAILY + 300
JOB = """
input = { paths = ["photos"] }
recognize = [{ service = "advanced_general" }]
account = { endpoint = "https://service.example" }
limits = { qps = 0.03, daily = 1200, timeout = 600, patience = 7200, on_daily_limit = "wait", concurrency = 64 }
"""


class TwoDays:
    """The folder of the job, and what its lives said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "photos").mkdir(parents=True)
        for number in range(IMAGES):
            header = b"BM" + (54 + 16 * 48).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
            sizes = (40).to_bytes(4, "little") + (16).to_bytes(4, "little") * 2 + b"\x01\0\x18\0" + bytes(24)
            pixels = number.to_bytes(3, "little") * 256
            (folder / "photos" / f"{number:05}.bmp").write_bytes(header + sizes + pixels)
        (folder / "job.toml").write_text(JOB)
        (folder / "boot").write_text("first")
        self.told: list[int] = []

    def live(self, begin: float, end: float, how: str) -> dict[str, Any]:
        """One life; what it said at its end, if it came to one."""
        script = Path(__file__).with_name("two_days.py")
        command = [sys.executable, str(script), str(self.folder), str(begin), str(end), how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == (0 if how == "done" else -9), done.stderr
        self.told += [int(number) for number in re.findall(r"was cut short: (?:at most )?(\d+) calls", done.stderr)]
        return json.loads(done.stdout) if how == "done" else {}

    def power_is_back(self) -> None:
        """The disk as the cut left it, and another start of the machine."""
        for name in ("results", "state"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.folder / "disk" / name, self.folder / name)
        (self.folder / "boot").write_text("second")

    def log(self) -> list[tuple[str, str, float]]:
        """The service's log: kinds of events, their day, and the hour since the noon of the beginning."""
        lines = (line.split() for line in (self.folder / "service.log").read_text().splitlines())
        return [(what, day, float(hour)) for what, day, hour in lines]

    def calls_by_day(self) -> Counter[str]:
        """Calls that the service counted."""
        return Counter(day for what, day, _ in self.log() if what == "call")

    def counted(self, days: list[str]) -> dict[str, int]:
        """Calls that batchrec has counted."""
        (journal,) = self.folder.glob("results/*/journal.db")
        with closing(Quota(self.folder / "state", lambda: NOON, boot=(self.folder / "boot").read_text())) as quota:
            (account,) = {usage.account for usage in quota.usage()}
            assert verify(journal.parent, quota.counted, running=False).told == []
            return {day: quota.counted(QuotaKey(account, "advanced_general", day)) for day in days}

    def rows(self) -> list[str]:
        """The images that have an answer, as often as they have one."""
        path = load_job(self.folder / "job.toml").directory / "results.jsonl"
        return [json.loads(line)["image"] for line in path.read_bytes().splitlines()]


@pytest.fixture
def days(tmp_path: Path) -> TwoDays:
    """Before the first call."""
    return TwoDays(tmp_path)


def common_to_both(days: TwoDays, end: dict[str, Any]) -> int:
    """Every answer once, within two days, and no call refused by the service. Returns the calls lost."""
    log = days.log()
    assert end["exit_code"] == 0
    assert end["hour"] < 48
    assert sorted(days.rows()) == [f"photos/{number:05}.bmp" for number in range(IMAGES)]
    assert [line for line in log if line[0] == "refused"] == []
    assert max(days.calls_by_day().values()) == DAILY
    assert len(days.calls_by_day()) == 3
    outcomes = Counter(what for what, _, _ in log)
    return outcomes["call"] - outcomes["failed"] - IMAGES


def test_two_days_with_kills_are_counted_to_the_unit(days: TwoDays) -> None:
    """Four SIGKILLs, one amid the outage and one while waiting for midnight: each count is exact."""
    for begin, end in ((0, 3.1), (3.1, 8.7), (8.7, 15.4), (15.4, 24.5)):
        days.live(begin, end, "kill")
    lost = common_to_both(days, days.live(24.5, 48, "done"))
    calls = days.calls_by_day()
    tokens = [hour for what, _, hour in days.log() if what == "token"]
    failed = [hour for what, _, hour in days.log() if what == "failed"]
    assert days.counted(sorted(calls)) == dict(calls)
    assert days.told[-1] == lost
    assert min(later - former for former, later in pairwise(tokens)) >= 0.9 * TOKEN_HOURS - 0.1
    assert 0 < len(failed) < 400
    assert all(OUTAGE[0] <= hour < OUTAGE[1] + ANSWER_SECONDS / 3600 for hour in failed)
    print(f"\n{dict(calls)}; lost {lost}, told {days.told}; {len(failed)} calls failed; tokens at {tokens}")


def test_two_days_with_a_power_cut_are_bounded_from_above(days: TwoDays) -> None:
    """After the cut counts and unknown calls are upper bounds, and near ones; answers are exact."""
    days.live(0, 2.0, "power")
    before = days.calls_by_day()
    days.power_is_back()
    lost = common_to_both(days, days.live(2.0, 48, "done"))
    calls = days.calls_by_day()
    counted = days.counted(sorted(calls))
    assert all(calls[day] <= counted[day] for day in calls)
    assert sum(counted.values()) <= sum(calls.values()) + 1
    assert lost <= days.told[-1] <= lost + 8
    print(f"\nbefore the cut {dict(before)}; in all {dict(calls)}, counted {counted}; lost {lost}, told {days.told}")
