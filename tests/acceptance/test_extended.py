"""A new service, error code, output or kind of path is a row of its table: everything else follows from it."""

import json
from pathlib import Path

import pytest
from harness import Done, Place
from stranger import Said, Stranger, strange

EXTENDED = (str(Path(__file__).parents[1] / "extended.py"),)
"""The command line with four more rows."""


def answer(number: int, form: dict[str, str]) -> Said:
    """The first image is blue, the second too cloudy."""
    if number:
        return Said(json.dumps({"error_code": 777, "error_msg": "too many clouds", "log_id": 2}).encode())
    return Said(json.dumps({"log_id": 1, "result": [{"name": "blue", "score": 0.9}]}).encode())


def a_job(place: Place, endpoint: str = "") -> None:
    """A job that uses every row."""
    place.job(
        input={"paths": ["list:" + ",".join(place.pictures(2))]},
        steps=[{"service": "sky"}],
        output={"formats": ["names"]},
        account={"endpoint": endpoint or place.endpoint},
        limits={"concurrency": 1},
    )


def test_rows_of_every_table_are_used(tmp_path: Path) -> None:
    """One run: inputs by the new kind of path, calls of the new service, its results in the new output, its code."""
    with strange(Stranger(answer)) as server:
        place = Place(tmp_path, server.url)
        a_job(place)
        done = place.run(launcher=EXTENDED)
    assert done.code == 1, done.err
    assert [path.partition("?")[0] for path, _ in server.requests] == ["/rest/2.0/image-classify/v1/sky"] * 2
    (row,) = place.rows()
    assert (row["service"], [label["name"] for label in row["labels"]]) == ("sky", ["blue"])
    assert (place.output / "results.names").read_text(encoding="utf-8") == f"# names\n{row['image']}\n"
    (failed,) = place.failures()
    assert (failed["kind"], failed["code"]) == ("image", 777)
    verified = place.batchrec("verify", str(place.output), launcher=EXTENDED)
    assert verified.code == 0, verified.out
    (counted,) = [line.split() for line in place.batchrec("quota", launcher=EXTENDED).out.splitlines()[1:]]
    assert counted[1:3] == ["sky", "1"]  # the refused call costs nothing


def test_the_rows_are_explained(tmp_path: Path) -> None:
    """`services` and `errors` print them."""
    place = Place(tmp_path)
    assert "/rest/2.0/image-classify/v1/sky" in place.batchrec("services", "sky", launcher=EXTENDED).out
    assert "wait for the wind" in place.batchrec("errors", "777", launcher=EXTENDED).out


def test_a_file_of_the_new_output_is_ours(tmp_path: Path) -> None:
    """A file by its name, in a directory without a journal, is the user's: refused before anything is sent."""
    place = Place(tmp_path, "http://127.0.0.1:9")
    a_job(place)
    place.put(str((place.output / "results.names").relative_to(place.root)), b"mine")
    done = place.run(launcher=EXTENDED)
    assert (done.code, "results.names: no journal.db accounts for it" in done.err) == (2, True), done.err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_2_a_service_that_the_emulator_lacks(tmp_path: Path, command: str) -> None:
    """The emulator shares no code with the catalogue: what it lacks is refused by name, and nothing is made."""
    place = Place(tmp_path)
    a_job(place, "embedded")
    done: Done = place.batchrec(command, "furniture.toml", launcher=EXTENDED)
    assert done.code == 2
    assert "furniture.toml: recognize[0].service: the embedded endpoint has no 'sky'; expected one of" in done.err
    assert not place.output.exists()
