"""Exports, opened by the programs that they are made for."""

import json
import sqlite3
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path

import duckdb
import openpyxl
import pandas
import polars
import pytest
from PIL import Image

from batchrec.exact_json import dumps
from batchrec.journal.results import results_of

from .conftest import export


@pytest.fixture(scope="module")
def rows(made):
    """The rows that count."""
    with results_of(made) as results:
        return list(results.rows())


@pytest.fixture(scope="module")
def failures(made):
    """What is failed now."""
    with results_of(made) as results:
        return list(results.failures())


@pytest.fixture
def out(tmp_path):
    """A folder that is not there yet."""
    return tmp_path / "a" / "out"


def exported(directory, format, out, *options):
    """Export into a folder; what standard error said."""
    done = export(directory, format, "--out", out, *options)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{out}\n"
    return done.stderr


def with_first_row(made: Path, copy: Path, change: dict[str, object]) -> Path:
    """A copy of an output directory, with other values in the first row, which stays as long as it was."""
    copy.mkdir(parents=True)
    for name in ("results.jsonl", "journal.db"):
        (copy / name).write_bytes((made / name).read_bytes())
    lines = (copy / "results.jsonl").read_bytes().splitlines(keepends=True)
    row = json.loads(lines[0]) | change
    row["response"] |= {"pad": " " * (len(lines[0]) - 1 - len(dumps(row)) - len(',"pad":""'))}
    lines[0] = dumps(row) + b"\n"
    (copy / "results.jsonl").write_bytes(b"".join(lines))
    return copy


def test_parquet_keeps_every_log_id(made, rows, out):
    """pandas, polars and DuckDB read all rows, with exact integers and the labels as structures."""
    exported(made, "parquet", out)
    path = out / "results.parquet"
    wanted = [row["response"]["log_id"] for row in rows]
    assert min(map(len, map(str, wanted))) >= 18
    frame = pandas.read_parquet(path)
    assert frame["log_id"].tolist() == wanted
    assert str(frame["answered_at"].dtype).startswith("datetime64[us, UTC")
    table = polars.read_parquet(path)
    assert table["log_id"].to_list() == wanted
    assert table["labels"].to_list()[0] == [
        {name: label.get(name) for name in ("name", "score", "root", "year", "calorie", "box")}
        for label in rows[0]["labels"]
    ]
    with duckdb.connect() as db:
        found = db.execute(f"SELECT log_id, image, response FROM '{path}'").fetchall()
    assert [log_id for log_id, _, _ in found] == wanted
    assert [image for _, image, _ in found] == [row["image"] for row in rows]
    assert [json.loads(response) for _, _, response in found] == [row["response"] for row in rows]


def test_parquet_of_failures_and_filters(made, rows, failures, out):
    """--failed writes failures; filters say what they leave out; --absolute names files."""
    said = exported(made, "parquet", out, "--step", "objects", "--min-score", "0.5", "--top", "1", "--absolute")
    wanted = [row for row in rows if row["step"] == "objects" and row["labels"] and row["labels"][0]["score"] >= 0.5]
    frame = pandas.read_parquet(out / "results.parquet")
    assert 0 < len(frame) == len(wanted)
    assert frame["name"].tolist() == [row["labels"][0]["name"] for row in wanted]
    assert frame["image"].str.startswith(str(made.parent)).all()
    assert f"results that the filters do not select: {len(rows) - len(wanted)}" in said
    assert f"failures, which --failed exports: {sum(each['step'] == 'objects' for each in failures) or ''}" in said or (
        not any(each["step"] == "objects" for each in failures)
    )
    exported(made, "parquet", out, "--failed", "--overwrite")
    assert pandas.read_parquet(out / "results.parquet")["code"].tolist() == [str(each["code"]) for each in failures]


def test_xlsx_has_a_row_an_image(made, rows, failures, out):
    """Labels of the steps side by side, log_id as text, counts of labels, failures."""
    exported(made, "xlsx", out)
    book = openpyxl.load_workbook(out / "results.xlsx")
    images, labels, failed = book.worksheets
    head, *cells = images.iter_rows(values_only=True)
    keys = {row["image"] for row in rows} | {each["image"] for each in failures}
    assert sorted(row[0] for row in cells) == sorted(keys)
    columns = {name: at for at, name in enumerate(head)}
    by_image = {row[0]: row for row in cells}
    for row in rows:
        shown = by_image[row["image"]]
        assert shown[columns[f"{row['step']}: log_id"]] == str(row["response"]["log_id"])
        if row["labels"]:
            assert shown[columns[f"{row['step']}: label 1"]] == row["labels"][0]["name"]
            assert shown[columns[f"{row['step']}: score 1"]] == pytest.approx(row["labels"][0]["score"])
    counts = Counter((row["step"], label["name"]) for row in rows for label in row["labels"])
    assert {row[:2]: row[2] for row in labels.iter_rows(min_row=2, values_only=True)} == counts
    assert failed.max_row - 1 == len(failures)
    assert len(images._images) == len(keys)
    link = images.cell(2, 1).hyperlink.target
    assert (out / link.replace("\\", "/")).resolve().is_file()  # as Excel writes it


def test_parquet_takes_odd_values(made, out):
    """A value of another type than its column's is None, or its text; a log_id is found wherever it stands."""
    odd = {"name": "x", "score": 1, "calorie": "?", "year": 2010, "box": {"left": 5, "top": "?"}}
    response = {"log_id": 2**64 - 1, "inner": {"log_id": 5}}
    copy = with_first_row(made, out.parent / "copy", {"labels": [odd], "response": response, "attempts": 1.5})
    exported(copy, "parquet", out)
    row = pandas.read_parquet(out / "results.parquet", dtype_backend="pyarrow").iloc[0]
    box = {"left": 5.0, "top": None, "width": None, "height": None}
    assert row["labels"] == [{"name": "x", "score": 1.0, "root": None, "calorie": None, "year": "2010", "box": box}]
    assert row["log_id"] == 2**64 - 1
    assert pandas.isna(row["attempts"])


def test_xlsx_texts_are_texts(made, out):
    """A label that is a formula or an address stays a text."""
    labels = [{"name": '=HYPERLINK("http://x")', "score": 0.9}, {"name": "http://x", "score": 0.1}]
    exported(with_first_row(made, out.parent / "copy", {"labels": labels}), "xlsx", out)
    sheet = openpyxl.load_workbook(out / "results.xlsx").worksheets[0]
    cells = [
        cell for line in sheet.iter_rows() for cell in line if cell.value in ('=HYPERLINK("http://x")', "http://x")
    ]
    assert len(cells) == 2
    assert [(cell.data_type, cell.hyperlink) for cell in cells] == [("s", None), ("s", None)] or [
        (cell.data_type, cell.hyperlink) for cell in cells
    ] == [("inlineStr", None)] * 2


def test_coco_is_read_by_its_tool(made, rows, out):
    """pycocotools loads annotations and results; ids count from 1; boxes lie within the image."""
    from pycocotools.coco import COCO

    exported(made, "coco", out, "--step", "objects")
    truth = COCO(out / "annotations.json")
    boxed = [label for row in rows if row["step"] == "objects" for label in row["labels"] if label.get("box")]
    assert 0 < len(truth.anns) == len(boxed)
    assert min(truth.anns) == min(truth.imgs) == min(truth.cats) == 1
    for found in truth.anns.values():
        image = truth.imgs[found["image_id"]]
        left, top, width, height = found["bbox"]
        assert 0 <= left < left + width <= image["width"]
        assert 0 <= top < top + height <= image["height"]
    assert len(truth.loadRes(str(out / "results.json")).anns) == len(boxed)
    names = (out / "images.txt").read_text("utf-8").splitlines()
    assert names == [truth.imgs[number]["file_name"] for number in sorted(truth.imgs)]
    assert json.loads((out / "annotations.json").read_bytes())["info"]["base"] == str(made.parent)
    exported(made, "coco", out, "--step", "advanced_general", "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == ["annotations.json", "images.txt"]


def test_yolo_numbers_index_the_names(made, rows, out):
    """A text file an image beside the images; shares from 0 to 1."""
    import yaml

    exported(made, "yolo", out, "--step", "objects")
    data = yaml.safe_load((out / "data.yaml").read_text("utf-8"))
    assert list(data["names"]) == list(range(len(data["names"])))
    assert set(data["names"].values()) == {
        label["name"] for row in rows if row["step"] == "objects" for label in row["labels"] if label.get("box")
    }
    stems = {path.stem for path in (out / "labels").iterdir()}
    assert stems == {path.stem for path in (out / data["train"]).iterdir()}
    assert all(path.stat().st_nlink > 1 for path in (out / "images").iterdir())
    lines = [line.split() for path in (out / "labels").iterdir() for line in path.read_text().splitlines()]
    assert all(
        int(number) in data["names"] and all(0 <= float(each) <= 1 for each in shares) for number, *shares in lines
    )


def test_labelstudio_takes_every_prediction(made, rows, out):
    """Its own validation, against the configuration that lies beside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pydantic gives up
        from label_studio_sdk.label_interface import LabelInterface

    said = exported(made, "labelstudio", out)
    interface = LabelInterface((out / "config.xml").read_text("utf-8"))
    tasks = json.loads((out / "tasks-0001.json").read_bytes())
    predictions = [each for task in tasks for each in task["predictions"]]
    assert len(predictions) == len(rows)
    assert [interface.validate_prediction(each, return_errors=True) for each in predictions] == [[]] * len(predictions)
    assert all(task["data"]["image"].startswith("/data/local-files/?d=photos/") for task in tasks)
    assert all(isinstance(task["data"]["log_id"], str) for task in tasks)
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={made.parent}" in said


@pytest.mark.parametrize("way", ["", "--copy", "--symlink"])
def test_folders_of_top_labels(made, rows, out, way):
    """Each image in the folder of its top label, with the bytes of the original."""
    exported(made, "folders", out, "--step", "advanced_general", *([way] if way else []))
    wanted = Counter(row["labels"][0]["name"] for row in rows if row["step"] == "advanced_general" and row["labels"])
    files = list(out.glob("*/*"))
    assert Counter(path.parent.name for path in files) == wanted
    sizes = Counter(
        (made.parent / row["image"]).stat().st_size
        for row in rows
        if row["step"] == "advanced_general" and row["labels"]
    )
    assert Counter(path.stat().st_size for path in files) == sizes
    kinds = {(path.is_symlink(), path.stat().st_nlink > 1 and not path.is_symlink()) for path in files}
    assert kinds == {{"": (False, True), "--copy": (False, False), "--symlink": (True, False)}[way]}


def test_imagefolder_is_read_by_datasets(made, rows, out, monkeypatch):
    """`datasets` reads all images, with labels and log_id as text."""
    import datasets

    exported(made, "imagefolder", out, "--step", "advanced_general")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(out.parent / "cache"))
    wanted = {row["image"]: row for row in rows if row["step"] == "advanced_general"}
    assert set(loaded["path"]) == set(wanted)
    for line in loaded:
        row = wanted[line["path"]]
        assert line["image"].size == (320, 240)
        assert line["label"] == (row["labels"][0]["name"] if row["labels"] else "")
        assert line["results"][0]["log_id"] == str(row["response"]["log_id"])


def test_sizes_are_of_the_upright_image(made, tmp_path):
    """A JPEG that lies on its side has its sides changed."""
    from batchrec.images import displayed_size

    path = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert displayed_size(path.read_bytes()) == (20, 40)
    for format in ("JPEG", "PNG", "TIFF", "WEBP"):
        Image.new("RGB", (40, 20)).save(path, format, exif=exif)
        assert displayed_size(path.read_bytes()) == (20, 40), format
    assert displayed_size(b"no image") is None


def test_images_that_are_gone_or_on_the_web(made, out):
    """They are counted, and the others are exported."""
    copy = out.parent / "copy"
    copy.mkdir(parents=True)
    for name in ("results.jsonl", "journal.db"):
        (copy / name).write_bytes((made / name).read_bytes())
    with closing(sqlite3.connect(copy / "journal.db")) as db, db:
        db.execute("UPDATE meta SET value = 'elsewhere' WHERE key = 'base'")
    said = exported(copy, "folders", out)
    assert "images that are not there any more" in said
    assert list(out.iterdir()) == []
