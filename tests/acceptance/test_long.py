"""Long images in tiles: one row, a call for each tile, and none of them twice, whatever ends a run."""

import base64
import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from harness import JOB, Done, Place, emulating, now, picture, shift_to_noon, until
from PIL import Image
from stranger import Said, Stranger, reply, strange

from batchrec.emulator import FaultPlan

SPLIT, PADDED = ("--set", 'input.long="split"'), ("--set", 'input.long="pad"')
LONG = "家居/long.png"
TILES = 4
"""Tiles of an image of 20 x 200 pixels."""

DAY = timedelta(days=1).total_seconds()


def long_picture(seed: int = 7, length: int = 200) -> bytes:
    """Noise of 20 pixels in width; in tiles, it is sent as PNG, so that each tile is known by its pixels."""
    return picture(seed, size=(20, length))


class Service:
    """A service that tells every image by its bytes, and how often it was sent; `answers` come by number of call."""

    def __init__(self) -> None:
        self.answer: Callable[[int], Said] = lambda number: Said(reply(f"thing {number}"))
        self.open = threading.Event()
        self.open.set()
        self.stranger = Stranger(self._answer)

    def _answer(self, number: int, _: Mapping[str, str]) -> Said:
        return self.answer(number)

    @property
    def sent(self) -> list[bytes]:
        """Bytes of the images that arrived, in order."""
        return [base64.b64decode(form["image"]) for form in self.stranger.calls]

    @property
    def calls(self) -> int:
        """Calls that arrived."""
        return len(self.stranger.calls)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on a socket."""
    made = Service()
    with strange(made.stranger):
        yield made


@pytest.fixture
def place(tmp_path: Path, service: Service) -> Place:
    """One long image and two others."""
    made = Place(tmp_path, service.stranger.url)
    made.put(LONG, long_picture())
    made.pictures(2)
    made.job()
    return made


def long_row(place: Place) -> dict[str, Any]:
    """The row of the long image, of which there is one."""
    (row,) = (row for row in place.rows() if row["image"] == LONG)
    return row


def plan(place: Place, *arguments: str) -> dict[str, Any]:
    """The plan as a program reads it."""
    found: dict[str, Any] = json.loads(place.batchrec("plan", f"{JOB}.toml", "--json", *arguments).out)
    return found


def verified(place: Place) -> Done:
    """The directory is consistent."""
    done = place.batchrec("verify", str(place.output))
    assert done.code == 0, done.out + done.err
    return done


def left_tiles(place: Place) -> int:
    """Answers of tiles whose image has no row yet."""
    with closing(sqlite3.connect(place.output / "journal.db")) as db:
        (count,) = db.execute("SELECT count(*) FROM tiles").fetchone()
    return int(count)


# -- as they are sent


def test_the_default_refuses_and_names_the_key(place: Place, service: Service) -> None:
    """The others are recognized."""
    assert plan(place)["calls"] == 2
    assert place.run().code == 1
    (failure,) = place.failures()
    assert (failure["code"], 'input.long = "pad" or "split"' in failure["message"]) == ("too_long", True)
    assert service.calls == 2
    assert all(row["tiles"] is None for row in place.rows())


def test_bars_make_one_call(place: Place, service: Service) -> None:
    """The image is sent once, in an allowed shape."""
    assert plan(place, *PADDED)["calls"] == 3
    assert place.run(*PADDED).code == 0
    assert sorted(Image.open(BytesIO(data)).size for data in service.sent) == [(32, 32), (32, 32), (67, 200)]
    row = long_row(place)
    assert (row["tiles"], row["repaired"], row["attempts"]) == (None, ["padded 20x200 to 67x200"], 1)


def test_tiles_are_one_row(place: Place, service: Service) -> None:
    """With the best labels of all, the sum of their calls, and every reply beside the part of the image it is of."""
    service.answer = lambda number: Said(reply("same", f"thing {number}", log_id=2**63 + number))
    assert plan(place, *SPLIT)["calls"] == 2 + TILES
    assert place.run(*SPLIT).code == 0
    assert service.calls == place.summary()["calls"] == place.counted() == 2 + TILES
    row = long_row(place)
    assert (row["tiles"], row["attempts"]) == (TILES, TILES)
    assert row["repaired"] == [f"split into {TILES} tiles"]
    assert [label["name"] for label in row["labels"]].count("same") == 1
    assert [label["score"] for label in row["labels"]] == [0.9] + [0.8] * TILES
    whole = Image.open(BytesIO(long_picture()))
    tiles = row["response"]["tiles"]
    assert list(row["response"]) == ["tiles"]
    for tile in tiles:
        left, top, width, height = (tile["box"][side] for side in ("left", "top", "width", "height"))
        number = tile["response"]["log_id"] - 2**63
        sent = Image.open(BytesIO(service.sent[number]))
        assert sent.tobytes() == whole.crop((left, top, left + width, top + height)).tobytes()
    assert (tiles[0]["box"]["top"], tiles[-1]["box"]["top"] + tiles[-1]["box"]["height"]) == (0, 200)
    assert {cells["log_id"] for cells in place.csv() if cells["image"] == LONG} == {""}
    assert place.summary()["answered"] == 3
    assert left_tiles(place) == 0
    verified(place)


def test_a_second_run_makes_no_call(place: Place, service: Service) -> None:
    """Nor does another job: the row is in the result cache under its treatment."""
    assert place.run(*SPLIT).code == 0
    calls = service.calls
    assert place.run(*SPLIT).code == 0
    place.job(output={"directory": "elsewhere"})
    assert plan(place, *SPLIT)["calls"] == 0
    assert place.run(*SPLIT).code == 0
    assert service.calls == calls
    other = [json.loads(line) for line in (place.root / "elsewhere/results.jsonl").read_bytes().splitlines()]
    (row,) = (row for row in other if row["image"] == LONG)
    mine = long_row(place)
    for key in ("labels", "response", "tiles"):
        assert row[key] == mine[key]
    assert (row["attempts"], row["reused"]) == (0, mine["answered_at"])


def test_a_copy_shares_the_row(place: Place, service: Service) -> None:
    """Identical bytes are sent once, in tiles too."""
    place.put("家居/other.png", long_picture())
    assert plan(place, *SPLIT)["calls"] == 2 + TILES
    assert place.run(*SPLIT).code == 0
    assert service.calls == 2 + TILES
    rows = {row["same_as"]: row for row in place.rows()}
    assert rows[LONG]["tiles"] == TILES
    verified(place)


def test_a_change_of_the_key_concerns_long_images_alone(place: Place, service: Service) -> None:
    """A failure by the default is asked again with tiles; a row in tiles is asked again with bars, and known again."""
    assert place.run().code == 1
    assert place.run(*SPLIT).code == 0
    assert (service.calls, place.failures()) == (2 + TILES, [])
    assert plan(place, *PADDED)["calls"] == 1
    assert place.run(*PADDED).code == 0
    assert (service.calls, long_row(place)["tiles"]) == (3 + TILES, None)
    assert place.run(*SPLIT).code == 0
    assert (service.calls, long_row(place)["tiles"]) == (3 + TILES, TILES)
    verified(place)


def test_boxes_are_of_the_whole_image(place: Place, service: Service) -> None:
    """One thing that two tiles have in common is one label, with the box around both."""

    def logos(*found: tuple[str, float, tuple[int, int, int, int]]) -> Said:
        names = ("left", "top", "width", "height")
        result = [{"name": n, "probability": p, "location": dict(zip(names, box, strict=True))} for n, p, box in found]
        return Said(json.dumps({"log_id": 1, "result_num": len(result), "result": result}).encode())

    by_call = {
        0: logos(("A", 0.5, (1, 40, 10, 15)), ("B", 0.9, (0, 0, 5, 5))),
        1: logos(("A", 0.7, (1, 0, 10, 6)), ("B", 0.8, (0, 20, 5, 5))),
    }
    service.answer = lambda number: by_call.get(number, logos())
    place.job(input={"paths": [LONG]}, steps=[{"service": "logo"}])
    assert place.run(*SPLIT).code == 0
    row = long_row(place)
    second = row["response"]["tiles"][1]["box"]["top"]
    found = [(label["name"], label["score"], *label["box"].values()) for label in row["labels"]]
    assert found == [
        ("B", 0.9, 0, 0, 5, 5),
        ("B", 0.8, 0, second + 20, 5, 5),
        ("A", 0.7, 1, 40, 10, 15),
    ]


# -- ended in the middle


def killed_at(place: Place, service: Service, number: int) -> None:
    """Run the job, and kill it while a call is under way, the first being 0."""
    usual = service.answer
    service.answer = lambda call: Said(usual(call).body, after=30) if call == number else usual(call)
    running = place.start_run()
    until(lambda: service.calls == number + 1)
    running.kill()


def alone(place: Place, **tables: Mapping[str, Any]) -> None:
    """Only the long image is an input."""
    place.job(input={"paths": [LONG], "long": "split"}, **tables)


@pytest.mark.parametrize("answered", range(TILES))
def test_a_kill_between_tiles_costs_the_call_in_flight(place: Place, service: Service, answered: int) -> None:
    """SIGKILL while a tile is under way: the next run asks that one again, and those after it."""
    alone(place)
    killed_at(place, service, answered)
    assert (place.rows(), left_tiles(place)) == ([], answered)
    assert plan(place)["calls"] == TILES - answered
    done = place.run()
    assert done.code == 0
    assert service.calls == TILES + 1
    assert len(set(service.sent)) == TILES
    summary = place.summary()
    assert (summary["calls"], summary["outcome_unknown"]) == (TILES - answered, 1)
    assert (long_row(place)["tiles"], long_row(place)["attempts"]) == (TILES, TILES)
    numbers = [*range(answered), *range(answered + 1, TILES + 1)]
    assert [label["name"] for label in long_row(place)["labels"]] == [f"thing {number}" for number in numbers]
    assert left_tiles(place) == 0
    verified(place)


def test_the_signal_to_stop_saves_the_tiles(place: Place, service: Service) -> None:
    """SIGTERM lets the tile under way be answered; the rest is for the next run."""
    alone(place)
    usual = service.answer
    service.answer = lambda call: Said(usual(call).body, after=0.5 if call == 1 else 0)
    running = place.start_run()
    until(lambda: service.calls == 2)
    running.send(signal.SIGTERM)
    assert running.wait().code == 143
    assert (service.calls, left_tiles(place)) == (2, 2)
    verified(place)
    assert place.run().code == 0
    assert service.calls == len(set(service.sent)) == TILES
    assert place.summary()["outcome_unknown"] == 0


def test_a_daily_limit_between_tiles(place: Place, service: Service) -> None:
    """Tiles count one by one; the next day goes on with those that are missing."""
    alone(place, limits={"daily": 3})
    assert place.run().code == 75
    assert (service.calls, left_tiles(place), place.summary()["calls"]) == (3, 3, 3)
    place.set_clock(now() + shift_to_noon(now()) + DAY)
    assert plan(place)["calls"] == 1
    assert place.run().code == 0
    assert service.calls == len(set(service.sent)) == TILES
    verified(place)


def test_a_tile_that_fails_fails_its_image(place: Place, service: Service) -> None:
    """The answers of the tiles before it are kept: `--retry-failed` asks for the others alone."""
    alone(place)
    usual = service.answer
    refused = Said(json.dumps({"error_code": 216201, "error_msg": "image format error", "log_id": 1}).encode())
    service.answer = lambda call: refused if call == 2 else usual(call)
    assert place.run().code == 1
    (failure,) = place.failures()
    assert (failure["code"], failure["attempts"]) == (216201, 3)
    assert failure["message"].startswith(f"tile 3 of {TILES}: ")
    assert place.rows() == []
    verified(place)
    assert place.run("--retry-failed").code == 0
    assert (service.calls, place.failures()) == (TILES + 1, [])
    assert long_row(place)["attempts"] == TILES
    verified(place)


def test_tiles_share_the_attempts_of_their_image(place: Place, service: Service) -> None:
    """Three tiles that fail once each spend the three attempts of the image; the answers before it are kept."""
    place.job(limits={"attempts": 3, "concurrency": 1})
    usual = service.answer
    busy = Said(json.dumps({"error_code": 282000, "error_msg": "internal error", "log_id": 1}).encode())
    service.answer = lambda call: busy if call in (2, 4, 6) else usual(call)
    done = place.run(*SPLIT)
    rows, others = place.rows(), [data for data in service.sent if Image.open(BytesIO(data)).size == (32, 32)]
    assert (done.code, len(rows), len(others)) == (1, 2, 2), done.err
    (failure,) = place.failures()
    assert (failure["code"], failure["attempts"], left_tiles(place)) == (282000, 5, 2)
    assert failure["message"].startswith(f"tile 3 of {TILES}: ")
    assert place.run(*SPLIT, "--retry-failed").code == 0
    assert service.calls == 2 + TILES + 3
    verified(place)


def test_a_copy_goes_on_where_its_leader_failed(place: Place, service: Service) -> None:
    """Tiles with the same bytes are sent once, whichever image they are of."""
    copy = place.put("家居/other.png", long_picture())
    place.job(input={"paths": [LONG, copy], "long": "split"}, limits={"attempts": 1})
    usual = service.answer
    service.answer = lambda call: Said(b"<html>", status=502) if call == 2 else usual(call)
    assert place.run().code == 1
    assert ([row["image"] for row in place.rows()], len(place.failures())) == ([copy], 1)
    assert service.calls == TILES + 1
    assert place.run("--retry-failed").code == 0
    assert (service.calls, long_row(place)["same_as"], left_tiles(place)) == (TILES + 1, copy, 0)
    verified(place)


def test_transient_errors_are_repeated_tile_by_tile(place: Place, service: Service) -> None:
    """Only the tile that failed is sent again; the attempts of all tiles add up."""
    alone(place, limits={"attempts": 4})
    usual = service.answer
    broken = Said(b"<html>", status=502)
    service.answer = lambda call: broken if call in (1, 3, 5) else usual(call)
    assert place.run().code == 0
    assert (service.calls, long_row(place)["attempts"]) == (TILES + 3, TILES + 3)
    assert place.summary()["retries"] == 3


def test_a_file_that_changes_keeps_no_tile(place: Place, service: Service) -> None:
    """Answers of tiles belong to their bytes."""
    alone(place)
    killed_at(place, service, 2)
    place.put(LONG, long_picture(8))
    assert place.run().code == 0
    assert service.calls == 3 + TILES
    sent = service.sent[3:]
    whole = Image.open(BytesIO(long_picture(8)))
    for tile, data in zip(long_row(place)["response"]["tiles"], sent, strict=True):
        top, height = tile["box"]["top"], tile["box"]["height"]
        assert Image.open(BytesIO(data)).tobytes() == whole.crop((0, top, 20, top + height)).tobytes()


def test_another_question_keeps_no_tile(place: Place, service: Service) -> None:
    """An answer belongs to the options of its step."""
    alone(place)
    killed_at(place, service, 2)
    assert place.run("--set", "recognize.0.options={baike_num=1}").code == 0
    assert service.calls == 3 + TILES


def test_secrets_in_the_reply_of_a_tile_are_masked(place: Place, service: Service) -> None:
    """In the journal as well, which keeps it until the row is there."""
    alone(place)
    secret = place.env["BAIDU_SECRET_KEY"] = "s" * 8 + "acceptance-secret-of-32-chars"
    service.answer = lambda _: Said(reply("thing", echo=secret))
    killed_at(place, service, 2)
    assert left_tiles(place) == 2
    assert all(secret.encode() not in path.read_bytes() for path in place.output.iterdir())
    assert place.run().code == 0
    for path in place.output.iterdir():
        assert secret.encode() not in path.read_bytes()


def test_many_long_images_killed_again_and_again(tmp_path: Path) -> None:
    """Every tile's answer exactly once: what is asked again is what was in flight at a kill, and is told."""
    with emulating() as emulator:
        place = Place(tmp_path, emulator.url)
        keys = [place.put(f"家居/{number:02}.png", long_picture(number)) for number in range(60)]
        place.job(input={"long": "split"}, limits={"qps": 400, "concurrency": 8})
        emulator.plan = FaultPlan.parse({"faults": [{"kind": "latency", "seconds": 0.05, "share": 1}]})
        calls, unknown = emulator.counters.calls, 0
        for kill_at in (20, 70, 120, 170):
            running = place.start_run()
            until(lambda most=kill_at: calls["advanced_general"] >= most)  # type: ignore[misc]
            running.kill()
        assert place.run().code == 0
        unknown = place.summary()["outcome_unknown"]
        again = calls["advanced_general"] - TILES * len(keys)
        print(f"\n{len(keys)} images in {TILES} tiles, 4 kills, 8 in flight: {again} calls again, {unknown} told")
        assert sorted(row["image"] for row in place.rows()) == sorted(keys)
        assert {row["tiles"] for row in place.rows()} == {TILES}
        assert again <= unknown <= 4 * 8
        verified(place)


# -- earlier versions


def test_a_journal_of_the_version_before(place: Place, service: Service) -> None:
    """It has no table of tiles, and its rows have no such key: copies of them get one."""
    assert place.run().code == 1
    with closing(sqlite3.connect(place.output / "journal.db")) as db:
        db.executescript("DROP TABLE tiles; DROP TABLE superseded; PRAGMA user_version = 4")
    assert place.batchrec("status", str(place.output)).code == 0
    assert place.run(*SPLIT).code == 0
    assert (service.calls, len(place.rows())) == (2 + TILES, 3)
    verified(place)
