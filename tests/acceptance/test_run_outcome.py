"""The end of a run, and status: counts, labels, failures with a remedy, and the commands that go on."""

import re
import sys

import pytest
from harness import Place, picture
from rich.cells import cell_len
from terminal import on_terminal

RUN = (sys.executable, "-m", "batchrec", "run", "furniture.toml")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


def without_codes(shown: str) -> list[str]:
    """Lines of a terminal without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "").split("\n")


def ending(lines: list[str]) -> list[str]:
    """The lines from the table of results on."""
    start = max(number for number, line in enumerate(lines) if re.search(r"\d+ of [\d,]+ images", line))
    return [line for line in lines[start:] if "furniture: exit code" not in line]


def broken(place: Place) -> None:
    """Three files that are no images, beside those of the job."""
    for number in range(3):
        place.put(f"家居/page_{number}.jpg", b"<html>")


@pytest.mark.parametrize("columns", [100, 60, 36])
def test_daily_limit_in_the_middle(place: Place, columns: int) -> None:
    """At each width: counts, reason, and commands are whole; nothing else is wider than the terminal."""
    place.pictures(30)
    place.pictures(10, "菜品", start=100)
    broken(place)
    place.job(input={"paths": ["家居", "菜品"]}, limits={"daily": 20})
    code, shown = on_terminal(RUN, place.root, {**place.env, "COLUMNS": str(columns)})
    lines = ending(without_codes(shown))
    assert code == 75
    text = " ".join(line.strip() for line in lines)
    assert "20 images done, 3 failed, 20 remaining" in text
    assert "20 results · 20 calls in" in text or "20 results 20 calls in" in text
    assert "quota exhausted for today; run again after 00:00 Beijing (" in text
    assert "3 images failed: not_an_image" in text
    assert "batchrec run furniture.toml --retry-failed" in text
    assert "batchrec show results/furniture --failed" in text
    assert [line for line in lines if cell_len(line) > columns and "batchrec" not in line] == []


def test_without_colour_the_screen_reads_the_same(place: Place) -> None:
    """Colours are on a terminal alone, never with NO_COLOR, and carry nothing that words do not say."""
    place.pictures(4)
    broken(place)
    place.job()
    code, shown = on_terminal(RUN, place.root, place.env)
    assert (code, bool(COLOUR.search(shown))) == (1, True)
    again = (*RUN, "--retry-failed")
    code, plain = on_terminal(again, place.root, {**place.env, "NO_COLOR": "1"})
    assert (code, COLOUR.search(plain)) == (1, None)
    same = [re.sub(r"\d+ calls? in .*", "", line) for line in ending(without_codes(shown))]
    assert [re.sub(r"\d+ calls? in .*", "", line) for line in ending(without_codes(plain))] == same


def test_status_says_the_same_as_the_run(place: Place) -> None:
    """Labels, failures and counts of a job, later and from its directory alone."""
    place.pictures(12)
    broken(place)
    place.job()
    done = place.run()
    said = place.batchrec("status", str(place.output)).out.splitlines()
    run = ending(done.err.splitlines())
    assert [line for line in run if line not in said] == []
    assert said[0] == "advanced_general 15/15 · 3 failed"


def test_table_is_spread_over_the_folders(place: Place) -> None:
    """Ten rows at most; each of four folders has its rows; the folder of all is printed once."""
    for number in range(60):
        place.put(f"家居/{'abc'[number % 3]}/{number:02}.png", picture(number))
    place.put("家居/单/one.png", picture(60))
    place.job()
    lines = ending(place.run().err.splitlines())
    assert lines[0] == "10 of 61 images in 家居/"
    assert {line.split("/")[0] for line in lines[1:11]} == {"a", "b", "c", "单"}


def test_price_of_a_run(place: Place) -> None:
    """Calls of this run at the job's price; the second run paid nothing for the first one's."""
    place.pictures(30)
    place.job(account={"endpoint": place.endpoint, "prices": {"advanced_general": 500.0}})
    assert "20 calls in" in (said := place.run("--limit", "20").err)
    assert "about 10.00 yuan" in said
    assert "about 5.00 yuan" in place.run().err


def test_limit_counts_to_its_number(place: Place) -> None:
    """With --limit 7 of 20 images the progress counts to 7, and the end says what remains."""
    place.pictures(20)
    place.job()
    done = place.run("--limit", "7")
    assert "advanced_general 7/7" in done.err
    assert "7 images done, 0 failed, 13 remaining" in done.err
