#!/usr/bin/env bash
# Pillow 13.0.0: a compressed big-endian TIFF of floats or of signed or 32-bit integers is read with its bytes swapped.
#
# Expected: the same numbers from a file in MM as from one in II, compressed or not; TIFF 6.0 has both orders, and
# `Image.open` gives no error for either.
# Seen: libtiff gives decoded numbers in the machine's own order, and Pillow unpacks them in the file's. It corrects that
# for rawmodes that end in ";16B" and ";16L", and not for "F;32BF", "I;16BS" and "I;32BS". The image is noise, and no
# error is raised. Uncompressed files and unsigned 16 bits are right.
# Output seen, for the number 5 and the compression Deflate:
#   float32   II 5.0  MM 5.74868682004613e-41
#   int16     II 5    MM 1280
#   int32     II 5    MM 83886080
#   uint16    II 5    MM 5
# Exit code 0: as described; 1: not any more. Needs uv and a package registry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet "$work/env"
uv pip install --quiet --system-certs --python "$work/env/bin/python" pillow==13.0.0
"$work/env/bin/python" - <<'PYTHON'
import io
import struct
import sys
import zlib

from PIL import Image

SIDE, NUMBER = 16, 5
KINDS = {"float32": ("f", 3), "int16": ("h", 2), "int32": ("i", 2), "uint16": ("H", 1)}  # letter of struct, SampleFormat


def tiff(letter: str, sample_format: int, order: str) -> bytes:
    """A grey TIFF of one strip, compressed with Deflate (8)."""
    pixels = zlib.compress(struct.pack(f"{order}{SIDE * SIDE}{letter}", *[NUMBER] * SIDE * SIDE))
    bits = 8 * struct.calcsize(letter)
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 8, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: len(pixels), 339: sample_format}
    at = 8 + len(pixels) + len(pixels) % 2
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    return head + pixels.ljust(at - 8, b"\0") + struct.pack(order + "H", len(tags)) + entries + bytes(4)


wrong = set()
for name, (letter, sample_format) in KINDS.items():
    seen = {}
    for mark, order in (("II", "<"), ("MM", ">")):
        with Image.open(io.BytesIO(tiff(letter, sample_format, order))) as image:
            seen[mark] = image.getpixel((3, 3))
    print(f"{name:9} II {seen['II']!s:4} MM {seen['MM']}")
    if seen["II"] != NUMBER:
        sys.exit(1)
    if seen["MM"] != NUMBER:
        wrong.add(name)
sys.exit(wrong != {"float32", "int16", "int32"})
PYTHON
