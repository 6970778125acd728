"""Names for Windows and EasyDL."""

from contextlib import closing

import pytest

from batchrec.exports.names import UniqueNames, safe_file_name, safe_name


@pytest.mark.parametrize(
    ("text", "name"),
    [("猫", "猫"), ("a/b: c?", "a_b_c"), ("..", "_"), ("CON", "_CON"), ("com1", "_com1"), ("../../x", "x"), ("", "_")],
)
def test_names_of_folders(text, name):
    """Letters, digits and underscores; never a path, never a device."""
    assert safe_name(text) == name
    assert len(safe_name("猫" * 300).encode()) < 255


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("家居/a b-1.jpg", ("a b-1", ".jpg")),
        ("a/CON.jpg", ("_CON", ".jpg")),
        ("x/a:b*.png", ("a_b_", ".png")),
        ("x/.jpg", ("jpg", "")),
        ("x/noend", ("noend", "")),
        ("x/a\nb.jpg", ("a_b", ".jpg")),
    ],
)
def test_names_of_files(key, parts):
    """The last part of the path, without the characters that Windows refuses."""
    assert safe_file_name(key) == parts


def test_each_name_is_given_once():
    """Capital letters do not distinguish, nor do suffixes; an owner gets one name a folder."""
    with closing(UniqueNames()) as names:
        assert names.take("x", "a", ".jpg", "1/a.jpg") == "a"
        second = names.take("x", "A", ".png", "2/A.png")
        assert second is not None
        assert second.startswith("A-")
        assert names.take("x", "a", ".jpg", "1/a.jpg") is None
        assert names.take("y", "a", ".jpg", "1/a.jpg") == "a"
