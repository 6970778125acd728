"""Counts of calls: Beijing days, exact limits, several processes, kills, closures, broken files."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from batchrec.errors import OutputFailed
from batchrec.limits.quota import Quota, Usage
from batchrec.times import BEIJING, beijing_day, iso_beijing, iso_utc, next_reset
from batchrec.values import Caps, Closure, QuotaKey, Target

NOON = datetime(2026, 11, 23, 12, tzinfo=BEIJING).timestamp()
MIDNIGHT = datetime(2026, 11, 24, tzinfo=BEIJING).timestamp()


class Clock:
    """Unix time that a test sets."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """Noon in Beijing."""
    return Clock()


@pytest.fixture
def quota(tmp_path: Path, clock: Clock) -> Iterator[Quota]:
    """Counts in an empty folder."""
    counts = Quota(tmp_path, clock)
    yield counts
    counts.close()


def reserve(
    quota: Quota, account: str, service: str, daily: int | None, total: int | None, ahead: int = 1
) -> QuotaKey | Closure:
    """One call."""
    (reserved,) = quota.reserve(Target(account, service, Caps.of(1, daily=daily, total=total)), ahead=ahead)
    return reserved


def used(quota: Quota, service: str = "dish") -> tuple[int, int]:
    """Calls of the day and in all."""
    return next(line.used for line in quota.usage() if line.service == service)


@pytest.mark.parametrize(
    ("daily", "total", "room", "code"),
    [(5, None, 3, 17), (None, 4, 2, 19), (5, 4, 2, 19), (4, 5, 2, 17), (2, 2, 0, 17)],
)
def test_several_calls_at_once(quota: Quota, daily: int | None, total: int | None, room: int, code: int) -> None:
    """As many as there is room for; the others are told why not, and are not counted."""
    quota.reserve(Target("me", "dish", Caps(1)), calls=2)
    charge = QuotaKey("me", "dish", "2026-11-23")
    reserved = quota.reserve(Target("me", "dish", Caps.of(1, daily=daily, total=total)), calls=4)
    assert reserved[:room] == [charge] * room
    assert [closure.code for closure in reserved[room:] if isinstance(closure, Closure)] == [code] * (4 - room)
    assert used(quota) == (2 + room, 2 + room)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-11-23T15:59:59+00:00", "2026-11-23"),
        ("2026-11-23T16:00:00+00:00", "2026-11-24"),
        ("2026-12-31T23:00:00-05:00", "2027-01-01"),
    ],
)
def test_days_begin_at_midnight_in_beijing(moment: str, day: str) -> None:
    """In any time zone of the machine."""
    assert beijing_day(datetime.fromisoformat(moment).timestamp()) == day


def test_reset_is_the_next_midnight() -> None:
    """At midnight itself, the one after."""
    assert [next_reset(NOON), next_reset(MIDNIGHT - 1), next_reset(MIDNIGHT)] == [
        MIDNIGHT,
        MIDNIGHT,
        MIDNIGHT + 86_400,
    ]


def test_times_are_written_with_their_offset() -> None:
    """ISO 8601: Beijing to the second, UTC to the millisecond."""
    assert iso_beijing(MIDNIGHT) == "2026-11-24T00:00:00+08:00"
    assert iso_utc(NOON + 0.25) == "2026-11-23T04:00:00.250+00:00"


def test_daily_limit_is_exact_and_ends_with_the_day(quota: Quota, clock: Clock) -> None:
    """Three calls and no fourth; the next day three more."""
    days = [reserve(quota, "me", "dish", 3, None) for _ in range(4)]
    assert days == [QuotaKey("me", "dish", "2026-11-23")] * 3 + [Closure(17, MIDNIGHT, reported=False)]
    clock.at = MIDNIGHT
    assert reserve(quota, "me", "dish", 3, None) == QuotaKey("me", "dish", "2026-11-24")
    assert used(quota) == (1, 4)


def test_total_limit_is_exact_and_never_ends(quota: Quota, clock: Clock) -> None:
    """A pack is used up for good."""
    assert reserve(quota, "me", "dish", None, 1) == QuotaKey("me", "dish", "2026-11-23")
    clock.at += 10 * 86_400
    assert reserve(quota, "me", "dish", None, 1) == Closure(19, None, reported=False)


@pytest.mark.parametrize(("daily", "total"), [(0, None), (None, 0)])
def test_limit_of_nothing(quota: Quota, daily: int | None, total: int | None) -> None:
    """Zero means no call at all."""
    assert isinstance(reserve(quota, "me", "dish", daily, total), Closure)


def test_call_is_given_back_on_the_day_it_left(quota: Quota, clock: Clock) -> None:
    """A refusal after midnight lowers yesterday's count, not today's."""
    clock.at = MIDNIGHT - 1
    yesterday = reserve(quota, "me", "dish", None, None)
    clock.at = MIDNIGHT + 1
    reserve(quota, "me", "dish", None, None)
    assert isinstance(yesterday, QuotaKey)
    quota.give_back(yesterday)
    assert used(quota) == (1, 1)
    clock.at = MIDNIGHT - 1
    assert used(quota) == (0, 1)


def test_counts_never_fall_below_zero(quota: Quota, clock: Clock) -> None:
    """Giving back what was never reserved, or was corrected meanwhile, changes nothing for the worse."""
    quota.give_back(QuotaKey("me", "dish", "2026-11-23"))
    assert used(quota) == (0, 0)
    reserve(quota, "me", "dish", None, None)
    quota.correct("me", "dish", today=0, total=0)
    quota.give_back(QuotaKey("me", "dish", "2026-11-23"))
    assert used(quota) == (0, 0)


def test_accounts_and_services_are_counted_apart(quota: Quota) -> None:
    """One's limit is not the other's."""
    reserve(quota, "me", "dish", 1, None)
    assert isinstance(reserve(quota, "me", "dish", 1, None), Closure)
    assert isinstance(reserve(quota, "me", "plant", 1, None), QuotaKey)
    assert isinstance(reserve(quota, "you", "dish", 1, None), QuotaKey)


def test_counts_outlive_the_process(tmp_path: Path, clock: Clock) -> None:
    """Closed and opened again, they go on."""
    for expected in (1, 2):
        quota = Quota(tmp_path, clock)
        reserve(quota, "me", "dish", None, None)
        assert used(quota) == (expected, expected)
        quota.close()


def test_corrected_counts_hold(quota: Quota) -> None:
    """A person's correction wins over the count."""
    reserve(quota, "me", "dish", None, None)
    quota.correct("me", "dish", today=499)
    quota.correct("me", "dish", total=9_999)
    assert used(quota) == (499, 9_999)
    reserve(quota, "me", "dish", 500, 10_000)
    assert isinstance(reserve(quota, "me", "dish", 500, None), Closure)
    assert isinstance(reserve(quota, "me", "dish", None, 10_000), Closure)


def test_used_up_day_is_remembered_till_midnight(quota: Quota, clock: Clock) -> None:
    """17 closes to the end of the day on which the call left."""
    assert quota.close_service("me", "dish", 17, "2026-11-23") == Closure(17, MIDNIGHT)
    clock.at = MIDNIGHT - 0.001
    assert quota.closure("me", "dish") == Closure(17, MIDNIGHT)
    clock.at = MIDNIGHT
    assert quota.closure("me", "dish") is None


def test_refusal_that_comes_after_midnight_closes_nothing(quota: Quota, clock: Clock) -> None:
    """The day that is used up is over."""
    clock.at = MIDNIGHT + 1
    quota.close_service("me", "dish", 17, "2026-11-23")
    assert quota.closure("me", "dish") is None


def test_used_up_pack_is_remembered_till_opened(quota: Quota, clock: Clock) -> None:
    """19 closes for good, for this service alone."""
    quota.close_service("me", "dish", 19, "2026-11-23")
    clock.at += 400 * 86_400
    assert quota.closure("me", "dish") == Closure(19, None)
    assert quota.closure("me", "plant") is None
    assert (quota.reopen("me", "dish"), quota.reopen("me", "dish")) == (True, False)
    assert quota.closure("me", "dish") is None


def test_usage_names_every_account_and_service(quota: Quota) -> None:
    """In order, with what is closed though nothing was counted; nothing is left where the service said so."""
    reserve(quota, "you", "dish", None, None)
    reserve(quota, "me", "plant", None, None)
    quota.close_service("me", "car", 17, "2026-11-23")
    quota.close_service("me", "logo", 19, "2026-11-23")
    quota.record_limits(Target("me", "car", Caps.of(1, daily=5, total=9)))
    quota.record_limits(Target("me", "logo", Caps.of(1, daily=5, total=9)))
    quota.record_limits(Target("me", "plant", Caps.of(1, daily=5)))
    quota.record_limits(Target("you", "dish", Caps.of(1, total=1)))
    assert quota.usage() == [
        Usage("me", "car", (0, 0), (None, 9), Closure(17, MIDNIGHT)),
        Usage("me", "logo", (0, 0), (None, None), Closure(19, None)),
        Usage("me", "plant", (1, 1), (4, None), None),
        Usage("you", "dish", (1, 1), (None, 0), None),
    ]


WRITTEN = Path(__file__).parents[1] / "fixtures" / "format-3" / "state" / "quota.db"
"""Counts that the version of commit 667ae57 wrote."""


def test_counts_of_an_earlier_version(tmp_path: Path, clock: Clock) -> None:
    """They go on, and the tables keep their shapes, with a limit that the version does not know."""

    def tables() -> dict[str, str]:
        with closing(sqlite3.connect(tmp_path / "quota.db")) as db:
            return dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))

    shutil.copy(WRITTEN, tmp_path)
    before = tables()
    with closing(Quota(tmp_path, clock, "another boot")) as quota:
        line, *others = quota.usage()
        target = Target(line.account, line.service, Caps.of(1, daily=5, total=900, weekly=9))
        quota.record_limits(target)
        quota.reserve(target._replace(caps=Caps(1)))
        after, *same = quota.usage()
    assert same == others
    assert (after.used, after.left) == ((1, line.used[1] + 1), (4, 899 - line.used[1]))
    assert before.items() <= tables().items()
    with closing(sqlite3.connect(tmp_path / "quota.db")) as db:  # as that version does
        limits = db.execute("SELECT daily, total FROM caps WHERE service = ?", (line.service,)).fetchone()
        assert limits == (5, 900)
        db.execute("INSERT OR REPLACE INTO caps VALUES (?, ?, ?, ?)", (line.account, line.service, 7, None))


def test_files_are_their_owners_alone(tmp_path: Path, quota: Quota) -> None:
    """0600, the database's own side files too."""
    reserve(quota, "me", "dish", None, None)
    assert {0o600} == {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert "quota.db-wal" in {file.name for file in tmp_path.iterdir()}


def test_file_that_was_open_to_others_is_closed(tmp_path: Path, clock: Clock) -> None:
    """A count copied from elsewhere keeps no loose mode."""
    (tmp_path / "quota.db").touch(mode=0o644)
    Quota(tmp_path, clock).close()
    assert (tmp_path / "quota.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 50, b"SQLite format 3\0" * 64])
def test_broken_file_is_named(tmp_path: Path, clock: Clock, content: bytes) -> None:
    """74 and the path, not a traceback."""
    (tmp_path / "quota.db").write_bytes(content)
    with pytest.raises(OutputFailed, match=r"quota\.db"):
        Quota(tmp_path, clock)


def test_file_that_breaks_later_is_named(tmp_path: Path, quota: Quota) -> None:
    """Reading a count and writing one both end with 74."""
    with sqlite3.connect(tmp_path / "quota.db") as other:
        other.executescript("DROP TABLE closed; DROP TABLE used; DROP TABLE pack")
    other.close()
    with pytest.raises(OutputFailed, match=r"quota\.db"):
        quota.closure("me", "dish")
    with pytest.raises(OutputFailed, match=r"quota\.db"):
        quota.usage()
    with pytest.raises(OutputFailed, match=r"quota\.db"):
        reserve(quota, "me", "dish", 1, 1)


def test_half_a_count_is_taken_back(tmp_path: Path, quota: Quota) -> None:
    """A call that cannot be counted in full is not counted at all."""
    with sqlite3.connect(tmp_path / "quota.db") as other:
        other.execute("ALTER TABLE pack RENAME TO elsewhere")
    with pytest.raises(OutputFailed):
        reserve(quota, "me", "dish", None, None)
    with other:
        other.execute("ALTER TABLE elsewhere RENAME TO pack")
    other.close()
    reserve(quota, "me", "dish", None, None)
    assert used(quota) == (1, 1)


def test_folder_that_is_not_there(tmp_path: Path, clock: Clock) -> None:
    """74 and the path."""
    with pytest.raises(OutputFailed, match="missing"):
        Quota(tmp_path / "missing", clock)


RESERVING = """
import sys, time
from pathlib import Path
from batchrec.values import Caps, QuotaKey, Target
from batchrec.limits.quota import Quota
quota = Quota(Path(sys.argv[1]), time.time)
target = Target("me", "dish", Caps.of(1, total=int(sys.argv[2]) or None))
while isinstance(quota.reserve(target)[0], QuotaKey):
    sys.stdout.write("x")
    sys.stdout.flush()
"""


def reserving(folder: Path, cap: int) -> subprocess.Popen[bytes]:
    """A process that counts calls, and tells of each, till it may not or is killed."""
    command = [sys.executable, "-c", RESERVING, str(folder), str(cap)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)


def test_two_processes_share_a_limit_exactly(tmp_path: Path) -> None:
    """Three hundred calls in all, however the two take turns."""
    first, second = reserving(tmp_path, 300), reserving(tmp_path, 300)
    told = [len(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert (sum(told), first.returncode, second.returncode) == (300, 0, 0)


def test_killed_process_has_counted_what_it_sent(tmp_path: Path, clock: Clock) -> None:
    """After SIGKILL the count holds every call told of, and at most the one that was being made."""
    process = reserving(tmp_path, 0)
    assert process.stdout is not None
    told = 0
    while told < 500:
        told += len(process.stdout.read(100))
    process.kill()
    told += len(process.communicate(timeout=60)[0])
    quota = Quota(tmp_path, clock)
    total = used(quota)[1]
    quota.close()
    assert told <= total <= told + 1


def test_power_cut_leaves_an_upper_bound(tmp_path: Path, clock: Clock) -> None:
    """The loss that a power cut may have caused is counted by the first process of the next boot, once."""
    before = Quota(tmp_path, clock, boot="first")
    for _ in range(10):
        reserve(before, "me", "dish", None, None, ahead=4)
    with closing(Quota(tmp_path, clock, boot="first")) as same:
        assert used(same) == (10, 10)
    reserve(before, "me", "dish", None, None, ahead=4)
    with closing(Quota(tmp_path, clock, boot="second")) as after:
        assert used(after) == (14, 14)
    with closing(Quota(tmp_path, clock, boot="third")) as later:
        assert used(later) == (14, 14)
    before.close()


def test_orderly_end_leaves_the_count_exact(tmp_path: Path, clock: Clock) -> None:
    """A run that ended by itself is counted to the unit, whatever happens to the machine afterwards."""
    with closing(Quota(tmp_path, clock, boot="first")) as quota:
        for _ in range(10):
            reserve(quota, "me", "dish", None, None, ahead=1000)
    with closing(Quota(tmp_path, clock, boot="second")) as after:
        assert used(after) == (10, 10)


AHEAD = 16


def watched_calls(folder: Path, clock: Clock) -> tuple[int, int]:
    """Calls that a process counted before it was killed, and the bytes of the log at its last sync."""
    folder.mkdir()
    quota = Quota(folder, clock, boot="before")
    log = folder / "quota.db-wal"
    synced = 0
    for calls in range(1, 41):
        length = log.stat().st_size
        reserve(quota, "me", "dish", None, None, ahead=AHEAD)
        grown = log.stat().st_size
        synced = grown if calls % AHEAD == 1 else synced
        assert grown > length
    shutil.copytree(folder, folder.parent / "kept")
    quota.close()
    shutil.rmtree(folder)
    (folder.parent / "kept").rename(folder)
    return 40, synced


def test_what_is_on_the_disk_bounds_what_was_sent(tmp_path: Path, clock: Clock) -> None:
    """With any cut of the log after the last sync, the next boot counts no less than was sent, a bit more."""
    calls, synced = watched_calls(tmp_path / "live", clock)
    log = (tmp_path / "live" / "quota.db-wal").read_bytes()
    database = (tmp_path / "live" / "quota.db").read_bytes()
    counted = set()
    for cut in range(synced, len(log) + 1, 97):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "quota.db").write_bytes(database)
        (folder / "quota.db-wal").write_bytes(log[:cut])
        with closing(Quota(folder, clock, boot="after the cut")) as quota:
            counted.add(used(quota)[1])
    assert calls <= min(counted)
    assert max(counted) <= calls + AHEAD


OPENING = """
import sys, time
from pathlib import Path
from batchrec.limits.quota import Quota
while not Path(sys.argv[1], "go").exists():
    pass
Quota(Path(sys.argv[1]), time.time).close()
"""


@pytest.mark.parametrize("time", range(5))
def test_first_processes_of_a_new_machine_do_not_collide(tmp_path: Path, time: int) -> None:
    """Cron starts several jobs in the same second where no counts are yet: each finds or makes the file."""
    command = [sys.executable, "-c", OPENING, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=60)[1] for process in processes] == [b""] * 4
