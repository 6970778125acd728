"""The file of a journal: transactions, the length of its log, a full disk."""

import pytest

from batchrec.errors import OutputFailed
from batchrec.journal import Journal


def test_log_stays_short(journal, tmp_path):
    """The write-ahead log of one large listing is short again afterwards: else each commit would move it."""
    journal.put_note("large", "x" * 20_000_000)
    journal.sync()
    journal.put_note("small", 1)
    assert (tmp_path / "journal.db-wal").stat().st_size <= 4 * 1024 * 1024


def test_full_disk(journal):
    """A transaction that finds no room changes nothing, and the next one works once there is room."""
    pages = journal.database.one("PRAGMA page_count")
    journal.database.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputFailed, match="full"):
        journal.put_note("large", "x" * 100_000)
    journal.database.connection.execute("PRAGMA max_page_count = 1000000")
    assert journal.note("large") is None
    journal.put_note("large", "x" * 100_000)
    assert len(journal.note("large")) == 100_000


def test_no_place_for_the_file(tmp_path):
    """A directory that cannot hold a journal is an output that cannot be written."""
    with pytest.raises(OutputFailed, match="cannot be written"):
        Journal(tmp_path / "missing")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(OutputFailed, match="cannot be written"):
        Journal(tmp_path)


def test_a_transaction_is_whole_or_nothing(journal):
    """An error within takes everything back, and `on_commit` is called after commits alone."""

    def undone() -> None:
        with journal.database.transaction():
            journal.database.put_note("word", "within")
            raise ZeroDivisionError

    commits = []
    journal.database.on_commit = lambda: commits.append(journal.note("word"))
    journal.put_note("word", "before")
    with pytest.raises(ZeroDivisionError):
        undone()
    assert (journal.note("word"), commits) == ("before", ["before"])


def test_a_long_reading_holds_up_no_commit(journal):
    """Rows that are streamed are those of the moment when it began, whatever is committed meanwhile."""
    rows = journal.database.streamed("SELECT key FROM images ORDER BY key")
    first = next(rows)
    with journal.database.transaction():
        journal.database.execute("DELETE FROM images")
    assert [first, *rows] == [("a",), ("b",), ("c",), ("d",)]


def test_broken_file(tmp_path):
    """A file that is no database is said to be broken, and stays as it is."""
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputFailed, match="is broken"):
        Journal(tmp_path)
    assert (tmp_path / "journal.db").read_bytes() == b"no database at all" * 100
