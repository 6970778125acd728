"""Columns of the page's data: typed arrays in chunks of rows, and their dictionaries.

A chunk is binary: the length of its header (4 bytes), the header (JSON: name, type, offset and length of each array,
padded to 8 bytes), then the arrays, little-endian, each padded to 8 bytes.
"""

import sys
from array import array
from datetime import datetime

import orjson

from ..values import Row
from .entries import Entry

CHUNK_ROWS = 50_000
"""Rows of a chunk: some 20 chunks for a million, each read in 40 ms."""

SCORE_STEPS = 50_000
"""Parts of a score: a threshold with two decimals is a whole number of them, and so compares exactly."""

NO_SCORE = 65_535
"""Column value of a label without a score."""

_MOST_SCORE = 65_534  # parts
_MOST_LABELS = 255  # of a row, that are searched; the page shows the others with the full result
_MICRO = 1_000_000  # parts of a score as the service gives it
_PART_MICROS = _MICRO // SCORE_STEPS

FAILED, REPAIRED, DUPLICATE, CACHED, TILES, OUTDATED = (1 << bit for bit in range(6))
"""Flags of a row; app/model.js has the same."""

_TYPES = {"image": "I", "step": "H", "code": "H", "flags": "B", "time": "I", "folder": "I", "thumb": "I", "count": "B"}
_FLAT = {"label": "I", "score": "H", "boxed": "I", "box": "i"}


class Names(dict[str, int]):
    """Numbers of names, in the order in which they were first asked for."""

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


class Columns:
    """Chunk under way, and the dictionaries of all chunks.

    Images are numbered anew, in the order of their names.
    """

    def __init__(self) -> None:
        self.steps, self.codes, self.folders, self.labels = Names(), Names(), Names(), Names()
        self.roots: list[str] = []
        """Category of each label, by its number; empty where the service names none."""
        self.step_rows: dict[str, Row] = {}
        """By a step's name: its first row, which has service and model."""
        self.rows = self.images = self.label_count = 0
        self._last: tuple[int, str] | None = None
        self._start()

    def _start(self) -> None:
        self._arrays = {name: array(kind) for name, kind in {**_TYPES, **_FLAT}.items()}
        self._names: list[str] = []

    @property
    def full(self) -> bool:
        """Whether the chunk has all its rows."""
        return len(self._names) >= CHUNK_ROWS

    def add(self, entry: Entry, step: str, *, thumb: int, same_image: bool = False) -> None:
        """Add a row. `step` is its name on the page; `thumb` the place of its thumbnail plus 1, or 0.

        `same_image`: it belongs to the image of the row before, whatever its own name is.
        """
        row, arrays = entry.row, self._arrays
        if not same_image and self._last != (entry.number, entry.image):
            self._last = (entry.number, entry.image)
            self.images += 1
            folder, _, self._name = entry.image.rpartition("/")
            self._folder = self.folders[folder if folder or not entry.image.startswith("/") else "/"]
        self._names.append(self._name.replace("\0", "�"))
        self.step_rows.setdefault(step, row)
        arrays["image"].append(self.images - 1)
        arrays["step"].append(self.steps[step])
        arrays["folder"].append(self._folder)
        arrays["thumb"].append(thumb)
        arrays["flags"].append(_flags(entry))
        arrays["time"].append(_seconds(row.get("failed_at" if entry.failed else "answered_at")))
        arrays["code"].append(self.codes[str(row.get("code"))] + 1 if entry.failed else 0)
        arrays["count"].append(0 if entry.failed else self._add_labels(row.get("labels") or []))
        self.rows += 1

    def _add_labels(self, labels: list[Row]) -> int:
        numbers, scores, names, roots = self._arrays["label"], self._arrays["score"], self.labels, self.roots
        for label in labels[:_MOST_LABELS]:
            number = names[label.get("name") or ""]
            if number == len(roots):
                roots.append(label.get("root") or "")
            if (box := label.get("box")) is not None:
                self._arrays["boxed"].append(len(numbers))
                sides = box["left"], box["top"], box["width"], box["height"]
                self._arrays["box"].extend(map(round, sides))
            numbers.append(number)
            score = label.get("score")
            if score is None:
                scores.append(NO_SCORE)
            else:
                part = int(score * _MICRO + 0.5) // _PART_MICROS
                scores.append(part if 0 <= part < _MOST_SCORE else max(0, min(_MOST_SCORE, part)))
        count = min(len(labels), _MOST_LABELS)
        self.label_count += count
        return count

    def take(self) -> bytes:
        """The chunk as bytes; the next one begins."""
        arrays = {name: values.tobytes() for name, values in self._arrays.items()}
        if sys.byteorder == "big":
            for values in self._arrays.values():
                values.byteswap()
            arrays = {name: values.tobytes() for name, values in self._arrays.items()}
        kinds = {**_TYPES, **_FLAT}
        # Half characters, of names that were no UTF-8, become question marks: JSON and pages cannot hold them.
        arrays["names"] = "\0".join(self._names).encode("utf-8", "replace")
        header, place = [], 0
        for name, content in arrays.items():
            header.append((name, kinds.get(name, "B"), place, len(content)))
            place += len(_padded(content))
        head = _padded(orjson.dumps(header), 8, 4, b" ")
        self._start()
        return b"".join((len(head).to_bytes(4, "little"), head, *map(_padded, arrays.values())))


def _padded(content: bytes, to: int = 8, before: int = 0, filler: bytes = b"\0") -> bytes:
    return content + filler * (-(len(content) + before) % to)


def _flags(entry: Entry) -> int:
    row = entry.row
    flags = FAILED if entry.failed else 0
    if row.get("repaired"):
        flags |= REPAIRED
    if row.get("same_as") is not None:
        flags |= DUPLICATE
    if row.get("reused") is not None:
        flags |= CACHED
    if row.get("tiles"):
        flags |= TILES
    return flags | (OUTDATED if entry.outdated else 0)


def _seconds(moment: str | None) -> int:
    """Unix time of a moment (ISO 8601), whole seconds; 0 where there is none."""
    try:
        return max(0, int(datetime.fromisoformat(moment or "").timestamp()))
    except ValueError:
        return 0
