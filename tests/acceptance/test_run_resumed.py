"""What a later run asks for, and what it leaves alone: changes of files and steps, --limit, --retry, --set."""

import json
import os
from typing import Any

import pytest
from harness import JOB, Place, calls_of, images_of, picture, until

from batchrec.emulator import Emulator, FaultPlan


def failing(share: float, code: int = 282000) -> FaultPlan:
    """So many calls fail with this code."""
    return FaultPlan.parse({"faults": [{"kind": "code", "code": code, "share": share}]})


def test_a_changed_file_is_asked_again(place: Place, emulator: Emulator) -> None:
    """Other bytes: the old row goes, one new one comes. Another time stamp alone: nothing is asked."""
    keys = place.pictures(5)
    place.job()
    assert place.run().code == 0
    place.put(keys[0], picture(777))
    os.utime(place.root / keys[1], (1, 1))
    assert place.run().code == 0
    assert (images_of(place.rows()), place.summary()["calls"]) == (keys, 1)
    assert sorted({row["image"] for row in place.csv()}) == keys
    assert emulator.counters.calls["advanced_general"] == 6


def test_changed_options_ask_the_step_again(place: Place) -> None:
    """Other options are another question: every row of that step is replaced, the other step's are kept."""
    keys = place.pictures(4)
    place.job(steps=[{"service": "advanced_general"}, {"service": "animal"}])
    assert place.run().code == 0
    kept = [row for row in place.rows() if row["step"] == "advanced_general"]
    assert place.run("--set", "recognize[1].options.top_num=1").code == 0
    rows = place.rows()
    assert place.summary()["calls"] == len(keys)
    assert [row for row in rows if row["step"] == "advanced_general"] == kept
    assert max(len(row["response"]["result"]) for row in rows if row["step"] == "animal") <= 1


TOP_1 = ("--set", "recognize[0].options.baike_num=1")
"""Another option for the first step."""


def test_old_rows_stay_until_the_new_ones_are_there(place: Place) -> None:
    """A run that is stopped half way: each image has one row, of the old options or the new; nothing is lost."""
    keys = place.pictures(6)
    place.job()
    assert place.run().code == 0
    old = {row["image"]: row for row in place.rows()}
    assert place.run(*TOP_1, "--limit", "2").code == 0
    rows = {row["image"]: row for row in place.rows()}
    assert (images_of(place.rows()), len(place.csv())) == (keys, sum(len(row["labels"]) for row in rows.values()))
    assert [key for key in keys if rows[key] == old[key]] == keys[2:]
    assert [place.summary()[key] for key in ("answered", "left", "calls")] == [6, 4, 2]
    assert place.batchrec("verify", str(place.output)).code == 0
    plan = json.loads(place.batchrec("plan", f"{JOB}.toml", *TOP_1, "--json").out)
    assert [plan[key] for key in ("answered", "superseded", "calls")] == [2, 4, 4]
    assert place.run(*TOP_1).code == 0
    rows = {row["image"]: row for row in place.rows()}
    assert (images_of(place.rows()), [key for key in keys if rows[key] == old[key]]) == (keys, [])
    assert [place.summary()[key] for key in ("answered", "left", "calls")] == [6, 0, 4]
    assert place.batchrec("verify", str(place.output)).code == 0


def test_a_failure_replaces_no_row(place: Place, emulator: Emulator) -> None:
    """What cannot be asked again is failed, and keeps the row that it has."""
    place.pictures(3)
    place.job()
    assert place.run().code == 0
    old = place.rows()
    emulator.plan = failing(1, 216201)
    assert place.run(*TOP_1).code == 1
    assert (place.rows(), len(place.failures())) == (old, 3)
    assert [place.summary()[key] for key in ("answered", "failed", "new_failures", "left")] == [3, 3, 3, 0]
    assert place.summary()["failures_by_code"] == {"216201": 3}
    assert place.batchrec("verify", str(place.output)).code == 0
    done = place.run(*TOP_1, "--progress", "plain")
    assert (done.code, place.summary()["new_failures"]) == (0, 0)
    assert "3 failures of earlier runs left alone" in done.err


def test_plan_says_what_a_changed_option_costs(place: Place) -> None:
    """Which results, how many, calls and yuan; nothing is changed by that."""
    place.pictures(4)
    place.job(account={"endpoint": place.endpoint, "prices": {"advanced_general": 500.0}})
    assert place.run().code == 0
    said = place.batchrec("plan", f"{JOB}.toml", *TOP_1).out
    assert "sent again, since step 'advanced_general' has another service, model or options now: 4" in said
    assert "4 results stay until there are new ones; sending again costs 4 calls at step advanced_general (2.00" in said
    assert place.run().code == 0
    assert place.summary()["calls"] == 0


def test_a_killed_run_leaves_rows_that_agree(place: Place, emulator: Emulator) -> None:
    """Rows with newer ones beside them are taken out by the next opening."""
    keys = place.pictures(12)
    place.job(limits={"qps": 20})
    assert place.run().code == 0
    running = place.start_run(*TOP_1)
    until(lambda: place.row_count() > len(keys) + 3)
    running.kill()
    assert place.run(*TOP_1).code == 0
    assert images_of(place.rows()) == keys
    assert place.batchrec("verify", str(place.output)).code == 0


def test_what_is_asked_again_is_said_before_anything_is_sent(place: Place, emulator: Emulator) -> None:
    """Changed files, changed options and retries: a line each with the number, though no call gets through."""
    keys = place.pictures(5)
    place.put("家居/bad.jpg", b"no picture at all")
    place.job(steps=[{"service": "advanced_general"}, {"service": "animal"}])
    assert place.run().code == 1
    place.put(keys[0], picture(777))
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "reset", "service": "token"}, {"kind": "reset"}]})
    options = ("--set", "limits.patience=0.2", "--set", "recognize[1].options.top_num=1", "--retry-failed")
    (place.state / "answers.db").unlink()
    done = place.run(*options)
    said = [line.split(" ", 1)[-1] for line in done.err.splitlines()]  # without the time
    assert done.code == 69
    assert "WARNING sent again, since their files have changed: 2" in said
    changed = "since step 'animal' has another service, model or options now"
    assert f"WARNING sent again, {changed}: 5" in said
    assert "WARNING sent again, since they have failed: 1" in said
    assert len(place.rows()) == 10


def test_rows_of_inputs_that_are_gone_stay(place: Place) -> None:
    """A deleted picture keeps its answer, and is not an image of the job any more."""
    keys = place.pictures(4)
    place.job()
    assert place.run().code == 0
    (place.root / keys[0]).unlink()
    assert place.run().code == 0
    assert images_of(place.rows()) == keys
    assert [place.summary()[key] for key in ("images", "calls")] == [3, 0]


def test_a_csv_that_is_asked_for_later_is_made_without_a_call(place: Place) -> None:
    """Formats can be added: results.csv is made of the results that are there."""
    place.pictures(4)
    place.job(output={"formats": ["jsonl"]})
    assert place.run().code == 0
    assert not (place.output / "results.csv").exists()
    assert place.run("--set", 'output.formats=["csv"]').code == 0
    assert len({row["image"] for row in place.csv()}) == 4
    assert place.summary()["calls"] == 0


def test_limit_takes_unanswered_images_in_input_order(place: Place) -> None:
    """--limit N: the first N images without an answer, exit 0; again, the next N; at last none."""
    keys = place.pictures(7)
    place.job()
    for expected in (3, 6, 7, 7):
        assert place.run("--limit", "3").code == 0
        assert images_of(place.rows()) == keys[:expected]


def test_limit_counts_images_with_all_their_steps(place: Place) -> None:
    """--limit is about images: each of them is asked at every step."""
    keys = place.pictures(5)
    place.job(steps=[{"service": "advanced_general"}, {"service": "animal"}])
    assert place.run("--limit", "2").code == 0
    assert images_of(place.rows()) == sorted(keys[:2] * 2)


def test_failed_rows_are_left_alone_until_retried(place: Place, emulator: Emulator) -> None:
    """A plain rerun leaves failures; --retry-failed asks again with fresh attempts; a success leaves the file."""
    keys = place.pictures(12)
    place.put("家居/bad.jpg", b"no picture at all")
    place.job(limits={"attempts": 1})
    emulator.plan = failing(0.5)
    assert place.run().code == 1
    failed = {row["image"] for row in place.failures()}
    assert "家居/bad.jpg" in failed
    assert len(failed) > 1
    emulator.plan = FaultPlan()
    before = calls_of(emulator)
    assert place.run().code == 0
    assert calls_of(emulator) == before
    assert place.run("--retry-failed").code == 1
    assert [row["image"] for row in place.failures()] == ["家居/bad.jpg"]
    assert images_of(place.rows()) == sorted(keys)
    assert calls_of(emulator) == before + len(failed) - 1


def test_retry_kind_asks_again_for_that_kind(place: Place, emulator: Emulator) -> None:
    """--retry-kind transient leaves the garbage alone; an unknown kind is exit 2 with the kinds there are."""
    keys = place.pictures(6)
    place.put("家居/bad.jpg", b"no picture at all")
    place.job(limits={"attempts": 1})
    emulator.plan = failing(0.5)
    assert place.run().code == 1
    emulator.plan = FaultPlan()
    stamps = {row["image"]: row["failed_at"] for row in place.failures()}
    assert place.run("--retry-kind", "transient").code == 0
    (left,) = place.failures()
    assert (left["image"], left["failed_at"]) == ("家居/bad.jpg", stamps["家居/bad.jpg"])
    assert images_of(place.rows()) == sorted(keys)
    done = place.run("--retry-kind", "sometimes")
    assert done.code == 2
    assert "transient" in done.err


def test_a_failed_image_whose_file_changed_is_asked_again(place: Place) -> None:
    """Somebody put the right picture in the place of a broken one: a plain rerun answers it."""
    place.pictures(2)
    bad = place.put("家居/bad.jpg", b"no picture at all")
    place.job()
    assert place.run().code == 1
    place.put(bad, picture(50, "JPEG"))
    assert place.run().code == 0
    assert place.failures() == []
    assert bad in images_of(place.rows())


def test_set_changes_keys_and_says_what_is_wrong(place: Place) -> None:
    """--set takes TOML values, several, and complains like the job file, naming itself."""
    place.pictures(3)
    place.job()
    assert place.run("--set", "limits.qps=50", "--set", 'recognize[0].step="what"').code == 0
    assert {row["step"] for row in place.rows()} == {"what"}
    for wrong in ("limits.qps=fast", "limits.qsp=3", "limits", "=3"):
        done = place.run("--set", wrong)
        assert done.code == 2
        assert "--set" in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("flag", ["--no-reuse", "--rebuild", "--retry-failed"])
def test_flags_leave_a_finished_job_finished(place: Place, emulator: Emulator, flag: str) -> None:
    """What is answered and there is not asked again, whatever else is wished for."""
    place.pictures(4)
    place.job()
    assert place.run(flag).code == 0
    rows, calls = place.rows(), calls_of(emulator)
    assert place.run(flag).code == 0
    assert (place.rows(), calls_of(emulator)) == (rows, calls)


def test_the_environment_wins_over_the_endpoint_of_the_file(place: Place) -> None:
    """BATCHREC_ENDPOINT overrides account.endpoint."""
    place.pictures(2)
    endpoint, place.endpoint = place.endpoint, "https://example.invalid"
    place.job()
    assert place.run(env={"BATCHREC_ENDPOINT": endpoint}).code == 0
    assert len(place.rows()) == 2


# -- follow-up steps and copies


FOOD: dict[str, Any] = {"step": "food", "service": "dish", "when": {"step": "advanced_general", "label": "食物"}}
STEPS = [{"service": "advanced_general"}, FOOD]


def expected_follow_ups(place: Place) -> list[str]:
    """The images whose first answer speaks of food."""
    return sorted(
        row["image"]
        for row in place.rows()
        if row["step"] == "advanced_general"
        and any("食物" in (label["name"] + (label["root"] or "")) for label in row["labels"])
    )


def test_a_follow_up_is_asked_only_where_the_label_matches(place: Place, emulator: Emulator) -> None:
    """`when`: exactly the images whose labels match, in name or root, get the second step."""
    keys = place.pictures(30)
    place.job(steps=STEPS)
    assert place.run().code == 0
    food = [row["image"] for row in place.rows() if row["step"] == "food"]
    assert sorted(food) == expected_follow_ups(place)
    assert 0 < len(food) < len(keys)
    assert emulator.counters.calls["dish"] == len(food)
    assert place.summary()["answered"] == len(keys) + len(food)


def test_min_score_is_that_of_the_matching_label(place: Place) -> None:
    """A label that matches with too low a score does not ask for the follow-up."""
    place.pictures(20)
    place.job(steps=[STEPS[0], {**FOOD, "when": {**FOOD["when"], "min_score": 0.7}}])
    assert place.run().code == 0
    strong = sorted(
        row["image"]
        for row in place.rows()
        if row["step"] == "advanced_general"
        and any(label["score"] >= 0.7 and "食物" in (label["root"] or "") for label in row["labels"])
    )
    assert sorted(row["image"] for row in place.rows() if row["step"] == "food") == strong
    assert strong


def test_follow_ups_survive_a_kill(place: Place) -> None:
    """A kill amid two steps loses no follow-up and doubles none."""
    keys = place.pictures(60)
    place.job(steps=STEPS, limits={"qps": 40})
    running = place.start_run()
    until(lambda: place.row_count() >= 20)
    running.kill()
    assert place.run().code == 0
    rows = place.rows()
    assert images_of([row for row in rows if row["step"] == "advanced_general"]) == keys
    assert images_of([row for row in rows if row["step"] == "food"]) == expected_follow_ups(place)


def test_a_follow_up_of_a_failed_step_is_not_asked(place: Place, emulator: Emulator) -> None:
    """Where the first step failed there is nothing to follow; one failure is listed, of the first step."""
    place.pictures(6)
    place.job(steps=[STEPS[0], {**FOOD, "when": {"step": "advanced_general"}}])
    emulator.plan = FaultPlan.parse(
        {"faults": [{"kind": "code", "code": 216201, "service": "advanced_general", "calls": [1, 2]}]}
    )
    assert place.run().code == 1
    assert [row["step"] for row in place.failures()] == ["advanced_general"] * 2
    assert emulator.counters.calls["dish"] == 4


def test_a_follow_up_that_is_added_later_is_asked_of_what_is_there(place: Place, emulator: Emulator) -> None:
    """A second step added to a finished job is decided by the stored answers, without asking the first again."""
    keys = place.pictures(20)
    place.job()
    assert place.run().code == 0
    place.job(steps=STEPS)
    assert place.run().code == 0
    assert emulator.counters.calls["advanced_general"] == len(keys)
    assert images_of([row for row in place.rows() if row["step"] == "food"]) == expected_follow_ups(place)


def test_identical_bytes_are_sent_once(place: Place, emulator: Emulator) -> None:
    """Copies get the answer of the first as their own row, with `same_as`; follow-ups too; one call per content."""
    keys = place.pictures(10)
    for number in range(30):
        source = (place.root / keys[number % len(keys)]).read_bytes()
        keys.append(place.put(f"家居/copy-{number:02d}.png", source))
    place.job(steps=STEPS)
    assert place.run().code == 0
    rows = place.rows()
    first = [row for row in rows if row["step"] == "advanced_general"]
    assert images_of(first) == sorted(keys)
    assert set(emulator.counters.images["advanced_general"].values()) == {1}
    assert emulator.counters.calls["advanced_general"] == 10
    assert images_of([row for row in rows if row["step"] == "food"]) == expected_follow_ups(place)
    assert set(emulator.counters.images["dish"].values()) == {1}
    assert place.summary()["duplicates"] == 30
    by_image = {(row["image"], row["step"]): row for row in rows}
    copies = [row for row in rows if row["same_as"] is not None]
    assert len([row for row in copies if row["step"] == "advanced_general"]) == 30
    for row in copies:
        origin = by_image[row["same_as"], row["step"]]
        assert origin["same_as"] is None
        assert all(row[key] == origin[key] for key in ("sha256", "labels", "response", "answered_at"))


def test_copies_across_a_kill_and_a_later_run(place: Place, emulator: Emulator) -> None:
    """A copy that comes later, or after a kill, is answered without a call."""
    keys = place.pictures(40)
    keys += [place.put(f"家居/z{number}.png", (place.root / keys[0]).read_bytes()) for number in range(20)]
    place.job(limits={"qps": 40})
    running = place.start_run()
    until(lambda: place.row_count() >= 12)
    running.kill()
    assert place.run().code == 0
    keys.append(place.put("家居/zz.png", (place.root / keys[1]).read_bytes()))
    assert place.run().code == 0
    assert (images_of(place.rows()), place.summary()["calls"]) == (sorted(keys), 0)
    assert emulator.counters.images["advanced_general"].most_common(1)[0][1] <= 2


def test_copies_of_garbage_share_its_failure(place: Place, emulator: Emulator) -> None:
    """Identical garbage fails as often as it is there; what the service refused once is not sent again."""
    data = picture(5)
    keys = [place.put(f"家居/{number}.png", data) for number in range(6)]
    keys += [place.put(f"家居/bad-{number}.png", b"<html>") for number in range(4)]
    place.job()
    emulator.plan = failing(1, 282810)
    assert place.run().code == 1
    assert images_of(place.failures()) == sorted(keys)
    assert emulator.counters.calls["advanced_general"] == 1


def test_a_copy_leads_where_the_first_failed_for_now(place: Place, emulator: Emulator) -> None:
    """A passing failure is not shared: the next copy is asked itself."""
    others = place.pictures(6)
    data = picture(500)
    keys = [place.put(f"家居/0-{number}.png", data) for number in range(3)]
    place.job(limits={"attempts": 1, "qps": 20})
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "code", "code": 216630, "calls": [1]}]})
    place.run()
    assert len(place.rows()) + len(place.failures()) == len(keys) + len(others)
    assert len(place.failures()) <= 1
    assert place.run("--retry-failed").code == 0
    assert images_of(place.rows()) == sorted(keys + others)


def test_copies_of_a_file_that_vanished_are_asked_about_themselves(place: Place, emulator: Emulator) -> None:
    """The first of equal files times out, the next is deleted meanwhile: the others still get their answer."""
    place.put("家居/a.png", picture(1))
    for name in "bcde":
        place.put(f"家居/{name}.png", picture(2))
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "hang", "calls": [2]}]})
    place.job(limits={"attempts": 1, "timeout": 2})
    running = place.start_run()
    until(lambda: emulator.counters.calls["advanced_general"] == 2)
    until(lambda: place.row_count() == 1)
    (place.root / "家居/c.png").unlink()
    assert running.wait().code == 1
    assert {row["image"]: row["code"] for row in place.failures()} == {
        "家居/b.png": "timeout",
        "家居/c.png": "unreadable",
    }
    assert images_of(place.rows()) == ["家居/a.png", "家居/d.png", "家居/e.png"]


def test_rebuild_keeps_no_row_of_other_bytes(place: Place) -> None:
    """Somebody puts an old results.jsonl back: the rows of what was asked anew since are not the journal's."""
    keys = place.pictures(3)
    place.job()
    assert place.run().code == 0
    results = place.output / "results.jsonl"
    old = results.read_bytes()
    place.put(keys[0], picture(99))
    assert place.run().code == 0
    results.write_bytes(old)
    assert place.run("--no-reuse").code == 74
    assert place.run("--rebuild").code == 0
    assert images_of(place.rows()) == keys
    assert place.batchrec("verify", str(place.output)).code == 0


def test_rebuild_takes_rows_that_are_none_for_lost(place: Place) -> None:
    """A box that is no box, labels that are no list: such a row is asked about again."""
    place.pictures(2)
    place.job(steps=[{"service": "object_detect"}])
    assert place.run().code == 0
    results = place.output / "results.jsonl"
    row = place.rows()[0]
    row["labels"][0]["box"] = 5
    results.write_bytes(json.dumps(row).encode() + b"\n" + results.read_bytes().partition(b"\n")[2])
    assert place.run("--rebuild").code == 0
    assert len(place.rows()) == 2
    assert place.batchrec("verify", str(place.output)).code == 0
