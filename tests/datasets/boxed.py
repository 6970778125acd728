"""Data sets for detection in each format, from the demo photographs: the same boxes, or one of every fault."""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.datasets.faulty import PHOTOS, photo, turned

BOXES = {
    "a.jpg": [("nut", (10, 20, 60, 50)), ("bolt", (5, 5, 30, 30))],
    "b.jpg": [("nut", (40, 30, 50, 60))],
    "c.jpg": [("bolt", (0, 0, 80, 70))],
}
"""Left, top, width and height of the boxes of each image."""

LABELS = ("nut", "bolt")


def size(name: str) -> tuple[int, int]:
    """Width and height of an image of `BOXES`."""
    with Image.open(PHOTOS[list(BOXES).index(name)]) as image:
        return image.size


def put_images(folder: Path) -> None:
    """Put the images of `BOXES` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in zip(BOXES, PHOTOS, strict=False):
        (folder / name).write_bytes(path.read_bytes())


def write(path: Path, content: object) -> None:
    """Write text, or anything else as JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def coco(root: Path) -> None:
    """COCO, with images in a folder that `file_name` does not have."""
    put_images(root / "images" / "train")
    images = [
        {"id": number, "file_name": name, "width": size(name)[0], "height": size(name)[1]}
        for number, name in enumerate(BOXES)
    ]
    annotations = [
        {"image_id": list(BOXES).index(name), "category_id": LABELS.index(label) + 7, "bbox": list(box)}
        for name, boxes in BOXES.items()
        for label, box in boxes
    ]
    annotations = [{"id": number, **each} for number, each in enumerate(annotations, start=1)]
    categories = [{"id": number, "name": label} for number, label in enumerate(LABELS, start=7)]
    write(root / "instances.json", {"images": images, "annotations": annotations, "categories": categories})


def voc(root: Path) -> None:
    """Pascal VOC, as LabelImg writes it."""
    put_images(root / "JPEGImages")
    for name, boxes in BOXES.items():
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
            f"<ymax>{y + h}</ymax></bndbox></object>"
            for label, (x, y, w, h) in boxes
        )
        width, height = size(name)
        head = f"<filename>{name}</filename><size><width>{width}</width><height>{height}</height></size>"
        write(root / "Annotations" / f"{name[0]}.xml", f"<annotation>{head}{objects}</annotation>")


def yolo(root: Path) -> None:
    """YOLO with data.yaml, folders `images` and `labels`."""
    put_images(root / "images" / "train")
    write(root / "data.yaml", "path: .\ntrain: images/train\nnames:\n  0: nut\n  1: bolt\n")
    for name, boxes in BOXES.items():
        width, height = size(name)
        lines = [
            f"{LABELS.index(label)} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n"
            for label, (x, y, w, h) in boxes
        ]
        write(root / "labels" / "train" / f"{name[0]}.txt", "".join(lines))


def labelme(root: Path) -> None:
    """LabelMe, with the corners of rectangles in another order, and a polygon."""
    put_images(root)
    for name, boxes in BOXES.items():
        shapes = [
            {"label": label, "shape_type": "rectangle", "points": [[x + w, y + h], [x, y]]}
            for label, (x, y, w, h) in boxes
        ]
        width, height = size(name)
        write(
            root / f"{name[0]}.json", {"shapes": shapes, "imagePath": name, "imageWidth": width, "imageHeight": height}
        )


def easydata(root: Path) -> None:
    """EasyData's JSON beside the images."""
    put_images(root)
    for name, boxes in BOXES.items():
        width, height = size(name)
        labels = [
            {"name": label, "x1": x, "y1": y, "x2": x + w, "y2": y + h, "size": {"height": height, "width": width}}
            for label, (x, y, w, h) in boxes
        ]
        write(root / f"{name[0]}.json", {"labels": labels})


MAKERS: dict[str, Callable[[Path], None]] = {
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "labelme": labelme,
    "easydata": easydata,
}


def fault_boxes(root: Path) -> dict[str, str]:
    """Make a COCO set with one of every fault of boxes; returns the kind due for each image or file."""
    root.mkdir()
    faults = {
        "whole.jpg": ("", [[10, 10, 50, 40]]),
        "outside.jpg": ("box_outside", [[20, 20, 5000, 40]]),
        "beyond.jpg": ("bad_box", [[9000, 9000, 10, 10]]),
        "negative.jpg": ("bad_box", [[50, 50, -20, 10]]),
        "words.jpg": ("bad_box", [["ten", 10, 20, 20]]),
        "empty.jpg": ("no_boxes", []),
        "twice.jpg": ("same_box", [[10, 10, 50, 40], [10, 10, 50, 40]]),
        "class.jpg": ("unknown_class", [[10, 10, 50, 40]]),
        "resized.jpg": ("size_differs", [[10, 10, 50, 40]]),
        "listed_twice.jpg": ("annotation_twice", [[10, 10, 50, 40]]),
        "lying.jpg": ("lying", [[10, 20, 50, 40]]),
        "torn.jpg": ("torn", [[10, 10, 50, 40]]),
        "crowd.jpg": ("shape", [[10, 10, 50, 40]]),
        "gone.jpg": ("", [[10, 10, 50, 40]]),
    }
    images, annotations = [], []
    for number, (name, (kind, boxes)) in enumerate(faults.items()):
        data, (width, height) = PHOTOS[number].read_bytes(), photo(number).size
        data = data[: len(data) // 2] if kind == "torn" else data
        if name == "lying.jpg":
            data, width, height = turned(photo(number)), height, width
        if name != "gone.jpg":
            (root / name).write_bytes(data)
        width += 7 * (kind == "size_differs")
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for box in boxes:
            category = 9 if kind == "unknown_class" else 1
            more = {"iscrowd": int(kind == "shape"), "id": len(annotations)}
            annotations.append({"image_id": number, "category_id": category, "bbox": box, **more})
    images.append({**images[list(faults).index("listed_twice.jpg")], "id": 999})
    annotations.append({"id": 500, "image_id": 12345, "category_id": 1, "bbox": [1, 1, 5, 5]})
    categories = [{"id": 1, "name": "nut"}, {"id": 2, "name": "never seen"}]
    write(root / "all.json", {"images": images, "annotations": annotations, "categories": categories})
    (root / "unlisted.jpg").write_bytes(PHOTOS[20].read_bytes())
    (root / "readme.md").write_text("photographs of nuts\n")
    due = {name: kind for name, (kind, _boxes) in faults.items() if kind}
    return due | {
        "all.json": "no_image",
        "unlisted.jpg": "no_boxes",
        "readme.md": "other_file",
        "never seen/": "class_name",
        "nut/": "few_images",
    }
