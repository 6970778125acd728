"""Every exit code of `batchrec run`, the way a cron line meets it, and which one wins where several hold."""

import errno
import os
import signal
import subprocess
from datetime import datetime, timedelta
from typing import Any

import pytest
from harness import KEY, SECRET, Done, Place, calls_of, dead_endpoint, emulating, images_of, now, picture, until

from batchrec.emulator import Emulator, FaultPlan, Settings

BEARER = "bce-v3/acceptance-wrong/0123456789abcdef"


def plan(*faults: dict[str, Any]) -> FaultPlan:
    """A fault plan of these."""
    return FaultPlan.parse({"faults": faults})


def clear(done: Done) -> Done:
    """The same, once it is sure that the user was told something, and not by a traceback."""
    assert done.err.strip()
    assert "Traceback" not in done.err
    assert "defect" not in done.err
    return done


# -- 2: wrong, nothing sent


def test_2_a_wrong_job_file_gets_every_complaint_at_once(place: Place, emulator: Emulator) -> None:
    """Unknown keys, wrong types, services and options: all listed, each with file and key; nothing is sent."""
    place.pictures(1)
    place.job(
        steps=[{"service": "dishh"}, {"service": "animal", "options": {"top_nun": 3}}],
        limits={"qps": "ten", "dayly": 5},
        output={"formats": ["xml"]},
    )
    done = clear(place.run())
    assert done.code == 2
    for key in ("recognize[0].service", "recognize[1].options.top_nun", "limits.qps", "limits.dayly", "output.formats"):
        assert [line for line in done.err.splitlines() if key in line and line.startswith("furniture.toml: ")]
    assert calls_of(emulator) == 0
    assert not place.output.exists()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"input": {"paths": ["nowhere"]}}, "nowhere"),
        ({"input": {"manifest": "missing.csv"}}, "missing.csv"),
        ({"limits": {"qps": "fast"}}, '"fast" is not a number'),
        ({"account": {"endpoint": "http://example.com"}}, "unencrypted"),
    ],
)
def test_2_says_what_is_wrong(place: Place, emulator: Emulator, table: dict[str, Any], says: str) -> None:
    """A path or manifest that is not there, what this version lacks, a key sent in the clear: refused by name."""
    place.pictures(1)
    place.job(**table)
    done = clear(place.run())
    assert done.code == 2
    assert says in done.err
    assert calls_of(emulator) == 0


def test_2_a_manifest_that_is_not_utf_8_names_the_line(place: Place) -> None:
    """Half a million rows in the wrong encoding: the first bad line is named."""
    place.put("images.csv", "path\n家居.jpg\n".encode() + "菜品.jpg\n".encode("gbk"))
    place.job(input={"paths": [], "manifest": "images.csv"})
    done = clear(place.run())
    assert done.code == 2
    assert "line 3" in done.err


@pytest.mark.parametrize("command", ["report"])
def test_2_commands_of_a_later_version_are_refused_by_name(apart: Place, command: str) -> None:
    """What this version does not have is never half done."""
    done = clear(apart.batchrec(command, "somewhere", "--json"))
    assert done.code == 2
    assert done.out == ""
    assert f"batchrec {command}" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("run", "a.toml", "--frobnicate"),
        ("fly",),
        ("run", "a.toml", "--limit", "0"),
        ("run", "a.toml", "--limit", "9" * 30),
        ("quota", "set", "dish", "--today", "9" * 30),
    ],
)
def test_2_a_wrong_command_line(apart: Place, arguments: tuple[str, ...]) -> None:
    """Missing arguments, unknown options and commands."""
    assert clear(apart.batchrec(*arguments)).code == 2


def test_2_without_credentials_says_where_they_may_be_put(place: Place, emulator: Emulator) -> None:
    """No key anywhere: exit 2, before anything is sent, naming login, the environment, and the emulator."""
    place.pictures(1)
    place.job()
    done = clear(place.run(env={"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}))
    assert (done.code, calls_of(emulator)) == (2, 0)
    assert all(word in done.err for word in ("batchrec login", "BAIDU_API_KEY", "embedded"))


def test_2_credentials_that_others_can_read_are_refused(place: Place, emulator: Emulator) -> None:
    """A credentials file with mode 0644 is not used."""
    place.pictures(1)
    place.job()
    path = place.credentials(default={"api_key": KEY, "secret_key": SECRET})
    path.chmod(0o644)
    done = clear(place.run())
    assert (done.code, calls_of(emulator)) == (2, 0)
    assert "chmod 600" in done.err
    path.chmod(0o600)
    assert place.run().code == 0


@pytest.mark.parametrize("change", ["name", "endpoint"])
def test_2_the_directory_of_another_job(place: Place, emulator: Emulator, change: str) -> None:
    """Another name or another endpoint in an existing output directory is refused, and harms nothing."""
    place.pictures(2)
    place.job(output={"directory": f"results/{place.output.name}"})
    assert place.run().code == 0
    before, calls = (place.output / "results.jsonl").read_bytes(), calls_of(emulator)
    done = clear(
        place.run(
            "--set",
            'name="other"' if change == "name" else 'account.endpoint="embedded"',
            env={"BATCHREC_ENDPOINT": ""},
        )
    )
    assert (done.code, calls_of(emulator)) == (2, calls)
    assert (place.output / "results.jsonl").read_bytes() == before


HOMELESS = """
import pwd
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody
from batchrec.__main__ import main
main()
"""


@pytest.mark.parametrize("missing", ["BATCHREC_STATE_DIR", "BATCHREC_CONFIG_DIR"])
def test_2_without_a_home_folder(place: Place, missing: str) -> None:
    """A container's user without HOME and passwd entry: the variables that help are named, and no folder is made."""
    place.pictures(1)
    place.job()
    if missing == "BATCHREC_CONFIG_DIR":
        place.env |= {"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}
    place.env = {name: value for name, value in place.env.items() if name not in ("HOME", missing)}
    before = sorted(place.root.iterdir())
    done = clear(place.run(launcher=("-c", HOMELESS)))
    assert done.code == 2
    assert "BATCHREC_STATE_DIR" in done.err
    assert "BATCHREC_CONFIG_DIR" in done.err
    assert [path.name for path in set(place.root.iterdir()) - set(before) if not path.name.startswith("log")] == []


def test_a_state_folder_may_begin_with_a_tilde(place: Place) -> None:
    """Where no shell expands it, as in a crontab or a .env file, it is the home folder all the same."""
    place.pictures(1)
    place.job()
    assert place.run(env={"BATCHREC_STATE_DIR": "~/kept"}).code == 0
    assert (place.root / "kept" / "quota.db").is_file()
    done = clear(place.run(env={"BATCHREC_STATE_DIR": "~nobody-of-this-name/kept"}))
    assert (done.code, "BATCHREC_STATE_DIR" in done.err) == (2, True)


# -- 73, 74


def test_73_a_second_run_stays_out(place: Place, emulator: Emulator) -> None:
    """Two runs never share an output directory; the second says so before any network call."""
    keys = place.pictures(200)
    place.job(limits={"qps": 10})
    first = place.start_run()
    until(lambda: place.row_count() >= 1)
    tokens = emulator.counters.calls["token"]
    done = clear(place.run())
    assert (done.code, emulator.counters.calls["token"]) == (73, tokens)
    assert str(place.output) in done.err
    first.send(signal.SIGINT)
    assert first.wait().code == 130
    assert place.run("--set", "limits.qps=1000").code == 0
    assert images_of(place.rows()) == keys


def test_74_a_folder_that_cannot_be_made(place: Place, emulator: Emulator) -> None:
    """An output directory below a file: exit 74, nothing sent."""
    place.pictures(2)
    place.put("results", b"a file, not a folder")
    place.job()
    done = clear(place.run())
    assert (done.code, calls_of(emulator)) == (74, 0)


WITHOUT_LOCKS = """
import fcntl, os
works = fcntl.{function}
def fails(handle, operation, *more):
    if "{folder}" in os.readlink(f"/proc/self/fd/{{handle}}"):
        raise OSError({code}, os.strerror({code}))
    return works(handle, operation, *more)
fcntl.{function} = fails
from batchrec.__main__ import main
main()
"""


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
@pytest.mark.parametrize("function", ["flock", "lockf"])
@pytest.mark.parametrize(
    ("folder", "remedy"), [("/results/", "set output.directory to"), ("/state/", "set BATCHREC_STATE_DIR to")]
)
def test_74_a_file_system_without_locks(
    place: Place, emulator: Emulator, code: int, function: str, folder: str, remedy: str
) -> None:
    """A network's file system may lack locks: said as such, at every run; no file stands in for the lock."""
    place.pictures(1)
    place.job()
    script = WITHOUT_LOCKS.format(code=code, function=function, folder=folder)
    for _ in range(2):
        done = clear(place.run(launcher=("-c", script)))
        assert done.code == 74
        last = done.err.splitlines()[-1]
        assert f"the file system has no locks: {os.strerror(code)}" in last
        assert f"{remedy} a folder on a local disk" in last
        assert "Warning" not in done.err
    assert calls_of(emulator) == 0
    assert place.run().code == 0


@pytest.mark.parametrize("kilobytes", [1, 80, 160])
def test_74_a_full_disk_loses_nothing_that_was_committed(place: Place, kilobytes: int) -> None:
    """Files that cannot grow, from the first write or later: exit 74; with room again the job is finished."""
    keys = place.pictures(150)
    place.job()
    limited = ("bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "batchrec")
    done = clear(place.run(under=limited))
    assert done.code == 74
    assert "cannot be written" in done.err
    assert place.run().code == 0
    assert images_of(place.rows()) == sorted(keys)
    assert sorted({row["image"] for row in place.csv()}) == sorted(keys)


def test_74_results_that_are_shorter_than_committed_stop_the_run(place: Place, emulator: Emulator) -> None:
    """A results.jsonl that somebody cut stops the run with the reason; --rebuild asks for what is missing alone."""
    keys = place.pictures(6)
    place.job()
    assert place.run().code == 0
    path = place.output / "results.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)[:4]
    path.write_bytes(b"".join(kept))
    calls = calls_of(emulator)
    done = clear(place.run())
    assert (done.code, calls_of(emulator)) == (74, calls)
    assert "--rebuild" in done.err
    assert place.run("--rebuild", "--no-reuse").code == 0
    assert images_of(place.rows()) == keys
    assert place.summary()["calls"] == 2
    assert path.read_bytes().splitlines(keepends=True)[:4] == kept


def test_74_results_that_were_edited_stop_the_run(place: Place, emulator: Emulator) -> None:
    """A results.jsonl that somebody edited is not cut in the middle of a row: 74; --rebuild keeps its whole rows."""
    keys = place.pictures(6)
    place.job()
    assert place.run("--limit", "5").code == 0
    path = place.output / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        b"".join([lines[0].replace(b'"step":', b'"step" :' + b" " * 40), *lines[1:3], lines[3][:-20], lines[4]])
    )
    edited, calls = path.read_bytes(), calls_of(emulator)
    done = clear(place.run())
    assert (done.code, calls_of(emulator), path.read_bytes()) == (74, calls, edited)
    assert "edited" in done.err
    assert "--rebuild" in done.err
    done = place.run("--rebuild")
    assert (done.code, images_of(place.rows())) == (0, keys)
    assert "since their rows are missing in results.jsonl: 2" in done.err
    assert place.batchrec("verify", str(place.output)).code == 0


MORTAL = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""As root, who may write where nobody may: takes that right away."""


@pytest.mark.parametrize("when", ["before it begins", "while it runs"])
def test_74_a_folder_that_is_read_only(place: Place, emulator: Emulator, when: str) -> None:
    """A folder that cannot be written to: 74 and the reason; when it can again, the job is finished, each row once."""
    keys = place.pictures(90)
    place.job(limits={"qps": 30})
    assert place.run("--limit", "5").code == 0
    under = MORTAL if os.geteuid() == 0 else ()
    running = None
    if when == "while it runs":
        running = place.start_run(under=under)
        until(lambda: place.row_count() >= 8)
    before = {path.name: path.read_bytes() for path in place.output.iterdir()} if running is None else {}
    place.output.chmod(0o555)
    try:
        done = clear(running.wait() if running else place.run(under=under))
        assert done.code == 74
        assert str(place.output) in done.err
        assert before in ({}, {path.name: path.read_bytes() for path in place.output.iterdir()})
    finally:
        place.output.chmod(0o755)
    assert place.run().code == 0
    assert (images_of(place.rows()), place.failures()) == (keys, [])
    assert place.batchrec("verify", str(place.output)).code == 0


# -- 77


def test_77_a_wrong_secret_costs_one_call(place: Place, emulator: Emulator) -> None:
    """The key is refused at the token endpoint: one call, no image sent, and the word `login` in the message."""
    place.pictures(5)
    place.job()
    emulator.configure(secret_key="another")
    done = clear(place.run())
    assert (done.code, dict(emulator.counters.calls)) == (77, {"token": 1})
    assert "batchrec login" in done.err
    assert place.summary()["stopped_by"]


def test_77_a_wrong_bearer_key(place: Place, emulator: Emulator) -> None:
    """A refused API Key (code 23) stops the run at once."""
    place.pictures(40)
    place.job(limits={"qps": 20})
    emulator.configure(bearer="bce-v3/right")
    place.credentials(default={"bearer": BEARER})
    done = clear(place.run())
    assert done.code == 77
    assert emulator.counters.outcomes["advanced_general"] == {"23": 1}
    assert BEARER not in done.err


def test_77_a_step_without_permission_leaves_the_others_alone(place: Place, emulator: Emulator) -> None:
    """Code 6 closes its step; the other step is answered for every image; 77 at the end."""
    keys = place.pictures(8)
    place.job(steps=[{"service": "dish"}, {"service": "animal"}])
    emulator.configure(services=frozenset({"animal"}))
    done = clear(place.run())
    assert (done.code, images_of(place.rows())) == (77, keys)
    assert {row["step"] for row in place.rows()} == {"animal"}
    assert "dish" in done.err
    emulator.configure(services=None)
    assert place.run().code == 0
    assert len(place.rows()) == 16


def test_77_three_fresh_tokens_refused(place: Place, emulator: Emulator) -> None:
    """A service that takes no token, however fresh: 77 after three of them, not an endless loop."""
    place.pictures(5)
    place.job()
    emulator.plan = plan({"kind": "code", "code": 110})
    assert clear(place.run()).code == 77
    assert emulator.counters.tokens_issued == 3


# -- 69


def test_69_nobody_listens(apart: Place) -> None:
    """A dead endpoint: 69 once patience is over, soon, with the address."""
    apart.pictures(3)
    apart.endpoint = dead_endpoint()
    apart.job(limits={"patience": 1})
    done = clear(apart.run())
    assert done.code == 69
    assert apart.endpoint in done.err
    assert apart.summary()["stopped_by"]
    assert apart.failures() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http", "status": 500},
        {"kind": "reset"},
        {"kind": "not_json"},
        {"kind": "code", "code": 4},
        {"kind": "http", "status": 429},
        {"kind": "http", "status": 503, "service": "token"},
        {"kind": "not_json", "service": "token"},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_69_every_call_fails(place: Place, emulator: Emulator, fault: dict[str, Any]) -> None:
    """A service that does nothing but fail: 69, no image is blamed, and when it is well again all are answered."""
    keys = place.pictures(5)
    place.job(limits={"patience": 1, "qps": 20})
    emulator.plan = plan(fault)
    assert clear(place.run()).code == 69
    assert (place.failures(), place.rows()) == ([], [])
    emulator.plan = plan()
    assert place.run().code == 0
    assert images_of(place.rows()) == keys


def test_69_for_18_says_what_it_can_mean(place: Place, emulator: Emulator) -> None:
    """Refused for ever at the slowest rate: the message speaks of the free quota that was never claimed."""
    place.pictures(2)
    place.job(limits={"patience": 1, "qps": 20})
    emulator.configure(qps=0)
    done = clear(place.run())
    assert done.code == 69
    assert "claimed" in done.err


def test_69_twenty_malformed_requests(place: Place, emulator: Emulator) -> None:
    """A job whose every request is refused is misconfigured: stop after twenty, not after a million."""
    place.pictures(60)
    place.job(limits={"qps": 50})
    emulator.plan = plan({"kind": "code", "code": 216101})
    done = clear(place.run())
    assert done.code == 69
    assert "misconfigured" in done.err
    assert emulator.counters.calls["advanced_general"] == 20


def test_a_service_that_recovers_within_patience_costs_no_attempt(place: Place, emulator: Emulator) -> None:
    """While nothing succeeds failures spend no attempts: with a single attempt per image all are answered."""
    keys = place.pictures(8)
    place.job(limits={"patience": 20, "attempts": 1, "qps": 50})
    emulator.plan = plan({"kind": "http", "status": 502, "to": 4})
    assert place.run().code == 0
    assert (images_of(place.rows()), place.failures()) == (keys, [])


# -- 75


def test_75_the_limit_of_the_job_is_kept_across_jobs_and_runs(place: Place, emulator: Emulator) -> None:
    """limits.daily is counted per account: another job of the same key finds it used up; resume_at is midnight."""
    place.pictures(12)
    place.job(limits={"daily": 5})
    assert clear(place.run()).code == 75
    assert emulator.counters.calls["advanced_general"] == len(place.rows()) == 5
    resume = datetime.fromisoformat(place.summary()["resume_at"])
    assert (resume.utcoffset(), resume.hour, resume.minute, resume.second) == (timedelta(hours=8), 0, 0, 0)
    assert 0 < resume.timestamp() - now() <= 86_400
    assert place.run("--set", 'name="other"', "--set", 'output.directory="results/other"').code == 75
    assert emulator.counters.calls["advanced_general"] == 5
    assert place.run("--set", "limits.daily=20").code == 0


@pytest.mark.parametrize(("limit", "code"), [("daily", 17), ("total", 19)])
def test_75_the_service_says_that_it_is_used_up(place: Place, emulator: Emulator, limit: str, code: int) -> None:
    """17 and 19 close a step; each later run spends one call to see whether that still holds, then goes on."""
    keys = place.pictures(12)
    place.job(limits={"qps": 20})
    emulator.configure(**{limit: 4})
    assert clear(place.run()).code == 75
    assert len(place.rows()) == 4
    assert (place.summary()["resume_at"] is None) == (code == 19)
    assert str(code) in place.batchrec("quota").out
    before = emulator.counters.calls["advanced_general"]
    assert place.run().code == 75
    assert emulator.counters.calls["advanced_general"] == before + 1
    emulator.configure(**{limit: None})
    assert place.run().code == 0
    assert images_of(place.rows()) == keys


def test_75_a_used_up_step_leaves_the_others_alone(place: Place, emulator: Emulator) -> None:
    """One service is used up; the other answers every image; then 75."""
    keys = place.pictures(10)
    place.job(steps=[{"service": "dish", "daily": 3}, {"service": "animal"}])
    assert place.run().code == 75
    assert images_of([row for row in place.rows() if row["step"] == "animal"]) == keys
    assert emulator.counters.calls["dish"] == 3


def test_75_limits_total_is_what_a_pack_holds(place: Place, emulator: Emulator) -> None:
    """limits.total is kept to over runs; nobody knows when it ends, so there is no resume_at."""
    place.pictures(8)
    place.job(limits={"total": 3})
    assert place.run().code == 75
    assert place.run().code == 75
    assert (emulator.counters.calls["advanced_general"], place.summary()["resume_at"]) == (3, None)


def test_on_daily_limit_wait_stays(place: Place, emulator: Emulator) -> None:
    """With "wait" the run sleeps at the limit, sends nothing, and heeds a signal."""
    place.pictures(8)
    place.job(limits={"daily": 3, "on_daily_limit": "wait"})
    running = place.start_run()
    until(lambda: place.row_count() == 3)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(1)
    running.send(signal.SIGTERM)
    assert clear(running.wait()).code == 75
    assert emulator.counters.calls["advanced_general"] == 3


# -- 129, 130, 143


EACH_SIGNAL = pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)


@EACH_SIGNAL
def test_a_signal_finishes_and_records_the_paid_calls(
    place: Place, emulator: Emulator, number: signal.Signals, code: int
) -> None:
    """After the first signal no call leaves, and every call that had left is answered and recorded."""
    keys = place.pictures(60)
    place.job(limits={"qps": 40})
    emulator.configure(latency=0.5)
    running = place.start_run()
    until(lambda: emulator.counters.in_flight >= 5)
    running.send(number)
    assert clear(running.wait()).code == code
    assert len(place.rows()) == emulator.counters.outcomes["advanced_general"]["ok"] < len(keys)
    assert place.summary()["calls"] == len(place.rows())
    assert place.summary()["stopped_by"] == number.name
    emulator.configure(latency=0)
    assert place.run().code == 0
    assert (images_of(place.rows()), place.summary()["outcome_unknown"]) == (keys, 0)


@EACH_SIGNAL
def test_a_signal_before_the_first_call_sends_nothing(
    place: Place, emulator: Emulator, number: signal.Signals, code: int
) -> None:
    """A signal while the inputs are still listed: nothing is sent, and the code is that of the signal."""
    place.pictures(1)
    for copy in range(10_000):
        (place.root / "家居" / f"link-{copy}.png").symlink_to("家居_0000.png")
    place.job()
    running = place.start_run()
    until((place.output / "journal.db-wal").exists)
    running.send(number)
    assert clear(running.wait()).code == code
    assert emulator.counters.calls["advanced_general"] == 0


# -- 1


def test_1_garbage_fails_locally_and_by_name(place: Place, emulator: Emulator) -> None:
    """What is no picture is failed with kind `image` and a word, nothing is sent for it, the others are answered."""
    keys = place.pictures(3)
    broken = {
        "家居/page.jpg": (b"<html><body>404 Not Found</body></html>", "not_an_image"),
        "家居/empty.png": (b"", "empty"),
        "家居/torn.jpg": (picture(90, "JPEG", (200, 200))[:3000], "torn"),
        "家居/small.png": (picture(91, "PNG", (14, 20)), "too_small"),
        "家居/long.png": (picture(92, "PNG", (200, 50)), "too_long"),
    }
    for key, (data, _) in broken.items():
        place.put(key, data)
    place.put("list.txt", f"{keys[0]}\n家居/gone.jpg\n".encode())
    place.job(input={"manifest": "list.txt"})
    done = clear(place.run())
    assert (done.code, images_of(place.rows())) == (1, keys)
    failures = place.failures()
    expected = {key: word for key, (_, word) in broken.items()} | {"家居/gone.jpg": "unreadable"}
    assert {row["image"]: row["code"] for row in failures} == expected
    assert {row["image"]: row["kind"] for row in failures} == {
        **dict.fromkeys(broken, "image"),
        "家居/gone.jpg": "read",
    }
    wanted = ("image", "step", "service", "kind", "code", "message", "attempts", "failed_at")
    assert all(tuple(row) == wanted and row["message"] for row in failures)
    assert {row["attempts"] for row in failures} == {0}
    assert emulator.counters.calls["advanced_general"] == len(keys)
    assert place.summary()["failed"] == len(expected)


def test_1_attempts_that_are_spent(place: Place, emulator: Emulator) -> None:
    """An image that fails while others succeed gets `attempts` tries, then a row in failures.jsonl; no more later."""
    place.pictures(30)
    place.job(limits={"qps": 50, "attempts": 2})
    emulator.plan = plan({"kind": "code", "code": 282000, "share": 0.4})
    done = clear(place.run())
    assert done.code == 1
    failures = place.failures()
    assert failures
    assert {(row["kind"], row["code"], row["attempts"]) for row in failures} == {("transient", 282000, 2)}
    assert len(place.rows()) + len(failures) == 30
    before = calls_of(emulator)
    assert (place.run().code, calls_of(emulator)) == (0, before)


def test_1_the_service_refuses_an_image(place: Place, emulator: Emulator) -> None:
    """The service's own verdict on an image is final: one call, the service's number and words."""
    place.pictures(5)
    place.job()
    emulator.plan = plan({"kind": "code", "code": 216201, "calls": [2]})
    assert clear(place.run()).code == 1
    (failure,) = place.failures()
    assert (failure["kind"], failure["code"], failure["attempts"]) == ("image", 216201, 1)
    assert emulator.counters.calls["advanced_general"] == 5


# -- 66, and which code wins


def test_66_without_any_image_warns(place: Place, emulator: Emulator) -> None:
    """A glob without a match, or an empty folder: warnings, and empty results."""
    (place.root / "empty").mkdir()
    place.job(input={"paths": ["empty", "nothing/*.jpg"]})
    done = clear(place.run())
    assert (done.code, calls_of(emulator)) == (66, 0)
    assert "nothing/*.jpg" in done.err
    assert "no image at all" in done.err
    assert (place.output / "results.jsonl").read_bytes() == b""
    assert (place.output / "failures.jsonl").read_bytes() == b""
    assert place.summary()["images"] == 0


def test_77_wins_over_75(place: Place, emulator: Emulator) -> None:
    """One step not permitted, the other used up: 77."""
    place.pictures(5)
    place.job(steps=[{"service": "dish"}, {"service": "animal", "daily": 2}])
    emulator.configure(services=frozenset({"animal"}))
    assert place.run().code == 77


def test_75_wins_over_1(place: Place) -> None:
    """Some images failed and the day is used up: 75, since the rest is still to come."""
    place.pictures(5)
    place.put("家居/000.jpg", b"no picture")
    place.job(limits={"daily": 2})
    assert place.run().code == 75
    assert len(place.failures()) == 1


def test_69_wins_over_75(place: Place, emulator: Emulator) -> None:
    """One step used up, the other's service down: 69."""
    place.pictures(5)
    place.job(steps=[{"service": "dish", "daily": 2}, {"service": "animal"}], limits={"patience": 1})
    emulator.plan = plan({"kind": "http", "status": 500, "service": "animal"})
    assert place.run().code == 69


def test_calls_to_an_emulator_cost_the_real_account_nothing(place: Place) -> None:
    """What one endpoint counted does not stop another: the same key at two emulators has two counts."""
    place.pictures(4)
    place.job(limits={"daily": 4})
    assert place.run().code == 0
    with emulating(Settings()) as other:
        place.endpoint = other.url
        place.job(limits={"daily": 4}, output={"directory": "results/other"})
        assert place.run().code == 0
        assert other.counters.calls["advanced_general"] == 4
