"""Directories and state that an earlier version wrote: a later one opens, verifies, resumes and reuses them.

`tests/fixtures/format-3` was written by commit 667ae57 with `batchrec run furniture.toml --limit 7` against an
emulator: nine images, of them one copy, one that is no picture and one that the service refused; two were left.
"""

import json
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest
from harness import Place, images_of, now

from batchrec.emulator import Emulator

WRITTEN = Path(__file__).parents[1] / "fixtures" / "format-3"
REFUSED, NO_PICTURE = "家居/家居_0004.png", "家居/page.jpg"
LEFT = ["家居/家居_0005.jpg", "家居/家居_0006.png"]
ANSWERED = ["家居/copy.png", "家居/家居_0000.png", "家居/家居_0001.jpg", "家居/家居_0002.png", "家居/家居_0003.jpg"]


@pytest.fixture
def earlier(tmp_path: Path) -> Place:
    """The files of the earlier version, copied to another place; nobody listens at their endpoint."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "state").chmod(0o700)  # as it was written: git keeps no rights of folders
    place = Place(tmp_path)
    job = tomllib.loads((tmp_path / "furniture.toml").read_text(encoding="utf-8"))
    place.env["BATCHREC_ENDPOINT"] = job["account"]["endpoint"]  # else no key of the environment is sent there
    return place


def move_service(place: Place, url: str) -> None:
    """Make the emulator of this test the one that answered the earlier version."""
    path = place.root / "furniture.toml"
    with closing(sqlite3.connect(place.output / "journal.db")) as db, db:
        (before,) = db.execute("SELECT value FROM meta WHERE key = 'endpoint'").fetchone()
        db.execute("UPDATE meta SET value = ? WHERE key = 'endpoint'", (url,))
    path.write_text(path.read_text(encoding="utf-8").replace(before, url), encoding="utf-8")
    place.env["BATCHREC_ENDPOINT"] = url


def test_verify_and_status_read_it(earlier: Place) -> None:
    """Every input is accounted for, the results and the counts of the account's calls agree, nothing is written."""
    before = {path: path.read_bytes() for path in earlier.output.iterdir()}
    verified, status = (earlier.batchrec(command, str(earlier.output)) for command in ("verify", "status"))
    assert (verified.code, verified.err) == (0, "")
    assert (status.code, status.err) == (0, "")
    assert "9 images: 10 results, 2 failed, 2 remaining" in verified.out
    assert "5 images done, 2 failed, 2 remaining · 10 results" in status.out
    assert {path: path.read_bytes() for path in earlier.output.iterdir()} == before


def test_nothing_that_was_answered_is_asked_again(earlier: Place, emulator: Emulator) -> None:
    """A plain run asks for the images that were left and nothing else; the rows before them stay byte for byte."""
    move_service(earlier, emulator.url)
    before = (earlier.output / "results.jsonl").read_bytes()
    earlier.run()
    assert earlier.summary()["calls"] == 2 * len(LEFT)
    assert emulator.counters.calls["advanced_general"] == emulator.counters.calls["dish"] == len(LEFT)
    assert (earlier.output / "results.jsonl").read_bytes().startswith(before)
    assert images_of(earlier.rows()) == sorted([*ANSWERED, *LEFT] * 2)
    assert images_of(earlier.failures()) == sorted([NO_PICTURE, REFUSED])
    assert earlier.batchrec("verify", str(earlier.output)).code == 0


@pytest.mark.parametrize("spelling", [str.upper, "{}/".format], ids=["upper case", "slash"])
def test_an_endpoint_may_be_spelt_in_another_way(
    earlier: Place, emulator: Emulator, spelling: Callable[[str], str]
) -> None:
    """It is the same one, to the letter as the journal has it or not."""
    move_service(earlier, emulator.url)
    earlier.env["BATCHREC_ENDPOINT"] = spelling(emulator.url)
    earlier.run()
    assert earlier.summary()["calls"] == 2 * len(LEFT)


@pytest.mark.parametrize(
    "noted", ["https://aip.baidubce.com:443", "https://aip.baidubce.com./", "https://AIP.baidubce.com"]
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_journal_may_spell_the_endpoint_in_another_way(earlier: Place, noted: str, command: str) -> None:
    """Versions before the normal form noted the endpoint as it was written: the directory is still this job's."""
    move_service(earlier, noted)
    earlier.env["BATCHREC_ENDPOINT"] = "https://aip.baidubce.com"
    options = ("--set", f"input.exclude={LEFT}", "--set", "limits.patience=0")  # nothing is left to send
    done = earlier.batchrec(command, "furniture.toml", *options)
    assert (done.code, "holds the results" in done.err) == (0, False), done.err
    with closing(sqlite3.connect(earlier.output / "journal.db")) as db:
        kept = db.execute("SELECT value FROM meta WHERE key = 'endpoint'").fetchone()
    assert kept == ("https://aip.baidubce.com" if command == "run" else noted,)


def test_a_journal_of_another_port_is_another_jobs(earlier: Place) -> None:
    """Another origin is refused as before, and its journal is left alone."""
    move_service(earlier, "https://aip.baidubce.com:8443")
    earlier.env["BATCHREC_ENDPOINT"] = "https://aip.baidubce.com"
    done = earlier.run()
    assert (done.code, "another output.directory" in done.err) == (2, True)
    with closing(sqlite3.connect(earlier.output / "journal.db")) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'endpoint'").fetchone() == (
            "https://aip.baidubce.com:8443",
        )


def test_failed_images_can_be_retried(earlier: Place, emulator: Emulator) -> None:
    """`--retry-failed` asks once for the image that the service refused, and for its follow-up."""
    move_service(earlier, emulator.url)
    assert earlier.run("--retry-failed").code == 1  # a page is still no picture
    assert emulator.counters.calls["dish"] == len([*LEFT, REFUSED])
    assert images_of(earlier.rows()) == sorted([*ANSWERED, *LEFT, REFUSED] * 2)
    assert images_of(earlier.failures()) == [NO_PICTURE]


def test_answers_of_the_state_folder_are_reused(earlier: Place) -> None:
    """Another job with the same images gets the answers that the earlier version kept, without a call."""
    with closing(sqlite3.connect(earlier.state / "answers.db")) as db, db:
        db.execute("UPDATE answers SET at = ?", (now(),))  # they are given for half a year only
    options = ("--set", 'name="again"', "--set", f"input.exclude={[*LEFT, REFUSED, NO_PICTURE]}")
    assert earlier.run(*options).code == 0
    again = Place(earlier.root)
    again.output = earlier.root / "results" / "again"
    assert images_of(again.rows()) == sorted(ANSWERED * 2)
    assert again.summary()["calls"] == 0


def test_counts_of_the_state_folder_are_kept(earlier: Place) -> None:
    """`batchrec quota` lists the calls that the earlier version counted."""
    rows = [line.split() for line in earlier.batchrec("quota").out.splitlines()[1:]]
    assert {cells[1]: cells[3] for cells in rows} == {"advanced_general": "5", "dish": "4"}


def test_a_table_with_cells_of_the_earlier_guard(earlier: Place, emulator: Emulator) -> None:
    """A cell that is guarded otherwise today is no complaint of verify, and the next run writes it as today."""
    move_service(earlier, emulator.url)
    put_label(earlier, "a;=1+1", in_table="a;=1+1")
    verified = earlier.batchrec("verify", str(earlier.output))
    assert (verified.code, verified.err) == (0, "")
    earlier.run("--limit", "1")
    assert next(cell["name"] for cell in earlier.csv()) == "'a;'=1+1"
    verified = earlier.batchrec("verify", str(earlier.output))
    assert (verified.code, verified.err) == (0, "")


def test_an_edited_table_of_an_earlier_version_is_told(earlier: Place) -> None:
    """Its checksum is held against it, though not its cells."""
    table = earlier.output / "results.csv"
    table.write_bytes(table.read_bytes().replace(b"dish", b"fish", 1))
    verified = earlier.batchrec("verify", str(earlier.output))
    assert verified.code == 1
    assert "results.csv: its first" in verified.out + verified.err


def put_label(place: Place, name: str, *, in_table: str) -> None:
    """Give the first label of the first row a name, as if the earlier version had been answered so."""
    results, table = place.output / "results.jsonl", place.output / "results.csv"
    line, _, others = results.read_bytes().partition(b"\n")
    row = json.loads(line)
    was, row["labels"][0]["name"] = row["labels"][0]["name"], name
    longer = len(changed := json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()) - len(line)
    results.write_bytes(changed + b"\n" + others)
    table.write_bytes(table.read_bytes().replace(was.encode(), in_table.encode(), 1))
    with closing(sqlite3.connect(place.output / "journal.db")) as db, db:
        for path in (results, table):
            data = path.read_bytes()
            db.execute("UPDATE outputs SET length = ?, crc = ? WHERE filename = ?", (len(data), crc32(data), path.name))
        db.execute("UPDATE items SET length = length + ? WHERE start = 0", (longer,))
        db.execute("UPDATE items SET start = start + ? WHERE start > 0", (longer,))
        db.execute("DELETE FROM meta WHERE key = 'stamps'")
