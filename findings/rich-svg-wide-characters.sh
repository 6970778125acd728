#!/usr/bin/env bash
# rich 15.0.0 (Console.export_svg): a text with Chinese characters gets half of the length that its cells take.
#
# Expected: `textLength` of a text is the width of a cell times the number of cells, as `x` of the text behind it is.
# Seen: it is the width of a cell times the number of characters. A browser squeezes the characters into that length, so
# that they lie over each other, with a gap behind them.
# Output seen:
#   abcd: 4 cells, length of 4 cells
#   中文: 4 cells, length of 2 cells
# Exit code 0: as described; 1: not any more. Needs python3 with rich.
set -euo pipefail
python3 - <<'PYTHON'
import io
import re
import sys

from rich.cells import cell_len
from rich.console import Console

found = []
for text in ("abcd", "中文"):
    console = Console(record=True, width=20, file=io.StringIO())
    console.print(text)
    length = float(re.search(f'textLength="([0-9.]+)"[^>]*>{text}<', console.export_svg())[1])
    found.append((cell_len(text), round(length / 12.2)))  # a cell of export_svg is 12.2 px wide
    print(f"{text}: {found[-1][0]} cells, length of {found[-1][1]} cells")
sys.exit(found != [(4, 4), (4, 2)])
PYTHON
