"""Data set of folders: its files, its classes, its digest."""

import pytest

from batchrec.datasets.classes import Sample, digest_of, load_classes
from batchrec.errors import JobError


def test_files_of_classes_are_listed_in_order(tmp_path) -> None:
    """Nested files belong to the class; hidden and system files to nothing; loose files are named."""
    for name in (
        "pear/more/b.jpg",
        "apple/2.jpg",
        "apple/10.jpg",
        "apple/.DS_Store",
        "apple/Thumbs.db",
        ".git/x",
        "a.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    found = load_classes(tmp_path)
    assert found.labels == ("apple", "empty", "pear")
    assert found.samples == (
        Sample("apple", "apple/10.jpg"),
        Sample("apple", "apple/2.jpg"),
        Sample("pear", "pear/more/b.jpg"),
    )
    assert found.loose == ("a.txt",)
    assert found.counts() == {"apple": 2, "empty": 0, "pear": 1}
    assert found.read(found.samples[2]) == b"pear/more/b.jpg"


@pytest.mark.parametrize(("name", "word"), [("", "no folder of a class"), ("missing", "cannot be read")])
def test_what_is_no_data_set_is_refused(tmp_path, name, word) -> None:
    """A folder without classes and a missing one end with the remedy."""
    with pytest.raises(JobError, match=word):
        load_classes(tmp_path / name)


def test_digest_depends_on_class_and_content_alone() -> None:
    """The order of files does not count, their class does."""
    assert digest_of([("a", "1"), ("b", "2")]) == digest_of([("b", "2"), ("a", "1")])
    assert digest_of([("a", "1"), ("b", "2")]) != digest_of([("b", "1"), ("a", "2")])
