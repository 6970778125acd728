#!/usr/bin/env bash
# Pillow 13.0.0: `Image.open` of an ICO decodes its picture, where `open` is documented as lazy.
#
# Expected, by the documentation of `Image.open`: "This is a lazy operation; this function identifies the file, but the
# file remains open and the actual image data is not read from the file until you try to process the data". So a look at
# format and size costs no pixels, and a program may judge the size before it decodes.
# Seen: IcoImageFile decodes its largest entry within `open`, and allocates its pixels; PNG, BMP and GIF do not.
# Output seen, in blocks of pixel memory:
#   PNG  open 0, open and load 1
#   BMP  open 0, open and load 1
#   GIF  open 0, open and load 1
#   ICO  open 1, open and load 1
# Exit code 0: as described; 1: not any more. Needs uv and a package registry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet "$work/env"
uv pip install --quiet --system-certs --python "$work/env/bin/python" pillow==13.0.0
"$work/env/bin/python" - <<'PYTHON'
import io
import sys

from PIL import Image

SIDE = 256  # the largest that an icon's directory names


def blocks() -> int:
    """Blocks of pixel memory that were asked for so far; documented under "Block allocator"."""
    stats = Image.core.get_stats()
    return stats["allocated_blocks"] + stats["reused_blocks"]


picture = Image.effect_noise((SIDE, SIDE), 50).convert("RGB")
eager = set()
for name in ("PNG", "BMP", "GIF", "ICO"):
    file = io.BytesIO()
    picture.save(file, name, **({"sizes": [(SIDE, SIDE)]} if name == "ICO" else {}))
    file.seek(0)
    before = blocks()
    opened = Image.open(file)
    at_open = blocks() - before
    opened.load()
    print(f"{name}  open {at_open}, open and load {blocks() - before}")
    if at_open:
        eager.add(name)
sys.exit(eager != {"ICO"})
PYTHON
