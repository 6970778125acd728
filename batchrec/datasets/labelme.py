"""LabelMe's JSON: a file for each image, with shapes of points in pixels.

A rectangle has two opposite corners in any order. Of polygons and circles the box around them is taken.
"""

import math
from dataclasses import replace
from typing import Any

from ..values import Box
from .boxes import BadAnnotation, BadBox, Entry, around, from_sides, read_boxes, size_of

_AROUND = {"polygon", "circle"}
"""Shapes of which the box around them is taken."""


def is_labelme(content: Any) -> bool:
    """Whether a JSON value is one of LabelMe's annotations."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def parse_labelme(file: str, content: Any) -> Entry:
    """Parse an annotation. Raises BadAnnotation."""
    if not is_labelme(content):
        raise BadAnnotation('a list "shapes" expected')
    shapes = content["shapes"]
    found = read_boxes(file, ((f"shapes[{number}]", each) for number, each in enumerate(shapes)), _box)
    others = tuple(
        ("shape", f"{file}: shapes[{number}], {each['shape_type']}")
        for number, each in enumerate(shapes)
        if isinstance(each, dict) and each.get("shape_type") in _AROUND
    )
    size = size_of(content.get("imageWidth"), content.get("imageHeight"))
    image = content.get("imagePath")
    return Entry(replace(found, size=size, faults=found.faults + others), image if isinstance(image, str) else "")


def _box(item: Any) -> tuple[str, Box]:
    shape, points = item.get("shape_type") or "polygon", item["points"]
    if shape == "circle" and isinstance(points, list) and len(points) == 2:  # the centre, and a point of the circle
        return str(item["label"]), _around_circle(*points)
    if shape not in ("rectangle", "polygon"):
        raise BadBox(f"a shape {str(shape)[:40]!r} has no box")
    return str(item["label"]), around(points)


def _around_circle(centre: Any, edge: Any) -> Box:
    around([centre, edge])  # raises where a value is no number
    radius = math.dist([float(each) for each in centre], [float(each) for each in edge])
    return from_sides(float(centre[0]) - radius, float(centre[1]) - radius, 2 * radius, 2 * radius)
