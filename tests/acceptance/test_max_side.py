"""`input.max_side` on the command line: what is sent, where boxes lie, and which results a change of it costs."""

import base64
import json
from io import BytesIO
from pathlib import Path

import pytest
from harness import JOB, Place, picture
from PIL import Image
from stranger import Said, Stranger, strange

from batchrec.emulator import Settings

LARGE, LIGHT = (1000, 750), (640, 480)
SHRINK = ("--set", "input.max_side=256")
BOX = {"left": 20, "top": 10, "width": 100, "height": 50}


def light(seed: int) -> bytes:
    """An image that is larger than the side asked for and has few bytes."""
    file = BytesIO()
    Image.new("RGB", LIGHT, (seed, 90, 90)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def place(tmp_path: Path, stranger: Stranger) -> Place:
    """A heavy image of many pixels, and two that a side of 256 px does not touch: one light, one small."""
    made = Place(tmp_path, stranger.url)
    made.put("家居/heavy.jpg", picture(1, "JPEG", LARGE))
    made.put("家居/light.jpg", light(1))
    made.put("家居/small.png", picture(2))
    made.job()
    return made


def sizes(stranger: Stranger) -> list[tuple[int, int]]:
    """Sizes in pixels of the images that the service was sent since the last look, sorted."""
    found = sorted(Image.open(BytesIO(base64.b64decode(form["image"]))).size for form in stranger.calls)
    stranger.calls.clear()
    return found


def plan(place: Place, *arguments: str) -> dict[str, int]:
    """The plan as a program reads it."""
    found: dict[str, int] = json.loads(place.batchrec("plan", f"{JOB}.toml", "--json", *arguments).out)
    return found


@pytest.mark.parametrize("repair", ["true", "false"])
def test_a_change_of_max_side_asks_for_shrunk_images_alone(place: Place, stranger: Stranger, repair: str) -> None:
    """And back again at no cost: the result cache has the first answer. The plan knows all of it."""
    place.job(input={"paths": ["家居"], "repair": repair == "true"})
    assert plan(place)["to_repair"] == 0
    assert place.run().code == 0
    assert sizes(stranger) == [(32, 32), LIGHT, LARGE]
    first = place.rows()
    expected = plan(place, *SHRINK)
    assert (expected["calls"], expected["to_repair"]) == (1, 1)
    assert place.run(*SHRINK).code == 0
    assert sizes(stranger) == [(250, 188)]
    (row,) = (row for row in place.rows() if row["image"] == "家居/heavy.jpg")
    assert row["repaired"] == ["shrunk 1000x750 to 250x188", "jpeg quality 90"]
    assert plan(place, "--set", "input.max_side=255")["calls"] == 0  # the decoder makes the same of it
    assert plan(place, "--set", "input.max_side=160")["calls"] == 1
    assert place.run().code == 0
    assert sizes(stranger) == []
    assert {row["image"]: row["labels"] for row in place.rows()} == {row["image"]: row["labels"] for row in first}
    assert place.batchrec("verify", str(place.output)).code == 0


def test_boxes_are_in_pixels_of_the_file(tmp_path: Path) -> None:
    """A service that finds a box in what it is sent; the row has it where a person sees it."""
    answer = json.dumps({"log_id": 1, "result": BOX}).encode()
    with strange(Stranger(lambda _, form: Said(answer))) as server:
        place = Place(tmp_path, server.url)
        place.put("家居/heavy.jpg", picture(1, "JPEG", LARGE))
        place.job(steps=[{"service": "object_detect"}], input={"paths": ["家居"], "max_side": 256})
        assert place.run().code == 0
        assert sizes(server) == [(250, 188)]
    (label,) = place.rows()[0]["labels"]
    box = label["box"]
    assert (box["left"], box["width"]) == (80, 400)
    assert (box["top"], box["height"]) == pytest.approx((10 * 750 / 188, 50 * 750 / 188), abs=1)


def test_the_emulator_finds_the_same_box_in_the_smaller_image(tmp_path: Path) -> None:
    """With its model: a dark thing on white lies where it lay, within the grain of the model's map."""
    assert Settings().max_side == 4096
    found = {}
    for side in (4096, 1024):
        place = Place(tmp_path / str(side))
        place.root.mkdir()
        place.put("家居/panda.jpg", enlarged())
        place.job(steps=[{"service": "object_detect"}], input={"paths": ["家居"], "max_side": side})
        assert place.run().code == 0
        (row,) = place.rows()
        found[side] = row["labels"][0]["box"]
        assert bool(row["repaired"]) == (side == 1024)
    for key in ("left", "top", "width", "height"):
        assert found[1024][key] == pytest.approx(found[4096][key], abs=2400 / 7)


def enlarged() -> bytes:
    """A photograph of the repository at 2,400 px, heavy enough to be shrunk."""
    source = Path(__file__).parents[2] / "jobs" / "photos" / "动物" / "red_panda.jpg"
    file = BytesIO()
    with Image.open(source) as image:
        larger = image.resize((2400, round(2400 * image.height / image.width)), Image.Resampling.LANCZOS)
        larger.save(file, "JPEG", quality=97)
    return file.getvalue()


@pytest.mark.parametrize("value", ["14", "4097", "0", "-1", '"1024"', "true", "10.5"])
def test_a_side_that_cannot_be_is_a_mistake_in_the_job(place: Place, value: str) -> None:
    """The message names the key and the bounds, or the type."""
    done = place.run("--set", f"input.max_side={value}")
    assert done.code == 2
    assert "input.max_side" in done.err
    assert "Traceback" not in done.err
