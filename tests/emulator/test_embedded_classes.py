"""The embedded model's class table: 1,000 rows, nothing twice, groups of their sizes, known roots."""

import re
from collections import Counter
from importlib.resources import files

import pytest

from batchrec.emulator.answers import classes

COLUMNS = ["index", "english", "name", "root", "group", "also", "calorie", "vehicle"]
GROUPS = {"animal": 398, "dish": 23, "vehicle": 30, "plant": 13, "food": 24, "scene": 62, "person": 3, "thing": 447}
SERVED = GROUPS | {"plant": 37, "food": 26}
"""With the second groups: an acorn is a thing of its own and part of a plant."""

ABOVE = {
    "animal": {"动物"},
    "dish": {"食物"},
    "vehicle": {"交通工具", "军事"},  # 军事: the tank
    "plant": {"植物"},
    "food": {"食物", "植物"},  # 植物: mushroom
    "scene": {"建筑", "自然风景"},
    "person": {"人物"},
    "thing": {"商品", "军事", "交通工具", "建筑", "自然风景", "非自然图像"},
}
"""The first half of the root that a group may have."""

ROOTS = """
    动物-哺乳动物 动物-鸟类 动物-鱼类 动物-爬行动物 动物-两栖动物 动物-昆虫 动物-节肢动物 动物-无脊椎动物
    植物-花卉 植物-果实 植物-蘑菇
    食物-菜品 食物-面点甜品 食物-饮品 食物-水果 食物-蔬菜
    商品-家具 商品-厨具 商品-工具 商品-乐器 商品-服装 商品-鞋帽箱包 商品-家用电器 商品-电子产品
    商品-图书文具 商品-体育娱乐 商品-医药美妆 商品-家居用品 商品-仪器设备
    军事-武器装备
    交通工具-汽车 交通工具-船舶 交通工具-飞行器 交通工具-轨道交通 交通工具-其他
    建筑-宗教建筑 建筑-商业场所 建筑-桥梁水利 建筑-居家室内 建筑-公共设施 建筑-其他
    自然风景-山川 自然风景-水域 自然风景-其他
    人物-人物特写 非自然图像-屏幕截图
    """
"""Every one that is used."""

CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")


def read() -> list[dict[str, str]]:
    text = files("batchrec.emulator.answers").joinpath(classes.TABLE).read_bytes().decode("utf-8")
    lines = text.split("\n")
    assert lines.pop() == ""
    assert not any("\r" in line or line != line.strip(" ") for line in lines)
    head, *cells = (line.split("\t") for line in lines)
    assert head == COLUMNS
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells]


ROWS = read()


def test_there_are_a_thousand_in_order() -> None:
    """One for each score of the network; the loaded table has the same lines."""
    assert [row["index"] for row in ROWS] == [str(index) for index in range(1000)]
    assert [(known.english, known.name) for known in classes.load()] == [(row["english"], row["name"]) for row in ROWS]


@pytest.mark.parametrize("column", ["english", "name"])
def test_nothing_is_there_twice(column: str) -> None:
    """Nobody could tell two classes of one name apart."""
    assert [text for text, count in Counter(row[column] for row in ROWS).items() if count > 1] == []


def test_words_are_of_their_language() -> None:
    """Chinese names hold Chinese characters alone."""
    assert [row for row in ROWS if not row["english"] or not row["english"].isascii()] == []
    assert [row for row in ROWS if not CHINESE.fullmatch(row["name"])] == []


def test_roots_are_those_of_the_list() -> None:
    """Every root is known and used, and fits the group."""
    assert {row["root"] for row in ROWS} == set(ROOTS.split())
    assert [row for row in ROWS if row["root"].split("-")[0] not in ABOVE[row["group"]]] == []


def test_groups_have_their_sizes() -> None:
    """A class that changes its group changes what a service can find."""
    assert Counter(row["group"] for row in ROWS) == GROUPS
    assert Counter(group for row in ROWS for group in {row["group"], row["also"]} - {""}) == SERVED
    assert [row for row in ROWS if row["also"] == row["group"]] == []


def test_animals_are_the_first_398() -> None:
    """ImageNet's own order."""
    assert [index for index, row in enumerate(ROWS) if row["group"] == "animal"] == list(range(398))


def test_dishes_have_calories_and_nothing_else_has() -> None:
    """Whole kcal per 100 g."""
    assert [row for row in ROWS if bool(row["calorie"]) != (row["group"] == "dish")] == []
    calories = [int(row["calorie"]) for row in ROWS if row["calorie"]]
    assert 1 <= min(calories) <= max(calories) <= 900


def test_vehicles_alone_have_a_second_name() -> None:
    """It is Chinese, and another one."""
    second = [row for row in ROWS if row["vehicle"]]
    assert {row["group"] for row in second} == {"vehicle"}
    assert [row for row in second if not CHINESE.fullmatch(row["vehicle"]) or row["vehicle"] == row["name"]] == []
