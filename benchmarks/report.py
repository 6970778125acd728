"""Large results: what a report, exports and `show` take, thumbnails, and the page of a report in a real Chromium.

Needs Debian's chromium and playwright. The directories are synthetic; thumbnails are of JPEGs of 1,024 x 800 px.
"""

import io
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from .process import module, run
from .tables import Effort, Table, spread

_ROWS = {Effort.QUICK: (200,), Effort.USUAL: (50_000,), Effort.FULL: (50_000, 1_000_000)}
_PICTURED_ROWS = {Effort.QUICK: 200, Effort.USUAL: 4_000, Effort.FULL: 16_000}
"""Rows of the report with thumbnails, of 320 x 240 px."""
_SHEET_ROWS = {Effort.QUICK: 200, Effort.USUAL: 50_000, Effort.FULL: 300_000}
"""Rows of the results that are exported as xlsx: two for an image."""
_FILES = {Effort.QUICK: 20, Effort.USUAL: 400, Effort.FULL: 2_000}
_OPENINGS = {Effort.QUICK: 1, Effort.USUAL: 3, Effort.FULL: 3}
_SCROLL_SECONDS = 3
_SPEEDS = (1_200, 12_000)  # px/s
_IDLE_MS = 1_000
"""Until the page is still: its charts are drawn 300 ms after a change."""
_MEGABYTE_BYTES = 1e6
_LONGEST_MS = 300_000

_SCROLL = """([pixels, seconds]) => new Promise((resolve) => {
    const gaps = [];
    const began = performance.now();
    let last = began;
    const step = (now) => {
        gaps.push(now - last);
        scrollBy(0, pixels * (now - last) / 1000);
        last = now;
        if (now - began < seconds * 1000) requestAnimationFrame(step);
        else resolve((gaps.length - 1) / ((now - began) / 1000));
    };
    requestAnimationFrame(step);
})"""
"""Scroll at a speed in px/s; gives frames a second."""

_JUMP = """() => new Promise((resolve) => {
    const began = performance.now();
    scrollTo(0, document.documentElement.scrollHeight * 0.63);
    const drawn = () => {
        const cells = [...R.grid.cells.values()];
        const held = cells.length && cells.every((cell) => !cell.waits && cell.row === R.grid.rows[cell.index]);
        held && performance.now() - began > 30 ? resolve(performance.now() - began) : requestAnimationFrame(drawn);
    };
    requestAnimationFrame(drawn);
})"""
"""Milliseconds from a jump until every visible cell is drawn."""

_TIMES = """() => {
    const found = {}, model = R.model, began = model.filter;
    const time = (name, change) => {
        Object.assign(model.filter, change);
        const start = performance.now();
        model.apply();
        model.view();
        found[name] = performance.now() - start;
        model.filter = { ...began };
    };
    time("label search", { text: model.meta.labels[3] });
    time("name search", { text: "12345" });
    time("sort by score", { sort: "score" });
    time("sort by margin", { sort: "margin" });
    return found;
}"""
"""Milliseconds of searches and orders, each with the filters applied."""


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """The data, exports and `show`, the thumbnails, and the page."""
    yield _data(cache, _ROWS[effort])
    yield _readers(cache, _ROWS[effort][-1], _SHEET_ROWS[effort])
    yield _thumbnails(cache / "photographs", _FILES[effort])
    pictured = cache / "report-pictured"
    run(module("tests.support.synthetic", pictured, _PICTURED_ROWS[effort], "--images"), core=None)
    run(module("batchrec", "report", pictured / "results"), core=None)
    reports = [(f"{rows:,} rows", cache / f"report-{rows}") for rows in _ROWS[effort]]
    yield _pages([*reports, (f"{_PICTURED_ROWS[effort]:,} with thumbnails", pictured)], _OPENINGS[effort])


def _data(cache: Path, sizes: tuple[int, ...]) -> Table:
    """Reports without thumbnails, which stay in `cache`."""
    table = Table("data of a report", ("rows", "CPU s", "seconds", "peak MB", "MB on the disk"))
    for rows in sizes:
        folder = cache / f"report-{rows}"
        run(module("tests.support.synthetic", folder, rows), core=None)
        used = run(module("batchrec", "report", folder / "results", "--thumbnails", 0), core=None)
        data = folder / "results" / "report" / "data"
        size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
        figures = (used.cpu, used.seconds, used.peak_bytes / _MEGABYTE_BYTES, size / _MEGABYTE_BYTES)
        table.add(f"{rows:,}", *(f"{figure:.1f}" for figure in figures))
    table.notes = _load()
    return table


def _readers(cache: Path, rows: int, sheet_rows: int) -> Table:
    """Exports for programs, and `show`: of the results that `_data` has made, xlsx of fewer."""
    table = Table("exports, and show", ("command", "rows", "CPU s", "seconds", "peak MB"))
    sheets = cache / f"sheets-{sheet_rows}"
    run(module("tests.support.synthetic", sheets, sheet_rows), core=None)
    large = cache / f"report-{rows}" / "results"
    for directory, count, words in (
        (large, rows, ("export", "--to", "parquet", "--out", cache / "parquet")),
        (sheets / "results", sheet_rows, ("export", "--to", "xlsx", "--out", cache / "xlsx")),
        (large, rows, ("show",)),
        (large, rows, ("show", "--label", "猫")),
        (large, rows, ("show", "--min-score", 0.9)),
        (large, rows, ("show", "--sort", "score")),
        (large, rows, ("show", "--not-label", "猫")),
    ):
        command, *options = words
        used = run(module("batchrec", command, directory, *options), core=None)
        shown = " ".join(str(word) for word in words if not isinstance(word, Path)).removesuffix(" --out")
        figures = (used.cpu, used.seconds, used.peak_bytes / _MEGABYTE_BYTES)
        table.add(shown, f"{count:,}", *(f"{figure:.1f}" for figure in figures))
    table.notes = f"The images are not there: the workbook has no thumbnails. {_load()}"
    return table


def _pages(reports: list[tuple[str, Path]], openings: int) -> Table:
    """Figures of pages that are opened several times, each in a browser of its own: a column a report."""
    seen: list[dict[str, list[str]]] = []
    for _name, folder in reports:
        found: dict[str, list[str]] = {}
        for _opening in range(openings):
            for what, figure in _page(folder / "results" / "report"):
                found.setdefault(what, []).append(figure)
        seen.append(found)
    table = Table("page in Chromium", ("what", *(name for name, _folder in reports)))
    for what in seen[0]:
        table.add(what, *(_middle(found[what]) for found in seen))
    table.notes = f"Medians of {openings} openings, with least and most. {_load()}"
    return table


def _middle(figures: list[str]) -> str:
    return spread(map(float, figures)) if figures[0].isdigit() else figures[0]


def _load() -> str:
    """What else the machine did, for readers of a figure."""
    minutes = ", ".join(f"{load:.1f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return f"Load average of 1, 5 and 15 minutes at the end: {minutes}."


def _thumbnails(folder: Path, count: int) -> Table:
    """Thumbnails of photographs: CPU of the process and its children, first and second report."""
    table = Table("thumbnails of JPEGs of 1,024 px, 115 KB", ("images", "run", "made", "CPU s", "images a CPU second"))
    (folder / "photos").mkdir(parents=True)
    noise = random.Random(1)
    for number in range(count):
        image = Image.frombytes("RGB", (256, 200), noise.randbytes(3 * 256 * 200)).resize((1024, 800))
        file = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(3)).save(file, "JPEG", quality=75)
        (folder / "photos" / f"{number:05d}.jpg").write_bytes(file.getvalue())
    job = folder / "job.toml"
    job.write_text(
        '[input]\npaths = ["photos"]\n[[recognize]]\nservice = "animal"\n[account]\nendpoint = "embedded"\n'
        '[output]\ndirectory = "out"\n'
    )
    run(module("batchrec", "run", job, "--progress", "none"), {"BATCHREC_STATE_DIR": str(folder / "state")}, core=None)
    first, second = (run(module("batchrec", "report", job), core=None) for _time in range(2))
    for name, used, rate in (("first", first, count / max(first.cpu - second.cpu, 0.01)), ("second", second, None)):
        made = used.complaints.partition(" thumbnails made")[0].rpartition(" ")[2]
        table.add(f"{count:,}", name, made, f"{used.cpu:.1f}", "-" if rate is None else f"{rate:.0f}")
    table.notes = f"The rate is of what the first run took more than the second. {_load()}"
    return table


def _page(report: Path) -> Iterator[tuple[str, str]]:
    """Figures of the page, by name."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(_LONGEST_MS)
        page.goto((report / "index.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        yield "first images, ms", f"{page.evaluate('performance.getEntriesByName(`first`)[0].startTime'):.0f}"
        yield "everything filterable, ms", f"{page.evaluate('performance.getEntriesByName(`ready`)[0].startTime'):.0f}"
        page.wait_for_timeout(_IDLE_MS)
        for speed in _SPEEDS:
            yield f"{speed:,} px/s, frames a second", f"{page.evaluate(_SCROLL, [speed, _SCROLL_SECONDS]):.0f}"
        yield "jump until drawn, ms", f"{page.evaluate(_JUMP):.0f}"
        found: dict[str, Any] = page.evaluate(_TIMES)
        yield from ((f"{name}, ms", f"{value:.0f}") for name, value in found.items())
        page.select_option("#sort", "score")
        page.wait_for_timeout(_IDLE_MS)
        yield "jump by score until drawn, ms", f"{page.evaluate(_JUMP):.0f}"
        yield "renderer, MB (PSS)", _renderer_megabytes()
        page.set_viewport_size({"width": 390, "height": 844})
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.wait_for_timeout(1000)
        reached = page.evaluate("R.grid.cells.has(R.grid.rows.length - 1)")
        yield "last image at 390 px", "reached" if reached else "not reached"
        browser.close()


def _renderer_megabytes() -> str:
    """Proportional set size of the largest renderer, where the system has it."""
    sizes = [0]
    for status in Path("/proc").glob("[0-9]*/smaps_rollup") if sys.platform == "linux" else ():
        try:
            if b"--type=renderer" not in status.with_name("cmdline").read_bytes():
                continue
            line = next(line for line in status.read_text().splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        sizes.append(int(line.split()[1]))
    return f"{max(sizes) / 1000:.0f}"
