"""`batchrec dataset` for detection: five formats are read, every fault of a box is named, archives hold the boxes."""

import json
import zipfile
from pathlib import Path

import pytest
from globox import AnnotationSet
from PIL import Image
from pycocotools.coco import COCO

from batchrec.datasets.check import check
from tests.datasets.boxed import BOXES, LABELS, MAKERS, coco, fault_boxes, size, write, yolo
from tests.datasets.faulty import PHOTOS, photo
from tests.datasets.typed import typed


def found_in(root: Path, *options: str) -> tuple[dict, dict]:
    """Findings by place, and the whole report."""
    report = json.loads(typed("dataset", "check", str(root), "--json", *options).stdout)
    found: dict[str, set[str]] = {}
    for each in report["findings"]:
        found.setdefault(each["where"], set()).add(each["kind"])
    return found, report


def boxes_of(root: Path) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Boxes of a checked set in whole pixels, by the name of the image."""
    checked = check(root)
    return {
        sample.name: sorted(
            (each.label, tuple(map(round, each.box.sides.values()))) for each in checked.boxes(sample, looked)
        )
        for sample, looked in zip(checked.dataset.samples, checked.looked, strict=True)
    }


@pytest.mark.parametrize("format", MAKERS)
def test_five_formats_give_the_same_boxes(tmp_path, format) -> None:
    """Whatever the order of corners and the units, boxes come out in pixels, with no finding about them."""
    MAKERS[format](tmp_path / "set")
    found, report = found_in(tmp_path / "set")
    assert (report["type"], report["classes"]) == ("detection", {"nut": 2, "bolt": 2})
    assert set(found) - {"data.yaml"} == {"nut/", "bolt/"}
    due = {name: sorted((label, (x, y, w, h)) for label, (x, y, w, h) in boxes) for name, boxes in BOXES.items()}
    assert boxes_of(tmp_path / "set") == due


def test_every_fault_of_a_box_is_found_and_mended(tmp_path) -> None:
    """Each fault is named at its image; the mended set has no error, and keeps what a person must decide."""
    due = fault_boxes(tmp_path / "set")
    found, report = found_in(tmp_path / "set", "--fix", str(tmp_path / "mended"))
    assert {where: kind for where, kind in due.items() if kind not in found.get(where, set())} == {}
    assert "whole.jpg" not in found
    assert "annotation_id" in found["all.json"]
    assert "gone.jpg" in {each["detail"] for each in report["findings"] if each["kind"] == "no_image"}
    detail = next(each["detail"] for each in report["findings"] if each["kind"] == "bad_box")
    assert "annotation 2, nut" in detail
    left = {each["where"] for each in report["fix"]["left_out"]}
    lost = {"bad_box", "unknown_class", "size_differs", "annotation_twice", "torn"}
    assert left == {where for where, kind in due.items() if kind in lost}
    again, mended = found_in(tmp_path / "mended")
    assert {each["kind"] for each in mended["findings"] if each["severity"] == "error"} == set()
    assert set().union(*again.values()) == {"few_images", "no_boxes"}


def test_boxes_turn_with_an_image_that_lies_on_its_side(tmp_path) -> None:
    """The stated size is that of the file as it lies: boxes are turned with the pixels, here by EXIF 6."""
    fault_boxes(tmp_path / "set")
    found_in(tmp_path / "set", "--fix", str(tmp_path / "mended"))
    lying = next(iter(json.loads((tmp_path / "mended" / "lying.json").read_text())["labels"]))
    number = list(fault_boxes(tmp_path / "again")).index("lying.jpg")
    with Image.open(tmp_path / "mended" / "lying.jpg") as upright:
        width, height = upright.size
    assert (width, height) == photo(number + 1).size
    raw_height = width
    assert [lying[side] for side in ("x1", "y1", "x2", "y2")] == [raw_height - 60, 10, raw_height - 20, 60]


@pytest.mark.parametrize("format", ["easydata", "voc", "coco"])
def test_archives_hold_the_boxes_for_other_readers(tmp_path, format) -> None:
    """What is packed comes back as the same boxes; pycocotools and globox read it; ids count from 1."""
    coco(tmp_path / "set")
    out = tmp_path / "set.zip"
    done = typed("dataset", "pack", str(tmp_path / "set"), "--out", str(out), "--format", format)
    assert done.exit_code == 0, done.stderr
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "out")
    assert boxes_of(tmp_path / "out") == boxes_of(tmp_path / "set")
    if format == "coco":
        read = COCO(str(tmp_path / "out" / "Annotations" / "coco_info.json"))
        assert sorted(read.anns) == [1, 2, 3, 4]
        images = AnnotationSet.from_coco(tmp_path / "out" / "Annotations" / "coco_info.json")
    if format == "voc":
        images = AnnotationSet.from_pascal_voc(tmp_path / "out" / "Annotations")
    if format != "easydata":
        assert {name: len(boxes) for name, boxes in BOXES.items()} == {
            each.image_id: len(each.boxes) for each in images
        }
        assert {each.image_size for each in images} == {size(name) for name in BOXES}


def test_formats_belong_to_a_type(tmp_path) -> None:
    """Folders are for classification, and --type decides where a set could be either."""
    yolo(tmp_path / "set")
    done = typed("dataset", "pack", str(tmp_path / "set"), "--out", str(tmp_path / "x.zip"), "--format", "folders")
    assert done.exit_code == 2
    assert "expected one of: easydata, voc, coco" in done.stderr
    _found, report = found_in(tmp_path / "set", "--type", "classification")
    assert (report["type"], set(report["classes"])) == ("classification", {"images", "labels"})


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"a.txt": "words"}, "has no annotations"),
        ({"all.json": "{", "b.xml": "<annotation/>", "c.json": {"shapes": []}}, "in several formats"),
        ({"all.json": {"images": [{"id": 1}], "annotations": [], "categories": []}}, "needs an id"),
        ({"data.yaml": "names: 5", "a.txt": "0 1 1 1 1"}, "names"),
    ],
)
def test_what_cannot_be_read_is_exit_code_2(tmp_path, files, word) -> None:
    """A set without annotations, of several formats, or with a damaged list ends before any image is opened."""
    for name, content in files.items():
        write(tmp_path / name, content)
    done = typed("dataset", "check", str(tmp_path), "--type", "detection")
    assert done.exit_code == 2
    assert word in done.stderr


def test_damaged_annotations_of_one_image_are_findings(tmp_path) -> None:
    """A broken file beside good ones is named with its reason, and so is an image of several names."""
    MAKERS["easydata"](tmp_path)
    (tmp_path / "a.json").write_text('{"labels": [')
    write(tmp_path / "z.json", {"labels": []})
    (tmp_path / "d.jpg").write_bytes(PHOTOS[5].read_bytes())
    write(tmp_path / "d.json", {"labels": [{"name": "nut", "x1": 5, "y1": 5, "x2": 3, "y2": 9}, {"name": "nut"}, 7]})
    found, report = found_in(tmp_path)
    assert found["a.jpg"] == {"bad_annotation"}
    assert found["z.json"] == {"no_image"}
    details = [each["detail"] for each in report["findings"] if each["where"] == "d.jpg"]
    assert len(details) == 3
    assert all(detail.startswith("d.json: labels[") for detail in details)
    assert LABELS[0] in report["classes"]
