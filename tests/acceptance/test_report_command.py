"""`batchrec report` and `batchrec compare` on the command line: what is written, kept, refused and printed."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from harness import Place, picture

from batchrec.commands.report import write_report
from batchrec.errors import OutputFailed
from batchrec.report import build


@pytest.fixture
def done(place: Place) -> Place:
    """A place with a finished job of six images, one of them a copy and one that fails."""
    place.pictures(4)
    place.put("家居/copy.png", picture(0))
    place.put("家居/page.jpg", b"<html>403</html>")
    place.job()
    assert place.run().code == 1
    return place


def data(place: Place) -> dict[str, bytes]:
    """Every file of the report by its name."""
    folder = place.output / "report"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_report_names_its_page(done: Place) -> None:
    """The page's path goes to standard output, counts to standard error; a job file and a directory do the same."""
    said = done.batchrec("report", "furniture.toml")
    assert (said.code, said.out.strip()) == (0, str((done.output / "report/index.html").resolve()))
    assert "6 images" in said.err
    assert done.batchrec("report", "results/furniture").out == said.out
    assert not [path for path in done.output.iterdir() if path.name.startswith((".report", "report."))]


def test_second_report_makes_what_is_new(done: Place) -> None:
    """Thumbnails are kept by content: the second report makes none, and one for an image that is new."""
    assert "4 thumbnails made" in done.batchrec("report", "furniture.toml").err
    before = data(done)
    assert "0 thumbnails made" in done.batchrec("report", "furniture.toml").err
    assert {name: text for name, text in data(done).items() if "thumbs/" in name} == {
        name: text for name, text in before.items() if "thumbs/" in name
    }
    done.pictures(1, start=9)
    assert done.run().code in (0, 1)
    assert "1 thumbnails made" in done.batchrec("report", "furniture.toml").err


def test_report_without_thumbnails(done: Place) -> None:
    """--thumbnails 0 makes none; a size that is none is refused."""
    assert done.batchrec("report", "furniture.toml", "--thumbnails", "0").code == 0
    assert not [name for name in data(done) if "thumbs" in name]
    said = done.batchrec("report", "furniture.toml", "--thumbnails", "7")
    assert said.code == 2
    assert "32 to 640 pixels" in said.err


def test_image_that_has_changed_has_no_thumbnail(done: Place) -> None:
    """Another picture in the place of a recognized one would be shown with results that are not its own."""
    (done.root / "家居/家居_0001.jpg").write_bytes(picture(77, "JPEG"))
    (done.root / "家居/家居_0002.png").unlink()
    said = done.batchrec("report", "furniture.toml")
    assert said.code == 0
    assert "2 images have moved or changed" in said.err


def test_full_disk_leaves_the_earlier_report(done: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is written beside the earlier one, and nothing is left of it where that fails."""
    assert done.batchrec("report", "furniture.toml").code == 0
    before = data(done)

    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(build, "mark", full)
    with pytest.raises(OutputFailed, match="No space left"):
        write_report(done.output, None, 160, None, show=False, zipped=False)
    assert data(done) == before
    assert not [path for path in done.output.iterdir() if path.name.startswith((".report", "report."))]


def test_other_folders_are_not_replaced(done: Place) -> None:
    """A folder that holds anything else, a link, and a directory that is none are refused with exit code 2."""
    done.put("mine/notes.txt", b"x")
    said = done.batchrec("report", "furniture.toml", "--out", "mine")
    assert (said.code, "holds files that are no report" in said.err) == (2, True)
    (done.root / "link").symlink_to("elsewhere")
    said = done.batchrec("report", "furniture.toml", "--out", "link")
    assert (said.code, "is a link" in said.err) == (2, True)
    assert done.batchrec("report", "mine").code == 2
    assert done.batchrec("report", "furniture.toml", "--out", "new/report").code == 0
    assert (done.root / "new/report/index.html").is_file()


def test_two_reports_at_a_time(done: Place) -> None:
    """The second one is told that another is being written, with exit code 73."""
    with FileLock(done.output / ".report.lock"):
        said = done.batchrec("report", "furniture.toml")
    assert (said.code, "another report" in said.err) == (73, True)


def test_report_of_a_job_without_results(place: Place) -> None:
    """Where nothing was recognized the report is written all the same."""
    place.put("家居/page.jpg", b"<html>403</html>")
    place.job()
    assert place.run().code == 1
    assert place.batchrec("report", "furniture.toml").code == 0


def second(done: Place, label: str) -> Path:
    """A copy of the output directory, whose first result has another top label."""
    other = done.root / "other"
    shutil.copytree(done.output, other)
    path = other / "results.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    row = json.loads(first)
    old = row["labels"][0]["name"].encode()
    new = label.encode()[: len(old)].ljust(len(old), b".")
    path.write_bytes(b"".join([first.replace(b'"name":"' + old, b'"name":"' + new, 1), *rest]))
    return other


def test_compare_directories(done: Place) -> None:
    """Agreement, labels and differences as JSON; the table names the image that differs; a report holds both."""
    other = second(done, "other")
    image = json.loads((other / "results.jsonl").read_bytes().splitlines()[0])["image"]
    found = json.loads(done.batchrec("compare", "furniture.toml", "other", "--json").out)
    assert (found["images"], found["same"], found["failed"]) == (5, found["images"] - len(found["differences"]), 1)
    assert image in [each["image"] for each in found["differences"]]
    assert (found["only_first"], found["only_second"]) == (0, 0)
    assert sum(row["images"] for row in found["labels"]) == found["images"]
    table = done.batchrec("compare", "furniture.toml", "other")
    assert table.code == 0
    assert image in table.out
    said = done.batchrec("report", "furniture.toml", "--compare", "other")
    assert (said.code, "12 results and failures" in said.err) == (0, True)


def test_compare_names_steps(done: Place) -> None:
    """One step and the same directory have to be told apart; an unknown step is refused with those there are."""
    said = done.batchrec("compare", "furniture.toml", "furniture.toml", "--step", "nonsense")
    assert said.code == 2
    assert "advanced_general" in said.err
    same = done.batchrec("compare", "furniture.toml", "furniture.toml", "--step", "advanced_general", "--json")
    assert json.loads(same.out)["share"] == 1
    many = done.batchrec("compare", "furniture.toml", "furniture.toml", *("--step", "a") * 3)
    assert many.code == 2
