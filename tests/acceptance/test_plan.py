"""`batchrec plan` and `batchrec status`: what they say is what a run then does, and they change nothing."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import Place, calls_of, now, picture, until

from batchrec.emulator import Emulator
from batchrec.times import beijing_day

SERVICE = "advanced_general"
FOOD = {"service": "dish", "when": {"step": SERVICE, "label": "."}}


def plan(place: Place, *arguments: str) -> dict[str, Any]:
    """What `batchrec plan --json` says; it must end well."""
    done = place.batchrec("plan", "furniture.toml", "--json", *arguments)
    assert done.code == 0, done.err
    said: dict[str, Any] = json.loads(done.out)
    return said


def status(place: Place) -> dict[str, Any]:
    """What `batchrec status --json` says."""
    done = place.batchrec("status", str(place.output), "--json")
    assert done.code == 0, done.err
    said: dict[str, Any] = json.loads(done.out)
    return said


def content(folder: Path) -> Mapping[str, tuple[bytes, int]]:
    """Every file of a folder, and when it was written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def crawl(place: Place) -> None:
    """Twelve pictures, two copies, a page under a picture's name, a file of nothing, a large one, a note beside."""
    place.pictures(12)
    place.put("家居/copy-1.png", (place.root / "家居/家居_0000.png").read_bytes())
    place.put("家居/copy-2.png", (place.root / "家居/家居_0000.png").read_bytes())
    place.put("家居/page.jpg", b"<html>404</html>")
    place.put("家居/nothing.jpg", b"")
    place.put("家居/large.jpg", picture(9, "JPEG", (4200, 1500)))
    place.put("家居/notes.txt", b"not a picture")


def test_a_fresh_job_is_planned_to_the_call(place: Place, emulator: Emulator) -> None:
    """Images, copies, what is refused, what is repaired, and the calls: as the run then has them."""
    crawl(place)
    place.job(account={"prices": {SERVICE: 2.0}})
    said = plan(place)
    assert calls_of(emulator) == 0
    assert not place.output.exists()
    counted = ("images", "ignored", "unreadable", "refused", "to_repair", "duplicates", "known", "calls", "yuan")
    assert [said[key] for key in counted] == [17, 1, 1, 1, 1, 2, 0, 13, 0.03]
    assert place.run().code == 1
    summary = place.summary()
    assert (summary["calls"], summary["duplicates"], summary["images"]) == (13, 2, 17)
    assert emulator.counters.calls[SERVICE] == 13
    assert plan(place)["calls"] == 0


def test_files_that_would_be_refused(place: Place, emulator: Emulator) -> None:
    """Each with its steps and reason, as the run then has them in failures.jsonl; cached verdicts say the same."""
    crawl(place)
    place.put("家居/long.png", picture(7, "PNG", (1000, 40)))
    place.job(steps=[{"service": SERVICE}, {"service": "object_detect"}])
    for _again in range(2):
        done = place.batchrec("plan", "furniture.toml", "--files", "--json")
        assert done.code == 0, done.err
        listed = [json.loads(line) for line in done.out.splitlines()]
    shown = place.batchrec("plan", "furniture.toml", "--files").out
    assert calls_of(emulator) == 0
    assert place.run().code == 1
    failed = {(row["image"], row["step"], row["code"], row["message"]) for row in place.failures()}
    assert {(row["image"], step, row["code"], row["message"]) for row in listed for step in row["steps"]} == failed
    assert {image.rpartition("/")[2] for image, *_rest in failed} == {"page.jpg", "nothing.jpg", "long.png"}
    for row in listed:
        assert f"{row['image']}: {row['message']} ({row['code']}); steps: {SERVICE}, object_detect" in shown
    assert "done at" in shown


def test_a_job_that_was_changed_is_planned_to_the_call(place: Place, emulator: Emulator) -> None:
    """Half done, a file changed, one added, another's options: what is left is what the run then asks."""
    keys = place.pictures(10)
    place.job(steps=[{"service": SERVICE}, {"service": "animal"}])
    assert place.run("--limit", "6").code == 0
    place.put(keys[0], picture(500))
    place.pictures(1, start=50)
    changed = ("--set", "recognize[1].options.top_num=1")
    before = content(place.output)
    said = plan(place, *changed)
    assert content(place.output) == before
    calls = emulator.counters.calls
    sent = calls[SERVICE] + calls["animal"]
    assert place.run(*changed).code == 0
    assert said["calls"] == calls[SERVICE] + calls["animal"] - sent == place.summary()["calls"]


def test_copies_of_a_half_done_job_are_planned_to_the_call(place: Place, emulator: Emulator) -> None:
    """Copies of what is answered are known, also many of them; copies of something new are one call."""
    keys = place.pictures(8)
    place.job(steps=[{"service": SERVICE}, {"service": "animal"}])
    assert place.run("--limit", "5").code == 0
    for number in range(3):
        place.put(f"家居/old-{number}.png", (place.root / keys[0]).read_bytes())
        place.put(f"家居/new-{number}.png", (place.root / keys[7]).read_bytes())
    said = plan(place)
    assert [said[key] for key in ("images", "duplicates", "known", "calls")] == [14, 6, 6, 6]
    assert place.run().code == 0
    assert place.summary()["calls"] == 6
    assert [plan(place)[key] for key in ("duplicates", "known", "calls")] == [6, 0, 0]


def test_known_answers_are_planned_for(place: Place, emulator: Emulator) -> None:
    """What an earlier job was answered needs no call, unless it is not to be taken."""
    place.pictures(8)
    place.job()
    assert place.run("--limit", "5").code == 0
    place.job(output={"directory": "results/second"})
    assert (plan(place)["calls"], plan(place)["known"], plan(place, "--no-reuse")["calls"]) == (3, 5, 8)
    place.output = place.root / "results/second"
    assert place.run().code == 0
    assert place.summary()["calls"] == 3


def test_follow_ups_are_planned_within_bounds(place: Place, emulator: Emulator) -> None:
    """Before any result half of the images are expected to follow; later it is the share seen so far."""
    place.pictures(10)
    place.job(steps=[{"service": SERVICE}, FOOD])
    first, second = plan(place)["steps"]
    assert (first["calls"], second["calls_min"], second["calls"], second["calls_max"]) == (10, 0, 5, 10)
    assert place.run("--limit", "4").code == 0
    first, second = plan(place)["steps"]
    assert (first["calls"], second["calls_min"], second["calls_max"]) == (6, 0, 6)
    before = emulator.counters.calls["dish"]
    assert place.run().code == 0
    assert second["calls_min"] <= emulator.counters.calls["dish"] - before <= second["calls_max"]


def test_days_and_seconds_are_those_of_the_limits(place: Place) -> None:
    """At 5 calls a second and 12 a day, 30 images take three days; the 6 of the last take a second after midnight."""
    place.pictures(30)
    place.job(limits={"qps": 5, "daily": 12})
    said = plan(place)
    assert (said["calls"], said["seconds"], said["days"]) == (30, 6.0, 3)
    after_tomorrow = beijing_day(now() + 2 * 86_400)
    assert said["finish_at"] == f"{after_tomorrow}T00:00:01+08:00"
    assert place.run().code == 75
    said = plan(place)
    assert (said["calls"], said["days"], said["finish_at"]) == (18, 3, f"{after_tomorrow}T00:00:01+08:00")


def test_a_finished_service_needs_no_counts(place: Place) -> None:
    """Where no call is left the counts of the day are not looked up: their file is not even made."""
    place.pictures(2)
    place.job(limits={"daily": 12})
    assert place.run().code == 0
    for path in place.state.glob("quota.db*"):
        path.unlink()
    said = plan(place)
    assert (said["calls"], said["days"]) == (0, 0)
    assert list(place.state.glob("quota.db*")) == []
    place.pictures(3)
    assert plan(place)["calls"] == 1
    assert (place.state / "quota.db").exists()


def test_the_keys_of_a_plan(place: Place) -> None:
    """Programs read them in this order: the inputs, then the estimate."""
    place.pictures(1)
    place.job()
    said = plan(place)
    found = ("endpoint", "images", "ignored", "ignored_by_kind", "outside", "unreadable", "refused", "to_repair")
    inputs = (*found, "unknown", "duplicates", "known", "superseded", "again", "lying", "answered", "failed")
    estimate = ("calls", "bytes", "uplink", "limited_by", "seconds", "days", "finish_at")
    cost = ("yuan", "yuan_min", "yuan_max", "steps", "beyond_limits")
    assert tuple(said) == (*inputs, *estimate, *cost)


def test_a_second_plan_and_the_run_read_no_file_to_know_it(place: Place, emulator: Emulator) -> None:
    """What was hashed is kept by path, size and time: with the bytes gone bad unnoticed, the plan stays."""
    keys = place.pictures(4)
    place.job()
    assert plan(place)["calls"] == 4
    path = place.root / keys[0]
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (plan(place)["calls"], plan(place)["refused"]) == (4, 0)


def test_another_jobs_directory_is_refused(place: Place) -> None:
    """As by a run: exit 2, and it says whose it is."""
    place.pictures(2)
    place.job()
    assert place.run().code == 0
    done = place.batchrec(
        "plan", "furniture.toml", "--set", 'name="other"', "--set", 'output.directory="results/furniture"'
    )
    assert (done.code, done.out) == (2, "")
    assert str(place.output) in done.err


def test_without_credentials_the_files_are_counted(place: Place) -> None:
    """Somebody who has no account yet learns what there is to do; what is not looked at is said."""
    place.pictures(3)
    place.job()
    for name in ("BAIDU_API_KEY", "BAIDU_SECRET_KEY"):
        del place.env[name]
    done = place.batchrec("plan", "furniture.toml", "--json", "--progress", "none")
    assert (done.code, json.loads(done.out)["calls"]) == (0, 3)
    assert "no credentials" in done.err


def test_status_while_a_run_goes_on_and_after(place: Place, emulator: Emulator) -> None:
    """Running, with rate and time left; then how it ended. Nothing is changed by looking."""
    place.pictures(400)
    place.job(limits={"qps": 20})
    running = place.start_run("--progress", "none")
    until(lambda: place.row_count() >= 5)
    said = status(place)
    assert said["running"]
    assert 5 <= said["answered"] < 400
    assert said["answered"] + said["left"] == 400
    assert said["rate"] > 0
    running.send(signal.SIGINT)
    assert running.wait().code == 130
    assert "SIGINT" in place.batchrec("status", str(place.output)).out
    assert place.run("--set", "limits.qps=1000").code == 0
    before = content(place.output)
    said = status(place)
    assert (said["running"], said["answered"], said["left"], said["done_share"]) == (False, 400, 0, 1.0)
    assert content(place.output) == before
    assert "finished" in place.batchrec("status", str(place.output)).out


def test_calls_beyond_a_pack_are_told(place: Place) -> None:
    """A pack of 3 calls, one of them used: of 4 images two are beyond, and the run ends with 75."""
    place.pictures(1)
    place.job(limits={"total": 3, "daily": 500})
    assert place.run().code == 0
    place.pictures(4, start=1)
    found = json.loads(place.batchrec("plan", "furniture.toml", "--json").out)
    assert (found["calls"], found["beyond_limits"], found["days"]) == (4, 2, 1)
    assert "2 of them are beyond the limits" in place.batchrec("plan", "furniture.toml").out
    assert place.run().code == 75
    assert (place.summary()["calls"], place.summary()["stopped_by"]) == (2, "total_limit")
    found = json.loads(place.batchrec("plan", "furniture.toml", "--json").out)
    assert (found["calls"], found["beyond_limits"], found["days"]) == (2, 2, 0)


def test_status_says_until_when_a_job_waits(place: Place) -> None:
    """A day that is used up: stopped by what, and when to go on."""
    place.pictures(5)
    place.job(limits={"daily": 2})
    assert place.run().code == 75
    out = place.batchrec("status", str(place.output)).out
    assert "quota exhausted for today; run again after 00:00 Beijing" in out


@pytest.mark.parametrize("name", ["nowhere", "家居"])
def test_2_status_of_no_job(place: Place, name: str) -> None:
    """Exit 2, and no file is made."""
    place.pictures(1)
    before = sorted(path.name for path in (place.root / "家居").iterdir())
    done = place.batchrec("status", name)
    assert (done.code, done.out) == (2, "")
    assert sorted(path.name for path in (place.root / "家居").iterdir()) == before


def test_the_tables_are_for_people(place: Place) -> None:
    """Without --json: a line a step, and when it would be done."""
    place.pictures(3)
    place.job(account={"prices": {SERVICE: 2.0}})
    done = place.batchrec("plan", "furniture.toml", "--progress", "none")
    assert (done.code, done.err) == (0, "")
    assert "3 images" in done.out
    assert "3 calls; done at " in done.out
