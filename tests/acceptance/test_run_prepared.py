"""Output directories that somebody else prepared or uses: no file but ours is opened, changed or removed."""

import os
import shutil
import socket
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from harness import Place, calls_of, images_of, until

from batchrec.emulator import Emulator
from batchrec.outputs.directory import JOURNAL, LOCK, NAMES, RESULT_FILES

READING = ("status", "verify")
ROLLBACK = f"{JOURNAL}-journal"
MINE = b"something that the user keeps\n"


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every entry below a folder: a file's bytes, or where a link leads."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def linked(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name(f"made-through-{path.name}"))


def hard(path: Path, victim: Path) -> None:
    os.link(victim, path)


def pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, victim: Path) -> None:
    path.mkdir()


def unix_socket(path: Path, victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(path.parent)  # the whole path is longer than a socket's address may be
        try:
            sock.bind(path.name)
        finally:
            os.chdir(here)


KINDS = {
    linked: "is a link",
    dangling: "is a link",
    hard: "hard links",
    pipe: "is a pipe",
    folder: "is a folder",
    unix_socket: "is a socket",
}


def commands(place: Place) -> list[tuple[str, ...]]:
    """Every command that looks into an output directory."""
    return [
        ("run", "furniture.toml"),
        ("plan", "furniture.toml"),
        *((c, str(place.output)) for c in ("status", "verify")),
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_2_every_entry_that_is_no_file_of_its_own_is_named(
    place: Place, emulator: Emulator, kind: Callable[[Path, Path], None]
) -> None:
    """A link, a second name, a pipe, a folder or a socket by each of our names: all told, none opened."""
    place.pictures(2)
    place.job()
    outside = place.root / "outside"
    for each in (place.output, outside):
        each.mkdir(parents=True)
    for name in NAMES:
        (outside / name).write_bytes(MINE)
        kind(place.output / name, outside / name)
    before, listed = contents(outside), sorted(os.listdir(place.output))
    for command in commands(place):
        done = place.batchrec(*command)
        assert (command, done.code) == (command, 2), done.err
        told = [line for line in done.err.splitlines() if KINDS[kind] in line]
        reads = kind is hard and command[0] in READING  # they change two files, and read the others by any name
        names = (LOCK, f"{JOURNAL}-shm") if reads else [name for name in NAMES if (kind, name) != (hard, ROLLBACK)]
        assert [name for name in names if not any(f"/{name}: " in line for line in told)] == []
        assert "Traceback" not in done.err
    assert (contents(outside), sorted(os.listdir(place.output))) == (before, listed)
    assert calls_of(emulator) == 0


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(f"{JOURNAL}-")])
@pytest.mark.parametrize("kind", [linked, hard], ids=["link", "hard link"])
def test_2_a_link_in_a_directory_of_ours(place: Place, name: str, kind: Callable[[Path, Path], None]) -> None:
    """The same where one file of a finished job was replaced; put back, the job goes on."""
    place.pictures(2)
    place.job()
    assert place.run().code == 0
    victim, path = place.root / "victim", place.output / name
    was = path.read_bytes() if path.exists() else b""
    victim.write_bytes(was or MINE)
    path.unlink(missing_ok=True)
    kind(path, victim)
    done = place.run("--rebuild")
    assert done.code == 2, done.err
    assert [line for line in done.err.splitlines() if f"/{name}: " in line and KINDS[kind] in line]
    assert victim.read_bytes() == (was or MINE)
    path.unlink()
    if was:
        path.write_bytes(was)
    assert place.run().code == 0
    assert place.batchrec("verify", str(place.output)).code == 0


def test_a_backup_by_hard_links_is_read(place: Place) -> None:
    """`cp -al` gives all files a second name: status and verify read either, a run says how to part them."""
    place.pictures(2)
    place.job()
    assert place.run("--limit", "1").code == 0
    copied = place.root / "backup" / "furniture"
    shutil.copytree(place.output, copied, copy_function=os.link)
    before = contents(copied)
    for directory in (place.output, copied):
        status, verified = (place.batchrec(command, str(directory)) for command in READING)
        assert (status.code, status.err) == (0, "")
        assert verified.code == 0 if directory == place.output else verified.code in (0, 1)
    refused = place.run()
    assert refused.code == 2, refused.err
    assert "journal.db: has 2 names (hard links)" in refused.err
    assert "cp FILE FILE.copy && mv FILE.copy FILE" in refused.err
    assert contents(copied) == before
    for path in place.output.iterdir():
        shutil.copy2(path, copy := path.with_name(path.name + ".copy"))
        copy.replace(path)
    assert place.run().code == 0
    assert contents(copied) == before


def test_the_output_directory_may_be_a_link(place: Place) -> None:
    """And so may a folder above it: what counts is the place of the files in it."""
    keys = place.pictures(2)
    place.job()
    elsewhere = place.root / "disk" / "furniture"
    elsewhere.mkdir(parents=True)
    place.output.parent.mkdir()
    place.output.symlink_to(elsewhere)
    assert place.run().code == 0
    assert images_of(place.rows()) == keys
    for command in commands(place):
        assert place.batchrec(*command).code == 0


def test_2_files_of_the_user_by_our_names(place: Place, emulator: Emulator) -> None:
    """Without a journal they are not ours, whichever they are: all are named, and nothing is made beside them."""
    place.pictures(2)
    place.job()
    place.output.mkdir(parents=True)
    strangers = [name for name in NAMES if name not in (JOURNAL, f"{JOURNAL}-journal")]
    for name in strangers:
        (place.output / name).write_bytes(MINE)
    (place.output / "notes.txt").write_bytes(MINE)
    before = contents(place.output)
    for command in (("run", "furniture.toml", "--rebuild"), ("run", "furniture.toml"), ("plan", "furniture.toml")):
        done = place.batchrec(*command)
        assert (done.code, calls_of(emulator)) == (2, 0)
        assert [name for name in strangers if f"{name}: no journal.db accounts for it" not in done.err] == []
        assert contents(place.output) == before


@pytest.mark.parametrize("name", RESULT_FILES)
def test_2_one_file_of_the_user_beside_an_empty_journal(place: Place, name: str) -> None:
    """A journal of a run that noted nothing yet does not make a file ours."""
    place.pictures(1)
    place.job()
    place.output.mkdir(parents=True)
    (place.output / JOURNAL).touch()
    (place.output / name).write_bytes(MINE)
    done = place.run()
    assert (done.code, (place.output / name).read_bytes()) == (2, MINE)
    assert f"{name}: no journal.db accounts for it" in done.err


def test_files_of_other_names_are_left_alone(place: Place) -> None:
    """Also those whose names are nearly ours."""
    place.pictures(1)
    place.job()
    place.output.mkdir(parents=True)
    others = ("results.xlsx.new", "results.txt", "results.jsonl.bak", ".lock2", "summary.json.new~")
    for name in others:
        (place.output / name).write_bytes(MINE)
    assert [place.run().code for _ in range(2)] == [0, 0]
    assert [(place.output / name).read_bytes() for name in others] == [MINE] * len(others)


# -- results


def committed(place: Place) -> int:
    """Results that the journal has."""
    if not (place.output / JOURNAL).exists():
        return 0
    with closing(sqlite3.connect(place.output / JOURNAL)) as db, suppress(sqlite3.OperationalError):
        return int(db.execute("SELECT count(*) FROM items WHERE state = 3").fetchone()[0])
    return 0


def cut_short(place: Place, images: int) -> int:
    """Kill a run after its first results, as if before they were kept for other jobs; how many there are."""
    place.pictures(images)
    place.job(limits={"qps": 10})
    before = committed(place)
    running = place.start_run()
    until(lambda: committed(place) >= before + 3)
    running.kill()
    assert committed(place) < images
    with closing(sqlite3.connect(place.state / "answers.db")) as db:
        db.execute("DELETE FROM answers")
        db.commit()
    return committed(place)


def forge(output: Path) -> None:
    """Change every row of a directory, so that its journal has nothing to say against it."""
    path = output / "results.jsonl"
    forged = path.read_bytes().replace(b'"attempts":1,', b'"attempts":7,')
    path.write_bytes(forged)
    with closing(sqlite3.connect(output / JOURNAL)) as db:
        (length,) = db.execute("SELECT length FROM outputs WHERE filename = 'results.jsonl'").fetchone()
        crc = zlib.crc32(forged[:length])
        db.execute("UPDATE outputs SET crc = ? WHERE filename = 'results.jsonl'", (crc,))
        db.commit()


def taken_by_another_job(place: Place) -> int:
    """How many results another job on the same images takes over from earlier ones."""
    place.job(output={"directory": "results/other"})
    place.output = place.root / "results" / "other"
    done = place.run("--set", 'name="other"')
    assert done.code == 0, done.err
    return sum(row["reused"] is not None for row in place.rows())


def test_results_of_a_run_that_was_killed_are_handed_on(place: Place) -> None:
    """A run of this state folder wrote them: the next one keeps them for other jobs."""
    assert cut_short(place, 12) >= 3
    done = place.run()
    assert (done.code, "not put into the result cache" in done.err) == (0, False)
    assert taken_by_another_job(place) == 12


def test_results_that_somebody_prepared_reach_no_other_job(tmp_path: Path, emulator: Emulator) -> None:
    """They stay in their own directory, that is told once, and another job asks the service."""
    theirs, place = (Place(tmp_path / name, emulator.url) for name in ("theirs", "place"))
    for each in (theirs, place):
        each.root.mkdir()
    count = cut_short(theirs, 12)
    forge(theirs.output)
    place.pictures(12)
    place.job()
    shutil.copytree(theirs.output, place.output)
    done = place.run()
    assert (done.code, done.err.count("its last results are not put into the result cache")) == (0, 1)
    assert sum(row["attempts"] == 7 for row in place.rows()) == count
    assert "not kept" not in place.run().err
    assert taken_by_another_job(place) == 12 - count


def test_results_of_an_earlier_version_are_not_handed_on(place: Place) -> None:
    """Its journal shares no run with the state folder: the rows stay, and it is told once."""
    count = cut_short(place, 12)
    with closing(sqlite3.connect(place.output / JOURNAL)) as db:
        db.execute("DELETE FROM meta WHERE key = 'run'")
        db.commit()
    assert [place.run().err.count("not put into the result cache") for _ in range(2)] == [1, 0]
    assert len(place.rows()) == 12
    assert taken_by_another_job(place) == 12 - count


def test_a_run_that_is_killed_hands_on_its_own_rows_only(place: Place) -> None:
    """Rows that were in the directory before are not handed on with them."""
    place.pictures(4)
    place.job()
    assert place.run().code == 0
    forge(place.output)
    cut_short(place, 16)
    assert place.run().code == 0
    assert taken_by_another_job(place) == 12


# -- journals


def stranger(path: Path, *, version: int, wal: bool) -> None:
    """A database of another program, which may have been cut short with a log that is not merged."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
    db.execute(f"PRAGMA user_version = {version}")
    db.execute("CREATE TABLE precious (x)")
    db.execute("INSERT INTO precious VALUES ('kept')")
    db.commit()
    if wal:  # as a kill leaves it: the log stands beside the file
        kept = {name: (path.parent / name).read_bytes() for name in (path.name, f"{path.name}-wal")}
        db.close()
        for name, content in kept.items():
            (path.parent / name).write_bytes(content)
    db.close()


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_2_a_database_of_another_program(place: Place, version: int, wal: bool) -> None:
    """Whatever version it claims: refused, and not one byte of it or of its log is changed."""
    place.pictures(1)
    place.job()
    place.output.mkdir(parents=True)
    stranger(place.output / JOURNAL, version=version, wal=wal)
    before = contents(place.output)
    for command in commands(place):
        done = place.batchrec(*command)
        assert (command, done.code) == (command, 2), done.err
        assert "journal.db: was made by " in done.err
    assert {name: data for name, data in contents(place.output).items() if name in before} == before
    assert set(contents(place.output)) - set(before) <= {LOCK, f"{JOURNAL}-shm"}


@pytest.mark.parametrize(
    "addition",
    [
        "CREATE TRIGGER more AFTER INSERT ON images BEGIN DELETE FROM calls; END",
        "CREATE VIEW more AS SELECT load_extension('x.so')",
        "CREATE TABLE more (x)",
        "ALTER TABLE images ADD COLUMN more TEXT DEFAULT 'x'",
        "CREATE INDEX more ON images (hex(key))",
        "DROP INDEX items_failed",
    ],
    ids=lambda addition: " ".join(addition.split()[:2]),
)
def test_2_a_journal_with_tables_triggers_or_views_of_its_own(place: Place, addition: str) -> None:
    """A journal that defines anything else than ours does is not run on, and not changed."""
    place.pictures(2)
    place.job()
    assert place.run().code == 0
    with closing(sqlite3.connect(place.output / JOURNAL)) as db:
        db.execute(addition)
        db.commit()
    before = contents(place.output)
    place.pictures(1, start=2)
    for command in commands(place):
        done = place.batchrec(*command)
        assert (command, done.code) == (command, 2), done.err
        assert "its tables are not those of a journal" in done.err
    assert contents(place.output) == before


def test_2_a_rollback_journal_that_names_a_file_elsewhere(place: Place) -> None:
    """SQLite would play it back, and then remove the file that it names as its super-journal."""
    place.pictures(1)
    place.job()
    assert place.run().code == 0
    victim = place.root / "victim"
    victim.write_bytes(MINE)
    journal = place.output / JOURNAL
    size = journal.stat().st_size
    name, magic = os.fsencode(victim), bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">5I", 0, 0, size // 4096, 512, 4096)
    named = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
    (place.output / f"{JOURNAL}-journal").write_bytes(header.ljust(512, b"\0") + named)
    for command in commands(place):
        done = place.batchrec(*command)
        assert (command, done.code) == (command, 2), done.err
        assert "journal.db-journal: is a rollback journal" in done.err
    assert victim.read_bytes() == MINE


def test_a_journal_that_names_files_elsewhere(place: Place) -> None:
    """A note of files to be put in place is heeded for result files alone."""
    place.pictures(1)
    place.job()
    assert place.run().code == 0
    for name in ("victim", "victim.new"):
        (place.root / name).write_bytes(name.encode())
    with closing(sqlite3.connect(place.output / JOURNAL)) as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('swap', ?)", (f"../../victim {place.root}/victim",))
        db.commit()
    assert place.run().code == 0
    assert [(place.root / name).read_text() for name in ("victim", "victim.new")] == ["victim", "victim.new"]
