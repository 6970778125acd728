"""One life of a job in virtual time: `python two_days.py FOLDER BEGIN END HOW`, hours since noon.

The service is a model of its own, in this process: it keeps a log of every call on the disk, so that it outlives the
process. HOW is how the life ends: `done` by itself, `kill` by SIGKILL at END, `power` by a cut of the power at END.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))  # it is a program of its own, for a process that can be killed

import batchrec.journal.database as database
import batchrec.journal.journal
import batchrec.state.durable
from batchrec.engine.assembly import Environment, Options, run
from batchrec.job.loading import load_job
from batchrec.limits.quota import Quota
from batchrec.times import BEIJING, beijing_day
from batchrec.values import Failure, Reply
from tests.support import virtual_time

NOON = datetime(2026, 11, 23, 12, tzinfo=BEIJING).timestamp()
HOUR = 3600.0
DAILY = 1200
TOKEN_HOURS = 6
ANSWER_SECONDS = 90.0
OUTAGE = (15.0, 16.0)
"""Hours since noon: from three to four in the morning."""


class Service:
    """The service: tokens of six hours, a daily limit, an hour of nothing but 502, and a log of all calls."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._log = (folder / "service.log").open("a")
        self._now = now
        self._used: dict[str, int] = {}
        for line in (folder / "service.log").read_text().splitlines():
            what, day, *_ = line.split()
            self._used[day] = self._used.get(day, 0) + (what == "call")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], upload: object = None) -> Reply | Failure:
        """As the transport does it."""
        hour = (self._now() - NOON) / HOUR
        if urlsplit(url).path == "/oauth/2.0/token":
            self._note("token", hour)
            return _json(access_token=f"24.token-{self._now():.3f}", expires_in=TOKEN_HOURS * 3600)
        issued = float(parse_qs(urlsplit(url).query)["access_token"][0].removeprefix("24.token-"))
        if self._now() >= issued + TOKEN_HOURS * HOUR:
            return self._refusal("refused", 111, hour)
        day = beijing_day(self._now())
        if self._used.get(day, 0) >= DAILY:
            return self._refusal("refused", 17, hour)
        self._used[day] = self._used.get(day, 0) + 1
        self._note("call", hour)
        await asyncio.sleep(ANSWER_SECONDS)
        if OUTAGE[0] <= hour < OUTAGE[1]:
            self._note("failed", (self._now() - NOON) / HOUR)
            return Reply(502, b"<html>bad gateway</html>")
        self._note("answer", hour)
        return _json(log_id=1, result_num=1, result=[{"keyword": "家具", "score": 0.5, "root": "商品"}])

    def _refusal(self, what: str, code: int, hour: float) -> Reply:
        self._note(what, hour)
        return _json(error_code=code, error_msg="no")

    def _note(self, what: str, hour: float) -> None:
        self._log.write(f"{what} {beijing_day(self._now())} {hour:.4f}\n")
        self._log.flush()


def _json(**content: object) -> Reply:
    return Reply(200, json.dumps(content).encode())


def keep_what_is_synced(folder: Path) -> None:
    """Keep in `folder/disk` what a power cut would leave: output and state as of their last syncs."""
    real_sync, real_move = database.sync_file, Quota._move_bound

    def kept(name: str) -> None:
        shutil.rmtree(folder / "disk" / name, ignore_errors=True)
        shutil.copytree(folder / name, folder / "disk" / name)

    def sync(handle: int) -> None:
        real_sync(handle)
        kept("results")

    def move_bound(self: Quota, *args: object) -> None:
        real_move(self, *args)  # type: ignore[arg-type]
        kept("state")

    database.sync_file, Quota._move_bound = sync, move_bound  # type: ignore[method-assign]


async def live(folder: Path, begin: float, end: float, how: str) -> None:
    """The job, until it is done or its hour has come."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    if how != "done":
        loop.call_at(start + (end - begin) * HOUR, os.kill, os.getpid(), signal.SIGKILL)

    def now() -> float:
        return NOON + begin * HOUR + loop.time() - start

    @asynccontextmanager
    async def connect(endpoint: str, seconds: float, rate: float) -> AsyncIterator[Service]:
        yield Service(folder, now)

    environ = {
        "BAIDU_API_KEY": "two-days-key",
        "BAIDU_SECRET_KEY": "two-days-secret",
        "BATCHREC_ENDPOINT": "https://service.example",
        "BATCHREC_STATE_DIR": str(folder / "state"),
    }
    summary = await run(load_job(folder / "job.toml"), Options(), environ, Environment(now, connect))
    hour = (now() - NOON) / HOUR
    print(json.dumps({"exit_code": summary.exit_code, "outcome_unknown": summary.outcome_unknown, "hour": hour}))


def main() -> None:
    """One life."""
    folder, how = Path(sys.argv[1]), sys.argv[4]
    begin, end = float(sys.argv[2]), float(sys.argv[3])
    boot = (folder / "boot").read_text()
    batchrec.journal.journal.boot_id = batchrec.limits.quota.boot_id = lambda: boot  # type: ignore[attr-defined]
    if how == "power":
        keep_what_is_synced(folder)
    virtual_time.run(live(folder, begin, end, how))


if __name__ == "__main__":
    main()
