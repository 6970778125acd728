"""The catalogue, and how each service's replies become labels."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.api.labels import merge_labels, read_labels
from batchrec.api.services import SERVICES, Option
from batchrec.engine.rows import Asked, answered
from batchrec.values import Answer, Box, Label, Prepared, Task

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BOX = {"left": 164, "top": 35, "width": 288, "height": 224}


def labels(service: str, reply: str):
    return read_labels(SERVICES[service].reading, json.loads(reply))


@pytest.mark.parametrize(
    ("service", "reply", "expected"),
    [
        (
            "advanced_general",
            '{"log_id":1,"result_num":3,"result":[{"score":0.19,"root":"商品-家具","keyword":"椅子","baike_info":{}},'
            '{"score":0.87,"keyword":"餐桌"},{"score":0.6,"root":"Logo","keyword":"x"}]}',
            [Label("餐桌", 0.87), Label("x", 0.6, "Logo"), Label("椅子", 0.19, "商品-家具")],
        ),
        (
            "object_detect",
            '{"result":{"width":486,"top":76,"left":134,"height":394}}',
            [Label(None, box=Box(134, 76, 486, 394))],
        ),
        ("object_detect", '{"result":{"width":0,"top":0,"left":0,"height":0}}', []),
        ("object_detect", '{"result":[]}', []),
        (
            "multi_object_detect",
            '{"result":[{"name":"人","score":0.97,"location":{"left":164,"top":35,"width":288,"height":224}}]}',
            [Label("人", 0.97, box=Box(164, 35, 288, 224))],
        ),
        (
            "dish",
            '{"result":[{"calorie":"128","has_calorie":true,"name":"香辣蟹","probability":"0.642212"},'
            '{"calorie":"肉蟹煲","has_calorie":true,"name":"肉蟹煲","probability":"0.19"},'
            '{"has_calorie":false,"name":"大闸蟹","probability":0.1}]}',
            [Label("香辣蟹", 0.642212, calorie=128.0), Label("肉蟹煲", 0.19), Label("大闸蟹", 0.1)],
        ),
        ("dish", '{"result":[{"calorie":"-1","has_calorie":true,"name":"非菜","probability":"0.91"}]}', []),
        ("dish", '{"result":[{"name":"非菜品","probability":"0.9"},{"name":"米饭","probability":"0.1"}]}', []),
        (
            "dish",
            '{"result":[{"name":"非菜","probability":"0.1"},{"name":"米饭","probability":"0.9"}]}',
            [Label("米饭", 0.9)],
        ),
        (
            "car",
            '{"location_result":{"width":288,"top":35,"height":224,"left":164},"color_result":"黑色","result":['
            '{"score":0.55,"name":"宾利飞驰","year":"2017"},{"score":6.4e-05,"name":"奥迪TT","year":"无年份信息"}]}',
            [
                Label("宾利飞驰", 0.55, year="2017", box=Box(164, 35, 288, 224)),
                Label("奥迪TT", 6.4e-05, year="无年份信息", box=Box(164, 35, 288, 224)),
            ],
        ),
        ("car", '{"result":[{"name":"非车类","score":1}]}', []),
        (
            "logo",
            '{"result_num":1,"result":[{"type":0,"name":"某","probability":1,"location":{"left":1,"top":2}}]}',
            [Label("某", 1.0)],
        ),
        ("logo", '{"result_num":0,"result":[]}', []),
        (
            "animal",
            '{"result":[{"score":"9.86555e-05","name":"红鹤"},{"score":"0.97435","name":"红鹳"},'
            '{"score":"0.01","name":"非动物"}]}',
            [Label("红鹳", 0.97435), Label("红鹤", 9.86555e-05)],
        ),
        ("animal", '{"result":[{"score":"0.9","name":"非动物"}]}', []),
        ("plant", '{"result":[{"score":0.83211559057236,"name":"金光菊"}]}', [Label("金光菊", 0.83211559057236)]),
        ("plant", '{"result":[{"score":0.9,"name":"非植物"}]}', []),
        (
            "ingredient",
            '{"result":[{"score":0.65,"name":"黄秋葵"},{"score":0.0007,"name":"非果蔬食材"}]}',
            [Label("黄秋葵", 0.65)],
        ),
        ("landmark", '{"result":{"landmark":"狮身人面像"}}', [Label("狮身人面像")]),
        ("landmark", '{"result":{"landmark":""}}', []),
        ("landmark", '{"result":{}}', []),
        (
            "currency",
            '{"result":{"hasdetail":1,"currencyName":"新加坡元","year":"2004年"}}',
            [Label("新加坡元", year="2004年")],
        ),
        ("car", '{"result":[{"name":"宾利飞驰","score":1,"year":2017}]}', [Label("宾利飞驰", 1.0, year="2017")]),
        ("currency", '{"result":{"hasdetail":0,"currencyName":""}}', []),
        ("redwine", '{"result":{"hasdetail":0,"wineNameCn":""}}', []),
        ("easydl_classification", '{"results":[{"name":"x","score":0.5}]}', [Label("x", 0.5)]),
        ("easydl_classification", '{"results":[]}', []),
        ("easydl_detection", f'{{"results":[{{"name":"x","score":1,"location":{json.dumps(BOX)}}}]}}', None),
    ],
)
def test_replies(service, reply, expected):
    """Labels of the service's known replies are read best first; an empty reply becomes no labels."""
    if expected is None:
        expected = [Label("x", 1.0, box=Box(**BOX))]
    actual = labels(service, reply)
    assert list(actual) == expected
    assert {type(label.score) for label in actual} <= {float, type(None)}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("reply", ["{}", '{"result":null,"results":null}', '{"result":"x","results":5}'])
def test_replies_without_a_result(service, reply):
    """A reply that lacks what the service was asked for is no answer."""
    assert labels(service, reply) is None


@pytest.mark.parametrize(
    ("service", "reply"),
    [
        ("animal", '{"result":{"name":"x"}}'),
        ("animal", '{"result":["x"]}'),
        ("landmark", '{"result":[{"landmark":"x"}]}'),
        ("object_detect", '{"result":{"left":1,"top":1,"width":"5","height":5}}'),
        ("object_detect", '{"result":{"left":1,"top":1,"width":true,"height":5}}'),
        ("easydl_detection", '{"result":[]}'),
    ],
)
def test_replies_of_another_shape(service, reply):
    """A list where an object belongs, or the other way round, is no answer."""
    assert labels(service, reply) is None


@pytest.mark.parametrize("score", ['"nan"', '"inf"', '"x"', "true", "null", "[]", "1" + "0" * 400])
def test_scores_that_are_no_numbers(score):
    """A value that is no finite number is no score; the label stays, last."""
    reply = f'{{"result":[{{"name":"x","score":{score}}},{{"name":"y","score":-1}}]}}'
    assert list(labels("animal", reply)) == [Label("y", -1.0), Label("x")]


@given(st.sampled_from(list(SERVICES)), JSON, JSON)
def test_arbitrary_replies(service, result, beside):
    """Any reply can be read, and made a row of, without an exception."""
    known = SERVICES[service].reading
    for reply in ({known.key: result, "location_result": beside, "": beside}, {known.key: [result, beside]}):
        recorded(service, reply)


ENTRY = st.fixed_dictionaries(
    {"name": JSON | st.text(min_size=1), "score": JSON},
    optional={
        "location": st.fixed_dictionaries({side: JSON | st.integers() for side in BOX}),
        "calorie": JSON,
        "year": JSON,
        "": JSON,
    },
)


@given(st.sampled_from(list(SERVICES)), st.lists(ENTRY, max_size=4), st.dictionaries(st.sampled_from([*BOX]), JSON))
def test_nearly_right_replies(service, entries, box):
    """Replies of the right shape with the wrong things in them never raise either."""
    recorded(service, {"result": entries, "results": entries, "location_result": box})
    recorded(service, {"result": box | {"landmark": box.get("left")}})


def recorded(service: str, reply: dict) -> None:
    """Read a reply as the client does; check that its labels have the service's keys, and numeric scores."""
    row = SERVICES[service]
    found = read_labels(row.reading, reply)
    if found is None:
        return
    sent = Prepared(b"", (), 1.5, 2.5)
    outcome = answered(Asked("s", row, None), Task(1, 1, "a", 1, 1), b"", sent, Answer(reply, found, 1.0), 1, "now")
    scores = [label["score"] for label in outcome.row["labels"]]
    assert {tuple(label) for label in outcome.row["labels"]} <= {row.reading.fields}
    assert scores == sorted(scores, key=lambda score: float("-inf") if score is None else score, reverse=True)


def test_an_unnamed_key_is_nobodys():
    """A key that is an empty text is not taken for a field that the service lacks."""
    reply = json.dumps({"": BOX, "result": [{"name": "x", "score": 0.5, "": "y"}]})
    assert list(labels("animal", reply)) == [Label("x", 0.5)]


def test_boxes_beyond_any_picture():
    """A box that could not be scaled is none."""
    reply = json.dumps({"result": [{"name": "x", "probability": 1, "location": BOX | {"left": 10**400}}]})
    assert list(labels("logo", reply)) == [Label("x", 1.0)]


# -- the catalogue


def test_catalogue():
    """The contract's services, each under its name, EasyDL alone with a model and a JSON body."""
    assert list(SERVICES) == [
        *("advanced_general", "object_detect", "dish", "car", "logo", "animal", "plant"),
        *("easydl_classification", "easydl_detection", "multi_object_detect", "ingredient", "landmark"),
        *("currency", "redwine"),
    ]
    assert all(service.name == name for name, service in SERVICES.items())
    custom = {name for name, service in SERVICES.items() if service.custom}
    assert custom == {name for name, service in SERVICES.items() if service.body == "json"}
    assert custom == {"easydl_classification", "easydl_detection"}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_limits_and_options(service):
    """Every service has today's limits, and options whose default is one that it takes."""
    limits = service.limits
    assert (limits.base64_bytes, limits.min_side, limits.max_side, limits.max_ratio) == (4_000_000, 15, 4096, 3)
    assert all(option.default is None or option.accepts(option.default) for option in service.options)
    assert [service.option(option.name) for option in service.options] == list(service.options)
    assert service.option("no such") is None


@pytest.mark.parametrize(
    ("type", "value", "expected"),
    [
        (int, 1, True),
        (int, 1.0, False),
        (int, True, False),
        (int, "1", False),
        (float, 1, True),
        (float, 1.5, True),
        (float, True, False),
        (float, float("nan"), False),
        (bool, True, True),
        (bool, 1, False),
    ],
)
def test_option_types(type, value, expected):
    """An int does for a float, and a bool for nothing but a bool."""
    assert Option("x", type, None, "").accepts(value) == expected


# -- tiles


def boxed(name: str | None, score: float | None, *sides: int) -> Label:
    return Label(name, score, box=Box(*sides))


@pytest.mark.parametrize(
    ("service", "tiles", "expected"),
    [
        ("dish", [], []),
        (
            "dish",
            [[Label("饺子", 0.4), Label("面", 0.3)], [], [Label("面", 0.9)]],
            [Label("面", 0.9), Label("饺子", 0.4)],
        ),
        ("dish", [[Label("x", 0.5, calorie=1)], [Label("x", 0.5, calorie=2)]], [Label("x", 0.5, calorie=1)]),
        ("landmark", [[Label("塔")], [Label("桥")], [Label("塔")]], [Label("塔"), Label("桥")]),
        (
            "logo",  # cut by the border of the first tile
            [[boxed("A", 0.5, 0, 95, 10, 5)], [boxed("A", 0.8, 0, 93, 12, 30)]],
            [boxed("A", 0.8, 0, 93, 12, 30)],
        ),
        (
            "logo",  # two things of one name, and two names of one thing
            [[boxed("A", 0.5, 0, 0, 10, 10), boxed("B", 0.4, 0, 90, 9, 9)], [boxed("A", 0.6, 0, 90, 9, 9)]],
            [boxed("A", 0.6, 0, 90, 9, 9), boxed("A", 0.5, 0, 0, 10, 10), boxed("B", 0.4, 0, 90, 9, 9)],
        ),
        (
            "logo",  # through three tiles, cut by every border
            [[boxed("A", 0.5, 0, 0, 9, 100)], [boxed("A", 0.4, 0, 90, 9, 100)], [boxed("A", 0.3, 0, 180, 9, 50)]],
            [boxed("A", 0.5, 0, 0, 9, 230)],
        ),
        (
            "logo",  # one in each tile, side by side where both see them
            [[boxed("A", 0.5, 0, 80, 9, 20)], [boxed("A", 0.4, 6, 90, 9, 20)]],
            [boxed("A", 0.5, 0, 80, 9, 20), boxed("A", 0.4, 6, 90, 9, 20)],
        ),
        (
            "logo",  # of one tile, which has told them apart
            [[boxed("A", 0.5, 0, 0, 9, 9), boxed("A", 0.4, 1, 1, 9, 9)]],
            [boxed("A", 0.5, 0, 0, 9, 9), boxed("A", 0.4, 1, 1, 9, 9)],
        ),
        (
            "object_detect",
            [[boxed(None, None, 0, 0, 9, 9)], [boxed(None, None, 0, 150, 20, 20)], []],
            [boxed(None, None, 0, 150, 20, 20)],
        ),
    ],
)
def test_labels_of_tiles(service: str, tiles: list[list[Label]], expected: list[Label]) -> None:
    """One list, best first; a thing that two tiles have in common is there once."""
    areas = [Box(0, 90 * number, 40, 100) for number in range(len(tiles))]
    found = merge_labels(SERVICES[service].reading, list(zip(areas, tiles, strict=True)))
    assert found == tuple(expected)
