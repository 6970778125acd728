"""Copies among images: perceptual hashes at most 10 of 64 bits apart, features that agree.

Distances between different images of 217 photographs began at 12 bits and a cosine of 0.784.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 10
"""Bits of 64 by which the hashes of copies differ at most."""

LEAST_COSINE = 0.85
"""Cosine of the features of copies, at least: finds mirrored and cropped ones, which the hash does not."""

_BLOCK_ROWS, _BLOCK_COLUMNS = 32, 4096
"""Hashes compared at a time, a megabyte: 100,000 take 8 s of CPU, and 20 s where all columns are taken at once."""

_VECTOR_ROWS = 2048
"""Vectors compared with as many others at a time, in 45 MB."""


class Pair(NamedTuple):
    """Two images by their numbers, the earlier one first. `far`: bits apart, or 1 minus the cosine."""

    first: int
    second: int
    far: float


def by_hash(hashes: Sequence[int | None], labels: Sequence[str]) -> Iterator[Pair]:
    """Pairs of copies by their hashes. `labels` are the classes, equal ones beside each other.

    Of several images of a class with the same hash, the first one is paired with the others and with other images.
    """
    firsts: dict[int, list[int]] = {}
    for number, value in enumerate(hashes):
        if value is None:
            continue
        same = firsts.setdefault(value, [])
        yield from (_pair(other, number, 0.0) for other in same)
        if not same or labels[same[-1]] != labels[number]:
            same.append(number)
    values, members = np.array(list(firsts), dtype=np.uint64), list(firsts.values())
    for start in range(0, len(values), _BLOCK_ROWS):
        block = values[start : start + _BLOCK_ROWS]
        for left in range(0, start + len(block), _BLOCK_COLUMNS):
            apart = np.bitwise_count(block[:, None] ^ values[None, left : left + _BLOCK_COLUMNS])
            # Of one dimension: numpy finds them in a third of the time.
            for place in np.flatnonzero(apart.ravel() <= MOST_BITS).tolist():
                row, column = divmod(place, apart.shape[1])
                if left + column < start + row:
                    pairs = product(members[left + column], members[start + row])
                    yield from (_pair(*pair, float(apart[row, column])) for pair in pairs)


class Vectors(Protocol):
    """Features of length 1 (images x dimensions): an array, or what reads parts of one from a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.float16]: ...


class VectorFile:
    """Features in a temporary file, as 100,000 of them would take 256 MB of memory. Raises OSError."""

    def __init__(self, file: BinaryIO, dimensions: int) -> None:
        self._file, self._dimensions, self._rows = file, dimensions, 0

    def append(self, vector: NDArray[np.floating[Any]]) -> None:
        """Add a row, before the first one is read."""
        self._file.write(vector.astype(np.float16).tobytes())
        self._file.flush()  # a disk that is full is found here
        self._rows += 1

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: slice) -> NDArray[np.float16]:
        start, stop, _step = rows.indices(self._rows)
        width = self._dimensions * np.dtype(np.float16).itemsize
        self._file.seek(start * width)
        data = self._file.read((stop - start) * width)
        return np.frombuffer(data, np.float16).reshape(stop - start, self._dimensions)


def by_features(features: Vectors, numbers: Sequence[int]) -> Iterator[Pair]:
    """Pairs of copies by features; `numbers` are those of the images.

    All pairs are compared, block by block: 20,000 images take 12 s of CPU, and 100,000 some 300 s.
    """
    for start in range(0, len(features), _VECTOR_ROWS):
        block = features[start : start + _VECTOR_ROWS].astype(np.float32)
        for left in range(0, start + len(block), _VECTOR_ROWS):
            cosines = block @ features[left : left + _VECTOR_ROWS].astype(np.float32).T
            rows, columns = np.nonzero(cosines >= LEAST_COSINE)
            earlier = left + columns < start + rows
            for row, column in zip(rows[earlier].tolist(), columns[earlier].tolist(), strict=True):
                yield _pair(numbers[left + column], numbers[start + row], 1.0 - float(cosines[row, column]))


def _pair(one: int, other: int, far: float) -> Pair:
    return Pair(min(one, other), max(one, other), far)
