"""What was paid for is not bought again: by another job, after renames and moves, with options that came back."""

from typing import Any

import pytest
from harness import KEY, SECRET, Place, emulating, images_of

from batchrec.emulator import Emulator, Settings

GENERAL = {"service": "advanced_general"}
EASYDL = {"service": "easydl_classification", "model": "fruit"}


def other_job(place: Place, *arguments: str, **tables: Any) -> int:
    """Run another job on the same pictures, in a directory of its own; the exit code."""
    place.job(output={"directory": "results/other"}, **tables)
    place.output = place.root / "results" / "other"
    return place.run("--set", 'name="other"', *arguments).code


def asked(emulator: Emulator, service: str = "advanced_general") -> int:
    """Recognition calls of a service that arrived."""
    return emulator.counters.calls[service]


def test_another_job_takes_the_answers_that_are_known(place: Place, emulator: Emulator) -> None:
    """The same bytes under other names: no call, the same answer, and the row says when it was given."""
    keys = place.pictures(6)
    place.job()
    assert place.run().code == 0
    first = {row["sha256"]: row for row in place.rows()}
    (place.root / "家居").rename(place.root / "旧")
    assert other_job(place, input={"paths": ["旧"]}) == 0
    assert (asked(emulator), place.summary()["calls"]) == (6, 0)
    rows = place.rows()
    assert images_of(rows) == sorted(key.replace("家居/", "旧/", 1) for key in keys)
    for row in rows:
        then = first[row["sha256"]]
        same = ("service", "model", "labels", "response", "latency_ms", "repaired", "answered_at")
        assert {key: row[key] for key in same} == {key: then[key] for key in same}
        assert (row["reused"], row["attempts"], row["same_as"]) == (then["answered_at"], 0, None)
    assert len(place.csv()) == sum(max(1, len(row["labels"])) for row in rows)
    assert place.batchrec("verify", str(place.output)).code == 0


def test_new_pictures_beside_known_ones_are_asked_about(place: Place, emulator: Emulator) -> None:
    """Only what nobody has asked about is sent; copies of a known picture are copies of the first."""
    place.pictures(4)
    place.job()
    assert place.run().code == 0
    place.pictures(3, start=4)
    place.put("家居/a-copy.png", (place.root / "家居" / "家居_0000.png").read_bytes())
    assert other_job(place) == 0
    assert asked(emulator) == 7
    rows = {row["image"]: row for row in place.rows()}
    assert sum(row["reused"] is not None for row in rows.values()) == 5
    copies = [row["same_as"] for row in rows.values() if row["same_as"] is not None]
    assert len(copies) == 1
    assert copies[0] in ("家居/a-copy.png", "家居/家居_0000.png")


def test_known_answers_go_on_when_the_day_is_used_up(place: Place, emulator: Emulator) -> None:
    """What was paid for before needs no call: it is given though no call may leave, also in the runs after."""
    known = place.pictures(10, "known")
    new = place.pictures(5, "new", start=100)
    place.job(input={"paths": ["known"]})
    assert place.run().code == 0
    place.job(input={"paths": ["new", "known"]}, output={"directory": "results/second"}, limits={"daily": 12})
    place.output = place.root / "results/second"
    assert (place.run().code, emulator.counters.calls["advanced_general"]) == (75, 12)
    assert images_of(place.rows()) == sorted([*new[:2], *known])
    assert (place.run().code, len(place.rows())) == (75, 12)


def test_known_answers_ask_for_follow_ups(place: Place, emulator: Emulator) -> None:
    """The labels of a known answer decide like those of a new one."""
    place.pictures(4)
    place.job()
    assert place.run().code == 0
    follow = {"service": "animal", "when": {"step": "advanced_general", "label": "."}}
    assert other_job(place, steps=[GENERAL, follow]) == 0
    with_labels = [row for row in place.rows() if row["step"] == "advanced_general" and row["labels"]]
    assert (asked(emulator), asked(emulator, "animal")) == (4, len(with_labels))
    assert len(with_labels) > 0


def test_no_reuse_asks_and_what_it_hears_is_known_from_then_on(place: Place, emulator: Emulator) -> None:
    """--no-reuse pays again; a third job is given the newer answer."""
    place.pictures(3)
    place.job()
    assert place.run().code == 0
    assert other_job(place, "--no-reuse") == 0
    assert asked(emulator) == 6
    second = {row["sha256"]: row["answered_at"] for row in place.rows()}
    assert {row["reused"] for row in place.rows()} == {None}
    place.job(output={"directory": "results/third"})
    place.output = place.root / "results" / "third"
    assert place.run("--set", 'name="third"').code == 0
    assert asked(emulator) == 6
    assert {row["sha256"]: row["reused"] for row in place.rows()} == second


@pytest.mark.parametrize("step", [{"service": "advanced_general", "options": {"baike_num": 1}}, {"service": "animal"}])
def test_another_question_is_asked(place: Place, emulator: Emulator, step: dict[str, Any]) -> None:
    """Other options or another service: nothing is known."""
    place.pictures(2)
    place.job()
    assert place.run().code == 0
    assert other_job(place, steps=[step]) == 0
    assert {row["reused"] for row in place.rows()} == {None}


def test_another_endpoint_is_asked(place: Place) -> None:
    """What one server said is not what another one says."""
    place.pictures(2)
    place.job()
    assert place.run().code == 0
    with emulating(Settings()) as other:
        place.endpoint = other.url
        assert other_job(place) == 0
        assert asked(other) == 2


def test_the_users_own_models_are_asked_again_unless_told_otherwise(place: Place, emulator: Emulator) -> None:
    """EasyDL models are retrained under one name: across jobs only with --reuse-models."""
    place.pictures(3)
    place.job(steps=[EASYDL])
    assert place.run().code == 0
    assert other_job(place, steps=[EASYDL]) == 0
    assert asked(emulator, "easydl_classification") == 6
    place.job(steps=[EASYDL], output={"directory": "results/third"})
    assert place.run("--set", 'name="third"', "--reuse-models").code == 0
    assert asked(emulator, "easydl_classification") == 6


def test_within_a_job_changes_that_are_taken_back_cost_nothing(place: Place, emulator: Emulator) -> None:
    """A renamed step, options there and back, a picture edited and restored: each answer is bought once."""
    place.pictures(3)
    place.job()
    assert place.run().code == 0
    place.job(steps=[{**GENERAL, "step": "what"}])
    assert place.run().code == 0
    assert asked(emulator) == 3
    place.job(steps=[{**GENERAL, "step": "what", "options": {"baike_num": 2}}])
    assert place.run().code == 0
    place.job(steps=[{**GENERAL, "step": "what"}])
    assert place.run().code == 0
    assert asked(emulator) == 6
    path = place.root / "家居" / "家居_0001.jpg"
    data = path.read_bytes()
    path.write_bytes((place.root / "家居" / "家居_0000.png").read_bytes())
    assert place.run().code == 0
    path.write_bytes(data)
    assert place.run().code == 0
    assert asked(emulator) == 6
    assert place.batchrec("verify", str(place.output)).code == 0


def test_rows_that_were_lost_come_back_without_a_call(place: Place, emulator: Emulator) -> None:
    """--rebuild takes what is known: a results.jsonl that lost its rows is made good for nothing."""
    keys = place.pictures(5)
    place.job()
    assert place.run().code == 0
    path = place.output / "results.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert place.run("--rebuild").code == 0
    assert (images_of(place.rows()), asked(emulator)) == (keys, 5)
    assert place.batchrec("verify", str(place.output)).code == 0


def test_one_off_recognition_knows_them_too(place: Place, emulator: Emulator) -> None:
    """`batchrec recognize` of a picture that a job has asked about costs no call; with --no-reuse it does."""
    (key,) = place.pictures(1)
    place.job()
    assert place.run().code == 0
    options = ("--service", "advanced_general", "--endpoint", emulator.url)
    assert '"reused":"20' in place.batchrec("recognize", key, *options).out
    assert asked(emulator) == 1
    assert '"reused":null' in place.batchrec("recognize", key, *options, "--no-reuse").out
    assert asked(emulator) == 2


def test_another_profile_of_the_service_shares_what_everybody_is_told(place: Place, emulator: Emulator) -> None:
    """General answers are the service's, whoever paid; those of a model are the account's alone."""
    place.pictures(2)
    place.job(steps=[GENERAL, EASYDL])
    assert place.run().code == 0
    place.credentials(default={"api_key": f"{KEY}-other", "secret_key": SECRET})
    assert other_job(place, "--reuse-models", steps=[GENERAL, EASYDL]) == 0
    assert (asked(emulator), asked(emulator, "easydl_classification")) == (2, 4)


def test_a_store_that_is_broken_costs_calls_and_nothing_else(place: Place, emulator: Emulator) -> None:
    """One line names the file; the job is done all the same."""
    place.pictures(2)
    place.job()
    assert place.run().code == 0
    (place.state / "answers.db").write_bytes(b"no database " * 1000)
    assert other_job(place) == 0
    assert asked(emulator) == 4
    done = place.run("--set", 'name="other"', "--set", 'output.directory="results/more"')
    assert (done.code, done.err.count("answers.db")) == (0, 1)


def test_answers_of_the_embedded_emulator_are_not_kept(apart: Place) -> None:
    """They cost nothing, and are made anew."""
    apart.pictures(2)
    apart.job()
    assert apart.run().code == 0
    assert other_job(apart) == 0
    assert apart.summary()["calls"] == 2
