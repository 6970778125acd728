"""`batchrec dataset check`: every fault is found and named, and mended where it can be."""

import json
import tomllib

import imagehash
import numpy as np
import pytest
from PIL import Image

from batchrec.datasets.copies import VectorFile, by_features
from batchrec.datasets.features import DIMENSIONS
from batchrec.datasets.look import HASH_SIDE_PIXELS, perceptual_hashes
from tests.datasets.faulty import PHOTOS, fault_set, jpeg, photo
from tests.datasets.typed import typed


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The data set with one of every fault, and the kind due for each place."""
    root = tmp_path_factory.mktemp("faults") / "set"
    return root, fault_set(root)


def check(root, *options):
    """Exit code, findings by place, and the whole report."""
    done = typed("dataset", "check", str(root), "--json", *options)
    report = json.loads(done.stdout)
    found = {}
    for each in report["findings"]:
        found.setdefault(each["where"], set()).add(each["kind"])
    return done, found, report


def test_every_fault_is_found_and_no_other(faults) -> None:
    """One finding for each of the 36 faults and more, none for sound files, exit code 1."""
    root, due = faults
    assert sum(map(bool, due.values())) >= 36
    done, found, _report = check(root)
    assert done.exit_code == 1
    assert {where: kind for where, kind in due.items() if kind and kind not in found.get(where, set())} == {}
    sound = [where for where, kind in due.items() if not kind]
    assert {where: found[where] for where in sound if where in found} == {}


def test_deep_finds_the_mirrored_copy(faults) -> None:
    """--deep compares features; the mirrored image is a copy of one in another class."""
    root, _due = faults
    _done, found, report = check(root, "--deep")
    assert "copy_across" in found["fish/mirrored.jpg"]
    assert report["deep"] is True


def test_text_names_file_and_remedy(faults) -> None:
    """Each finding is a line with its file, under a line with kind and remedy."""
    root, _due = faults
    done = typed("dataset", "check", str(root))
    assert "error torn (3): leave it out" in done.stdout
    assert "  hammer/torn_with_end.jpg is torn or damaged: " in done.stdout
    assert "mirrored and cropped copies were not looked for" in done.stdout


def test_fix_mends_all_but_people_decide_on_copies(faults, tmp_path) -> None:
    """The mended set has no error left; names are kept in mapping.toml; files left out are told."""
    root, due = faults
    out = tmp_path / "mended"
    _done, _found, report = check(root, "--fix", str(out))
    names = tomllib.loads((out / "mapping.toml").read_text(encoding="utf-8"))["names"]
    assert names["screw driver"] == "screw_driver"
    assert names["a_name_of_thirty_four_bytes_as_this"] == "a_name_of_thirty_fou"
    assert names["钳子"].startswith("c0")
    left = {each["where"] for each in report["fix"]["left_out"]}
    gone = {"torn", "not_an_image", "empty", "too_small", "too_long", "same_bytes", "unreadable"}
    assert left == {where for where, kind in due.items() if kind in gone}
    _done, found, again = check(out)
    assert {each["kind"] for each in again["findings"] if each["severity"] == "error"} == set()
    kinds = set().union(*found.values())
    assert kinds == {"few_images", "copy", "copy_across", "flat"}
    with Image.open(out / "hammer" / "lying.jpg") as upright:
        assert upright.size == photo(9).size
    assert (out / "hammer" / "whole.jpg").read_bytes() == PHOTOS[0].read_bytes()


def test_names_of_the_mapping_are_taken(faults, tmp_path) -> None:
    """--names gives names that nobody could guess."""
    root, _due = faults
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[names]\n"钳子" = "pliers"\n', encoding="utf-8")
    typed("dataset", "check", str(root), "--fix", str(tmp_path / "out"), "--names", str(mapping))
    assert (tmp_path / "out" / "pliers" / "1.jpg").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[names]\n"钳子" = "fish"\n', "would both be 'fish'"),
        ('[names]\n"pincers" = "x"\n', "no such class"),
        ('[names]\n"钳子" = "钳"\n', "is no name for EasyDL"),
        ("names = 1", "expected one table"),
        ("[", "mapping.toml: end of document"),
    ],
)
def test_wrong_mappings_are_refused(faults, tmp_path, text, word) -> None:
    """Exit code 2 with the key, and nothing is written."""
    root, _due = faults
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(text, encoding="utf-8")
    done = typed("dataset", "check", str(root), "--fix", str(tmp_path / "out"), "--names", str(mapping))
    assert done.exit_code == 2
    assert word in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mapping.toml"]


def test_classes_that_fold_together_are_errors_and_not_mended(tmp_path) -> None:
    """Hammer and hammer are one folder on many disks."""
    for label, number in (("Hammer", 0), ("hammer", 1)):
        (tmp_path / "set" / label).mkdir(parents=True)
        (tmp_path / "set" / label / "1.jpg").write_bytes(PHOTOS[number].read_bytes())
    _done, found, _report = check(tmp_path / "set")
    assert "class_twice" in found["hammer/"]
    done = typed("dataset", "check", str(tmp_path / "set"), "--fix", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert "Hammer" in done.stderr


@pytest.mark.parametrize("files", [[], ["a.jpg"], ["one/a.jpg"]])
def test_what_cannot_be_trained_is_exit_code_2(tmp_path, files) -> None:
    """No class and one class are refused with the remedy."""
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PHOTOS[0].read_bytes())
    done = typed("dataset", "check", str(tmp_path))
    assert done.exit_code == 2
    assert "folder" in done.stderr


def test_different_photographs_are_no_copies(tmp_path) -> None:
    """The demo photographs are all different, and the check says so, with --deep too."""
    for number, path in enumerate(PHOTOS):
        folder = tmp_path / "set" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(path.read_bytes())
    _done, found, _report = check(tmp_path / "set", "--deep")
    assert set(found) == {"a/", "b/"}


def test_fix_refuses_a_folder_that_is_there(faults, tmp_path) -> None:
    """Nothing is overwritten, and nothing is written into the data set itself."""
    root, _due = faults
    (tmp_path / "x").write_bytes(jpeg(Image.new("RGB", (40, 40))))
    for out, word in ((tmp_path, "is there already"), (root / "new", "lies within")):
        done = typed("dataset", "check", str(root), "--fix", str(out))
        assert done.exit_code == 2
        assert word in done.stderr


def test_hashes_are_those_of_imagehash() -> None:
    """The pHash of each demo photograph is equal to that of the package."""
    for path in PHOTOS:
        with Image.open(path) as image:
            small = image.convert("L").resize((HASH_SIDE_PIXELS, HASH_SIDE_PIXELS), Image.Resampling.LANCZOS)
        bits = imagehash.phash(small).hash.flatten()
        assert perceptual_hashes(np.asarray(small)[None])[0] == int("".join(str(int(bit)) for bit in bits), 2)


def test_features_are_compared_across_blocks(tmp_path) -> None:
    """Copies are found wherever they stand, also in another block of vectors than their image, and once."""
    vectors = np.random.default_rng(1).standard_normal((2100, DIMENSIONS)).astype(np.float32)
    copies_of = {2099: 0, 2048: 2047, 6: 5}
    for copy, image in copies_of.items():
        vectors[copy] = vectors[image] * 1.01
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with (tmp_path / "vectors").open("w+b") as file:
        kept = VectorFile(file, DIMENSIONS)
        for vector in vectors:
            kept.append(vector)
        found = {(pair.first, pair.second) for pair in by_features(kept, range(2100))}
    assert found == {(image, copy) for copy, image in copies_of.items()}
