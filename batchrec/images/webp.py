"""Structure of a WebP: the chunks of its RIFF, and the place of its first frame."""

import struct
from collections.abc import Iterator

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


def first_frame(data: bytes) -> Box | None:
    """Box of the first frame of an animation on its canvas; None where the file is none."""
    for name, start, end in riff_chunks(data):
        if name == b"ANMF" and start + 12 <= end:
            left, top, width, height = (
                int.from_bytes(data[at : at + 3], "little") for at in range(start, start + 12, 3)
            )
            return 2 * left, 2 * top, 2 * left + width + 1, 2 * top + height + 1
    return None


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the body of each chunk of a RIFF, as far as they are whole."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, min(at + 8 + length, len(data))
        at += 8 + length + length % 2
