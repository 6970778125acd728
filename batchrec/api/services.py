"""The catalogue: one row per service. What differs between services is data here, and nowhere else.

Facts are Baidu's own pages and SDKs unless a row says otherwise: paths and options from the Python SDK 4.16.13
(2023-11), reply fields from the API pages (2019-06 to 2024-09) and the typed models of the SDK of 2026-09.
"""

import difflib
import math
from dataclasses import dataclass, field
from typing import Literal

from ..language import mark
from ..values import ImageLimits

OptionValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Option:
    """A request parameter of a service.

    `default` is what the service takes when it is not sent (None: unknown).
    """

    name: str
    type: type[bool] | type[int] | type[float]
    default: OptionValue | None
    meaning: str

    def accepts(self, value: object) -> bool:
        """Whether `value` is of this option's type; an int does for a float, a bool for nothing but a bool."""
        if self.type is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return type(value) is self.type


LIMITS_2024 = ImageLimits()
"""As of 2024-09: 4 MB of base64, 15 to 4,096 px a side, 3:1, for every service.

"4 MB" may be 4,000,000 or 4 x 1024 x 1024 bytes (unconfirmed), so the smaller is kept to. The 8 MB and 8,192 px that
one page gives for advanced_general are not relied on."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Reading of a reply: the keys from which labels are made.

    `shape` is what stands under `key`: a "list" of labels, one "object" that is a label, or a "box". The other names
    are the service's keys for a label's fields; `box` is looked up in the label, `shared_box` beside the list.
    `nothing` are the names by which the service says that it saw none of its things.
    """

    key: str = "result"
    shape: Literal["list", "object", "box"] = "list"
    name: str = "name"
    score: str | None = "score"
    root: str | None = None
    calorie: str | None = None
    year: str | None = None
    box: str | None = None
    shared_box: str | None = None
    nothing: frozenset[str] = frozenset()

    @property
    def boxes(self) -> bool:
        """Whether labels have boxes, so that an image must be sent the way it is displayed."""
        return self.shape == "box" or self.box is not None or self.shared_box is not None

    @property
    def fields(self) -> tuple[str, ...]:
        """The keys of a label in results.jsonl."""
        extra = (
            ("root", self.root),
            ("calorie", self.calorie),
            ("year", self.year),
            ("box", self.boxes or None),
        )
        return ("name", "score", *(name for name, key in extra if key is not None))


@dataclass(frozen=True, slots=True)
class Service:
    """A row of the catalogue. `path` may hold `{model}`; `body` is how the request is encoded."""

    name: str
    title: str
    path: str
    reading: Reading
    options: tuple[Option, ...] = ()
    body: Literal["form", "json"] = "form"
    library: bool = False
    """Whether it searches a library of the account's own as well."""
    limits: ImageLimits = field(default=LIMITS_2024)

    @property
    def custom(self) -> bool:
        """Whether it answers with a model of the user's own, so that a step must name one."""
        return "{model}" in self.path

    @property
    def personal(self) -> bool:
        """Whether the same picture may get another answer for another account."""
        return self.custom or self.library

    def option(self, name: str) -> Option | None:
        """The option of that name, if the service has it."""
        return next((option for option in self.options if option.name == name), None)


_BAIKE = Option("baike_num", int, 0, mark("how many of the labels carry baike_info (encyclopaedia text)"))


def _top(default: int) -> Option:
    return Option("top_num", int, default, mark("at most this many labels"))


_CLASSIFY = "/rest/2.0/image-classify"
_CUSTOM = "/rpc/2.0/ai_custom/v1"

SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service(
            "advanced_general",
            "general objects and scenes · 通用物体和场景识别",
            f"{_CLASSIFY}/v2/advanced_general",
            Reading(name="keyword", root="root"),
            (_BAIKE,),
        ),
        Service(
            "object_detect",
            "the main subject's box · 图像主体检测",
            f"{_CLASSIFY}/v1/object_detect",
            Reading(shape="box", score=None),
            (Option("with_face", int, 1, mark("0: the box leaves the person's face out; anything else: with it")),),
        ),
        Service(
            "dish",
            "dishes, with calories · 菜品识别",
            f"{_CLASSIFY}/v2/dish",
            Reading(score="probability", calorie="calorie", nothing=frozenset({"非菜", "非菜品"})),
            (
                _top(5),
                Option("filter_threshold", float, 0.95, mark("a first label above this score is returned alone")),
                _BAIKE,
            ),
        ),
        Service(
            "car",
            "car models · 车型识别",
            f"{_CLASSIFY}/v1/car",
            Reading(year="year", shared_box="location_result", nothing=frozenset({"非车类"})),
            (_top(5), _BAIKE, Option("output_brand", bool, False, mark("the reply names the brand as well"))),
        ),
        Service(
            "logo",
            "brand logos · logo 商标识别",
            f"{_CLASSIFY}/v2/logo",
            Reading(score="probability", box="location"),
            (Option("custom_lib", bool, False, mark("search only the account's own logos")),),
            library=True,
        ),
        Service(
            "animal",
            "animals · 动物识别",
            f"{_CLASSIFY}/v1/animal",
            Reading(nothing=frozenset({"非动物"})),
            (_top(6), _BAIKE),
        ),
        Service(
            "plant",
            "plants · 植物识别",
            f"{_CLASSIFY}/v1/plant",
            Reading(nothing=frozenset({"非植物", "非花"})),
            (_BAIKE,),
        ),
        Service(
            "easydl_classification",
            "your own EasyDL classification model · EasyDL 图像分类",
            f"{_CUSTOM}/classification/{{model}}",
            Reading(key="results"),
            (_top(6),),
            body="json",
        ),
        Service(
            "easydl_detection",
            "your own EasyDL detection model · EasyDL 物体检测",
            f"{_CUSTOM}/detection/{{model}}",
            Reading(key="results", box="location"),
            (Option("threshold", float, None, mark("only boxes above this score; default: the model's own")),),
            body="json",
        ),
        Service(
            "multi_object_detect",
            "several objects with boxes · 图像多主体检测",
            f"{_CLASSIFY}/v1/multi_object_detect",
            Reading(box="location"),
        ),
        Service(
            "ingredient",
            "fruit and vegetables · 果蔬识别",
            f"{_CLASSIFY}/v1/classify/ingredient",
            Reading(nothing=frozenset({"非果蔬食材"})),
            (_top(5),),
        ),
        Service(
            "landmark",
            "landmarks · 地标识别",
            f"{_CLASSIFY}/v1/landmark",
            Reading(shape="object", name="landmark", score=None),
        ),
        Service(
            "currency",
            "banknotes and coins · 货币识别",
            f"{_CLASSIFY}/v1/currency",
            Reading(shape="object", name="currencyName", score=None, year="year"),
        ),
        Service(
            "redwine",
            "red wine labels · 红酒识别",
            f"{_CLASSIFY}/v1/redwine",
            Reading(shape="object", name="wineNameCn", score=None),
        ),
    )
}


OTHER_NAMES = {
    **{service.title.rpartition(" · ")[2]: service.name for service in SERVICES.values()},
    **{service.title.partition(" · ")[0]: service.name for service in SERVICES.values()},
    "通用物体识别": "advanced_general",
    "通用物体和场景识别高级版": "advanced_general",
    "通用图像识别": "advanced_general",
    "主体检测": "object_detect",
    "图像单主体检测": "object_detect",
    "菜品": "dish",
    "美食识别": "dish",
    "车辆识别": "car",
    "汽车识别": "car",
    "品牌logo识别": "logo",
    "品牌识别": "logo",
    "商标识别": "logo",
    "花卉识别": "plant",
    "多主体检测": "multi_object_detect",
    "多物体检测": "multi_object_detect",
    "果蔬食材识别": "ingredient",
    "果蔬": "ingredient",
    "蔬菜水果识别": "ingredient",
    "地标": "landmark",
    "景点识别": "landmark",
    "货币": "currency",
    "钱币识别": "currency",
    "红酒": "redwine",
    "酒标识别": "redwine",
    "图像分类": "easydl_classification",
    "物体检测": "easydl_detection",
}
"""Names of services in the console and on Baidu's pages, and the titles in English. They are hints: no job file may
hold one."""


def service_meant(word: str) -> str | None:
    """Name of the service that a word may stand for, by any of its names; None for none."""

    def plain(text: str) -> str:
        return "".join(text.casefold().split())

    others = {plain(other): name for other, name in OTHER_NAMES.items()}
    names = {plain(name): name for name in SERVICES}
    for known, least in ((others | names, 1.0), (names, 0.6), (others, 0.6)):
        if near := difflib.get_close_matches(plain(word), known, n=1, cutoff=least):
            return known[near[0]]
    return None


MOST_LABELS = 1_000
"""A reply with more labels is none of the service's: no service has been seen to give more than some dozen."""
