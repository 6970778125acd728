"""Runs at night: log files, notifications, metrics, schedules of one's own crontab and units, the check before."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from harness import JOB, Place
from terminal import on_terminal

from batchrec.emulator import Emulator

TOKEN = "a-secret-of-the-address-4711"


class Hook(HTTPServer):
    """A server that keeps the requests that it gets; `status` is its reply."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.got: list[tuple[str, str, dict[str, object]]] = []
        self.status = 200

    @property
    def url(self) -> str:
        """Its address, which holds a secret."""
        return f"http://127.0.0.1:{self.server_port}/{TOKEN}"


class _Keep(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, self.headers["Batchrec-Event"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Print nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook under way."""
    server = Hook()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def notified(place: Place, text: str, mode: int = 0o600) -> None:
    """Write notify.toml."""
    place.config.mkdir(mode=0o700, exist_ok=True)
    path = place.config / "notify.toml"
    path.write_text(text)
    path.chmod(mode)


def test_a_failure_is_told_and_the_recovery_once(place: Place, hook: Hook) -> None:
    """By a webhook: the exit code ends the address, the body is summary.json; good nights after it are silent."""
    notified(place, f'[ops]\nurl = "{hook.url}"\n')
    place.pictures(1)
    place.job(notify={"use": "ops", "on": ["attention"]}, input={"paths": ["家居"], "exclude": ["**/*"]})
    failed = place.run()
    assert failed.code == 66
    place.job(notify={"use": "ops", "on": ["attention"]})
    assert [place.run().code for _night in range(3)] == [0, 0, 0]
    assert [(path, event) for path, event, _body in hook.got] == [
        (f"/{TOKEN}/66", "attention"),
        (f"/{TOKEN}/0", "recovered"),
    ]
    summary = json.loads((place.output / "summary.json").read_bytes())
    assert hook.got[1][2].keys() == summary.keys()
    assert (hook.got[1][2]["job"], hook.got[1][2]["exit_code"]) == (JOB, 0)


def test_a_command_is_told_of_failed_images_and_of_the_recovery_once(place: Place) -> None:
    """Failed images are `failed`, not `attention`; the night after is told as recovered, later ones are silent."""
    notified(place, '[ops]\ncommand = ["sh", "-c", "echo $BATCHREC_EVENT $BATCHREC_EXIT_CODE >>told"]\n')
    place.pictures(1)
    place.put("家居/torn.png", b"no picture")
    place.job(notify={"use": "ops", "on": ["failed", "attention"]})
    assert [place.run().code for _night in range(3)] == [1, 0, 0]
    assert (place.root / "told").read_text().splitlines() == ["failed 1", "recovered 0"]


def test_start_and_end_are_told_to_a_command(place: Place) -> None:
    """The summary comes on standard input, the event in the environment; keys do not."""
    notified(place, '[ops]\ncommand = ["sh", "-c", "cat >>bodies; echo >>bodies; env >>variables"]\n')
    place.pictures(1)
    place.job(notify={"use": "ops", "on": ["start", "finished", "failed"]})
    assert place.run().code == 0
    bodies = [json.loads(line) for line in (place.root / "bodies").read_text().splitlines()]
    assert bodies[1] == json.loads((place.output / "summary.json").read_bytes())
    variables = (place.root / "variables").read_text()
    assert "BATCHREC_EVENT=start" in variables
    assert "BATCHREC_EVENT=finished" in variables
    assert "BATCHREC_EXIT_CODE=0" in variables
    assert "BAIDU_SECRET_KEY" not in variables


@pytest.mark.parametrize("command", ['["sh", "-c", "echo no; exit 3"]', '["no-such-command"]'])
def test_a_notifier_that_fails_is_a_line(place: Place, command: str) -> None:
    """The exit code stays that of the run."""
    notified(place, f"[ops]\ncommand = {command}\n")
    place.pictures(1)
    place.job(notify={"use": "ops", "on": ["finished"]})
    done = place.run()
    assert done.code == 0
    assert len([line for line in done.err.splitlines() if "is not told" in line]) == 1


def test_an_address_is_masked(place: Place, hook: Hook) -> None:
    """A webhook that refuses is a line without its address, in the log file too."""
    hook.status = 500
    notified(place, f'[ops]\nurl = "{hook.url}"\n')
    place.pictures(1)
    place.job(notify={"use": "ops", "on": ["finished"]})
    done = place.run("--log-file", "night.log")
    said = done.err + (place.root / "night.log").read_text()
    assert done.code == 0
    assert "HTTP 500" in said
    assert TOKEN not in said


def test_notify_toml_is_private_and_job_files_hold_no_address(place: Place) -> None:
    """Exit code 2: others can read it; the table is missing; an address stands in a job file, and is not shown."""
    place.pictures(1)
    place.job(notify={"use": "ops"})
    notified(place, '[ops]\nurl = "https://example.com/x"\n', 0o644)
    assert (place.run().code, "chmod 600" in place.run().err) == (2, True)
    notified(place, '[other]\nurl = "https://example.com/x"\n')
    assert (place.run().code, "no table [ops]" in place.run().err) == (2, True)
    place.job(notify={"use": "ops", "url": f"https://example.com/{TOKEN}"})
    done = place.run()
    assert done.code == 2
    assert f"{JOB}.toml" in done.err
    assert "notify.toml" in done.err
    assert TOKEN not in done.err


def test_metrics_of_a_failed_run_keep_the_last_success(place: Place) -> None:
    """promtool takes both files; the second has exit code 66 and the success of the first."""
    place.pictures(1)
    place.job()
    path = place.root / "m.prom"
    found = []
    for exclude, code in (([], 0), (["**/*"], 66)):
        place.job(input={"paths": ["家居"], "exclude": exclude})
        assert place.run("--metrics", str(path), under=("sh", "-c", 'umask 077; exec "$@"', "sh")).code == code
        assert path.stat().st_mode & 0o777 == 0o644
        checked = subprocess.run(["promtool", "check", "metrics"], input=path.read_bytes(), capture_output=True)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
        found.append(values(path))
    success = "batchrec_last_success_timestamp_seconds"
    assert [each["batchrec_last_run_exit_code"] for each in found] == [0, 66]
    assert found[0][success] == found[0]["batchrec_last_run_timestamp_seconds"] == found[1][success]
    assert found[1]["batchrec_last_run_timestamp_seconds"] > found[1][success]


def values(path: Path) -> dict[str, float]:
    """Metrics of a file by their names without labels."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_a_log_file_has_times_and_a_header(place: Place) -> None:
    """Two runs are told apart; standard error has no line, since nothing is wrong."""
    place.pictures(2)
    place.job()
    quiet = [place.run("--log-file", "night.log").err for _night in range(2)]
    lines = (place.root / "night.log").read_text().splitlines()
    assert quiet == ["", ""]
    assert all(line[4] == line[7] == "-" and line[10] == "T" and line[19] in "+-" for line in lines)
    assert [line.partition("job ")[2] for line in lines if ", job " in line] == [
        f"{JOB}: 2 images, 2 remaining",
        f"{JOB}: 2 images, 0 remaining",
    ]
    assert [line.endswith(f"{JOB}: exit code 0") for line in lines].count(True) == 2


def test_a_log_file_is_rotated(place: Place) -> None:
    """At 10 MB the file gets the name .1, the run goes on in a new one, and the oldest of six is dropped."""
    place.pictures(1)
    place.job()
    log = place.root / "night.log"
    log.write_bytes(b"x" * 9_999_998 + b"\n")
    for number in range(1, 6):
        log.with_suffix(f".log.{number}").write_text(f"{number}\n")
    assert place.run("--log-file", "night.log").code == 0
    kept = [log.with_suffix(f".log.{number}") for number in range(1, 6)]
    assert [file.read_text() for file in kept[1:]] == ["1\n", "2\n", "3\n", "4\n"]
    assert kept[0].stat().st_size == 9_999_999
    assert log.read_text().splitlines()[-1].endswith(f"{JOB}: exit code 0")
    assert len(list(place.root.glob("night.log*"))) == 6


def test_a_log_file_has_the_progress_that_a_terminal_shows_live(apart: Place) -> None:
    """Beside a live display the file gets plain lines, without a control character."""
    apart.pictures(2)
    apart.job()
    argv = [sys.executable, "-m", "batchrec", "run", f"{JOB}.toml", "--log-file", "night.log"]
    code, _shown = on_terminal(argv, apart.root, apart.env)
    log = (apart.root / "night.log").read_text()
    assert code == 0
    assert "advanced_general 2/2" in log
    assert "\x1b" not in log


def test_errors_reach_standard_error_beside_a_log_file(place: Place) -> None:
    """So cron sends a mail; the log file has the same line."""
    place.job()
    done = place.run("--log-file", "night.log")
    assert done.code == 2
    assert done.err.strip()
    assert done.err.strip() in (place.root / "night.log").read_text()


def test_a_log_in_json_is_json_and_english(place: Place) -> None:
    """Each line of standard error is an object with time, level and message, in any locale."""
    place.pictures(1)
    place.job()
    done = place.run("--log-format", "json", env={"BATCHREC_LANG": "zh"})
    records = [json.loads(line) for line in done.err.splitlines()]
    assert all({"time", "level", "message"} <= record.keys() for record in records)
    assert records[-1]["message"] == f"{JOB}: exit code 0"
    assert records[-1]["exit_code"] == 0
    assert any("1 image done" in record["message"] for record in records)


def test_an_endpoint_that_is_away_is_told_once(place: Place, emulator: Emulator) -> None:
    """The same warning comes once within a minute, however often it is tried."""
    place.pictures(2)
    place.job(account={"endpoint": "http://127.0.0.1:9"}, limits={"patience": 6})
    done = place.run(env={"BATCHREC_ENDPOINT": "http://127.0.0.1:9"})
    assert done.code == 69
    assert len([line for line in done.err.splitlines() if "WARNING no token yet" in line]) == 1


# -- schedules


def with_crontab(place: Place, table: str) -> Path:
    """Give the place a command `crontab` that keeps its table in a file; the file."""
    kept, shim = place.root / "table", place.root / "bin" / "crontab"
    kept.write_text(table)
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat "{kept}"; else cat >"{kept}.new"; mv "{kept}.new" "{kept}"; fi\n'
    )
    shim.chmod(0o755)
    place.env["PATH"] = f"{shim.parent}:{place.env['PATH']}"
    del place.env["BAIDU_API_KEY"], place.env["BAIDU_SECRET_KEY"]
    return kept


def test_install_list_and_remove(apart: Place) -> None:
    """Installing again replaces the block; removing leaves the table as it was, and again is exit code 2."""
    table = "# mine\n0  2 * * *\tbackup\n"
    kept = with_crontab(apart, table)
    apart.pictures(1)
    job = str(apart.job())
    first = apart.batchrec("schedule", "install", job)
    assert (first.code, first.out.count("00:10 Beijing")) == (0, 3)
    assert apart.batchrec("schedule", "install", job, "--at", "30 1 * * *").code == 0
    text = kept.read_text()
    assert text.startswith(table)
    assert text.count(">>>") == 2
    assert f"BATCHREC_STATE_DIR={apart.state}" in text
    listed = apart.batchrec("schedule", "list")
    assert "30 1 * * * Asia/Shanghai, by cron" in listed.out
    assert apart.batchrec("schedule", "remove", job).code == 0
    assert kept.read_text() == table
    assert apart.batchrec("schedule", "remove", job).code == 2


@pytest.mark.parametrize(
    "words", [("--at", "@daily"), ("--at", "0 0 0 * * *"), ("--zone", "Europe/Berlin"), ("--zone", "x")]
)
def test_a_refused_schedule_leaves_the_crontab(apart: Place, words: tuple[str, str]) -> None:
    """Exit code 2 with the reason."""
    kept = with_crontab(apart, "# mine\n")
    apart.pictures(1)
    done = apart.batchrec("schedule", "install", str(apart.job()), *words)
    assert (done.code, kept.read_text()) == (2, "# mine\n")
    assert words[0] in done.err


def test_a_machine_without_cron_is_told_what_to_use(apart: Place) -> None:
    """Exit code 2 naming --systemd."""
    apart.pictures(1)
    done = apart.batchrec(
        "schedule", "install", str(apart.job()), env={"PATH": "/nowhere", "BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}
    )
    assert (done.code, "--systemd" in done.err) == (2, True)


def test_keys_in_variables_are_refused(place: Place) -> None:
    """cron has no such variables: the remedy is `batchrec login`, and no key is shown."""
    place.pictures(1)
    done = place.batchrec("schedule", "install", str(place.job()), "--dry-run")
    assert (done.code, "batchrec login" in done.err) == (2, True)
    assert place.env["BAIDU_SECRET_KEY"] not in done.out + done.err


def test_units_are_verified_by_systemd(apart: Place) -> None:
    """systemd-analyze takes service and timer; `systemctl` is one that says yes."""
    with_crontab(apart, "")
    shim = apart.root / "bin" / "systemctl"
    shim.write_text(f'#!/bin/sh\necho "$@" >>{apart.root}/systemctl.log\n')
    shim.chmod(0o755)
    apart.pictures(1, "夜 100%$x")
    job = apart.job(input={"paths": ["夜 100%$x"]})
    assert apart.batchrec("schedule", "install", str(job), "--systemd").code == 0
    units = sorted((apart.root / ".config" / "systemd" / "user").iterdir())
    assert [unit.suffix for unit in units] == [".service", ".timer"]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "OnCalendar=*-*-* 00:10:00 Asia/Shanghai" in units[1].read_text()
    assert "enable --now" in (apart.root / "systemctl.log").read_text()
    assert "by systemd" in apart.batchrec("schedule", "list").out
    assert apart.batchrec("schedule", "remove", str(job)).code == 0
    assert not any(unit.exists() for unit in units)


def test_doctor_finds_what_is_wrong(place: Place) -> None:
    """Each check has a status; a problem has a remedy and makes the exit code 1."""
    place.pictures(1)
    job = place.job()
    fast = place.batchrec("doctor", str(job))  # the clock of the tests is ahead of the emulator's
    assert (fast.code, "problem  clock" in fast.out, "remedy: set the clock" in fast.out) == (1, True, True)
    place.set_clock(time.time())
    good = place.batchrec("doctor", str(job), "--json")
    found = json.loads(good.out)
    named = {check["name"] for check in found["checks"]}
    assert {
        "job file",
        "credentials",
        "proxy",
        "service",
        "clock",
        "disk",
        "locks",
        "state folder",
        "schedule",
    } <= named
    assert (good.code, [check for check in found["checks"] if check["status"] == "problem"]) == (0, [])
    other = place.root / ".local" / "state" / "batchrec"
    other.mkdir(parents=True)
    (other / "quota.db").touch()
    away = place.batchrec("doctor", str(job), env={"BATCHREC_ENDPOINT": "http://127.0.0.1:9"})
    assert away.code == 1
    assert "problem  service" in away.out
    assert f"another one in use: {other}" in away.out
    assert place.env["BAIDU_SECRET_KEY"] not in good.out + away.out
