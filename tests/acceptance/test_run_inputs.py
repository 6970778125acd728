"""Folders, globs and paths as they are found: nothing is left out silently, and a job without images is no success."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness import Place, calls_of, images_of, picture, until

from batchrec.emulator import Emulator

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


def looked(place: Place, *arguments: str) -> dict[str, Any]:
    """JSON of `plan` or `status`."""
    found: dict[str, Any] = json.loads(place.batchrec(*arguments, "--json").out)
    return found


def test_crawled_names_go_by_content(place: Place, emulator: Emulator) -> None:
    """Images with a suffix of the content network or none are recognized, and the rest is counted everywhere."""
    names = ["a.png", "b.jpg!w600", "c.jpg!d", "d", "e.webp?x=1", "f.jpg_large"]
    for number, name in enumerate(names):
        place.put(f"家居/{name}", picture(number))
    place.put("家居/readme.txt", b"no picture")
    place.put("家居/list.pdf", PDF)
    place.put("家居/deep/b", PDF)
    place.job()
    ignored = {"PDF": 2, "text": 1}
    said = looked(place, "plan", "furniture.toml")
    assert (said["images"], said["calls"], said["ignored"], said["ignored_by_kind"]) == (6, 6, 3, ignored)
    assert "3 ignored (2 PDF, 1 text)" in place.batchrec("plan", "furniture.toml").out
    done = place.run()
    assert done.code == 0
    assert images_of(place.rows()) == [f"家居/{name}" for name in sorted(names)]
    assert emulator.counters.calls["advanced_general"] == 6
    assert "6 images done, 0 failed, 0 remaining · 6 results · 6 calls in" in done.err
    assert "3 ignored (2 PDF, 1 text)" in done.err
    summary = place.summary()
    assert (summary["ignored"], summary["ignored_by_kind"]) == (3, ignored)
    said = looked(place, "status", str(place.output))
    assert (said["ignored"], said["ignored_by_kind"]) == (3, ignored)
    assert "3 ignored (2 PDF, 1 text)" in place.batchrec("status", str(place.output)).out


def test_a_folder_of_odd_names_alone(place: Place, emulator: Emulator) -> None:
    """Nothing in it has a suffix that is known."""
    place.put("家居/b.jpg!w600", picture(1, "JPEG"))
    place.put("家居/d", picture(2))
    place.job()
    done = place.run()
    assert (done.code, len(place.rows()), place.summary()["ignored_by_kind"]) == (0, 2, {})
    assert "ignored" not in done.err


def test_images_that_cannot_be_read_are_not_skipped(place: Place, emulator: Emulator) -> None:
    """An image of a format that is not read is a failed row that names it, whatever its suffix."""
    place.put("家居/a.jxl", b"\xff\x0a\xfa\x7f\x01\x90" + bytes(50))
    place.put("家居/b", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50))
    place.put("家居/c.original", b"8BPS\0\x01" + bytes(50))
    place.job()
    assert place.run().code == 1
    assert {row["code"] for row in place.failures()} == {"unsupported"}
    for row, kind in zip(place.failures(), ["JPEG XL", "JPEG XL", "Photoshop"], strict=True):
        assert kind in row["message"]
    assert calls_of(emulator) == 0


def test_thumbnails_of_a_nas_are_skipped(place: Place, emulator: Emulator) -> None:
    """Folders that the system made beside the images cost no call."""
    for number in (1, 2):
        place.put(f"家居/{number}.jpg", picture(number, "JPEG"))
        for size in ("XL", "B", "M", "S"):
            place.put(f"家居/@eaDir/{number}.jpg/SYNOPHOTO_THUMB_{size}.jpg", picture(number + 10, "JPEG"))
    place.put("家居/Thumbs.db", b"\xd0\xcf\x11\xe0")
    place.put("家居/._1.jpg", b"\0\5\x16\7" + bytes(90))
    place.job()
    done = place.run()
    assert (done.code, len(place.rows())) == (0, 2)
    assert emulator.counters.calls["advanced_general"] == 2
    assert "3 ignored (1 hidden, 1 system file, 1 system folder)" in done.err


@pytest.mark.parametrize(
    "given", ["[作者] 画集 [2024]", "[作者] 画集 [2024]/*.jpg", "**/[2024]*.jpg", r"[作者] 画集 [2024]\*.jpg"]
)
def test_brackets_in_names(place: Place, emulator: Emulator, given: str) -> None:
    """A folder's brackets in a path and in a glob are a part of its name."""
    key = place.put("[作者] 画集 [2024]/[2024] 1.jpg", picture(1, "JPEG"))
    place.put("者 画集 0/0 1.jpg", picture(2, "JPEG"))
    place.job(input={"paths": [given]})
    assert place.run().code == 0
    assert images_of(place.rows()) == [key]


def test_paths_of_windows_and_homes(place: Place, emulator: Emulator) -> None:
    """Backslashes are taken as slashes with one line that says so; `~` is the home folder, of the output as well."""
    place.put("photos/sub/a.jpg", picture(1, "JPEG"))
    place.put("photos/sub/thumbs/b.jpg", picture(2, "JPEG"))
    place.job(
        input={"paths": [r"photos\sub", "~/photos/sub/*.jpg"], "exclude": [r"**\thumbs\**"]},
        output={"directory": "~/out"},
    )
    done = place.run()
    assert done.code == 0
    assert r'input.paths[0]: "photos\\sub" is taken as "photos/sub", with / for the backslashes' in done.err
    rows = (place.root / "out/results.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(row)["image"] for row in rows) == [f"{place.root}/photos/sub/a.jpg", "photos/sub/a.jpg"]
    assert not (place.root / "~").exists()


def test_a_home_path_that_leads_nowhere(place: Place, emulator: Emulator) -> None:
    """The message shows the path that was looked for."""
    place.job(input={"paths": ["~/no such pictures"]})
    done = place.run()
    assert (done.code, calls_of(emulator)) == (2, 0)
    assert f'"{place.root}/no such pictures"' in done.err


# -- 66


@pytest.mark.parametrize(
    "table",
    [
        {"paths": ["家居"]},
        {"paths": ["家居/*.jpg"]},
        {"paths": [], "manifest": "list.txt"},
        {"paths": ["家居/**"], "exclude": ["**"]},
    ],
)
def test_66_a_job_without_any_image(place: Place, emulator: Emulator, table: dict[str, Any]) -> None:
    """An empty folder, glob or list ends neither run nor plan well, unless the job allows it."""
    place.put("家居/deep/readme.txt", b"no picture")
    place.put("list.txt", b"\n")
    place.job(input=table)
    done, planned = place.run(), place.batchrec("plan", "furniture.toml", "--json")
    assert (done.code, planned.code, calls_of(emulator)) == (66, 66, 0)
    assert (place.summary()["images"], json.loads(planned.out)["images"]) == (0, 0)
    assert place.summary()["stopped_by"] == "no_image"
    for said in (done.err, planned.err):
        assert "there is no image at all in the inputs" in said
        assert "input.allow_empty" in said
    place.job(input={**table, "allow_empty": True})
    done = place.run()
    assert (done.code, place.batchrec("plan", "furniture.toml").code) == (0, 0)
    assert "no image at all" not in done.err
    assert place.summary()["stopped_by"] is None


def test_66_recognize_without_any_image(place: Place, emulator: Emulator) -> None:
    """The one-off command has the same exit code."""
    (place.root / "empty").mkdir()
    done = place.batchrec("recognize", "empty", "--endpoint", "embedded")
    assert (done.code, done.out) == (66, "")
    assert "there is no image at all" in done.err


def test_66_a_share_that_is_not_mounted(place: Place, emulator: Emulator) -> None:
    """Results stay, the next run with the images has nothing to send, and far fewer images are worth a warning."""
    keys = place.pictures(5)
    place.job()
    assert place.run().code == 0
    shutil.move(place.root / "家居", place.root / "away")
    (place.root / "家居").mkdir()
    done = place.run()
    assert done.code == 66
    assert "the last run found 5" in done.err
    assert len(place.rows()) == 5
    for key in keys[:2]:
        shutil.copy(place.root / "away" / Path(key).name, place.root / key)
    assert place.run().code == 0
    shutil.rmtree(place.root / "家居")
    shutil.move(place.root / "away", place.root / "家居")
    assert place.run().code == 0
    assert emulator.counters.calls["advanced_general"] == 5


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        (1, "there is only 1 image in the inputs; the last run found 5"),
        (2, "there are only 2 images in the inputs; the last run found 5"),
        (3, ""),
    ],
)
def test_fewer_than_half_of_the_images(place: Place, emulator: Emulator, kept: int, line: str) -> None:
    """A run and a plan say so, once: the run after that compares with what is there now."""
    keys = place.pictures(5)
    place.job()
    assert place.run().code == 0
    for key in keys[kept:]:
        (place.root / key).unlink()
    for said in (place.batchrec("plan", "furniture.toml"), place.run()):
        assert (said.code, "the last run found" in said.err) == (0, bool(line))
        assert line in said.err
    assert "the last run found" not in place.run().err


def test_66_wins_over_a_directory_that_is_held(place: Place, emulator: Emulator) -> None:
    """Where there is no image either, the other run is not what matters; with one, it is."""
    place.pictures(40)
    place.job(limits={"qps": 1})
    running = place.start_run()
    try:
        until(place.row_count)
        assert place.run("--set", 'input.paths=["empty/*.jpg"]').code == 66
        assert place.run("--set", 'input.paths=["empty/*.jpg"]', "--set", "input.allow_empty=true").code == 73
        assert place.run().code == 73
    finally:
        running.kill()
