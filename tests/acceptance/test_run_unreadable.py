"""Inputs that the machine cannot read now: nothing was sent, so that the next run tries them again."""

import os
import sqlite3
from contextlib import closing

from harness import Place, calls_of, images_of, picture, until

from batchrec.emulator import Emulator

SHELL = ("sh", "-c", 'ulimit -n 256 && exec "$@"', "sh")


def test_a_folder_that_goes_away_in_mid_run(place: Place, emulator: Emulator) -> None:
    """Exit code 74 names the folder and keeps the results; when it is back a plain run recognizes the rest."""
    keys = place.pictures(500)
    place.job(limits={"qps": 60})
    running = place.start_run()
    until(lambda: place.row_count() >= 20)
    (place.root / "家居").rename(place.root / "away")
    done = running.wait()
    assert done.code == 74
    assert f"the folder {place.root}/家居 is gone; what was recognized is saved" in done.err
    summary = place.summary()
    assert (summary["stopped_by"], summary["answered"]) == ("inputs", len(place.rows()))
    assert 20 <= summary["answered"] < 500
    assert (place.failures(), summary["failed"]) == ([], 0)
    assert place.run().code == 2
    (place.root / "away").rename(place.root / "家居")
    assert place.run().code == 0
    assert (images_of(place.rows()), place.failures()) == (keys, [])
    assert emulator.counters.calls["advanced_general"] == 500


def test_images_that_are_deleted_in_mid_run(place: Place) -> None:
    """A mount point whose file system was taken away is an empty folder: the same."""
    keys = place.pictures(600)
    place.job(limits={"qps": 60})
    running = place.start_run()
    until(lambda: place.row_count() >= 20)
    for key in keys:
        os.unlink(place.root / key)
    done = running.wait()
    assert done.code == 74
    assert f"the images in the folder {place.root}/家居 are gone; what was recognized is saved" in done.err


def test_few_descriptors_fail_no_image(place: Place, emulator: Emulator) -> None:
    """A slow service wants 256 connections of a process that may open 256 files: fewer are made, and all is done."""
    keys = place.pictures(320)
    place.job(limits={"qps": 250, "timeout": 30})
    emulator.configure(latency=1.5)
    done = place.start_run(under=SHELL).wait()
    assert done.code == 0
    assert "calls in flight" in done.err
    assert (images_of(place.rows()), place.summary()["retries"]) == (keys, 0)


def test_a_missing_file_is_tried_by_every_run(place: Place, emulator: Emulator) -> None:
    """A row of a manifest without a file fails; it counts for exit code 1 once, and is recognized when it is there."""
    keys = place.pictures(2)
    place.put("家居/folder.png/inside.txt", b"")
    gone = [f"家居/gone_{number}.png" for number in range(25)]
    place.put("list.txt", "\n".join([*gone, "家居/folder.png", *keys]).encode())
    place.job(input={"paths": [], "manifest": "list.txt"})
    assert place.run().code == 1
    assert images_of(place.rows()) == keys
    kinds = {row["image"]: row["kind"] for row in place.failures()}
    assert kinds == {**dict.fromkeys(gone, "read"), "家居/folder.png": "image"}
    calls = calls_of(emulator)
    again = place.run()
    assert (again.code, calls_of(emulator)) == (0, calls)
    assert "read again, since they could not be read: 25" in again.err
    assert len(place.failures()) == 26
    place.put(gone[3], picture(77))
    assert place.run().code == 0
    assert (images_of(place.rows()), len(place.failures())) == (sorted([*keys, gone[3]]), 25)


def test_failures_to_read_of_earlier_versions_are_tried_again(place: Place) -> None:
    """They were noted as faults of the image; those that are go on being left alone."""
    keys = place.pictures(2)
    place.put("list.txt", "\n".join([*keys, "家居/c.png", "家居/folder.png"]).encode())
    (place.root / "家居" / "folder.png").mkdir()
    place.job(input={"paths": [], "manifest": "list.txt"})
    assert place.run().code == 1
    with closing(sqlite3.connect(place.output / "journal.db")) as db, db:
        db.execute("UPDATE items SET kind = 'image' WHERE kind = 'read'")
    stamps = {row["image"]: row["failed_at"] for row in place.failures()}
    assert place.run().code == 0
    told = {row["image"]: (row["kind"], row["failed_at"] == stamps[row["image"]]) for row in place.failures()}
    assert told == {"家居/c.png": ("read", False), "家居/folder.png": ("image", True)}
    place.put("家居/c.png", picture(9))
    assert place.run().code == 0
    assert images_of(place.rows()) == ["家居/c.png", *keys]
