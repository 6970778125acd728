#!/usr/bin/env bash
# Pillow 13.0.0: `ImageOps.exif_transpose` leaves an image lying whose orientation is stored as a BYTE, without a word.
#
# Expected, by the documentation of `exif_transpose`: "If an image has an EXIF Orientation tag, other than 1, transpose the
# image accordingly". TIFF has three types for a small whole number without a sign, and readers take any of them; EXIF asks
# for SHORT, editors write the others too.
# Seen: SHORT and LONG are turned. For a BYTE `getexif()` gives the bytes b"\x06" instead of the number 6, which is no key
# of the table of turns: the image comes back as it was, and no exception or warning says so.
# Output seen, for an image of 30 x 20 pixels with orientation 6:
#   SHORT getexif 6        exif_transpose 20 x 30
#   LONG  getexif 6        exif_transpose 20 x 30
#   BYTE  getexif b'\x06'  exif_transpose 30 x 20
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

from PIL import Image, ImageOps

ORIENTATION = 0x0112
turned = {}
for name, kind, letter in (("SHORT", 3, "H"), ("LONG", 4, "I"), ("BYTE", 1, "B")):
    value = struct.pack(f">{letter}", 6).ljust(4, b"\0")
    exif = b"Exif\0\0MM" + struct.pack(">HIHHHI", 42, 8, 1, ORIENTATION, kind, 1) + value + bytes(4)
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "JPEG", exif=exif)
    image = Image.open(file)
    upright = ImageOps.exif_transpose(image)
    turned[name] = upright.size == (20, 30)
    print(f"{name:5} getexif {image.getexif()[ORIENTATION]!r:8} exif_transpose {upright.width} x {upright.height}")
sys.exit(turned != {"SHORT": True, "LONG": True, "BYTE": False})
PYTHON
