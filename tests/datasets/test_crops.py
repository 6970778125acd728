"""Detectors by crops: trained from boxes, evaluated beside a central box, and answering with boxes."""

import contextlib
import io
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from batchrec.datasets.boxes import Labelled
from batchrec.datasets.detection import match
from batchrec.datasets.features import CROPS, Detection
from batchrec.emulator import OwnModels, best
from batchrec.engine import assembly
from batchrec.job.loading import build_job
from batchrec.values import Box
from tests.datasets.boxed import write
from tests.datasets.faulty import turned
from tests.datasets.pictures import CLASSES, PHOTOS, save, small
from tests.datasets.typed import typed
from tests.support.emulator import calling

SERVICE = "easydl_detection"
CANVAS = (240, 180)
PLACES = ((10, 10), (100, 60), (60, 30))
"""Left and top of the object on each canvas, in pixels."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six canvases with one photograph of an animal or a tool each, in COCO's format; not to be changed."""
    root = tmp_path_factory.mktemp("sets") / "scenes"
    images, annotations = [], []
    for label, folder in list(CLASSES.items())[:2]:
        for place, path in zip(PLACES, sorted((PHOTOS / folder).rglob("*.jpg")), strict=False):
            thing, number = small(path).resize((120, 110)), len(images) + 1
            canvas = Image.new("RGB", CANVAS, (90, 120, 140))
            canvas.paste(thing, place)
            save(root / f"{label}{number}.jpg", canvas)
            images.append({"id": number, "file_name": f"{label}{number}.jpg", "width": 240, "height": 180})
            category = list(CLASSES).index(label) + 1
            annotations.append(
                {"id": number, "image_id": number, "category_id": category, "bbox": [*place, *thing.size]}
            )
    categories = [{"id": number, "name": label} for number, label in enumerate(list(CLASSES)[:2], start=1)]
    write(root / "boxes.json", {"images": images, "annotations": annotations, "categories": categories})
    return root


@pytest.fixture(scope="module")
def trained(scenes: Path, models: Path) -> tuple[dict, str]:
    """The report on the first version of `scenes`, as JSON and as text: the second version is the same."""
    done = typed("dataset", "train", str(scenes), "--name", "scenes", "--json")
    assert done.exit_code == 0, done.stderr
    again = typed("dataset", "train", str(scenes), "--name", "scenes")
    return json.loads(done.stdout), again.stdout


def test_figures_are_those_of_the_boxes_that_were_found(trained, models) -> None:
    """AP50 beside that of a central box, from images that were in no training; `crops` is the method."""
    report, _text = trained
    found, folder = report["evaluation"], models / "models" / "scenes"
    assert (report["service"], report["classes"]) == (SERVICE, {"animals": 3, "tools": 3})
    assert (found["folds"], found["groups"], found["images"], found["boxes"]) == (3, 6, 6, 6)
    assert [(each["name"], each["images"], each["boxes"]) for each in found["classes"]] == [
        ("animals", 3, 3),
        ("tools", 3, 3),
    ]
    assert found["ap50"] == pytest.approx(np.mean([each["ap50"] for each in found["classes"]]))
    assert found["ap50"] > found["central_box"]
    lines = [json.loads(line) for line in (folder / "V1" / "out_of_fold.jsonl").read_text().splitlines()]
    again = match(
        [[Labelled(each.pop("label"), Box(**each), "") for each in line["boxes"]] for line in lines],
        [[Detection(each.pop("label"), each.pop("score"), Box(**each)) for each in line["found"]] for line in lines],
    )
    assert {name: each.ap50 for name, each in again.items()} == pytest.approx(
        {each["name"]: each["ap50"] for each in found["classes"]}
    )
    assert json.loads((folder / "model.json").read_text())["method"] == "crops"
    origin = json.loads((folder / "V1" / "version.json").read_text())
    assert (origin["method"], origin["threshold"], origin["images"]) == ("crops", found["threshold"], 6)
    with np.load(folder / "V1" / "head.npz") as head:
        assert head["classes"].tolist() == ["animals", "tools", "[default]"]


def test_report_compares_with_a_central_box(trained) -> None:
    """The report as text has both figures for each class, and says that so few images mean little."""
    _report, text = trained
    for part in (
        "V2: 6 images, 2 classes, 3 images in the smallest",
        "Cross-validation in 3 folds over 6 groups of copies:",
        "  AP50, mean of the classes: ",
        "  AP50 of a central box: ",
        "  recommended threshold: ",
        "  animals: 3  3  ",
        "These figures mean little: a class has fewer than 20 images.",
    ):
        assert part in text
    assert "AP50 " in typed("dataset", "versions", "scenes").stdout


def test_second_version_pays_for_new_images_alone(trained, models) -> None:
    """The same images give the same head, and their crops are in the cache once."""
    heads = models / "models" / "scenes"
    assert (heads / "V1" / "head.npz").read_bytes() == (heads / "V2" / "head.npz").read_bytes()
    with closing(sqlite3.connect(models / "features.db")) as db:
        rows = db.execute("SELECT length(vector) FROM features").fetchall()
    assert rows == [((CROPS + 1) * 1280 * 2,)] * 6


def test_an_image_whose_boxes_are_unknown_teaches_nothing(trained, scenes, tmp_path) -> None:
    """With --force an image with a bad box is left out and named, and one without a box is counted."""
    root = tmp_path / "set"
    root.mkdir()
    for path in scenes.glob("*.jpg"):
        (root / path.name).write_bytes(path.read_bytes())
    content = json.loads((scenes / "boxes.json").read_text())
    content["annotations"][0]["bbox"] = [50, 50, -20, 10]
    del content["annotations"][4]
    write(root / "boxes.json", content)
    assert typed("dataset", "train", str(root), "--name", "forced").exit_code == 2
    done = typed("dataset", "train", str(root), "--name", "forced", "--force", "--json")
    report = json.loads(done.stdout)
    assert (report["left_out"], report["without_boxes"]) == (["animals1.jpg"], ["tools5.jpg"])
    assert report["classes"] == {"animals": 2, "tools": 2}
    assert "one of its boxes cannot be known: animals1.jpg" in done.stderr
    assert "1 image has no box, and is not used" in done.stderr


def test_a_name_is_that_of_one_service(trained, plain_set) -> None:
    """A model that finds objects cannot get a version that classifies."""
    done = typed("dataset", "train", str(plain_set), "--name", "scenes")
    assert done.exit_code == 2
    assert "scenes is a model of easydl_detection" in done.stderr


async def test_published_and_bound_detectors_answer_with_boxes(trained, scenes, models) -> None:
    """Code 6 until it is published and bound, and at the address of the other service; a lying image is upright."""
    image = Image.open(scenes / "animals1.jpg")
    with closing(best(OwnModels(models / "models", live=True))) as answers:
        async with calling(answers=answers) as caller:
            data = (scenes / "animals1.jpg").read_bytes()
            assert await caller.code(SERVICE, data, model="scenes") == 6
            typed("dataset", "publish", "scenes", "V1")
            assert await caller.code(SERVICE, data, model="scenes") == 6
            typed("dataset", "bind", "scenes", "--app", "1")
            assert await caller.code("easydl_classification", data, model="scenes") == 6
            whole = (await caller.call(SERVICE, data, model="scenes"))["results"]
            lying = (await caller.call(SERVICE, turned(image), model="scenes"))["results"]
            assert await caller.code(SERVICE, data[: len(data) // 2], model="scenes") != 0
    for results in (whole, lying):
        assert results[0]["name"] == "animals"
        assert all(0.3 <= each["score"] <= 1 for each in results)
        location = results[0]["location"]
        assert all(isinstance(side, int) for side in location.values())
        found, due = Box(**location), Box(*PLACES[0], 120, 110)
        common = found.within(due).area
        assert common / (found.area + due.area - common) >= 0.5


async def test_boxes_are_in_the_results_of_a_job(trained, scenes, models, tmp_path) -> None:
    """A step on the embedded endpoint gets labels with boxes; `compare` and the report take them."""
    typed("dataset", "publish", "scenes", "V1")
    typed("dataset", "bind", "scenes", "--app", "1")
    save(tmp_path / "images" / "one.jpg", Image.open(scenes / "tools4.jpg"))
    raw = {
        "input": {"paths": ["images"]},
        "recognize": [{"service": SERVICE, "model": "scenes", "options": {"threshold": 0.1}}],
        "account": {"endpoint": "embedded"},
    }
    job = build_job(raw, tmp_path / "job.toml")
    environ = {"BATCHREC_STATE_DIR": str(tmp_path / "state"), "BATCHREC_DATA_DIR": str(models)}
    assert (await assembly.run(job, environ=environ)).exit_code == 0
    (row,) = [orjson.loads(line) for line in (job.directory / "results.jsonl").read_bytes().splitlines()]
    assert (row["labels"][0]["name"], set(row["labels"][0])) == ("tools", {"name", "score", "box"})
    assert typed("compare", str(job.directory), str(job.directory)).exit_code == 0
    assert typed("report", str(job.directory)).exit_code == 0


def test_ap50_is_that_of_pycocotools() -> None:
    """The same boxes have the same AP50 for each class, also for one that was never found."""
    chance = random.Random(5)
    truth, found = [], []
    for _image in range(40):
        boxes = [Box(chance.uniform(0, 60), chance.uniform(0, 60), 30, 30) for _box in range(3)]
        truth.append([Labelled(chance.choice("abc"), box, "") for box in boxes])
        near = [box.moved(chance.gauss(0, 6), chance.gauss(0, 6)) for box in boxes]
        found.append([Detection(chance.choice("ab"), chance.random(), box) for box in near])
    assert {name: each.ap50 for name, each in match(truth, found).items()} == pytest.approx(due(truth, found))


def due(truth: list[list[Labelled]], found: list[list[Detection]]) -> dict[str, float]:
    """AP50 by class according to pycocotools; ids count from 1, since it drops an annotation with the id 0."""
    names = ["a", "b", "c"]
    things = [(number, each) for number, boxes in enumerate(truth) for each in boxes]
    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO()
        given.dataset = {
            "images": [{"id": number} for number in range(len(truth))],
            "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
            "annotations": [
                {
                    "id": number,
                    "image_id": image,
                    "category_id": names.index(each.label),
                    "bbox": list(each.box.sides.values()),
                    "area": each.box.area,
                    "iscrowd": 0,
                }
                for number, (image, each) in enumerate(things, start=1)
            ],
        }
        given.createIndex()
        results = given.loadRes(
            [
                {
                    "image_id": image,
                    "category_id": names.index(each.label),
                    "bbox": list(each.box.sides.values()),
                    "score": each.score,
                }
                for image, boxes in enumerate(found)
                for each in boxes
            ]
        )
        counted = COCOeval(given, results, "bbox")
        counted.params.iouThrs = np.array([0.5])
        counted.evaluate()
        counted.accumulate()
    shares = counted.eval["precision"][0, :, :, 0, 2].mean(axis=0)
    return dict(zip(names, shares.tolist(), strict=True))
