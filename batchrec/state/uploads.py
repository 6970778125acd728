"""Log of uploads: numbers of data sets, and the names of images that the service has confirmed."""

from contextlib import closing
from pathlib import Path

from .database import open_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sets (
    place TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (place, type, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
    place TEXT NOT NULL, number INTEGER NOT NULL, entity TEXT NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (place, number, entity)) WITHOUT ROWID;
"""


class UploadLog:
    """Uploads to one place: an endpoint and an account. What was noted survives a SIGKILL.

    Methods raise sqlite3.Error where the database cannot be written.
    """

    def __init__(self, state: Path, place: str) -> None:
        """Open the log in the state folder. Raises OSError and sqlite3.Error."""
        self._db = open_database(state / "uploads.db", _SCHEMA)
        self._place = place

    def close(self) -> None:
        """Close the database."""
        with closing(self._db):
            pass

    def number(self, type: str, name: str) -> int | None:
        """The number of a data set that was made or found; None where none was."""
        row = self._db.execute(
            "SELECT number FROM sets WHERE place = ? AND type = ? AND name = ?", (self._place, type, name)
        ).fetchone()
        return None if row is None else int(row[0])

    def note_number(self, type: str, name: str, number: int) -> None:
        """Note the number of a data set."""
        self._db.execute("INSERT OR REPLACE INTO sets VALUES (?, ?, ?, ?)", (self._place, type, name, number))

    def sent(self, number: int) -> dict[str, str]:
        """Names of the images of a data set that are confirmed, each with its labels as they were sent."""
        rows = self._db.execute("SELECT entity, labels FROM sent WHERE place = ? AND number = ?", (self._place, number))
        return dict(rows.fetchall())

    def note_sent(self, number: int, entity: str, labels: str) -> None:
        """Note that the service has confirmed an image."""
        self._db.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?)", (self._place, number, entity, labels))

    def forget_sent(self, number: int, entity: str) -> None:
        """Forget an image of a data set."""
        self._db.execute(
            "DELETE FROM sent WHERE place = ? AND number = ? AND entity = ?", (self._place, number, entity)
        )

    def forget(self, type: str, name: str) -> None:
        """Forget a data set and all that was sent to it."""
        number = self.number(type, name)
        self._db.execute("DELETE FROM sent WHERE place = ? AND number = ?", (self._place, number))
        self._db.execute("DELETE FROM sets WHERE place = ? AND type = ? AND name = ?", (self._place, type, name))
