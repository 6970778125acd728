"""What a run shows, where, and what it never shows: progress lines, log lines, secrets."""

import json
import re
import sys
import urllib.request

import pytest
from harness import KEY, SECRET, Place, images_of, until
from terminal import on_terminal

from batchrec.console import progress
from batchrec.emulator import Emulator, FaultPlan

RUN = (sys.executable, "-m", "batchrec", "run", "furniture.toml")
ESCAPE = "\x1b"


@pytest.mark.parametrize("style", ["auto", "plain"])
def test_without_a_terminal_there_are_plain_lines(place: Place, style: str) -> None:
    """In cron: no escape codes, nothing on standard output, at least one line that says how far it is."""
    place.pictures(6)
    place.job()
    done = place.run("--progress", style)
    assert (done.code, done.out) == (0, "")
    assert ESCAPE not in done.err
    assert "\r" not in done.err
    assert re.search(r"^(\S+ )?advanced_general 6/6, ", done.err, re.MULTILINE)


def test_a_plain_line_comes_at_least_every_half_minute() -> None:
    """The time between two plain lines keeps to the contract's 30 s, with room for a busy machine."""
    assert 0 < progress.PLAIN_SECONDS <= 25


def test_none_is_silent(place: Place) -> None:
    """--progress none: a run that goes well says nothing at all."""
    place.pictures(3)
    place.job()
    done = place.run("--progress", "none")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_on_a_terminal_the_display_is_live(place: Place) -> None:
    """On a terminal the progress is redrawn in place, and the last line says how it went."""
    place.pictures(10)
    place.job(limits={"qps": 10})
    code, shown = on_terminal(RUN, place.root, place.env)
    assert code == 0
    assert ESCAPE in shown
    assert "calls/s (limit 10)" in shown
    assert "10 images done, 0 failed, 0 remaining" in shown


def test_many_results_are_asked_for_again_only_after_a_question(place: Place) -> None:
    """Other options for 101 results, on a terminal: no ends with 2, and nothing is sent; yes and --yes go on."""
    place.pictures(101)
    place.job()
    assert place.run().code == 0
    old, changed = place.rows(), (*RUN, "--set", "recognize[0].options.baike_num=1")
    code, shown = on_terminal(changed, place.root, place.env, [("[y/N]", "n\n")], hidden=False)
    assert (code, place.rows()) == (2, old)
    assert "101 results, up to 101 calls" in shown
    assert "nothing was sent" in shown
    code, shown = on_terminal((*changed, "--limit", "1", "--yes"), place.root, place.env)
    assert (code, "[y/N]" in shown) == (0, False)
    assert "100 remaining" in shown


def test_no_color_is_heeded(place: Place) -> None:
    """NO_COLOR: no colours, on a terminal too."""
    place.pictures(4)
    place.job()
    code, shown = on_terminal(RUN, place.root, {**place.env, "NO_COLOR": "1"})
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


def test_a_reader_that_goes_away_does_not_end_the_run(place: Place) -> None:
    """Standard error is a pipe that nobody reads any more: the run goes on to its end."""
    keys = place.pictures(6)
    place.job(limits={"qps": 10})
    place.put("家居/page.jpg", b"<html>")
    closed = ("bash", "-c", '"$@" 2> >(true); echo "code $?"', "batchrec")
    done = place.run("--log-level", "debug", under=closed)
    assert done.out == "code 1\n"
    assert len(place.rows()) == len(keys)


def test_a_run_with_all_streams_closed(place: Place) -> None:
    """Started by something that closes standard input, output and error: the results are what they always are."""
    keys = place.pictures(3)
    place.job()
    done = place.run(under=("bash", "-c", '"$@" <&- >&- 2>&-', "batchrec"))
    assert (done.code, images_of(place.rows())) == (0, keys)


def test_no_secret_is_written_anywhere(place: Place, emulator: Emulator) -> None:
    """Key, secret and token stand in no file but the token's own, on no stream, whatever goes wrong, at debug too."""
    place.pictures(40)
    place.job(limits={"attempts": 2, "timeout": 1})
    kinds = ("reset", "html_502", "torn", "not_json", "no_result", "hang")
    faults = [{"kind": kind, "share": 0.08} for kind in kinds]
    faults += [{"kind": "code", "code": code, "share": 0.05} for code in (110, 18, 216101, 282000)]
    emulator.plan = FaultPlan.parse({"faults": faults})
    tokens = set()
    for arguments in ((), ("--retry-failed",)):
        done = place.run("--log-level", "debug", *arguments)
        assert done.code in (0, 1)
        tokens |= {path.read_text().split('"access_token":"')[1].split('"')[0] for path in place.state.rglob("*.json")}
    emulator.configure(secret_key="another")
    for cached in place.state.rglob("*.json"):
        cached.unlink()
    place.pictures(1, start=100)
    assert place.run("--log-level", "debug").code == 77
    assert tokens
    for path in place.root.rglob("*"):
        if path.is_file() and "tokens" not in path.parts:
            data = path.read_bytes()
            assert not [secret for secret in (KEY, SECRET, *tokens) if secret.encode() in data], path


def test_a_key_in_the_job_file_is_refused_and_not_repeated(place: Place) -> None:
    """Somebody puts the secret into the job file: exit 2, and the complaint does not show it."""
    place.pictures(1)
    place.job(account={"secret_key": "do-not-show-this"})
    done = place.run()
    assert done.code == 2
    assert "account.secret_key" in done.err
    assert "do-not-show-this" not in done.err


def test_the_log_says_what_happened_at_its_level(place: Place, emulator: Emulator) -> None:
    """--log-level info tells of retries; the default does not."""
    place.pictures(10)
    place.job()
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "code", "code": 282000, "calls": [3]}]})
    assert "282000" in place.run("--log-level", "info").err
    place.pictures(5, start=50)
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "code", "code": 282000, "calls": [13]}]})
    assert "282000" not in place.run().err


def test_a_wrong_progress_style_is_exit_2(apart: Place) -> None:
    """An unknown style names those there are."""
    done = apart.run("--progress", "fancy")
    assert done.code == 2
    assert "plain" in done.err


def test_the_emulator_of_the_command_line_announces_itself(apart: Place) -> None:
    """`batchrec emulator --port 0`: its first line is its URL, at once; settings hold; SIGTERM and Ctrl-C end it."""
    running = apart.start("emulator", "--port", "0", "--qps", "50", "--token-life", "900")
    until(lambda: running.said()[0].endswith("\n"))
    url = re.search(r"http://127\.0\.0\.1:\d+", running.said()[0])
    assert url is not None
    counters = urllib.request.urlopen(f"{url[0]}/_emulator/counters", timeout=60).read()
    assert b'"tokens_issued":0' in counters
    apart.pictures(2)
    apart.endpoint = url[0]
    apart.job()
    assert apart.run().code == 0
    running.process.send_signal(2)
    done = running.wait()
    assert done.code == 130
    assert "Traceback" not in done.err


def test_the_limit_of_show_counts_images_whatever_steps_they_have_rows_of(place: Place) -> None:
    """A step that was taken out of the job keeps its rows, which are shown beside the others."""
    keys = place.pictures(8)
    place.job(steps=[{"service": "advanced_general"}, {"service": "object_detect"}])
    assert place.run().code == 0
    place.job()
    assert place.run().code == 0
    for arguments in ([], ["--min-score", "0"], ["--sort", "score"]):
        done = place.start("show", "furniture.toml", "--limit", "6", "--paths0", *arguments).wait()
        assert len(done.out.split("\0")[:-1]) == 6, arguments
    done = place.start("show", "furniture.toml", "--json", "--limit", "2").wait()
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["image"], row["step"]) for row in rows] == [
        (key, step) for key in keys[:2] for step in ("advanced_general", "object_detect")
    ]
