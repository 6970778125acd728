"""Measurements of the uplink, as they are kept between runs."""

import stat
from pathlib import Path

import pytest

from batchrec.state.uplinks import FILE, measured, note

HERE, THERE = "https://aip.baidubce.com", "http://127.0.0.1:8080"


def test_the_last_measurement_of_an_endpoint(tmp_path: Path) -> None:
    """Each endpoint has its own; the file is its owner's alone."""
    assert measured(tmp_path, HERE) is None
    note(tmp_path, HERE, 1e6, 100.0)
    note(tmp_path, THERE, 2e6, 200.0)
    note(tmp_path, HERE, 3e6, 300.0)
    assert measured(tmp_path, HERE) == (3e6, 300.0)
    assert measured(tmp_path, THERE) == (2e6, 200.0)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """The oldest measurements go."""
    for number in range(100):
        note(tmp_path, f"http://127.0.0.1:{number}", 1e6, number)
    assert measured(tmp_path, "http://127.0.0.1:35") is None
    assert measured(tmp_path, "http://127.0.0.1:36") is not None
    assert measured(tmp_path, "http://127.0.0.1:99") is not None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b'{"a": ["x", 1]}', b'{"a": [0, 1]}', b"\xff"])
def test_a_damaged_file_is_no_measurement(tmp_path: Path, content: bytes) -> None:
    """The next measurement replaces it."""
    (tmp_path / FILE).write_bytes(content)
    assert measured(tmp_path, "a") is None
    note(tmp_path, "a", 1e6, 1.0)
    assert measured(tmp_path, "a") == (1e6, 1.0)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A measurement is worth no run."""
    (tmp_path / "state").write_bytes(b"")
    note(tmp_path / "state", "a", 1e6, 1.0)
    assert measured(tmp_path / "state", "a") is None
