"""The wording of the emulated services' answers, and the stand-in's answers."""

from typing import Any

import pytest

from batchrec.emulator import Box, Guess, Picture
from batchrec.emulator.answers.stand_in import ALWAYS_FOUND, StandIn, finds_nothing
from batchrec.emulator.services import SERVICES, find
from tests.support.emulator import picture, sha256

FOUND = [
    Guess(
        name=f"n{rank}",
        score=score,
        root="r" if rank else None,
        calorie="119" if rank else None,
        year=None if rank else "2017",
        box=Box(1, 2, 30, 40),
        details={"color": "c", "brand": "b", "currencyCode": "SGD"},
    )
    for rank, score in enumerate([0.87311432, 0.5, 0.4, 0.2, 6.4e-05, 3e-05, 2e-05])
]
LOCATION = {"left": 1, "top": 2, "width": 30, "height": 40}


def reply(service: str, guesses: list[Guess] | None = None, **options: str) -> dict[str, Any]:
    return SERVICES[service].compose(FOUND if guesses is None else guesses, options)


def types(row: dict[str, Any], *keys: str) -> list[type]:
    return [type(row[key]) for key in keys]


def test_there_are_fourteen_services() -> None:
    """Each is found under its path, EasyDL with the model's name, in both of its houses."""
    assert len(SERVICES) == 14
    for service in SERVICES.values():
        model = "fruit" if service.body == "json" else None
        assert find(service.path + (model or "")) == (service, model)
    assert find("/rpc/2.0/ai_custom_pro/v1/detection/m") == (SERVICES["easydl_detection"], "m")


@pytest.mark.parametrize("path", ["/", "/rest/2.0/image-classify/v1/dish", "/rpc/2.0/ai_custom/v1/detection/"])
def test_other_paths_are_nobodys(path: str) -> None:
    """An old version, no model, nothing at all."""
    assert find(path) is None


def test_advanced_general() -> None:
    """Five rows with number, keyword and score; a tag may lack its root."""
    body = reply("advanced_general")
    assert body["result_num"] == len(body["result"]) == 5
    assert body["result"][0] == {"score": 0.87311432, "keyword": "n0"}
    assert body["result"][1] == {"score": 0.5, "root": "r", "keyword": "n1"}


def test_dish_has_numbers_as_text() -> None:
    """Probability and calories are text; unknown calories are absent."""
    first, second = reply("dish", top_num="2")["result"]
    assert first == {"has_calorie": False, "name": "n0", "probability": "0.873114"}
    assert second == {"calorie": "119", "has_calorie": True, "name": "n1", "probability": "0.5"}


def test_animal_scores_are_text_and_plant_scores_are_numbers() -> None:
    """And neither counts its rows."""
    animal, plant = reply("animal"), reply("plant")
    assert (animal.keys(), plant.keys()) == ({"result"}, {"result"})
    assert (types(animal["result"][0], "score"), types(plant["result"][0], "score")) == ([str], [float])
    assert animal["result"][4]["score"] == "6.4e-05"
    assert (len(animal["result"]), len(plant["result"])) == (6, 5)


def test_car_has_place_and_colour_beside_the_list() -> None:
    """Floats for the place, words for an unknown year, the brand only on demand."""
    body = reply("car", top_num="2")
    assert body == {
        "location_result": LOCATION,
        "result": [
            {"score": 0.87311432, "name": "n0", "year": "2017"},
            {"score": 0.5, "name": "n1", "year": "无年份信息"},
        ],
        "color_result": "c",
    }
    assert types(body["location_result"], "left", "top", "width", "height") == [float] * 4
    assert reply("car", output_brand="true")["brand"] == "b"


def test_objects() -> None:
    """Four services have an object where the others have a list."""
    assert reply("object_detect") == {"result": LOCATION}
    assert reply("landmark") == {"result": {"landmark": "n0"}}
    assert reply("currency") == {"result": {"hasdetail": 1, "currencyName": "n0", "currencyCode": "SGD"}}
    assert reply("redwine")["result"]["wineNameCn"] == "n0"


def test_lists_with_boxes() -> None:
    """multi_object_detect without a count, logo with one and a type."""
    assert reply("multi_object_detect", FOUND[:1]) == {
        "result": [{"name": "n0", "score": 0.87311432, "location": LOCATION}]
    }
    logo = reply("logo", [Guess("brand", 1.0, box=Box(1, 2, 30, 40))])
    assert logo == {
        "result_num": 1,
        "result": [{"type": 0, "name": "brand", "probability": 1, "location": LOCATION}],
    }
    assert types(logo["result"][0], "probability") == [int]


def test_easydl_says_results() -> None:
    """Six classes by default, ``top_num`` of them if asked; finds above the threshold with their place."""
    assert [len(reply("easydl_classification", **options)["results"]) for options in ({}, {"top_num": "2"})] == [6, 2]
    assert [row["name"] for row in reply("easydl_detection")["results"]] == ["n0", "n1", "n2"]
    assert reply("easydl_detection", threshold="0.6")["results"] == [
        {"location": LOCATION, "name": "n0", "score": 0.87311432}
    ]
    many = [Guess("nut", 0.9, box=Box(number, 0, 5, 5)) for number in range(7)]
    assert len(reply("easydl_detection", many)["results"]) == 7


@pytest.mark.parametrize(
    ("service", "body"),
    [
        ("dish", {"result_num": 1,
                  "result": [{"calorie": "-1", "has_calorie": True, "name": "非菜", "probability": "1"}]}),
        ("car", {"result": [{"score": 1, "name": "非车类"}], "color_result": "无车辆颜色信息"}),
        ("animal", {"result": [{"score": "1", "name": "非动物"}]}),
        ("plant", {"result": [{"score": 1, "name": "非植物"}]}),
        ("ingredient", {"result_num": 1, "result": [{"score": 1, "name": "非果蔬食材"}]}),
        ("logo", {"result_num": 0, "result": []}),
        ("multi_object_detect", {"result": []}),
        ("landmark", {"result": {"landmark": ""}}),
        ("currency", {"result": {"hasdetail": 0, "currencyName": ""}}),
        ("redwine", {"result": {"hasdetail": 0, "wineNameCn": ""}}),
        ("easydl_classification", {"results": []}),
        ("easydl_detection", {"results": []}),
    ],
)  # fmt: skip
def test_nothing_found_is_no_error(service: str, body: dict[str, Any]) -> None:
    """Each service has its own way to say so."""
    assert reply(service, []) == body


def test_word_for_nothing_may_stand_lower_in_the_list() -> None:
    """A guess that there is nothing is worded by the service, or left out where the service has no word."""
    guesses = [FOUND[0], Guess("", 0.2, nothing=True)]
    assert [row["name"] for row in reply("plant", guesses)["result"]] == ["n0", "非植物"]
    assert [row["keyword"] for row in reply("advanced_general", guesses)["result"]] == ["n0"]


@pytest.mark.parametrize(
    ("service", "top_num", "rows"),
    [("ingredient", "0", 5), ("ingredient", "-3", 5), ("ingredient", "99", 20), ("ingredient", "", 5),
     ("dish", "3", 3), ("animal", "x", 6), ("plant", "1", 5), ("car", "7", 7)],
)  # fmt: skip
def test_top_num(service: str, top_num: str, rows: int) -> None:
    """Honoured by those who know it, at most twenty; what is no positive number is the default."""
    guesses = [Guess(f"n{rank}", 0.1) for rank in range(30)]
    assert len(reply(service, guesses, top_num=top_num)["result"]) == rows


def test_encyclopedia_is_for_the_first_rows_and_sometimes_without_picture() -> None:
    """``baike_num`` rows have it, none by default, and services without it ignore the parameter."""
    rows = reply("animal", baike_num="2")["result"]
    assert [sorted(row.get("baike_info", {})) for row in rows[:3]] == [
        ["baike_url", "description", "image_url"],
        ["baike_url", "description"],
        [],
    ]
    assert not any("baike_info" in row for row in reply("animal")["result"])
    assert not any("baike_info" in row for row in reply("ingredient", baike_num="2")["result"])


@pytest.mark.parametrize("service", SERVICES)
async def test_stand_in_repeats_itself_and_claims_nothing(service: str) -> None:
    """The same bytes get the same falling scores, and every name says that it is no recognition."""
    data = picture()
    image = Picture(data, sha256(data), "JPEG", 64, 48)
    first, second = [await StandIn().answer(service, image, {}) for _ in range(2)]
    assert first == second
    assert all("替身" in guess.name and "非识别" in guess.name for guess in first)
    assert [guess.score for guess in first] == sorted((guess.score for guess in first), reverse=True)
    for box in (guess.box for guess in first if guess.box):
        assert 0 <= box.left < box.left + box.width <= 64
        assert 0 <= box.top < box.top + box.height <= 48


@pytest.mark.parametrize("service", SERVICES)
def test_stand_in_finds_nothing_now_and_then(service: str) -> None:
    """On about one picture in eight, never where a service always has an answer."""
    share = sum(finds_nothing(service, f"{number:064x}") for number in range(800)) / 800
    assert share == 0 if service in ALWAYS_FOUND else 0.08 < share < 0.17
