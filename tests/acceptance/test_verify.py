"""`batchrec verify`: sound directories pass, and every kind of damage is found and named."""

import json
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from harness import Place, calls_of, picture, until

from batchrec.emulator import Emulator

FOOD = {"service": "dish", "when": {"step": "advanced_general", "label": "."}}


@pytest.fixture
def finished(place: Place) -> Place:
    """A job of two steps with copies, a failure and a gone input, run to its end."""
    place.pictures(6)
    place.put("家居/copy.png", (place.root / "家居" / "家居_0000.png").read_bytes())
    place.put("家居/page.jpg", b"<html>404</html>")
    place.job(steps=[{"service": "advanced_general"}, FOOD])
    assert place.run().code == 1
    return place


def test_a_sound_directory_passes(finished: Place, emulator: Emulator) -> None:
    """Exit 0, one line that says how the job stands; nothing is sent, nothing is written."""
    calls = calls_of(emulator)
    before = {path: path.read_bytes() for path in finished.output.iterdir()}
    done = finished.batchrec("verify", str(finished.output))
    assert (done.code, done.err) == (0, "")
    assert "8 images: " in done.out
    assert "8 files as they were" in done.out
    assert done.out.rstrip().endswith("all agrees")
    assert calls_of(emulator) == calls
    assert {path: path.read_bytes() for path in finished.output.iterdir()} == before


def test_a_directory_that_was_moved_with_its_pictures_passes(finished: Place) -> None:
    """Keys are relative: job, pictures and results may move together."""
    moved = finished.root / "moved"
    moved.mkdir()
    for name in ("家居", "results", "furniture.toml"):
        shutil.move(finished.root / name, moved / name)
    done = finished.batchrec("verify", str(moved / "results" / "furniture"))
    assert (done.code, "0 gone" in done.out) == (0, True)


def test_files_that_are_gone_are_no_problem(finished: Place) -> None:
    """Answers outlive their pictures."""
    (finished.root / "家居" / "家居_0003.jpg").unlink()
    done = finished.batchrec("verify", str(finished.output))
    assert (done.code, "1 gone" in done.out) == (0, True)


def test_quick_reads_no_input_and_checks_all_else(finished: Place) -> None:
    """A changed and a missing input go unnoticed, and it says so; a damaged result does not."""
    first, second = sorted((finished.root / "家居").glob("家居_*"))[:2]
    first.write_bytes(picture(99))
    second.unlink()
    assert finished.batchrec("verify", str(finished.output)).code == 1
    done = finished.batchrec("verify", str(finished.output), "--quick")
    assert (done.code, "files not read; all agrees" in done.out) == (0, True)
    without_a_line(finished)
    assert finished.batchrec("verify", str(finished.output), "--quick").code == 1


def results(place: Place) -> Path:
    """results.jsonl."""
    return place.output / "results.jsonl"


def without_a_line(place: Place) -> None:
    lines = results(place).read_bytes().splitlines(keepends=True)
    results(place).write_bytes(b"".join(lines[:2] + lines[3:]))


def a_line_twice(place: Place) -> None:
    lines = results(place).read_bytes().splitlines(keepends=True)
    results(place).write_bytes(b"".join(lines + lines[:1]))


def a_torn_end(place: Place) -> None:
    with results(place).open("ab") as file:
        file.write(b'{"image": "torn')


def a_cut_end(place: Place) -> None:
    results(place).write_bytes(results(place).read_bytes()[:-5])


def lines_that_changed_places(place: Place) -> None:
    lines = results(place).read_bytes().splitlines(keepends=True)
    results(place).write_bytes(b"".join(reversed(lines)))


def another_label(place: Place) -> None:
    text = results(place).read_bytes()
    at = text.index(b'"name":"') + 8
    results(place).write_bytes(text[:at] + b"x" + text[at + 1 :])


def no_results(place: Place) -> None:
    results(place).unlink()


def no_csv(place: Place) -> None:
    (place.output / "results.csv").unlink()


def a_csv_cell(place: Place) -> None:
    path = place.output / "results.csv"
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))


def a_csv_row_more(place: Place) -> None:
    with (place.output / "results.csv").open("ab") as file:
        file.write(b"more\r\n")


def no_failure(place: Place) -> None:
    (place.output / "failures.jsonl").write_bytes(b"")


def another_summary(place: Place) -> None:
    path = place.output / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"answered": 3}))


def another_file(place: Place) -> None:
    place.put("家居/家居_0002.png", picture(99))


def no_count(place: Place) -> None:
    assert place.batchrec("quota", "set", "advanced_general", "--today", "1").code == 0


def no_state(place: Place) -> None:
    shutil.rmtree(place.state)


def in_journal(sql: str) -> Callable[[Place], None]:
    """A change that somebody made to the journal by hand."""

    def change(place: Place) -> None:
        with closing(sqlite3.connect(place.output / "journal.db")) as db, db:
            db.execute(sql)

    return change


DAMAGES: dict[str, tuple[Callable[[Place], None], str]] = {
    "a line is missing": (without_a_line, "results.jsonl"),
    "a line stands twice": (a_line_twice, "results.jsonl: has "),
    "the last line is torn": (a_torn_end, "results.jsonl: has 15 bytes of a run that was killed"),
    "the end is cut": (a_cut_end, "results.jsonl"),
    "lines changed places": (lines_that_changed_places, "results.jsonl: the row of 家居/copy.png (advanced_general)"),
    "a label was edited": (another_label, "are not those that were committed"),
    "results are gone": (no_results, "results.jsonl: cannot be read"),
    "the CSV is gone": (no_csv, "results.csv: cannot be read"),
    "a CSV cell was edited": (a_csv_cell, "results.csv: differs"),
    "the CSV has a row more": (a_csv_row_more, "results.csv: has 6 bytes"),
    "a failure is not told": (no_failure, "failures.jsonl"),
    "the summary says otherwise": (another_summary, "summary.json"),
    "a picture was replaced": (another_file, "家居/家居_0002.png: its bytes have changed"),
    "the quota counts less": (no_count, "quota: advanced_general on 20"),
    "the quota counts nothing": (no_state, "quota: dish on 20"),
    "an answer was forgotten": (
        in_journal("DELETE FROM items WHERE image = 3 AND step = 1"),
        "家居_0000.png: has no result and no failure",
    ),
    "a follow-up was forgotten": (
        in_journal("DELETE FROM items WHERE step = 2 AND image = (SELECT max(image) FROM items WHERE step = 2)"),
        "a step that it never came to",
    ),
    "a failure was forgotten": (in_journal("DELETE FROM items WHERE state = 4"), "no result and no failure"),
    "another content was noted": (
        in_journal("UPDATE images SET sha256 = x'00' WHERE id = 3"),
        "is of other bytes than the journal knows",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(finished: Place, damage: str) -> None:
    """Exit 1, and a line that names what does not agree; no traceback, whatever was done to the directory."""
    act, says = DAMAGES[damage]
    act(finished)
    done = finished.batchrec("verify", str(finished.output))
    assert done.code == 1
    assert says in done.out
    assert "Traceback" not in done.err


def test_an_edited_key_is_damage_and_no_defect(finished: Place) -> None:
    """A row that is JSON but no row any more is named, whatever an output would make of it."""
    text = results(finished).read_bytes().replace(b'"labels"', b'"lables"', 1)
    results(finished).write_bytes(text)
    done = finished.batchrec("verify", str(finished.output))
    assert (done.code, "is not whole" in done.out) == (1, True)


def test_a_torn_row_before_the_first_commit_is_seen(place: Place, emulator: Emulator) -> None:
    """A run that was killed before its first commit may have left the beginning of a row."""
    place.put("家居/page.jpg", b"<html>404</html>")
    place.job()
    assert place.run().code == 1
    results(place).write_bytes(b'{"image": "torn')
    done = place.batchrec("verify", str(place.output))
    assert (done.code, "of a run that was killed" in done.out) == (1, True)


def test_behind_a_link_files_are_looked_at_all_the_same(place: Place, tmp_path: Path) -> None:
    """An output directory may be a link to elsewhere: the pictures are found, and a changed one is noticed."""
    keys = place.pictures(3)
    elsewhere = tmp_path / "far" / "away"
    elsewhere.mkdir(parents=True)
    (place.root / "link").symlink_to(elsewhere, target_is_directory=True)
    place.job(output={"directory": "link"})
    assert place.run().code == 0
    assert "3 files as they were" in place.batchrec("verify", "link").out
    place.put(keys[0], picture(99))
    assert place.batchrec("verify", "link").code == 1


def test_a_job_that_was_stopped_is_sound(place: Place) -> None:
    """Images that remain are accounted for, and said to be."""
    place.pictures(8)
    place.job()
    assert place.run("--limit", "3").code == 0
    done = place.batchrec("verify", str(place.output))
    assert (done.code, "5 remaining" in done.out) == (0, True)


def test_a_job_that_runs_is_looked_at_as_it_was_committed(place: Place, emulator: Emulator) -> None:
    """While a run goes on, verify sees its last commit, disturbs nothing, and finds nothing wrong."""
    place.pictures(900)
    place.job(limits={"qps": 20})
    running = place.start_run()
    until(lambda: place.row_count() >= 5)
    for _ in range(3):
        assert place.batchrec("verify", str(place.output)).code == 0
    running.send(signal.SIGINT)
    assert running.wait().code == 130
    assert place.batchrec("verify", str(place.output)).code == 0


@pytest.mark.parametrize("name", ["nowhere", "家居", pytest.param("n" * 300, id="too long")])
def test_2_what_is_no_output_directory(place: Place, name: str) -> None:
    """Exit 2 with the reason, and no folder is made."""
    place.pictures(1)
    done = place.batchrec("verify", name)
    assert (done.code, done.out) == (2, "")
    assert name in done.err
    assert not (place.root / "nowhere").exists()


def test_2_a_journal_of_another_version(finished: Place) -> None:
    """A newer journal is not guessed at."""
    in_journal("PRAGMA user_version = 99")(finished)
    done = finished.batchrec("verify", str(finished.output))
    assert (done.code, "newer version" in done.err) == (2, True)
