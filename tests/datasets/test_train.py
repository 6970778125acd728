"""`batchrec dataset train`: versions, their evaluation, the feature cache, and trainings that are refused or killed."""

import fcntl
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from batchrec.datasets.evaluation import wilson
from batchrec.datasets.head import fit
from tests.datasets.pictures import others, save, small
from tests.datasets.typed import typed

COUNTS = {"animals": 10, "buildings": 4, "tools": 5}


def train(root, *options, name="things"):
    """Train a version; the process's end, and its report."""
    done = typed("dataset", "train", str(root), "--name", name, "--json", *options)
    return done, json.loads(done.stdout) if done.exit_code == 0 else None


@pytest.fixture(scope="module")
def first(plain_set, models):
    """The report on the first version."""
    return train(plain_set)[1]


def features(models: Path) -> int:
    """Number of images whose features are known."""
    with closing(sqlite3.connect(models / "features.db")) as db:
        return int(db.execute("SELECT count(*) FROM features").fetchone()[0])


def copied(plain_set, tmp_path) -> Path:
    """A copy of the data set that may be changed."""
    return Path(shutil.copytree(plain_set, tmp_path / "set"))


def test_figures_are_those_of_the_images_left_out(first) -> None:
    """Each image is tested once, in as many folds as the smallest class has images, and sums agree."""
    found = first["evaluation"]
    assert (first["version"], first["classes"], first["left_out"]) == ("V1", COUNTS, [])
    assert (found["folds"], found["groups"], found["left_out"]) == (4, 19, [])
    matrix = np.array(found["confusion"])
    assert matrix.sum(axis=1).tolist() == list(COUNTS.values())
    accuracy = found["accuracy"]
    assert accuracy["value"] == pytest.approx(matrix.trace() / 19)
    assert accuracy["value"] >= 16 / 19
    assert accuracy["low"] < accuracy["value"] <= accuracy["high"]
    assert found["top"][0] == pytest.approx(accuracy["value"])
    assert found["top"][2] == 1.0
    assert found["majority_class"] == pytest.approx(10 / 19)
    assert found["nearest_pixels"] < accuracy["value"]
    assert found["recall"] == pytest.approx(np.mean([each["recall"]["value"] for each in found["classes"]]))
    assert [each["images"] for each in found["classes"]] == list(COUNTS.values())


def test_images_that_are_sure_and_right_are_not_listed(first, models) -> None:
    """The least certain ones are wrong, or have a probability below 0.5, and are all of these."""
    found, folder = first["evaluation"], models / "models" / "things" / "V1"
    scores = [each["score"] for each in found["worst"]]
    assert scores == sorted(scores)
    lines = [json.loads(line) for line in (folder / "out_of_fold.jsonl").read_text().splitlines()]
    unsure = {line["file"] for line in lines if line["answer"] != line["label"] or line["score_of_label"] < 0.5}
    assert {each["file"] for each in found["worst"]} == unsure
    assert 0 < len(unsure) < len(lines)


def test_version_keeps_its_evaluation_and_origin(first, models) -> None:
    """The files of a version: head, origin, evaluation, and a line for each evaluated image."""
    folder = models / "models" / "things" / "V1"
    assert json.loads((folder / "evaluation.json").read_text()) == first["evaluation"]
    origin = json.loads((folder / "version.json").read_text())
    assert (origin["classes"], origin["threshold"]) == (COUNTS, first["evaluation"]["threshold"])
    lines = [json.loads(line) for line in (folder / "out_of_fold.jsonl").read_text().splitlines()]
    assert len(lines) == 19
    right = sum(line["label"] == line["answer"] for line in lines) / 19
    assert right == pytest.approx(first["evaluation"]["accuracy"]["value"])
    with np.load(folder / "head.npz", allow_pickle=False) as head:
        assert (head["weights"].shape, head["classes"].tolist()) == ((3, 1280), list(COUNTS))


def test_report_names_figures_and_doubts(first, plain_set) -> None:
    """The report on a terminal: figures with interval, baselines, each class, and that so few images mean little."""
    done = typed("dataset", "train", str(plain_set), "--name", "report")
    for text in (
        "Cross-validation in 4 folds over 19 groups of copies:",
        "(95 %: ",
        "  majority class: 0.526",
        "  nearest image by pixels: ",
        "  recommended threshold: ",
        "  tools: 5  ",
        "These figures mean little: a class has fewer than 20 images.",
    ):
        assert text in done.stdout
    assert "batchrec dataset publish report V1" in done.stderr


def test_second_version_pays_for_new_images_alone(first, plain_set, models, tmp_path) -> None:
    """The same images give the same head without new features; one more image adds one."""
    before, heads = features(models), models / "models" / "things"
    assert train(plain_set)[1]["version"] == "V2"
    assert features(models) == before
    assert (heads / "V2" / "head.npz").read_bytes() == (heads / "V1" / "head.npz").read_bytes()
    root = copied(plain_set, tmp_path)
    image = small(next((plain_set / "tools").iterdir()))
    save(root / "tools" / "more.jpg", image.rotate(90))
    assert train(root)[1]["version"] == "V3"
    assert features(models) == before + 1
    assert (heads / "V3" / "head.npz").read_bytes() != (heads / "V1" / "head.npz").read_bytes()


def test_mirrored_images_are_trained_from_and_not_tested(first, plain_set, models) -> None:
    """--augment flip: features of each image mirrored, another head, the same folds; nothing is computed twice."""
    before = features(models)
    report = train(plain_set, "--augment", "flip", name="flipped")[1]
    assert features(models) == before + 19
    assert (report["evaluation"]["groups"], np.sum(report["evaluation"]["confusion"])) == (19, 19)
    assert report["classes"] == COUNTS
    flipped, plain = (models / "models" / name / "V1" for name in ("flipped", "things"))
    kept = [
        [
            (line["file"], line["fold"])
            for line in map(json.loads, (folder / "out_of_fold.jsonl").read_text().splitlines())
        ]
        for folder in (flipped, plain)
    ]
    assert kept[0] == kept[1]
    assert (flipped / "head.npz").read_bytes() != (plain / "head.npz").read_bytes()
    assert [json.loads((each / "version.json").read_text())["augment"] for each in (flipped, plain)] == ["flip", None]
    assert train(plain_set, "--augment", "flip", name="flipped")[1]["version"] == "V2"
    assert features(models) == before + 19
    assert typed("dataset", "train", str(plain_set), "--name", "x", "--augment", "crop").exit_code == 2


def test_copies_stay_in_one_fold(first, plain_set, tmp_path) -> None:
    """Crops and recompressed copies add images and no group; a class of copies is left out of the evaluation."""
    root = copied(plain_set, tmp_path)
    for path in sorted((plain_set / "tools").iterdir()):
        image = small(path)
        save(root / "tools" / f"crop_{path.name}", image.crop((3, 3, image.width - 3, image.height - 3)))
    image = small(next((plain_set / "animals").iterdir()))
    shutil.rmtree(root / "buildings")
    for number in range(3):
        save(root / "one" / f"{number}.jpg", image.resize((100 + number, 100)))
        (root / "animals" / next((plain_set / "animals").iterdir()).name).unlink(missing_ok=True)
    report = train(root, name="copies")[1]
    assert report["classes"] == {"animals": 9, "one": 3, "tools": 10}
    assert report["evaluation"]["left_out"] == ["one"]
    assert report["evaluation"]["groups"] == 9 + 5
    assert np.sum(report["evaluation"]["confusion"]) == 19


def test_wrong_label_is_found(first, plain_set, tmp_path) -> None:
    """A photograph of an animal among the tools is likely wrong, and named with the class that it looks like."""
    root = copied(plain_set, tmp_path)
    (root / "animals" / "red_panda.jpg").rename(root / "tools" / "red_panda.jpg")
    (doubtful,) = train(root, name="wrong")[1]["evaluation"]["likely_wrong"]
    assert (doubtful["file"], doubtful["label"], doubtful["answer"]) == ("tools/red_panda.jpg", "tools", "animals")


def test_other_things_are_a_class(first, plain_set, tmp_path) -> None:
    """--other adds the class [default]; what is no image there is left out and named."""
    folder = others(tmp_path / "others")
    (folder / "notes.txt").write_text("no image")
    done, report = train(plain_set, "--other", str(folder), name="other")
    assert report["classes"] == {**COUNTS, "[default]": 7}
    assert "others/notes.txt" in done.stderr


def test_errors_are_refused_unless_forced(first, plain_set, models, tmp_path) -> None:
    """A torn file ends with 2 and no version; with --force the sound files are trained from."""
    root = copied(plain_set, tmp_path)
    torn = root / "tools" / "torn.jpg"
    torn.write_bytes(next((plain_set / "animals").iterdir()).read_bytes()[:900])
    done, _none = train(root, name="faulty")
    assert done.exit_code == 2
    assert "tools/torn.jpg" in done.stderr
    assert "--force" in done.stderr
    assert not (models / "models" / "faulty").exists()
    done, report = train(root, "--force", name="faulty")
    assert (report["classes"], report["left_out"]) == (COUNTS, ["tools/torn.jpg"])
    assert "tools/torn.jpg" in done.stderr


@pytest.mark.parametrize("name", ["a/b", "", "..", "水果"])
def test_name_is_part_of_an_address(plain_set, models, name) -> None:
    """Another name ends with 2, and says what is right."""
    done, _none = train(plain_set, name=name)
    assert done.exit_code == 2
    assert "letters, digits, - and _" in done.stderr


def test_killed_training_leaves_the_earlier_version(first, plain_set, models, tmp_path) -> None:
    """SIGKILL before the new version is in place: the earlier ones are there, and the next training goes on."""
    train(plain_set, name="killed")
    model = models / "models" / "killed"
    root = copied(plain_set, tmp_path)
    shutil.rmtree(root / "buildings")
    root.joinpath("tools", "new.jpg").write_bytes(
        save(tmp_path / "n.jpg", small(root / "tools" / "hammer.jpg").rotate(180)).read_bytes()
    )
    known = features(models)
    with (model / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # the version cannot be put in place
        process = subprocess.Popen([sys.executable, "-m", "batchrec", "dataset", "train", root, "--name", "killed"])
        while features(models) == known:
            assert process.poll() is None
        process.kill()
        process.wait()
    assert {path.name for path in model.iterdir()} == {".lock", "model.json", "V1"}
    assert train(root, name="killed")[1]["version"] == "V2"


def test_versions_published_and_bound(first, models) -> None:
    """`versions` lists them; `publish` and `bind` change what it says, `unbind` takes that back."""
    assert "bound to: no application" in typed("dataset", "versions", "things").stdout
    assert "batchrec dataset bind things" in typed("dataset", "publish", "things", "V1").stderr
    assert typed("dataset", "bind", "things", "--app", "123").exit_code == 0
    text = typed("dataset", "versions", "things").stdout
    assert "published" in text.splitlines()[0]
    assert text.splitlines()[-1] == "bound to: 123"
    found = json.loads(typed("dataset", "versions", "things", "--json").stdout)
    assert (found["published"], found["bound"]) == ("V1", ["123"])
    assert found["versions"][0]["evaluation"] == first["evaluation"]
    typed("dataset", "unbind", "things")
    assert json.loads((models / "models" / "things" / "model.json").read_text())["bound"] == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("versions", "none"), "batchrec dataset train DIR --name none"),
        (("publish", "things", "V99"), "there are: V1"),
        (("bind", "none", "--app", "1"), "there is no model none"),
        (("unbind", "none"), "there is no model none"),
    ],
)
def test_missing_models_and_versions_are_named(first, models, words, text) -> None:
    """Exit code 2 with what there is, or how to get it."""
    done = typed("dataset", *words)
    assert done.exit_code == 2
    assert text in done.stderr


def test_head_gives_the_probabilities_of_scikit_learn() -> None:
    """Of two classes as of three; a class without an image gets none."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(30, 1280)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for classes in (2, 3):
        labels = np.arange(30) % classes
        head = fit(vectors, labels, [f"c{n}" for n in range(4)])
        due = LogisticRegression(C=100, class_weight="balanced", max_iter=500).fit(vectors, labels)
        found = head.probabilities(vectors)
        assert np.abs(found[:, :classes] - due.predict_proba(vectors)).max() < 1e-4
        assert found[:, classes:].max() == 0.0


def test_intervals_are_wilsons() -> None:
    """The known interval of 26 right of 26, and of 0 of 10."""
    assert [round(each, 2) for each in wilson(26, 26)] == [1.0, 0.87, 1.0]
    assert [round(each, 3) for each in wilson(0, 10)] == [0.0, 0.0, 0.278]
