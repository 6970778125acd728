#!/usr/bin/env bash
# globox 2.9.0: YOLO boxes of photographs with an EXIF orientation are scaled by the picture as it lies in the file.
#
# Expected: YOLO's numbers are shares of the picture as people see it: browsers turn a phone's photographs upright, and
# boxes are drawn in browsers. So a converter takes the sides of the upright picture, or says that it does not.
# Seen: `AnnotationSet.from_yolo_v5(..., image_folder=...)` takes the sides from the JPEG's header and multiplies; an
# upright picture of 200 x 400 px counts as one of 400 x 200, and every box that becomes COCO or VOC in pixels is
# stretched in one direction and pressed in the other, without a word.
# Output seen, for a box of 0.2 x 0.1 in the middle of the upper half:
#   upright 200 x 400, globox 400 x 200
#   box 160 40 240 60, of the upright picture 80 80 120 120
# Exit code 0: as described; 1: not any more. Needs uv and a package registry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
uv venv --quiet --python 3.11 env
uv pip install --quiet --system-certs --python env/bin/python globox==2.9.0 pillow==13.0.0
env/bin/python - <<'PYTHON'
import sys
from pathlib import Path

from globox import AnnotationSet
from PIL import Image, ImageOps

for folder in ("images", "labels"):
    Path(folder).mkdir()
exif = Image.Exif()
exif[0x0112] = 6
Image.new("RGB", (400, 200), "white").save("images/a.jpg", exif=exif)
Path("labels/a.txt").write_text("0 0.5 0.25 0.2 0.1\n")

upright = ImageOps.exif_transpose(Image.open("images/a.jpg")).size
(read,) = AnnotationSet.from_yolo_v5("labels", image_folder="images")
(box,) = read.boxes
found = [round(side) for side in (box.xmin, box.ymin, box.xmax, box.ymax)]
width, height = upright
wanted = [round(each) for each in (0.4 * width, 0.2 * height, 0.6 * width, 0.3 * height)]
print(f"upright {width} x {height}, globox {read.image_width} x {read.image_height}")
print("box", *found, "of the upright picture", *wanted)
sys.exit((read.image_size, found) != ((400, 200), [160, 40, 240, 60]))
PYTHON
