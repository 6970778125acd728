"""A new service, error code, output, kind of path or limit is a row of its table: everything else follows from it."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from harness import Done, Place
from stranger import Said, Stranger, reply, strange

EXTENDED = (str(Path(__file__).parents[1] / "extended.py"),)
"""The command line with more rows."""


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
    exported = place.batchrec("export", "furniture.toml", "--to", "names", launcher=EXTENDED)
    assert (exported.code, exported.err.splitlines()[0]) == (0, "1 image exported")
    assert (place.output / "export/names/names.txt").read_text(encoding="utf-8") == f"{row['image']}\n"
    (failed,) = place.failures()
    named = f"# names\n{row['image']}\n# {failed['image']}\n"
    assert (place.output / "results.names").read_text(encoding="utf-8") == named
    assert (failed["kind"], failed["code"]) == ("image", 777)
    verified = place.batchrec("verify", str(place.output), launcher=EXTENDED)
    assert verified.code == 0, verified.out
    (counted,) = [line.split() for line in place.batchrec("quota", launcher=EXTENDED).out.splitlines()[1:]]
    assert counted[1:3] == ["sky", "1"]  # the refused call costs nothing


def test_the_rows_are_explained(tmp_path: Path) -> None:
    """`services` and `errors` print them."""
    place = Place(tmp_path)
    assert "/rest/2.0/image-classify/v1/sky" in place.batchrec("services", "sky", launcher=EXTENDED).out
    assert "for this month" in place.batchrec("errors", "monthly_limit", launcher=EXTENDED).out
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


def test_a_new_limit_is_kept_to_and_shown(tmp_path: Path) -> None:
    """Three calls a month for five images: 75 until the first of the next one, in `plan` and `quota` too."""

    def on(day: str) -> None:
        place.set_clock(datetime.fromisoformat(f"{day}T12:00:00+08:00").timestamp())

    with strange(Stranger(lambda number, form: Said(reply(f"thing {number}")))) as server:
        place = Place(tmp_path, server.url)
        place.pictures(5)
        place.job(limits={"monthly": 3, "daily": 100, "on_daily_limit": "wait"})
        on("2026-11-29")
        plan = json.loads(place.batchrec("plan", "furniture.toml", "--json", launcher=EXTENDED).out)
        assert (plan["calls"], plan["days"], plan["finish_at"][:10]) == (5, 3, "2026-12-01")
        done, summary = place.run(launcher=EXTENDED), place.summary()
        assert (done.code, "quota exhausted for this month; run again after 2026-12-01 00:00" in done.err) == (
            75,
            True,
        ), done.err
        assert (summary["calls"], summary["stopped_by"]) == (3, "monthly_limit")
        assert summary["resume_at"] == "2026-12-01T00:00:00+08:00"
        on("2026-11-30")
        assert (place.run(launcher=EXTENDED).code, len(server.requests)) == (75, 3)
        heading, counted = place.batchrec("quota", launcher=EXTENDED).out.splitlines()
        assert "remaining this month" in heading
        assert counted.split()[1:] == ["advanced_general", "0", "100", "3", "3", "0"]
        on("2026-12-01")
        assert place.run(launcher=EXTENDED).code == 0
        assert place.batchrec("quota", launcher=EXTENDED).out.splitlines()[1].split()[-2:] == ["2", "1"]
    refused = place.run("--set", "limits.monthly=0", launcher=EXTENDED)
    assert (refused.code, "limits.monthly: 0 is not at least 1; for example: 10000" in refused.err) == (2, True)
