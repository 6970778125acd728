"""Table of the emulated services: path, body style, and replies in the service's words.

The odd types are the service's (official docs 2019 and captured replies): scores as text for animals and
dishes, no `result_num` for cars, animals and plants, `result` as an object for four services, `results`
for EasyDL, "nothing found" as a row of its own in some, an empty list or an empty name in others.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from .answers import Box, Guess

Options = Mapping[str, str]
Json = dict[str, object]
Compose = Callable[[Sequence[Guess], Options], Json]

MOST_ROWS = 20
"""The most rows a reply has: ingredient's documented bound, assumed for the services that name none."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its name, its path (a prefix for EasyDL), how its replies look, and its body style."""

    name: str
    path: str
    compose: Compose
    body: Literal["form", "json"] = "form"


def number(value: float) -> float:
    """As JSON shows it there: 1 and not 1.0."""
    return int(value) if value == int(value) else value


def text(value: float) -> str:
    """A score as text, six significant digits: `"0.642212"`, `"9.86555e-05"` (captured replies)."""
    return f"{value:.6g}"


def whole(box: Box | None) -> Json:
    """A location in whole pixels."""
    box = box or Box(0, 0, 0, 0)
    return {"width": int(box.width), "top": int(box.top), "left": int(box.left), "height": int(box.height)}


def fractional(box: Box | None) -> Json:
    """A location in floats, as cars have it (official model of 2026)."""
    return {key: float(str(value)) for key, value in whole(box).items()}


def integer(options: Options, key: str, default: int) -> int:
    """A parameter as a whole number; what is none counts as absent (the service's way is unconfirmed)."""
    value = options.get(key, "").strip()
    return int(value) if re.fullmatch(r"[+-]?[0-9]{1,9}", value) else default


def baike(entries: list[Json], name: str, options: Options) -> None:
    """The first `baike_num` rows get an encyclopedia entry, every second one without a picture."""
    for rank, entry in enumerate(entries[: max(integer(options, "baike_num", 0), 0)]):
        info: Json = {"baike_url": f"http://baike.emulator.invalid/item/{quote(str(entry[name]))}"}
        if rank % 2 == 0:
            info["image_url"] = f"http://baike.emulator.invalid/pic/{rank}.jpg"
        entry["baike_info"] = info | {"description": "仿真器-替身，不是百科内容"}


def listed(
    row: Callable[[Guess], Json],
    *,
    rows: int | None = None,
    nothing: str | None = None,
    counted: bool = False,
    baike_by: str | None = None,
    key: str = "result",
) -> Compose:
    """Replies that are a list of rows.

    `rows`: how many without `top_num` (None: all there are, and `top_num` is not looked at);
    `nothing`: the service's word for nothing found; `counted`: with `result_num`; `baike_by`: the key
    of the row's name.
    """

    def compose(guesses: Sequence[Guess], options: Options) -> Json:
        kept = _kept(guesses, options, rows)
        if nothing is None:
            kept = [guess for guess in kept if not guess.nothing]
        elif not kept:
            kept = [Guess(nothing, 1, calorie="-1", nothing=True)]
        entries = [row(replace(guess, name=nothing) if guess.nothing and nothing else guess) for guess in kept]
        if baike_by:
            baike(entries, baike_by, options)
        return {"result_num": len(entries), key: entries} if counted else {key: entries}

    return compose


def _kept(guesses: Sequence[Guess], options: Options, rows: int | None) -> list[Guess]:
    """The rows that `top_num` asks for, at most twenty; zero and less mean the default."""
    if rows is None:
        return list(guesses[:5])
    wanted = integer(options, "top_num", rows)
    return list(guesses[: min(wanted if wanted > 0 else rows, MOST_ROWS)])


def general_row(guess: Guess) -> Json:
    """A row of advanced_general; tags without a root have no such key."""
    root = {} if guess.root is None else {"root": guess.root}
    return {"score": guess.score, **root, "keyword": guess.name}


def multi_object_row(guess: Guess) -> Json:
    """A row of multi_object_detect."""
    return {"name": guess.name, "score": guess.score, "location": whole(guess.box)}


def dish_row(guess: Guess) -> Json:
    """Make a dish: numbers are text, unknown calories are absent, and 非菜 has "-1" of them."""
    calorie = {} if guess.calorie is None else {"calorie": guess.calorie}
    known = guess.calorie is not None
    return {**calorie, "has_calorie": known, "name": guess.name, "probability": text(guess.score)}


def car_row(guess: Guess) -> Json:
    """A car model; 非车类 has no year, an unknown year is a text."""
    row: Json = {"score": number(guess.score), "name": guess.name}
    return row if guess.nothing else row | {"year": guess.year or "无年份信息"}


def logo_row(guess: Guess) -> Json:
    """A brand of the base library (type 0)."""
    probability = number(guess.score)
    return {"type": 0, "name": guess.name, "probability": probability, "location": whole(guess.box)}


def text_score_row(guess: Guess) -> Json:
    """An animal: its score is text."""
    return {"score": text(guess.score), "name": guess.name}


def plain_row(guess: Guess) -> Json:
    """A plant or an ingredient."""
    return {"score": guess.score, "name": guess.name}


def easydl_row(guess: Guess) -> Json:
    """A class of a customer's own model."""
    return {"name": guess.name, "score": guess.score}


def easydl_box_row(guess: Guess) -> Json:
    """A find of a customer's own detector."""
    return {"location": whole(guess.box), "name": guess.name, "score": guess.score}


def object_reply(guesses: Sequence[Guess], options: Options) -> Json:
    """object_detect: one box, an object."""
    return {"result": whole(guesses[0].box if guesses else None)}


def car_reply(guesses: Sequence[Guess], options: Options) -> Json:
    """car: where and of what colour the car is stand beside the list; a brand only if asked for."""
    body = listed(car_row, rows=5, nothing="非车类", baike_by="name")(guesses, options)
    if not guesses or guesses[0].nothing:
        return body | {"color_result": "无车辆颜色信息"}
    best = guesses[0]
    reply: Json = {"location_result": fractional(best.box), **body}
    reply["color_result"] = best.details.get("color", "颜色无法识别")
    if options.get("output_brand", "").lower() == "true":
        reply["brand"] = best.details.get("brand", "")
    return reply


def landmark_reply(guesses: Sequence[Guess], options: Options) -> Json:
    """landmark: an object; an empty name when none was recognized."""
    return {"result": {"landmark": guesses[0].name if guesses else ""}}


def named_object(name: str, *details: str) -> Compose:
    """redwine and currency: an object; unrecognized means an empty name and nothing else."""

    def compose(guesses: Sequence[Guess], options: Options) -> Json:
        if not guesses:
            return {"result": {"hasdetail": 0, name: ""}}
        best = guesses[0]
        known = {key: best.details[key] for key in details if key in best.details}
        return {"result": {"hasdetail": int(bool(known)), name: best.name, **known}}

    return compose


def detection_reply(guesses: Sequence[Guess], options: Options) -> Json:
    """easydl_detection: what scores at least `threshold` (default 0.3, tutorial of 2018)."""
    try:
        threshold = float(options.get("threshold", 0.3))
    except ValueError:
        threshold = 0.3
    return {"results": [easydl_box_row(guess) for guess in guesses if guess.score >= threshold]}


WINE = (
    *("wineNameEn", "countryCn", "countryEn", "regionCn", "regionEn", "subRegionCn", "subRegionEn"),
    *("wineryCn", "wineryEn", "grapeCn", "grapeEn", "classifyByColor", "classifyBySugar", "color"),
    *("tasteTemperature", "description"),
)
MONEY = ("currencyCode", "currencyDenomination", "year")

CLASSIFY = "/rest/2.0/image-classify"

_TABLE = (
    Service("advanced_general", f"{CLASSIFY}/v2/advanced_general",
            listed(general_row, counted=True, baike_by="keyword")),
    Service("object_detect", f"{CLASSIFY}/v1/object_detect", object_reply),
    Service("multi_object_detect", f"{CLASSIFY}/v1/multi_object_detect", listed(multi_object_row)),
    Service("dish", f"{CLASSIFY}/v2/dish",
            listed(dish_row, rows=5, nothing="非菜", counted=True, baike_by="name")),
    Service("car", f"{CLASSIFY}/v1/car", car_reply),
    Service("logo", f"{CLASSIFY}/v2/logo", listed(logo_row, counted=True)),
    Service("animal", f"{CLASSIFY}/v1/animal",
            listed(text_score_row, rows=6, nothing="非动物", baike_by="name")),
    Service("plant", f"{CLASSIFY}/v1/plant", listed(plain_row, nothing="非植物", baike_by="name")),
    Service("ingredient", f"{CLASSIFY}/v1/classify/ingredient",
            listed(plain_row, rows=5, nothing="非果蔬食材", counted=True)),
    Service("landmark", f"{CLASSIFY}/v1/landmark", landmark_reply),
    Service("currency", f"{CLASSIFY}/v1/currency", named_object("currencyName", *MONEY)),
    Service("redwine", f"{CLASSIFY}/v1/redwine", named_object("wineNameCn", *WINE)),
    Service("easydl_classification", "/rpc/2.0/ai_custom/v1/classification/",
            listed(easydl_row, rows=6, key="results"), "json"),
    Service("easydl_detection", "/rpc/2.0/ai_custom/v1/detection/", detection_reply, "json"),
)  # fmt: skip

SERVICES: dict[str, Service] = {service.name: service for service in _TABLE}
"""The fourteen services by name."""

_BY_PATH = {service.path: service for service in _TABLE if service.body == "form"}
_EASYDL = re.compile(r"/rpc/2\.0/ai_custom(?:_pro)?/v1/(classification|detection)/([^/]+)")


def find(path: str) -> tuple[Service, str | None] | None:
    """The service under a path and, for EasyDL, the model's name; None for a path that nothing answers."""
    if service := _BY_PATH.get(path):
        return service, None
    if match := _EASYDL.fullmatch(path):
        return SERVICES[f"easydl_{match[1]}"], match[2]
    return None
