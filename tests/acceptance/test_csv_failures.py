"""Failed images in results.csv: rows at its end while no run goes on, also after kills."""

from pathlib import Path

import pytest
from harness import Place

from batchrec.emulator import Emulator

FAILPOINT = Path(__file__).with_name("failpoint.py")


@pytest.fixture
def failing(place: Place) -> Place:
    """A job of four images and two files that are none."""
    place.pictures(4)
    place.put("家居/a page.jpg", b"<html>404</html>")
    place.put("家居/b.jpg", b"")
    place.job()
    return place


def failed_rows(place: Place) -> list[tuple[str, str]]:
    """Image and code of the rows at the end of results.csv; other rows must stand before them, without a code."""
    rows = place.csv()
    codes = [row["error"] for row in rows]
    at_end = codes[codes.index(next(filter(None, codes), "")) :] if any(codes) else []
    assert all(at_end)
    return [(row["image"], row["error"]) for row in rows if row["error"]]


def in_failures_file(place: Place) -> list[tuple[str, str]]:
    """The same of failures.jsonl."""
    return [(row["image"], str(row["code"])) for row in place.failures()]


def test_failures_stand_at_the_end(failing: Place, emulator: Emulator) -> None:
    """A row each with code and empty rank; each run makes them anew, and one that has none left has no such rows."""
    for _ in range(2):
        assert failing.run().code in (0, 1)
        assert failed_rows(failing) == in_failures_file(failing)
        assert len(failed_rows(failing)) == 2
    row = failing.csv()[-1]
    assert (row["rank"], row["name"], row["log_id"], row["step"]) == ("", "", "", "advanced_general")
    verified = failing.batchrec("verify", str(failing.output))
    assert verified.code == 0, verified.out
    for name in ("a page.jpg", "b.jpg"):
        failing.put(f"家居/{name}", (failing.root / "家居" / "家居_0001.jpg").read_bytes())
    assert failing.run().code == 0
    assert failed_rows(failing) == []
    assert len({row["image"] for row in failing.csv()}) == 6
    assert not list(failing.output.glob("*edited*"))


@pytest.mark.parametrize("point", ["before the failures in the CSV", "after the failures in the CSV"])
def test_a_kill_beside_them(failing: Place, emulator: Emulator, point: str) -> None:
    """Killed before or after they are written: the next run has them once, and nothing was edited."""
    failing.start("run", "furniture.toml", launcher=[str(FAILPOINT), point, "1"]).wait()
    failing.pictures(1, start=4)
    assert failing.run().code in (0, 1)
    assert failed_rows(failing) == in_failures_file(failing)
    assert len(failing.csv()) == sum(max(1, len(row["labels"])) for row in failing.rows()) + 2
    assert failing.batchrec("verify", str(failing.output)).code == 0
    assert not list(failing.output.glob("*edited*"))


def test_verify_compares_them(failing: Place, emulator: Emulator) -> None:
    """A code that somebody changed, and a row that is gone, are named."""
    failing.run()
    path = failing.output / "results.csv"
    whole = path.read_bytes()
    for changed in (whole.replace(b",not_an_image\r\n", b",1\r\n"), whole[:-20]):
        path.write_bytes(changed)
        verified = failing.batchrec("verify", str(failing.output))
        assert verified.code == 1
        assert "results.csv: its end is not what is failed now" in verified.out
