"""Two nights under Debian's own cron daemon: the daily limit on the first, the rest on the second.

The daemon and the runs have the same shifted clock (libfaketime): the variables of the crontab, which are the user's
own lines, hand it to the job. The clock is set to half a minute before the hour, and again for the next day.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness import KEY, SECRET, emulating, picture

from batchrec.emulator import Settings

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("libfaketime.so.1"))
USER = "batchrec-nights"
NIGHT = datetime(2027, 3, 1, 16, 9, 30, tzinfo=UTC)
"""Half a minute before 00:10 in Beijing."""

IMAGES, DAILY = 5, 3


@pytest.fixture
def user() -> Iterator[str]:
    """A user of the test's own, with a crontab of its own. Its uid is this one's, whose files it has to read."""
    subprocess.run(["useradd", "--no-create-home", "--home-dir=/", "-o", f"--uid={os.getuid()}", USER], check=True)
    try:
        yield USER
    finally:
        subprocess.run(["crontab", "-u", USER, "-r"], check=False, capture_output=True)
        subprocess.run(["userdel", "--force", USER], check=False, capture_output=True)


class Nights:
    """A cron daemon with a clock that the test sets, and a job of the user."""

    def __init__(self, root: Path, endpoint: str, hook: str) -> None:
        self.root, self.clock = root, root / "clock"
        (root / "photos").mkdir()
        for number in range(IMAGES):
            (root / "photos" / f"{number}.png").write_bytes(picture(number))
        self.job = root / "job.toml"
        self.job.write_text(
            f'[input]\npaths = ["photos"]\n[[recognize]]\nservice = "animal"\n[account]\nendpoint = "{endpoint}"\n'
            f'[limits]\ndaily = {DAILY}\npatience = 1\n[notify]\nuse = "ops"\non = ["quota", "finished", "attention"]\n'
        )
        config = root / "config"
        config.mkdir(mode=0o700)
        for name, text in (
            ("credentials.toml", f'[default]\napi_key = "{KEY}"\nsecret_key = "{SECRET}"\nendpoint = "{endpoint}"\n'),
            ("notify.toml", f'[ops]\ncommand = ["{hook}"]\n'),
        ):
            (config / name).write_text(text)
            (config / name).chmod(0o600)
        # The command `crontab` of the user.
        shim = root / "bin" / "crontab"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec /usr/bin/crontab -u {USER} "$@"\n')
        shim.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHREC_", "BAIDU_"))}
        self.env = {
            **kept,
            "PATH": f"{shim.parent}:{kept['PATH']}",
            "BATCHREC_CONFIG_DIR": str(config),
            "BATCHREC_STATE_DIR": str(root / "state"),
        }
        self.set_clock(NIGHT - timedelta(days=1))

    def set_clock(self, moment: datetime) -> None:
        """Set the clock of the daemon and of its jobs."""
        text = f"{moment.timestamp() - time.time():+.0f}"
        new = self.clock.with_suffix(".new")
        new.write_text(text)
        new.replace(self.clock)

    def batchrec(self, *words: str) -> str:
        """Standard output of a command of the user."""
        command = [sys.executable, "-m", "batchrec", *words]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def shifted(self) -> dict[str, str]:
        """Variables that give a process the clock of the test."""
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
        }

    def told(self, events: int) -> bool:
        """Whether so many events were told, and no run is under way: its clock must not jump."""
        try:
            count = len((self.root / "events").read_text().splitlines())
        except FileNotFoundError:
            return False
        return count >= events and not any(map(self._runs, Path("/proc").glob("[0-9]*/cmdline")))

    def _runs(self, path: Path) -> bool:
        try:
            return str(self.job).encode() in path.read_bytes()
        except OSError:  # it has ended
            return False

    def summary(self) -> dict[str, object] | None:
        """Summary of the last run; None before there is one."""
        try:
            found: dict[str, object] = json.loads((self.root / "results" / "job" / "summary.json").read_bytes())
        except FileNotFoundError:
            return None
        return found


def until(holds: Callable[[], bool], what: str, seconds: float = 240) -> None:
    """Wait for what another process brings about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_two_nights_of_cron(tmp_path: Path, user: str) -> None:
    """The first night ends at the daily limit, the second finishes the job; each tells its event by the command."""
    hook = tmp_path / "told"
    hook.write_text(f'#!/bin/sh\ncat >/dev/null\necho "$BATCHREC_EVENT $BATCHREC_EXIT_CODE" >>{tmp_path}/events\n')
    hook.chmod(0o755)
    own = b'# mine\nMAILTO=""\n'
    with emulating(Settings(), now=time.time) as emulator:
        nights = Nights(tmp_path, emulator.url, str(hook))
        own += b"".join(f"{name}={value}\n".encode() for name, value in nights.shifted().items())
        subprocess.run(["crontab", "-u", user, "-"], input=own, check=True)
        assert "00:10 Beijing" in nights.batchrec("schedule", "install", str(nights.job))
        table = subprocess.run(["crontab", "-u", user, "-l"], check=True, capture_output=True).stdout
        assert table.startswith(own)
        assert b"\n10 16 * * * cd " in table
        nights.set_clock(NIGHT)
        daemon = subprocess.Popen(["/usr/sbin/cron", "-f"], env={"PATH": "/usr/bin:/bin", **nights.shifted()})
        try:
            until(lambda: nights.told(1), "the first night ends")
            first = nights.summary()
            nights.set_clock(NIGHT + timedelta(days=1))
            until(lambda: nights.told(2), "the second night ends")
        finally:
            daemon.terminate()
            daemon.wait(timeout=30)
        log = nights.job.with_suffix(".log").read_text()
        assert (tmp_path / "events").read_text().splitlines() == ["quota 75", "finished 0"], log
        assert first is not None
        assert (first["exit_code"], first["calls"], first["stopped_by"]) == (75, DAILY, "daily_limit")
        assert str(first["resume_at"]) == "2027-03-03T00:00:00+08:00"
        second = nights.summary()
        assert second is not None
        assert (second["exit_code"], second["calls"], second["left"]) == (0, IMAGES - DAILY, 0)
        assert "job job: 5 images, 5 remaining" in log
        assert "job job: 5 images, 2 remaining" in log
        nights.batchrec("schedule", "remove", str(nights.job))
        assert subprocess.run(["crontab", "-u", user, "-l"], check=True, capture_output=True).stdout == own
