"""Boxes of labels, clamped to the image as displayed, as the formats for detection take them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..language import _
from ..values import Box, Row
from .exporter import Export
from .names import NAMELESS

_SIDES = ("left", "top", "width", "height")


class Boxed(NamedTuple):
    """A label with its box in pixels, within the image."""

    name: str
    label: dict[str, Any]
    box: Box


def name_of(label: Row) -> str:
    """The name of a label; that of the main subject where it has none."""
    return str(label.get("name") or NAMELESS)


def box_of(label: Row, size: tuple[int, int]) -> Box | None:
    """The box of a label within an image of that size; None where nothing of it is."""
    box = label.get("box")
    if not isinstance(box, dict) or not all(isinstance(box.get(side), int | float) for side in _SIDES):
        return None
    inside = Box(*(box[side] for side in _SIDES)).within(Box(0, 0, *size))
    return inside if inside.area > 0 else None


def boxed(export: Export, row: Row, size: tuple[int, int]) -> Iterator[Boxed]:
    """The selected labels of a row that have a box within the image; others are counted as left out."""
    for label in export.labels(row):
        if not label.get("box"):
            export.leave_out(_("labels without a box"))
        elif (box := box_of(label, size)) is None:
            export.leave_out(_("labels with a box outside of the image"))
        else:
            yield Boxed(name_of(label), label, box)


def without_boxes(export: Export, rows: list[Row]) -> bool:
    """Whether there are selected labels and none has a box, so that they tell no places in the image."""
    labels = [label for row in rows for label in export.labels(row)]
    return bool(labels) and not any(label.get("box") for label in labels)
