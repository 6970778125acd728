"""Inspected files are kept, for every process, in bounds; if that fails, files are read again."""

import logging
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from batchrec.api.services import LIMITS_2024
from batchrec.state.inspection_cache import Inspected, InspectionCache, Way, mark_of, of_file
from batchrec.values import Treatment

WAY = Way(LIMITS_2024, Treatment())
PHOTO = of_file("photos/a.jpg", 1000, 7)
SEEN = Inspected(b"s" * 32, {mark_of(WAY): "repair:upright"})


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[InspectionCache]:
    """An empty store."""
    with closing(InspectionCache(tmp_path)) as store:
        yield store


def test_another_process_finds_what_was_put(looks: InspectionCache, tmp_path: Path) -> None:
    """Also what was put anew, and an empty verdict; nobody but the owner may read it."""
    assert looks.empty
    plain, anew = of_file("b.jpg", 1, 1), Inspected(b"t" * 32, {mark_of(WAY): ""})
    looks.put({PHOTO: SEEN, plain: anew})
    with closing(InspectionCache(tmp_path)) as other:
        assert (other.empty, other.get([PHOTO, plain, of_file("c.jpg", 1, 1)])) == (False, {PHOTO: SEEN, plain: anew})
        other.put({PHOTO: anew})
    assert looks.get([PHOTO]) == {PHOTO: anew}
    assert stat.S_IMODE((tmp_path / "looks.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "other",
    [
        of_file("photos/b.jpg", 1000, 7),
        of_file("photos/a.jpg", 1001, 7),
        of_file("photos/a.jpg", 1000, 8),
        of_file("others/a.jpg", 1000, 7),
    ],
    ids=["name", "size", "time", "folder"],
)
def test_another_file(looks: InspectionCache, other: bytes) -> None:
    """One with another name, size, time or folder was not seen."""
    looks.put({PHOTO: SEEN})
    assert looks.get([other]) == {}


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
def test_another_way(way: Way) -> None:
    """A verdict depends on the way of preparing pictures."""
    assert mark_of(way) != mark_of(WAY)


def test_the_ways_used_last_are_kept(looks: InspectionCache) -> None:
    """A row stays small however often a job file is edited."""
    verdicts = {f"{number:016x}": f"word{number}" for number in range(100)}
    looks.put({PHOTO: Inspected(b"s" * 32, verdicts)})
    kept = looks.get([PHOTO])[PHOTO].verdicts
    assert list(kept.items()) == list(verdicts.items())[-len(kept) :]
    assert 2 <= len(kept) < 20


def test_the_oldest_make_way(tmp_path: Path) -> None:
    """The file stays near its bound, and what was put last is there."""
    most = 1_000_000
    with closing(InspectionCache(tmp_path, most)) as store:
        for start in range(0, 20_000, 250):
            store.put({number.to_bytes(24, "big"): SEEN for number in range(start, start + 250)})
        found = store.get([number.to_bytes(24, "big") for number in range(20_000)])
    held = [number.to_bytes(24, "big") in found for number in range(20_000)]
    assert held == sorted(held)
    assert held[-1000:] == [True] * 1000
    assert not held[0]
    assert most / 2 < (tmp_path / "looks.db").stat().st_size < 2 * most


def test_broken_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and nothing is kept: no reason to end a run."""
    (tmp_path / "looks.db").write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING), closing(InspectionCache(tmp_path)) as store:
        store.put({PHOTO: SEEN})
        assert (store.get([PHOTO]), store.empty) == ({}, True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "looks.db: cannot be used, so files are read again" in caplog.text
