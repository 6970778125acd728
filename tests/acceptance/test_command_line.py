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
        (("nowhere.jpg",), 2, '"nowhere.jpg" does not exist'),
        (("家居", "--service", "animel"), 2, 'did you mean "animal"'),
        (("家居", "--option", "top_num"), 2, "K=V"),
        (("家居", "--service", "animal", "--option", "top_nun=1"), 2, "--option top_nun: "),
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
    done = running.wait()
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


def test_recognize_shows_a_table_on_a_terminal(apart: Place) -> None:
    """A terminal gets a table and a last line; with --json it gets the rows of results.jsonl."""
    (key,) = apart.pictures(1)
    apart.put("家居/notes.txt", b"words")
    command = (sys.executable, "-m", "batchrec", "recognize", "家居", "--endpoint", "embedded")
    code, shown = on_terminal((*command, "--progress", "plain"), apart.root, apart.env)
    assert code == 0
    assert "labels" in shown
    assert key in shown
    assert "sha256" not in shown
    assert "1 image done, 0 failed, 0 remaining" in shown
    assert "1 files ignored (1 text)" in shown
    code, shown = on_terminal((*command, "--json"), apart.root, apart.env)
    assert code == 0
    assert '"sha256"' in shown


def test_recognize_takes_a_rate_and_a_limit(place: Place, emulator: Emulator) -> None:
    """--limit 2 recognizes two of three images and ends with 0; --qps and --profile are the job's."""
    place.pictures(3)
    done = place.batchrec("recognize", "家居", "-n", "2", "--qps", "50", "--endpoint", emulator.url)
    assert done.code == 0
    assert len(done.out.splitlines()) == 2
    wrong = place.batchrec("recognize", "家居", "--qps", "0", "--endpoint", emulator.url)
    assert wrong.code == 2
    assert "qps: 0.0 is not above 0" in wrong.err


def test_recognize_expands_globs_and_refuses_one_without_a_match(apart: Place) -> None:
    """A quoted glob is expanded; one that matches nothing is exit 2, told with everything else that is missing."""
    keys = apart.pictures(2)
    done = apart.batchrec("recognize", "家居/*", "--endpoint", "embedded")
    assert done.code == 0
    assert images_of([json.loads(line) for line in done.out.splitlines()]) == sorted(keys)
    wrong = apart.batchrec("recognize", "家居/*", "x/*.jpg", "none.png", "--endpoint", "embedded")
    assert wrong.code == 2
    assert '"x/*.jpg" matches no file' in wrong.err
    assert '"none.png" does not exist' in wrong.err
    assert wrong.out == ""


def test_credentials_and_inputs_are_complained_about_together(apart: Place) -> None:
    """One run says all that is missing."""
    apart.job(input={"paths": ["nowhere"]}, account={"endpoint": "https://aip.baidubce.com", "profile": "shop"})
    done = apart.run(env={"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": "", "BATCHREC_ENDPOINT": ""})
    assert done.code == 2
    assert "there is no profile 'shop'" in done.err
    assert '"nowhere" does not exist' in done.err


def test_a_folder_in_place_of_a_job_file(apart: Place) -> None:
    """`run FOLDER` and `run IMAGE` are exit 2 with the line to type instead."""
    (key,) = apart.pictures(1)
    folder, image = apart.batchrec("run", "家居"), apart.batchrec("run", key)
    assert (folder.code, image.code) == (2, 2)
    assert "batchrec init 家居" in folder.err.replace("'", "")
    assert f"batchrec recognize {key}" in image.err.replace("'", "")


def test_a_command_that_takes_a_directory_takes_the_job_file(apart: Place) -> None:
    """`status` and `verify` look at the output directory of a job file; a complaint about the file is theirs too."""
    apart.pictures(2)
    path = apart.job(account={"endpoint": "embedded"})
    assert apart.run().code == 0
    name = str(path.relative_to(apart.root))
    assert json.loads(apart.batchrec("status", name, "--json").out)["answered"] == 2
    assert apart.batchrec("verify", name).code == 0
    path.write_text(path.read_text(encoding="utf-8") + "\nnonsense = 1\n", encoding="utf-8")
    wrong = apart.batchrec("status", name)
    assert wrong.code == 2
    assert "nonsense" in wrong.err


@pytest.mark.parametrize(("code", "says"), [("75", ["exit code 75"]), ("2", ["error code 2", "exit code 2"])])
def test_errors_explains_exit_codes(apart: Place, code: str, says: list[str]) -> None:
    """An exit code has its meaning and advice; a number that is both has both."""
    done = apart.batchrec("errors", code)
    assert done.code == 0
    assert [line.partition(":")[0] for line in done.out.splitlines() if " code " in line.partition(":")[0]] == says
    assert done.out.count("what helps: ") == len(says)


def test_a_service_may_be_typed_in_chinese_to_find_its_name(apart: Place) -> None:
    """The titles of the console lead to the name; none of them is taken as it is."""
    for title, name in (("通用物体和场景识别", "advanced_general"), ("菜品识别", "dish"), ("果蔬识别", "ingredient")):
        done = apart.batchrec("services", title)
        assert done.code == 2
        assert f'did you mean "{name}"?' in done.err


# -- catalogue


def test_errors_suggests_a_word_that_was_mistyped(apart: Place) -> None:
    """A mistyped word is refused, with the word that is nearest to it."""
    done = apart.batchrec("errors", "torm")

    assert done.code == 2
    assert "did you mean 'torn'?" in done.err


def test_errors_speaks_of_calls(apart: Place) -> None:
    """An image is called for again, not asked about: one term for one thing."""
    text = apart.batchrec("errors", "282000").out + apart.batchrec("errors", "18").out

    assert "call again" in text
    assert "ask" not in text


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
    """Twelve lines with the folder and its counts, no path of this machine; the file runs as it stands."""
    for number in range(3):
        apart.put(f"pictures/{number}.jpg", picture(number, "JPEG"))
    apart.put("pictures/3.png", picture(3))
    apart.put("pictures/notes.txt", b"words")
    done = apart.batchrec("init", "pictures", "--embedded")
    assert done.code == 0
    assert "4 images in pictures: 3 jpeg, 1 png; ignored: 1 text" in done.err
    text = (apart.root / "job.toml").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 12
    assert str(apart.root) not in text
    assert "4 images in pictures: 3 jpeg, 1 png" in text
    assert tomllib.loads(text) == {
        "input": {"paths": ["pictures"]},
        "recognize": [{"service": "advanced_general"}],
        "account": {"endpoint": "embedded"},
    }
    assert apart.batchrec("run", "job.toml", "-q").code == 0
    assert apart.batchrec("verify", "job.toml").code == 0
    assert json.loads(apart.batchrec("status", "job.toml", "--json").out)["images"] == 4


def test_init_never_overwrites(apart: Place) -> None:
    """An existing file is never touched, neither the job file nor the schema: exit 2."""
    apart.put("pictures/a.png", picture(1))
    assert apart.batchrec("init", "pictures", "--out", "new.toml").code == 0
    text = (apart.root / "new.toml").read_text(encoding="utf-8")
    again = apart.batchrec("init", "pictures", "--out", "new.toml", "--schema")
    assert again.code == 2
    assert "new.toml: exists already" in again.err
    assert (apart.root / "new.toml").read_text(encoding="utf-8") == text
    assert not (apart.root / "job.schema.json").exists()
    apart.put("job.schema.json", b"mine")
    assert apart.batchrec("init", "pictures", "--out", "other.toml", "--schema").code == 2
    assert not (apart.root / "other.toml").exists()
    assert (apart.root / "job.schema.json").read_bytes() == b"mine"


def test_init_writes_the_schema_beside_the_file(apart: Place) -> None:
    """With --schema the first line names the schema, which stands beside the file; without it no line does."""
    apart.put("pictures/a.png", picture(1))
    (apart.root / "jobs").mkdir()
    done = apart.batchrec("init", "pictures", "--out", "jobs/new.toml", "--schema", "--service", "animal")
    assert done.code == 0
    first, *others = (apart.root / "jobs" / "new.toml").read_text(encoding="utf-8").splitlines()
    assert first == "#:schema ./job.schema.json"
    assert tomllib.loads("\n".join(others))["input"] == {"paths": ["../pictures"]}
    assert json.loads((apart.root / "jobs" / "job.schema.json").read_text(encoding="utf-8"))["title"]
    assert apart.batchrec("init", "pictures", "--out", "jobs/second.toml", "--schema").code == 0  # the same schema


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "nowhere: there is no such folder"),
        (("new.toml",), "batchrec init --out new.toml"),
        (("--service", "通用物体和场景识别"), 'did you mean "advanced_general"?'),
        (("--out", "no/such/folder/new.toml"), "no/such/folder/new.toml: "),
    ],
)
def test_init_refuses(apart: Place, arguments: tuple[str, ...], says: str) -> None:
    """A mistake is exit 2 with the line that helps; nothing is written."""
    done = apart.batchrec("init", *arguments)
    assert done.code == 2
    assert says in done.err
    assert list(apart.root.glob("*.toml")) == []


def test_init_writes_every_key(apart: Place) -> None:
    """--all-keys writes the whole template with the folder in its place; it loads."""
    apart.put("pictures/a.png", picture(1))
    done = apart.batchrec("init", "pictures", "--all-keys", "--embedded")
    assert done.code == 0
    raw = tomllib.loads((apart.root / "job.toml").read_text(encoding="utf-8"))
    assert raw["input"]["paths"] == ["pictures"]
    assert raw["account"]["endpoint"] == "embedded"
    assert raw["limits"]["attempts"] == 5
    assert apart.batchrec("run", "job.toml").code == 0


# -- demo


def test_demo_runs_once(apart: Place) -> None:
    """Job, photographs and results land in one folder, which is named; the second run makes no call."""
    first = apart.batchrec("demo", env={"BATCHREC_ENDPOINT": "http://127.0.0.1:9"})
    assert first.code == 0, first.err
    assert "batchrec run batchrec-demo/demo.toml" in first.err
    assert "cat.jpg" in first.err
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
