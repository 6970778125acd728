"""EasyData's JSON: a file for each image, with corners in pixels.

    {"labels": [{"name": "nut", "x1": 125, "y1": 724, "x2": 469, "y2": 1076, "size": {"height": 1080, "width": 1920}}]}

This is what its export holds; that the console imports the same is unconfirmed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..exact_json import dumps
from ..values import Box
from .boxes import BadAnnotation, Entry, Labelled, Size, from_corners, read_boxes, size_of, whole_corners


def is_easydata(content: Any) -> bool:
    """Whether a JSON value is one of EasyData's annotations."""
    return isinstance(content, dict) and isinstance(content.get("labels"), list) and "shapes" not in content


def parse_easydata(file: str, content: Any) -> Entry:
    """Parse an annotation. Raises BadAnnotation."""
    if not is_easydata(content):
        raise BadAnnotation('a list "labels" expected')
    labels = content["labels"]
    found = read_boxes(file, ((f"labels[{number}]", each) for number, each in enumerate(labels)), _box)
    sizes = (
        each["size"] for each in (*labels, content) if isinstance(each, dict) and isinstance(each.get("size"), dict)
    )
    size: dict[str, Any] = next(sizes, {})
    return Entry(replace(found, size=size_of(size.get("width"), size.get("height"))))


def easydata_json(boxes: Sequence[Labelled], size: Size) -> bytes:
    """Write an annotation."""
    width, height = size
    labels = [
        {
            "name": each.label,
            **dict(zip(("x1", "y1", "x2", "y2"), whole_corners(each.box), strict=True)),
            "size": {"height": height, "width": width},
        }
        for each in boxes
    ]
    return dumps({"labels": labels})


def _box(item: Any) -> tuple[str, Box]:
    return str(item["name"]), from_corners(item["x1"], item["y1"], item["x2"], item["y2"])
