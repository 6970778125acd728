"""COCO: one JSON file with images, categories and annotations, for all images or for a part of them.

Ids of written annotations count from 1: pycocotools takes the id 0 for "no match".
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..exact_json import dumps
from ..values import Box
from .boxes import (
    Annotation,
    BadAnnotation,
    BadBox,
    Entry,
    Fault,
    Labelled,
    Size,
    around,
    from_sides,
    read_boxes,
    size_of,
)

_LISTS = ("images", "annotations", "categories")


class Coco(NamedTuple):
    """A COCO file: names of its classes, annotations of its images, faults of the file itself."""

    labels: list[str]
    entries: list[Entry]
    faults: list[Fault]


class ListedImage(NamedTuple):
    """An image that is written to a COCO file."""

    name: str
    size: Size
    boxes: Sequence[Labelled]


def is_coco(content: Any) -> bool:
    """Whether a JSON value is a COCO file of boxes."""
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in _LISTS)


def parse_coco(file: str, content: Any) -> Coco:
    """Parse a COCO file. Raises BadAnnotation where it is none."""
    if not is_coco(content):
        raise BadAnnotation('lists "images", "annotations" and "categories" expected')
    images, annotations, categories = (content[name] for name in _LISTS)
    names = {each["id"]: str(each["name"]) for each in categories if _has(each, "id", "name")}
    if len(names) < len(categories):
        raise BadAnnotation("categories: each needs an id of its own, and a name")
    by_image: dict[Any, list[Any]] = {each["id"]: [] for each in images if _has(each, "id", "file_name")}
    if len(by_image) < len(images):
        raise BadAnnotation("images: each needs an id of its own, and a file_name")
    faults = list(_faults_of_ids(file, annotations))
    for number, each in enumerate(annotations):
        if _has(each, "image_id") and each["image_id"] in by_image:
            by_image[each["image_id"]].append(each)
        else:
            told = each.get("image_id") if isinstance(each, dict) else each
            faults.append(("no_image", f"annotations[{number}]: image_id {str(told)[:40]} is not in images"))
    entries = [_entry(file, image, by_image[image["id"]], names) for image in images]
    return Coco(list(names.values()), entries, faults)


def coco_json(images: Sequence[ListedImage], labels: Sequence[str]) -> bytes:
    """Write a COCO file; `labels` get the categories 1, 2 and so on."""
    numbers = {label: number for number, label in enumerate(labels, start=1)}
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        for each in image.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": numbers[each.label],
                    "bbox": [each.box.left, each.box.top, each.box.width, each.box.height],
                    "area": each.box.area,
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )
    listed = [
        {"id": number, "file_name": each.name, "width": each.size[0], "height": each.size[1]}
        for number, each in enumerate(images, start=1)
    ]
    categories = [{"id": number, "name": label, "supercategory": ""} for label, number in numbers.items()]
    return dumps({"images": listed, "annotations": annotations, "categories": categories})


def _has(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), int | str) for key in keys)


def _faults_of_ids(file: str, annotations: list[Any]) -> Iterator[Fault]:
    """An id that is 0 or there twice: evaluation by pycocotools drops such annotations."""
    seen = set[int]()
    for each in annotations:
        number = each.get("id") if isinstance(each, dict) else None
        if isinstance(number, int) and (number == 0 or number in seen):
            yield "annotation_id", f"id {number}" + (", twice" if number in seen else "")
        if isinstance(number, int):
            seen.add(number)


def _entry(file: str, image: dict[str, Any], annotations: list[Any], names: dict[Any, str]) -> Entry:
    known = [each for each in annotations if _key(each.get("category_id")) in names]
    found = read_boxes(file, ((f"annotation {each.get('id')}", each) for each in known), lambda each: _box(each, names))
    faults: list[Fault] = [
        ("unknown_class", f"{file}: annotation {each.get('id')}: category_id {str(each.get('category_id'))[:40]}")
        for each in annotations
        if _key(each.get("category_id")) not in names
    ]
    faults += [("shape", f"{file}: annotation {each.get('id')}, iscrowd") for each in known if each.get("iscrowd")]
    size = size_of(image.get("width"), image.get("height"))
    return Entry(Annotation(file, found.boxes, size, faults=(*found.faults, *faults)), str(image["file_name"]))


def _key(value: Any) -> Any:
    """The value where it can be looked up."""
    return value if isinstance(value, int | str) else None


def _box(item: Any, names: dict[Any, str]) -> tuple[str, Box]:
    label, box = names[item["category_id"]], item.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        return label, from_sides(*box)
    outlines = item.get("segmentation")
    if not box and isinstance(outlines, list) and all(isinstance(each, list) for each in outlines):
        values = [value for each in outlines for value in each]
        return label, around([list(pair) for pair in zip(values[::2], values[1::2], strict=False)])
    raise BadBox("bbox: expected [left, top, width, height]")
