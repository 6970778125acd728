"""Makes the pictures of the tutorial: `python docs/pictures.py`.

For each language, in docs/pictures: `progress.LANGUAGE.svg`, the live display in the middle of a run on a terminal;
`report.LANGUAGE.png`, the report in Chromium; `spreadsheet.LANGUAGE.png`, the first sheet of results.xlsx, whose cells
and images are read with openpyxl and drawn by Chromium. All of them are of the tutorial's crawl, made by its commands.
Needs Chromium and a font with Chinese characters (Debian: chromium, fonts-wqy-zenhei).
"""

import base64
import html
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
sys.path.insert(0, str(ROOT))

from tests.acceptance.terminal import on_terminal  # noqa: E402 - the tests have a terminal for programs
from tests.test_docs import environ, marked  # noqa: E402

COMMAND = "batchrec run job.toml --set limits.qps=3"
COLUMNS = 84
COLOURS = 256
"""Colours of a PNG: half the bytes of all of them, and no visible difference."""

SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own format without its frame's font, which it loads from another host."""

LENGTH = re.compile(r'(textLength=")([\d.]+)("[^>]*>)([^<]+)')

SHEET = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; font: 13px "Liberation Sans", "WenQuanYi Zen Hei", sans-serif; }}
table {{ border-collapse: collapse; }}
td, th {{ border: 1px solid #d4d4d4; padding: 3px 6px; white-space: nowrap; overflow: hidden; }}
th {{ background: #f3f3f3; font-weight: normal; color: #555; }}
img {{ height: 56px; display: block; }}
</style><table>{rows}</table>
"""


def crawl(folder: Path, language: str) -> dict[str, str]:
    """Make the tutorial's crawl and job file in a folder; returns the environment of its commands."""
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("results"))
    variables = environ(folder, BATCHREC_LANG=language)
    for name in ("tutorial_crawl", "tutorial_init"):
        subprocess.run(["sh", "-ec", marked(f"command: {name}")], cwd=folder, env=variables, check=True)
    return variables


def progress(folder: Path, variables: dict[str, str], target: Path) -> None:
    """Run the job on a terminal, and draw a frame of its display: the last one in which it waits for nothing."""
    _, shown = on_terminal(COMMAND.split(), folder, variables | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"})
    first, _, rest = shown.replace("\r", "").partition("\n")
    frames = [each for each in re.split(r"(?:\x1b\[2K|\x1b\[1A)+", rest)[:-1] if each.count("\n") >= 3]
    frame = next((each for each in reversed(frames) if "\x1b[33m" not in each and "15/15" not in each), frames[-1])
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {COMMAND}\n{first}\n{frame.rstrip()}"))
    drawn = console.export_svg(title="", code_format=SVG, unique_id="progress")
    target.write_text(LENGTH.sub(widened, drawn), encoding="utf-8")


def widened(found: re.Match[str]) -> str:
    """A text of an SVG with the length of its cells: Rich counts a Chinese character as one (see findings)."""
    before, length, after, text = found.groups()
    plain = html.unescape(text)
    return f"{before}{float(length) / len(plain) * cell_len(plain):g}{after}{text}"


def report(folder: Path, variables: dict[str, str], browser: Browser, target: Path) -> None:
    """The report as it opens."""
    subprocess.run(["batchrec", "report", "job.toml"], cwd=folder, env=variables, check=True)
    locale = {"en": "en-US", "zh": "zh-CN"}[variables["BATCHREC_LANG"]]
    page = browser.new_page(viewport={"width": 1000, "height": 640}, locale=locale)
    page.goto((folder / "results/job/report/index.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    page.wait_for_selector(".cell img[src^=data]")
    page.click("#figures-switch")  # the images instead of the charts
    page.wait_for_timeout(1000)  # until nothing moves any more
    save(page.screenshot(), target)


def spreadsheet(folder: Path, variables: dict[str, str], browser: Browser, target: Path) -> None:
    """The first rows of the first sheet."""
    subprocess.run(["batchrec", "export", "job.toml", "--to", "xlsx"], cwd=folder, env=variables, check=True)
    sheet = load_workbook(folder / "results/job/export/xlsx/results.xlsx").worksheets[0]
    page = browser.new_page(viewport={"width": 1000, "height": 560})
    page.set_content(SHEET.format(rows="".join(rows(sheet))))
    save(page.screenshot(), target)


def rows(sheet: Worksheet) -> Iterator[str]:
    """Rows of a sheet as HTML, with the letters and numbers that a spreadsheet program shows beside them."""
    images = {(each.anchor._from.row + 1, each.anchor._from.col + 1): each._data() for each in sheet._images}
    yield "<tr><th></th>" + "".join(f"<th>{each[0].column_letter}</th>" for each in sheet.columns) + "</tr>"
    for row in sheet.iter_rows(max_row=9):
        cells = "".join(f"<td style='{style(cell)}'>{content(cell, images)}</td>" for cell in row)
        yield f"<tr><th>{row[0].row}</th>{cells}</tr>"


def style(cell: object) -> str:
    """Bold type and colours of a cell, as CSS."""
    bold, text, fill = cell.font.b, cell.font.color, cell.fill
    parts = ["font-weight: bold"] if bold else []
    if text is not None and isinstance(text.rgb, str):
        parts.append(f"color: #{text.rgb[2:]}")
    if fill.fill_type == "solid" and isinstance(fill.fgColor.rgb, str):
        parts.append(f"background: #{fill.fgColor.rgb[2:]}")
    return "; ".join(parts)


def content(cell: object, images: dict[tuple[int, int], bytes]) -> str:
    """The text of a cell, or the image in it."""
    data = images.get((cell.row, cell.column))
    if data:
        return f'<img src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
    value = cell.value
    return "" if value is None else html.escape(f"{value:.2f}" if isinstance(value, float) else str(value))


def save(screenshot: bytes, target: Path) -> None:
    """Write a screenshot with few colours."""
    with Image.open(io.BytesIO(screenshot)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or "/usr/bin/chromium"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for language in ("en", "zh"):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                variables = crawl(folder, language)
                progress(folder, variables, PICTURES / f"progress.{language}.svg")
                report(folder, variables, browser, PICTURES / f"report.{language}.png")
                spreadsheet(folder, variables, browser, PICTURES / f"spreadsheet.{language}.png")
        browser.close()
