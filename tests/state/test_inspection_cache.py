"""What was seen of files is kept, for every process, in bounds; where it cannot be, files are read again."""

import logging
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from batchrec.api.services import LIMITS_2024
from batchrec.state.inspection_cache import InspectionCache, Way, of_content, of_file
from batchrec.values import Treatment

WAY = Way(LIMITS_2024, Treatment())
PHOTO = of_file("photos/a.jpg", 1000, 7)


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[InspectionCache]:
    """An empty store."""
    with closing(InspectionCache(tmp_path)) as store:
        yield store


def test_another_process_finds_what_was_put(looks: InspectionCache, tmp_path: Path) -> None:
    """Also what was put anew, and an empty word; nobody but the owner may read it."""
    assert looks.empty
    looks.put({PHOTO: b"digest", of_content(b"digest", WAY): b""})
    with closing(InspectionCache(tmp_path)) as other:
        assert (other.empty, other.get(PHOTO), other.get(of_content(b"digest", WAY))) == (False, b"digest", b"")
        other.put({PHOTO: b"other"})
    assert looks.get(PHOTO) == b"other"
    assert stat.S_IMODE((tmp_path / "looks.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "other",
    [
        of_file("photos/b.jpg", 1000, 7),
        of_file("photos/a.jpg", 1001, 7),
        of_file("photos/a.jpg", 1000, 8),
        of_content(b"photos/a.jpg", WAY),
    ],
    ids=["path", "size", "time", "content"],
)
def test_another_file(looks: InspectionCache, other: bytes) -> None:
    """One with another name, size or time was not seen."""
    looks.put({PHOTO: b"digest"})
    assert looks.get(other) is None


def test_one_path_by_whatever_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative or not, with dots or without."""
    monkeypatch.chdir(tmp_path)
    assert of_file("a/../b.jpg", 1, 1) == of_file(str(tmp_path / "b.jpg"), 1, 1)


@pytest.mark.parametrize(
    "way",
    [
        replace(WAY, treatment=Treatment(repair=False)),
        replace(WAY, treatment=Treatment(upright=False)),
        replace(WAY, limits=replace(LIMITS_2024, max_side=8192)),
    ],
    ids=["repair", "upright", "limits"],
)
def test_another_way(looks: InspectionCache, way: Way) -> None:
    """What would be done to a content depends on how pictures are prepared."""
    looks.put({of_content(b"digest", WAY): b"repair"})
    assert looks.get(of_content(b"digest", way)) is None


def test_the_oldest_make_way(tmp_path: Path) -> None:
    """The file stays near its bound, and what was put last is there."""
    most = 400_000
    with closing(InspectionCache(tmp_path, most)) as store:
        for start in range(0, 20_000, 1000):
            store.put({number.to_bytes(16, "big"): b"d" * 32 for number in range(start, start + 1000)})
        held = [store.get(number.to_bytes(16, "big")) is not None for number in range(20_000)]
    assert held == sorted(held)
    assert held[-1000:] == [True] * 1000
    assert not held[0]
    assert most / 2 < (tmp_path / "looks.db").stat().st_size < 2 * most


def test_broken_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and nothing is kept: no reason to end a run."""
    (tmp_path / "looks.db").write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING), closing(InspectionCache(tmp_path)) as store:
        store.put({PHOTO: b"digest"})
        assert (store.get(PHOTO), store.empty) == (None, True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "looks.db: cannot be used, so files are read again" in caplog.text
