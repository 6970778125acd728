"""Labels of a reply, as the service's reading describes them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..values import Box, Label
from .services import MOST_LABELS, Reading

_FARTHEST = 10**9
"""No picture has so many pixels a side; a box beyond is no box, and could not be scaled."""


_SHARE_IN_COMMON = 0.5
"""Share of two boxes together that both must cover to be taken for one thing."""


def read_labels(reading: Reading, reply: Mapping[str, Any]) -> tuple[Label, ...] | None:
    """The labels of a reply, best first; empty where it saw nothing; None without a result.

    A list that is empty stands for nothing seen even where an object is expected: that is how some of the
    service's languages write an empty object.
    """
    result = reply.get(reading.key)
    if result == []:
        return ()
    if reading.shape == "list":
        if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
            return None
        return _ranked(reading, result, _box(_of(reply, reading.shared_box)))
    if not isinstance(result, dict):
        return None
    if reading.shape == "box":
        return _subject(result)
    label = _label(reading, result, None)
    return () if label is None else (label,)


def merge_labels(reading: Reading, tiles: Sequence[tuple[Box, Sequence[Label]]]) -> tuple[Label, ...]:
    """The labels of an image from those of its tiles, best first.

    Tiles are in order, each with the part of the image it is; boxes are in pixels of the image. Of labels of several
    tiles with the same name the best stays. Labels with boxes are the same thing only where the tiles overlap and both
    see it there; it gets the box around them. Of main subjects the largest stays.
    """
    merged: list[Label] = []
    before: Box | None = None
    for area, labels in tiles:
        others: dict[str | None, list[int]] = {}
        for place, label in enumerate(merged):
            others.setdefault(label.name, []).append(place)
        for label in labels:
            alike = (place for place in others.get(label.name, ()) if _same_thing(label, merged[place], area, before))
            same = next(alike, None)
            if same is None:
                merged.append(label)
            else:
                merged[same] = _joined(merged[same], label)
        before = area
    if reading.shape == "box":
        return tuple(sorted(merged, key=lambda label: label.box.area if label.box else 0, reverse=True)[:1])
    return tuple(sorted(merged, key=_score, reverse=True)[:MOST_LABELS])


def _same_thing(one: Label, other: Label, area: Box, before: Box | None) -> bool:
    """True for two labels of one thing: one of the tile `area`, the other of the tiles up to `before`.

    Either box may be cut by the border of its tile, so only what lies in both tiles is compared.
    """
    if one.box is None or other.box is None or before is None:
        return one.box is other.box
    common = area.within(before)
    mine, others = one.box.within(common), other.box.within(common)
    shared = mine.within(others).area
    return shared > 0 and shared >= _SHARE_IN_COMMON * (mine.area + others.area - shared)


def _joined(one: Label, other: Label) -> Label:
    best = max(one, other, key=_score)
    return best if one.box is None or other.box is None else best._replace(box=one.box.around(other.box))


def _score(label: Label) -> float:
    return -math.inf if label.score is None else label.score


def _ranked(reading: Reading, entries: list[dict[str, Any]], shared: Box | None) -> tuple[Label, ...]:
    labels = [label for entry in entries if (label := _label(reading, entry, shared)) is not None]
    labels.sort(key=_score, reverse=True)
    if not reading.nothing:
        return tuple(labels)
    if labels and labels[0].name in reading.nothing:
        return ()
    return tuple(label for label in labels if label.name not in reading.nothing)


def _label(reading: Reading, entry: dict[str, Any], shared: Box | None) -> Label | None:
    get = entry.get
    name = get(reading.name)
    if not isinstance(name, str) or not name:
        return None
    return Label(
        name,
        _number(get(reading.score)) if reading.score else None,
        _text(get(reading.root)) if reading.root else None,
        _number(get(reading.calorie)) if reading.calorie else None,
        _text(get(reading.year)) if reading.year else None,
        _box(get(reading.box)) if reading.box else shared,
    )


def _subject(result: dict[str, Any]) -> tuple[Label, ...] | None:
    box = _box(result)
    if box is None:
        return None
    return (Label(None, box=box),) if box.width > 0 and box.height > 0 else ()


def _of(entry: Mapping[str, Any], key: str | None) -> object:
    return None if key is None else entry.get(key)


_NUMERIC = (int, float, str)


def _number(value: object) -> float | None:
    """A number that may have come as text; None for what is none ("肉蟹煲" was seen as a calorie)."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _box(value: object) -> Box | None:
    if not isinstance(value, dict):
        return None
    sides = [value.get(side) for side in ("left", "top", "width", "height")]
    if not all(type(side) in (int, float) and abs(side) <= _FARTHEST for side in sides):  # type: ignore[arg-type]
        return None
    return Box(*sides)  # type: ignore[arg-type]
