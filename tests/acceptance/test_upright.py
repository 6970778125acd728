"""Images are sent upright, and a result belongs to that: what changes of it costs a call, and nothing else does."""

import base64
import json
import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from harness import JOB, Place, lines, picture
from PIL import ExifTags, Image
from stranger import Stranger

LYING = ("--set", "input.upright=false")


@pytest.fixture
def place(tmp_path: Path, stranger: Stranger) -> Place:
    """Two images that lie upright and one that lies on its side."""
    made = Place(tmp_path, stranger.url)
    made.pictures(2)
    made.put("家居/turned.jpg", turned(1))
    made.job()
    return made


def turned(seed: int, orientation: int = 6) -> bytes:
    """A photograph of 30 x 20 pixels, to be displayed as one of 20 x 30."""
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    Image.open(BytesIO(picture(seed, size=(30, 20)))).save(file, "JPEG", exif=exif)
    return file.getvalue()


def sent(stranger: Stranger) -> list[bytes]:
    """The bytes of the images that the service was sent since the last look."""
    images = [base64.b64decode(form["image"]) for form in stranger.calls]
    stranger.calls.clear()
    return images


def sizes(images: list[bytes]) -> list[tuple[int, int]]:
    """Sizes in pixels, sorted."""
    return sorted(Image.open(BytesIO(data)).size for data in images)


def answers(place: Place) -> dict[str, str]:
    """By image: the name of its top label."""
    return {row["image"]: row["labels"][0]["name"] for row in place.rows()}


def plan(place: Place, *arguments: str) -> dict[str, int]:
    """The plan as a program reads it."""
    found: dict[str, int] = json.loads(place.batchrec("plan", f"{JOB}.toml", "--json", *arguments).out)
    return found


def make_earlier(place: Place) -> None:
    """Give the journal the format of the version that noted no variant."""
    with closing(sqlite3.connect(place.output / "journal.db")) as db:
        db.executescript(
            "ALTER TABLE items DROP COLUMN variant; ALTER TABLE steps DROP COLUMN treatment; "
            "DROP TABLE superseded; DROP TABLE tiles; PRAGMA user_version = 3"
        )


def test_a_label_service_is_sent_upright_pixels(place: Place, stranger: Stranger) -> None:
    """Without an orientation beside them; what lies upright is sent byte for byte."""
    assert place.run().code == 0
    images = sent(stranger)
    assert sizes(images) == [(20, 30), (32, 32), (32, 32)]
    assert all(not Image.open(BytesIO(data)).getexif() for data in images)
    assert {(place.root / "家居" / name).read_bytes() for name in ("家居_0000.png", "家居_0001.jpg")} < set(images)


def test_without_upright_the_bytes_are_sent_as_they_are(place: Place, stranger: Stranger) -> None:
    """Their EXIF is kept, so that the service may turn them."""
    assert place.run(*LYING).code == 0
    assert turned(1) in sent(stranger)


@pytest.mark.parametrize("repair", ["true", "false"])
def test_a_change_of_upright_asks_for_turned_images_alone(place: Place, stranger: Stranger, repair: str) -> None:
    """Also where nothing is repaired, and back again at no cost: the result cache has the first answer."""
    repaired = ("--set", f"input.repair={repair}")
    assert place.run(*repaired).code == 0
    first = answers(place)
    sent(stranger)
    assert plan(place, *LYING, *repaired)["calls"] == 1
    done = place.run(*LYING, *repaired)
    assert (done.code, sent(stranger)) == (0, [turned(1)])
    assert "since [input] has them sent in another way now: 1" in done.err
    second = answers(place)
    assert [name for name in first if first[name] != second[name]] == ["家居/turned.jpg"]
    assert plan(place, *repaired)["calls"] == 0
    assert place.run(*repaired).code == 0
    assert (sent(stranger), answers(place)) == ([], first)
    assert place.batchrec("verify", str(place.output)).code == 0


def test_strip_and_repair_change_no_result(place: Place, stranger: Stranger) -> None:
    """An answer does not depend on them."""
    assert place.run().code == 0
    sent(stranger)
    assert place.run("--set", "input.strip=true", "--set", "input.repair=false").code == 0
    assert sent(stranger) == []


def test_a_copy_of_what_was_sent_otherwise_is_asked_for_itself(place: Place, stranger: Stranger) -> None:
    """An input that is gone keeps its row; after a change of the treatment, new copies of it do not get it."""
    assert place.run("--no-reuse").code == 0
    sent(stranger)
    (place.root / "家居/turned.jpg").rename(place.root / "家居/copy.jpg")
    assert place.run(*LYING, "--no-reuse").code == 0
    assert sent(stranger) == [turned(1)]
    (place.root / "家居/copy.jpg").rename(place.root / "家居/turned.jpg")
    assert place.run(*LYING, "--no-reuse").code == 0
    assert (sent(stranger), answers(place)["家居/turned.jpg"]) == ([], answers(place)["家居/copy.jpg"])


def test_rows_of_an_earlier_version_stay_until_asked_for(place: Place, stranger: Stranger) -> None:
    """The plan says how many images were sent lying on their side, and what asks for them again does so, once."""
    assert place.run(*LYING).code == 0
    make_earlier(place)
    first = answers(place)
    sent(stranger)
    assert (plan(place)["lying"], plan(place)["calls"]) == (1, 0)
    assert place.run().code == 0
    assert (sent(stranger), answers(place)) == ([], first)
    said = place.batchrec("plan", f"{JOB}.toml").out
    assert "1 results are of images that an earlier version sent lying on their side" in said
    (command,) = (line.split("again: ")[1] for line in said.splitlines() if "again: " in line)
    assert command == f"batchrec run {JOB}.toml --retry-kind lying"
    assert place.batchrec(*command.split()[1:]).code == 0
    assert sizes(sent(stranger)) == [(20, 30)]
    assert plan(place)["lying"] == 0
    assert place.batchrec(*command.split()[1:]).code == 0
    assert sent(stranger) == []


def test_a_copy_of_an_earlier_version_s_row_is_sent_upright(place: Place, stranger: Stranger) -> None:
    """Upright images share what the earlier version was answered; a lying one is asked for again."""
    assert place.run(*LYING, "--no-reuse").code == 0
    make_earlier(place)
    for name in ("家居_0000.png", "turned.jpg"):
        place.put(f"家居/copy of {name}", (place.root / "家居" / name).read_bytes())
    sent(stranger)
    assert plan(place, "--no-reuse")["calls"] == 1
    assert place.run("--no-reuse").code == 0
    assert sizes(sent(stranger)) == [(20, 30)]
    rows = {row["image"]: row["same_as"] for row in lines(place.output / "results.jsonl")}
    assert (rows["家居/copy of 家居_0000.png"], rows["家居/copy of turned.jpg"]) == ("家居/家居_0000.png", None)
