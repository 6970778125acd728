"""The other commands: recognize, services, errors, init, login, quota, emulator, help."""

import json
import signal
import sys
import tomllib

import pytest
from harness import KEY, SECRET, Place, calls_of, images_of, picture, until
from terminal import on_terminal
from typer.testing import CliRunner

from batchrec.api.codes import CODES, WORDS
from batchrec.api.services import SERVICES
from batchrec.cli import app
from batchrec.emulator import Emulator, FaultPlan

COMMANDS = (
    *("run", "demo", "recognize", "services", "errors", "emulator", "login", "init"),
    *("quota", "quota set", "quota open"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    """--help of every command shows how it is used."""
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert f"Example: batchrec {command}" in " ".join(done.output.split())


def test_version(apart: Place) -> None:
    """--version prints name and number, and ends with 0."""
    done = apart.batchrec("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[0] == "batchrec"
    assert done.out.split()[1][0].isdigit()


# -- recognize


def test_recognize_prints_rows(place: Place, emulator: Emulator) -> None:
    """One-off: rows as in results.jsonl on standard output, one a line, nothing else there; exit 0."""
    keys = place.pictures(3)
    done = place.batchrec(
        "recognize", *keys, "--service", "animal", "--option", "top_num=2", "--endpoint", emulator.url
    )
    assert done.code == 0
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert images_of(rows) == keys
    assert {row["service"] for row in rows} == {"animal"}
    assert all(len(row["response"].get("result", [])) <= 2 for row in rows)
    assert sorted(path.name for path in place.root.iterdir() if not path.name.startswith("log-")) == ["state", "家居"]


def test_recognize_tells_failures_on_standard_error(place: Place) -> None:
    """An image without an answer is told on standard error with its reason, the others are printed; exit 1."""
    (good,) = place.pictures(1)
    bad = place.put("家居/page.jpg", b"<html>")
    done = place.batchrec("recognize", good, bad, env={"BATCHREC_ENDPOINT": place.endpoint})
    assert done.code == 1
    assert images_of([json.loads(line) for line in done.out.splitlines()]) == [good]
    assert bad in done.err
    assert "not_an_image" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nowhere.jpg",), 2, 'files[0]: "nowhere.jpg" does not exist'),
        (("家居", "--service", "animel"), 2, 'did you mean "animal"'),
        (("家居", "--option", "top_num"), 2, "K=V"),
        (("家居", "--service", "animal", "--option", "top_nun=1"), 2, "options.top_nun: "),
        (("家居", "--service", "easydl_classification"), 2, "model"),
        (("家居", "--endpoint", "ftp://x"), 2, "endpoint"),
        ((), 2, "FILE"),
    ],
)
def test_recognize_says_what_is_wrong(apart: Place, arguments: tuple[str, ...], code: int, says: str) -> None:
    """Wrong files, services, options: exit 2 and one clear message, which speaks of what was typed."""
    apart.pictures(1)
    done = apart.batchrec("recognize", *arguments, env={"BATCHREC_ENDPOINT": "embedded"})
    assert (done.code, done.out) == (code, "")
    assert says in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_recognize_with_a_wrong_secret(place: Place, emulator: Emulator) -> None:
    """A refused key: 77, with the reason."""
    keys = place.pictures(2)
    emulator.configure(secret_key="another")
    done = place.batchrec("recognize", *keys, "--endpoint", emulator.url)
    assert (done.code, done.out) == (77, "")
    assert "batchrec login" in done.err


def test_recognize_into_a_pipe_that_closes(place: Place) -> None:
    """`batchrec recognize ... | head -1` ends quietly and soon."""
    keys = place.pictures(40)
    piped = ("bash", "-c", '"$@" | head -1', "batchrec")
    done = place.batchrec("recognize", *keys, env={"BATCHREC_ENDPOINT": place.endpoint}, under=piped)
    assert len(done.out.splitlines()) == 1
    assert "Traceback" not in done.err
    assert "defect" not in done.err


@pytest.mark.parametrize("times", [1, 2])
def test_recognize_interrupted(place: Place, emulator: Emulator, times: int) -> None:
    """Ctrl-C, once or twice: the rows that are there were printed, 130, no traceback, no folder left."""
    keys = place.pictures(20)
    (place.root / "temporary").mkdir()
    environment = {"TMPDIR": str(place.root / "temporary")}
    running = place.start("recognize", *keys, "--endpoint", emulator.url, env=environment)
    until(lambda: running.said()[0].count("\n") >= 2)
    if times == 2:
        emulator.plan = FaultPlan.parse({"faults": [{"kind": "hang"}]})
        until(lambda: emulator.counters.outcomes["advanced_general"].get("hang", 0) >= 1)
    for count in range(times):
        running.send(signal.SIGINT)
        until(lambda count=count: count or "SIGINT" in running.said()[1])
    done = running.wait(10)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert len([json.loads(line) for line in done.out.splitlines()]) < len(keys)
    assert list((place.root / "temporary").iterdir()) == []


def test_recognize_easydl(place: Place, emulator: Emulator) -> None:
    """A model of one's own, by name."""
    (key,) = place.pictures(1)
    arguments = ("--service", "easydl_detection", "--model", "itcast_fruit", "--endpoint", emulator.url)
    done = place.batchrec("recognize", key, *arguments)
    assert (done.code, json.loads(done.out)["model"]) == (0, "itcast_fruit")


def test_recognize_without_an_account(apart: Place) -> None:
    """--endpoint embedded needs no key."""
    (key,) = apart.pictures(1)
    done = apart.batchrec("recognize", key, "--endpoint", "embedded", env={"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""})
    assert done.code == 0


@pytest.mark.parametrize("command", [("recognize", "家居", "--endpoint", "embedded"), ("services",), ("errors",)])
def test_standard_output_that_is_full_or_closed(apart: Place, command: tuple[str, ...]) -> None:
    """Nowhere to write: 74 and one line where the disk is full; closed on purpose (`>&-`) is no error."""
    apart.pictures(2)
    full = apart.batchrec(*command, under=("bash", "-c", '"$@" > /dev/full', "batchrec"))
    assert (full.code, full.err) == (74, "standard output: cannot be written: No space left on device\n")
    closed = apart.batchrec(*command, under=("bash", "-c", '"$@" <&- >&- 2>&-', "batchrec"))
    assert closed.code == 0


# -- catalogue


def test_services_and_errors_list_everything(apart: Place) -> None:
    """The catalogue and the table of codes, whole, and the details of each row."""
    services = apart.batchrec("services")
    assert services.code == 0
    assert all(name in services.out for name in SERVICES)
    errors = apart.batchrec("errors")
    assert errors.code == 0
    assert all(str(code) in errors.out for code in CODES)
    assert all(word in errors.out for word in WORDS)


def test_one_service_one_code(apart: Place) -> None:
    """Details of one; an unknown one is exit 2 with a hint."""
    assert "top_num" in apart.batchrec("services", "dish").out
    assert "throttled" in apart.batchrec("errors", "18").out
    assert "unknown" in apart.batchrec("errors", "99999").out
    assert "kind: image" in apart.batchrec("errors", "unreadable").out
    wrong = apart.batchrec("services", "dishes")
    assert wrong.code == 2
    assert "dish" in wrong.err
    assert apart.batchrec("errors", "whatever").code == 2


# -- init


def test_init_writes_a_job_file_that_runs(apart: Place) -> None:
    """The written file loads as it stands and runs once its paths are set; an existing file is never touched."""
    done = apart.batchrec("init", "new.toml")
    assert done.code == 0
    text = (apart.root / "new.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    apart.put("pictures/a.png", picture(1))
    arguments = ("--set", 'input.paths=["pictures"]', "--set", 'account.endpoint="embedded"')
    assert apart.batchrec("run", "new.toml", *arguments).code == 0
    assert content["recognize"]
    again = apart.batchrec("init", "new.toml")
    assert again.code == 2
    assert "new.toml" in again.err
    assert (apart.root / "new.toml").read_text(encoding="utf-8") == text
    assert apart.batchrec("init", "no/such/folder/new.toml").code == 2


# -- demo


def test_demo_runs_once(apart: Place) -> None:
    """Job, photographs and results land in one folder, which is named; the second run makes no call."""
    first = apart.batchrec("demo", env={"BATCHREC_ENDPOINT": "http://127.0.0.1:9"})
    assert first.code == 0, first.err
    assert "batchrec run batchrec-demo/demo.toml" in first.err
    assert "koala.jpg" in first.out
    assert (apart.root / "batchrec-demo" / "results" / "demo" / "results.csv").exists()
    assert [path.name for path in apart.root.iterdir() if "demo" in path.name] == ["batchrec-demo"]
    again = apart.batchrec("demo")
    assert again.code == 0
    assert "0 calls in" in again.err
    assert apart.batchrec("run", "batchrec-demo/demo.toml").code == 0


def test_demo_keeps_what_was_changed(apart: Place) -> None:
    """An edited job file stays edited, and a folder can be named."""
    job = apart.root / "试一试" / "demo.toml"
    job.parent.mkdir()
    job.write_text(
        'input = { paths = ["photos/工具"] }\nrecognize = [{ service = "advanced_general" }]\n'
        'account = { endpoint = "embedded" }\n',
        encoding="utf-8",
    )
    done = apart.batchrec("demo", "试一试")
    assert done.code == 0, done.err
    assert "5 images" in done.err


def test_demo_overwrites_nothing(apart: Place) -> None:
    """A file in the folder's place: exit 2, and it is as it was."""
    apart.put("batchrec-demo", b"mine")
    done = apart.batchrec("demo")
    assert done.code == 2
    assert "batchrec demo FOLDER" in done.err
    assert (apart.root / "batchrec-demo").read_bytes() == b"mine"


# -- login


def login(place: Place, endpoint: str, key: str = KEY, secret: str = SECRET) -> tuple[int, str]:
    """`batchrec login` by a person at a terminal."""
    argv = (sys.executable, "-m", "batchrec", "login", "--profile", "shop", "--account", "ours", "--endpoint", endpoint)
    return on_terminal(argv, place.root, place.env, [("API Key", key + "\n"), ("Secret Key", secret + "\n")])


def test_login_keeps_a_key_that_works(place: Place, emulator: Emulator) -> None:
    """Asked for, not echoed, tried with one token call, kept 0600; a job with that profile runs."""
    code, shown = login(place, emulator.url)
    assert code == 0
    assert KEY not in shown
    assert SECRET not in shown
    assert dict(emulator.counters.calls) == {"token": 1}
    path = place.config / "credentials.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    kept = {"api_key": KEY, "secret_key": SECRET, "account": "ours", "endpoint": emulator.url}
    assert tomllib.loads(path.read_text())["shop"] == kept
    place.pictures(1)
    place.job(account={"profile": "shop"})
    assert place.run(env={"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}).code == 0
    assert "ours" in place.batchrec("quota").out


def test_login_keeps_no_key_that_does_not_work(place: Place, emulator: Emulator) -> None:
    """A refused key is not kept: 77."""
    emulator.configure(secret_key="another")
    code, shown = login(place, emulator.url)
    assert code == 77
    assert SECRET not in shown
    assert not (place.config / "credentials.toml").exists()


def test_login_interrupted(apart: Place) -> None:
    """Ctrl-C at the prompt: 130, no traceback, nothing kept."""
    argv = (sys.executable, "-m", "batchrec", "login")
    code, shown = on_terminal(argv, apart.root, apart.env, [("API Key", "\x03")])
    assert code == 130
    assert "Traceback" not in shown
    assert not apart.config.exists()


DEAF = """
import signal, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
from batchrec.__main__ import main
sys.argv = ["batchrec", "login"]
main()
"""
"""Another thread takes Ctrl-C, so the read at the prompt is not interrupted, as when it comes just before the read."""


def test_login_interrupted_just_before_the_read(apart: Place) -> None:
    """A Ctrl-C that no system call saw ends the command all the same, and leaves a terminal that echoes."""
    echoes: list[bool] = []
    argv = (sys.executable, "-c", DEAF)
    code, shown = on_terminal(argv, apart.root, apart.env, [("API Key", "\x03")], at_end=echoes.append)
    assert code == 130
    assert "Traceback" not in shown
    assert echoes == [True]


# -- quota


def test_quota_shows_sets_and_opens(place: Place, emulator: Emulator) -> None:
    """Counts per account and service; `set` corrects them, and a run keeps to the correction; `open` opens."""
    assert place.batchrec("quota").code == 0
    place.pictures(5)
    place.job(limits={"daily": 10})
    assert place.run().code == 0
    assert place.counted() == 5
    assert place.batchrec("quota", "set", "advanced_general", "--today", "9", "--total", "1234").code == 0
    assert place.counted() == 9
    assert "1,234" in place.batchrec("quota").out
    place.pictures(3, start=20)
    assert place.run().code == 75
    assert place.summary()["calls"] == 1
    emulator.configure(total=1)
    place.job()
    assert place.run().code == 75
    assert "19" in place.batchrec("quota").out
    assert place.batchrec("quota", "open", "advanced_general").code == 0
    assert "quota open" not in place.batchrec("quota").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "dish"),
        ("set", "dish", "--today", "5"),
        ("open", "dish"),
        ("set", "dish", "--today", "-1", "--account", "a"),
        ("set", "dishes", "--today", "5", "--account", "a"),
        ("fly",),
    ],
)
def test_quota_says_what_is_wrong(apart: Place, arguments: tuple[str, ...]) -> None:
    """Nothing to set, nobody to set it for, not closed, negative, no such service: exit 2 and a message."""
    done = apart.batchrec("quota", *arguments)
    assert done.code == 2
    assert done.err.strip()
    assert "Traceback" not in done.err


# -- emulator


@pytest.mark.parametrize("plan", ["{", '{"faults": [{"kind": "fire"}]}', None])
def test_emulator_refuses_a_wrong_fault_plan(apart: Place, plan: str | None) -> None:
    """A fault plan that cannot be read or used: exit 2 with the reason."""
    if plan is not None:
        apart.put("faults.json", plan.encode())
    done = apart.batchrec("emulator", "--port", "0", "--faults", "faults.json")
    assert done.code == 2
    assert "faults.json" in done.err


def test_emulator_on_a_port_that_is_taken(place: Place, emulator: Emulator) -> None:
    """A port that somebody else has: exit 2, and the way out."""
    done = place.batchrec("emulator", "--port", emulator.url.rsplit(":", 1)[1])
    assert done.code == 2
    assert "--port" in done.err
    assert calls_of(emulator) == 0


def test_faults_of_the_command_line_emulator_are_those_of_the_file(apart: Place) -> None:
    """A plan that loads here loads there: the file's format is one."""
    path = apart.put("faults.json", b'{"seed": 1, "faults": [{"kind": "reset", "share": 0.5}]}')
    assert FaultPlan.load(apart.root / path).faults[0].kind == "reset"
