"""Names of files and folders that Windows and archives take, each given once.

EasyDL takes fewer: `datasets` has its rules. Windows refuses some names as a
whole (CON, NUL ...), takes capital and small letters for the same, and has no name that ends in a dot or a blank.
"""

import hashlib
import re
import sqlite3
import unicodedata

NAMELESS = "主体"
"""Name of a label that has only a box, as `object_detect` gives it: the main subject."""

_MOST_CHARACTERS = 60
"""Characters of a name. A file system takes 255 bytes, and a Chinese character has three."""

_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³")}
)
_HASH_CHARACTERS = 8


def safe_name(text: str) -> str:
    """The text as the name of a folder: letters, digits and `_`; never empty."""
    name = re.sub(r"_+", "_", re.sub(r"\W", "_", unicodedata.normalize("NFC", text)))[:_MOST_CHARACTERS].strip("_")
    return f"_{name}" if not name or name.lower() in _RESERVED else name


def safe_file_name(key: str) -> tuple[str, str]:
    """Stem and suffix for a file, from an image's path; blanks, `-` and `.` stay within the stem."""
    last = re.split(r"[/\\]", key)[-1]
    stem, dot, suffix = last.rpartition(".")
    if not stem or not re.fullmatch(r"\w{1,8}", suffix):
        stem, dot, suffix = last, "", ""
    stem = re.sub(r"[^\w .()+,@-]", "_", unicodedata.normalize("NFC", stem))[:_MOST_CHARACTERS].strip(". ")
    if not stem or stem.partition(".")[0].strip().lower() in _RESERVED:
        stem = f"_{stem}"
    return stem, dot + suffix


class UniqueNames:
    """Names given so far, in a temporary database that SQLite keeps on the disk where it grows."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE given (folder TEXT, name TEXT, owner TEXT, PRIMARY KEY (folder, name))")
        self._db.execute("CREATE UNIQUE INDEX by_owner ON given (folder, owner)")

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def take(self, folder: str, stem: str, suffix: str, owner: str) -> str | None:
        """A name for an owner in a folder, without its suffix; None where the owner has one there.

        Suffixes do not distinguish names: labels of `a.jpg` and `a.png` are both in `a.txt`. A name that another owner
        has gets 8 digits of the SHA-256 of this one.
        """
        for name in (stem, f"{stem}-{hashlib.sha256(owner.encode()).hexdigest()[:_HASH_CHARACTERS]}"):
            values = (folder.casefold(), name.casefold(), owner)
            if self._db.execute("INSERT OR IGNORE INTO given VALUES (?, ?, ?)", values).rowcount:
                return name
            if self._db.execute("SELECT 1 FROM given WHERE folder = ? AND owner = ?", values[::2]).fetchone():
                return None
        raise RuntimeError(f"two images have one name after all: {owner!r}")
