"""Boxes of a data set for detection: as an annotation has them, and as pixels of the image upright.

Annotations give boxes in pixels of the image as displayed, in pixels of the image as it lies in its file (seen by the
size that they state), or as shares of its sides (YOLO).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..values import Box

_ROUNDING_PIXELS = 1.0
"""Pixels by which a box may leave the image: tools count from 0 or 1 and round."""

_QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

Size = tuple[int, int]
Fault = tuple[str, str]
"""Kind of a finding, and its detail."""


class Labelled(NamedTuple):
    """A box with its class. `origin` names it within its annotation, such as `annotation 12`."""

    label: str
    box: Box
    origin: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """Boxes of an image as read, with what is wrong with others.

    `size`: of the image in pixels, as the annotation states it. `shares`: boxes are shares of the sides (0 to 1).
    """

    file: str
    boxes: tuple[Labelled, ...]
    size: Size | None = None
    shares: bool = False
    faults: tuple[Fault, ...] = ()


class Entry(NamedTuple):
    """An annotation, and the name of its image as written there; empty: that of the file."""

    annotation: Annotation
    image: str = ""


class BadAnnotation(ValueError):
    """A file that is no annotation of its format; the text says why."""


class BadBox(ValueError):
    """Values that are no box; the text says why."""


def from_corners(left: Any, top: Any, right: Any, bottom: Any) -> Box:
    """The box between two corners. Raises BadBox for what is no number, and for no or negative size."""
    near_x, near_y, far_x, far_y = (_number(value) for value in (left, top, right, bottom))
    return _sized(near_x, near_y, far_x - near_x, far_y - near_y)


def from_sides(left: Any, top: Any, width: Any, height: Any) -> Box:
    """The box of a corner, a width and a height. Raises BadBox as `from_corners` does."""
    return _sized(*(_number(value) for value in (left, top, width, height)))


def around(points: Any) -> Box:
    """The smallest box around points (x, y). Raises BadBox for what is no list of points."""
    if not isinstance(points, list) or not all(isinstance(each, list | tuple) and len(each) == 2 for each in points):
        raise BadBox("points expected")
    across, down = [_number(x) for x, _y in points], [_number(y) for _x, y in points]
    if not across:
        raise BadBox("no points")
    return _sized(min(across), min(down), max(across) - min(across), max(down) - min(down))


def box_faults(annotation: Annotation, size: Size, orientation: int) -> Iterator[Fault]:
    """Faults of an annotation that the image itself shows. `size`: upright; `orientation`: EXIF, 1 to 8."""
    if annotation.size not in (None, size, _lying(size, orientation)):
        yield "size_differs", "{}: {} x {}, {} x {}".format(annotation.file, *(annotation.size or size), *size)
        return
    seen = set[tuple[str, Box]]()
    for each in annotation.boxes:
        box = _upright(each.box, annotation, size, orientation)
        told = f"{annotation.file}: {each.origin}, {each.label}: {shown(box)}"
        part = box.within(Box(0, 0, *size))
        if part.width < 1 or part.height < 1:
            outside = part.area <= 0
            yield ("bad_box", f"{told} lies outside") if outside else ("bad_box", f"{told} is smaller than a pixel")
        elif max(-box.left, -box.top, box.right - size[0], box.bottom - size[1]) > _ROUNDING_PIXELS:
            yield "box_outside", f"{told} leaves {size[0]} x {size[1]}"
        if (each.label, box) in seen:
            yield "same_box", told
        seen.add((each.label, box))


def placed(annotation: Annotation, size: Size, orientation: int) -> list[Labelled]:
    """The boxes in pixels of the image upright, cut at its edges, each once.

    Those that have no pixel within it are left out.
    """
    found: dict[tuple[str, Box], Labelled] = {}
    for each in annotation.boxes:
        part = _upright(each.box, annotation, size, orientation).within(Box(0, 0, *size))
        if part.width >= 1 and part.height >= 1:
            found.setdefault((each.label, part), each._replace(box=part))
    return list(found.values())


def read_boxes(file: str, items: Iterable[tuple[str, Any]], read: Callable[[Any], tuple[str, Box]]) -> Annotation:
    """The annotation of a file from its items, each with its origin; what is no box becomes a fault."""
    boxes, faults = [], list[Fault]()
    for origin, item in items:
        try:
            label, box = read(item)
        except BadBox as error:
            faults.append(("bad_box", f"{file}: {origin}: {error}"))
        except (LookupError, TypeError, AttributeError) as error:
            faults.append(("bad_box", f"{file}: {origin}: lacks {error}"))
        else:
            boxes.append(Labelled(label, box, origin))
    return Annotation(file, tuple(boxes), faults=tuple(faults))


def size_of(width: Any, height: Any) -> Size | None:
    """A size as an annotation states it; None where it states none."""
    try:
        size = int(width), int(height)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def whole_corners(box: Box) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in whole pixels; right and bottom at least a pixel further."""
    left, top = round(box.left), round(box.top)
    return left, top, max(round(box.right), left + 1), max(round(box.bottom), top + 1)


def shown(box: Box) -> str:
    """A box as text: left, top, width, height."""
    return f"[{box.left:g}, {box.top:g}, {box.width:g}, {box.height:g}]"


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise BadBox(f"{str(value)[:40]!r} is no number")
    return number


def _sized(left: float, top: float, width: float, height: float) -> Box:
    box = Box(left, top, width, height)
    if width <= 0 or height <= 0:
        raise BadBox(f"{shown(box)}: width and height must be over 0")
    return box


def _lying(size: Size, orientation: int) -> Size:
    """The size of the image as it lies in its file."""
    return (size[1], size[0]) if orientation in _QUARTER_TURNS else size


def _upright(box: Box, annotation: Annotation, size: Size, orientation: int) -> Box:
    """The box in pixels of the image upright.

    Boxes are of the image as it lies only where the stated size shows it. A half turn shows nothing: viewers turn.
    """
    if annotation.shares:
        return Box(box.left * size[0], box.top * size[1], box.width * size[0], box.height * size[1])
    if annotation.size in (None, size) or annotation.size != _lying(size, orientation):
        return box
    left, top, width, height = box.top, box.left, box.height, box.width  # mirrored at the diagonal: orientation 5
    if orientation in (6, 7):
        left = size[0] - left - width
    if orientation in (7, 8):
        top = size[1] - top - height
    return Box(left, top, width, height)
