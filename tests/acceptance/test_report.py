"""The report in a real Chromium: opened from the disk, filtered, searched, sorted, looked at, selected from."""

import base64
import json
import os
import re
import shutil
import sqlite3
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from harness import Place, picture, until
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from batchrec.report import build, columns
from tests.support.synthetic import write

PHONE = {"width": 390, "height": 844}
LONGEST = 120_000
"""Milliseconds after which a page that is not ready has failed."""

SCORE = "R.model.score[R.model.first[R.grid.rows[0]]] / R.model.meta.scores"
"""Score of the first image's top label."""

HOSTILE = "</script><img src=x onerror=window.owned=1>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    program = shutil.which("chromium") or "/usr/bin/chromium"
    assert os.access(program, os.X_OK), "chromium is missing; Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of 600 rows with images, boxes, failures and copies, and its report."""
    folder = tmp_path_factory.mktemp("synthetic")
    write(folder, 600, images=True)
    done = Place(folder).batchrec("report", "results", "--zip")
    assert done.code == 0, done.err
    return folder / "results"


class Seen:
    """What a page asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)


def opened(browser: Browser, report: Path, hash: str = "", **context: Any) -> tuple[Page, Seen]:
    """A page that shows a report, all data loaded."""
    page = browser.new_context(accept_downloads=True, locale="en-US", **context).new_page()
    page.set_default_timeout(LONGEST)
    seen = Seen(page)
    page.goto(f"{(report / 'index.html').as_uri()}{hash}")
    page.wait_for_selector("html[data-ready]")
    return page, seen


def shown(page: Page) -> int:
    """Number of images that pass the filters."""
    return int(page.evaluate("R.grid.rows.length"))


def rows_of(directory: Path) -> list[dict[str, Any]]:
    """results.jsonl."""
    return [json.loads(line) for line in (directory / "results.jsonl").read_bytes().splitlines()]


def settled(page: Page, expression: str) -> None:
    """Wait until an expression of the page holds. Playwright's own way needs `eval`, which the policy forbids."""
    deadline = time.monotonic() + LONGEST / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"did not come about: {expression}"
        page.wait_for_timeout(10)


def test_page_opens_without_network(browser: Browser, synthetic: Path) -> None:
    """Everything comes from the folder, charts included; the policy refuses a request elsewhere."""
    page, seen = opened(browser, synthetic / "report")
    settled(page, "document.querySelectorAll('#figures canvas').length >= 4")
    settled(page, "document.querySelector('.cell img[src^=data]')")
    assert seen.complaints == []
    root = (synthetic / "report").as_uri()
    assert [url for url in seen.requests if not url.startswith((root, "data:", "blob:"))] == []
    refused = page.evaluate(
        "Promise.allSettled([fetch('http://127.0.0.1:9/'), new Promise((good, bad) => {"
        "const image = new Image(); image.onload = good; image.onerror = bad; image.src = 'http://127.0.0.1:9/x.png';"
        "})]).then(all => all.map(each => each.status))"
    )
    assert refused == ["rejected", "rejected"]
    assert any("Content Security Policy" in line for line in seen.complaints)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)', (synthetic / "report/index.html").read_text())
    assert policy is not None
    assert "connect-src 'none'" in policy[1]
    assert "http" not in policy[1]
    assert "unsafe-eval" not in policy[1]


def test_size_of_the_page(synthetic: Path) -> None:
    """The page before its data has at most 1 MB, the charts at most 650 KB."""
    own = [path for path in (synthetic / "report").iterdir() if path.suffix in (".html", ".js", ".css")]
    assert sum(path.stat().st_size for path in own) <= 1_000_000
    assert (synthetic / "report/charts.js").stat().st_size <= 650_000


def test_filters_search_and_sort(browser: Browser, synthetic: Path) -> None:
    """Counts of facets, search and score range agree with results.jsonl; sorted by score the best is first."""
    page, _seen = opened(browser, synthetic / "report")
    rows = rows_of(synthetic)
    with_top = [row for row in rows if row["labels"]]
    name = Counter(row["labels"][0]["name"] for row in with_top).most_common(1)[0][0]
    found = {
        row["image"] for row in with_top if name in row["labels"][0]["name"] + (row["labels"][0].get("root") or "")
    }
    wanted = found | {image for image in failed_images(synthetic) | {row["image"] for row in rows} if name in image}
    counted = page.evaluate("(name) => R.model.counts().label[R.model.meta.labels.indexOf(name)]", name)
    assert counted == sum(row["labels"][0]["name"] == name for row in with_top)
    page.fill("#search", name)
    settled(page, f"R.model.filter.text === {json.dumps(name)} && R.grid.rows.length === {len(wanted)}")
    page.fill("#search", "0000012.JPG")
    settled(page, "R.model.filter.text.length > 8")
    assert shown(page) == len({row["image"] for row in rows if row["image"].endswith("0000012.jpg")}) > 0
    page.fill("#search", "")
    settled(page, "R.model.filter.text === ''")
    page.evaluate("const r = document.querySelector('#score-min'); r.value = 80; r.dispatchEvent(new Event('input'))")
    settled(page, "location.hash.includes('min=0.8')")
    high = {row["image"] for row in with_top if (row["labels"][0]["score"] or 0) >= 0.8}
    settled(page, f"R.grid.rows.length === {len(high)}")
    page.select_option("#sort", "score")
    settled(page, "location.hash.includes('sort=score')")
    best = max(row["labels"][0]["score"] for row in with_top)
    assert page.evaluate("R.model.score[R.model.first[R.grid.rows[0]]] / R.model.meta.scores") == pytest.approx(
        best, abs=2e-5
    )


def test_rows_of_several_chunks(
    browser: Browser, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are taken in their order, though they are read side by side; each name is found in its own."""
    for part in (build, columns):
        monkeypatch.setattr(part, "CHUNK_ROWS", 90)
    request = build.Request(tmp_path / "report", side=0)
    built = build.build(synthetic, request, lambda text: None, lambda done, wanted: None)
    page, seen = opened(browser, tmp_path / "report")
    rows, failed = rows_of(synthetic), failed_images(synthetic)
    keys = sorted({row["image"] for row in rows} | failed, key=lambda key: key.encode())
    assert page.evaluate("[R.model.loaded, R.model.nameBytes.length]") == [built.rows, -(-built.rows // 90)]
    assert page.evaluate("[...R.grid.rows].map((row) => R.model.keyOf(row))") == keys
    page.select_option("#sort", "time")
    settled(page, "location.hash.includes('sort=time')")
    last = max(rows, key=lambda row: row["answered_at"])["answered_at"][:19]
    shown_first = page.evaluate("new Date(R.model.time[R.grid.rows[0]] * 1000).toISOString().slice(0, 19)")
    assert shown_first == last
    page.fill("#search", "0000299.jpg")
    settled(page, "R.grid.rows.length === 1")
    assert page.evaluate("R.model.keyOf(R.grid.rows[0])").endswith("0000299.jpg")
    assert seen.complaints == []


def test_address_holds_the_filter(browser: Browser, synthetic: Path) -> None:
    """An address with a filter opens with it, and failures are found by their code."""
    failures = [json.loads(line) for line in (synthetic / "failures.jsonl").read_bytes().splitlines()]
    code = str(failures[0]["code"])
    page, _seen = opened(browser, synthetic / "report", f"#code={code}")
    assert shown(page) == len({row["image"] for row in failures if str(row["code"]) == code})
    assert page.locator(".cell .failed").first.inner_text().startswith("failed")
    page.evaluate("location.hash = '#state=duplicate'")
    settled(page, "R.model.filter.state.has('duplicate')")
    assert shown(page) == len({row["image"] for row in rows_of(synthetic) if row["same_as"]})


def test_lightbox_shows_original_boxes_and_full_result(browser: Browser, synthetic: Path) -> None:
    """The original by a relative path, boxes in its pixels, and the untouched line with its 19-digit log_id."""
    page, seen = opened(browser, synthetic / "report", "#step=objects")
    page.locator(".cell .frame").first.click()
    settled(page, "document.querySelector('.holder img')?.src.startsWith('file:')")
    row = page.evaluate("R.grid.rows[0]")
    key = page.evaluate("(row) => R.model.keyOf(row)", row)
    source = page.locator(".holder img").get_attribute("src")
    assert source is not None
    assert source.startswith("../")
    line = next(each for each in rows_of(synthetic) if each["image"] == key and each["step"] == "objects")
    drawn = page.evaluate(
        "[...document.querySelectorAll('.holder rect')]"
        ".map(r => ['x', 'y', 'width', 'height'].map(n => +r.getAttribute(n)))"
    )
    assert [list(label["box"].values()) for label in line["labels"] if "box" in label] == drawn
    page.keyboard.press("b")
    assert page.locator(".holder .boxes").is_hidden()
    sections = page.locator(".result")
    sections.first.locator("summary").click()
    sections.first.locator("pre").get_by_text("log_id").wait_for()
    assert str(line["response"]["log_id"]) in sections.first.locator("pre").inner_text()
    page.keyboard.press("ArrowRight")
    settled(page, "document.querySelector('.place').textContent.startsWith('2 /')")
    page.keyboard.press("Escape")
    assert not page.locator("#lightbox").is_visible()
    assert seen.complaints == []


def test_selection_becomes_a_list(browser: Browser, synthetic: Path) -> None:
    """The keyboard selects; the download has a path a line, in the order of the names."""
    page, _seen = opened(browser, synthetic / "report")
    page.focus("#grid")
    for key in ("Space", "ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    with page.expect_download() as download:
        page.click("#download")
    keys = sorted({row["image"] for row in rows_of(synthetic)} | failed_images(synthetic), key=lambda key: key.encode())
    assert download.value.path().read_text("utf-8").splitlines() == [keys[0], keys[2]]
    page.click("#select-none")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.path().read_text("utf-8").splitlines() == keys


def failed_images(directory: Path) -> set[str]:
    """Images that failed at a step."""
    return {json.loads(line)["image"] for line in (directory / "failures.jsonl").read_bytes().splitlines()}


def test_language_theme_and_comparison(browser: Browser, synthetic: Path) -> None:
    """The page turns Chinese and dark; two steps are compared, and the images that differ are shown."""
    page, _seen = opened(browser, synthetic / "report")
    page.click("#language")
    assert page.locator("#select-all").inner_text() == "全选"
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.select_option("#compare-a", "0")
    page.select_option("#compare-b", "1")
    page.get_by_role("button", name="不同").click()
    settled(page, "location.hash.includes('pair=different')")
    done = Place(synthetic.parent).batchrec("compare", "results", "results", "--json")
    assert len(json.loads(done.out)["differences"]) == shown(page)


def test_zip_opens_elsewhere(browser: Browser, synthetic: Path, tmp_path: Path) -> None:
    """From the zip alone the page works; where the original should be, a note says that it is not there."""
    with zipfile.ZipFile(synthetic / "report.zip") as file:
        assert not any(name.endswith(".db") for name in file.namelist())
        file.extractall(tmp_path)
    page, _seen = opened(browser, tmp_path / "report")
    settled(page, "document.querySelector('.cell img[src^=data]')")
    page.locator(".cell .frame").first.click()
    page.locator(".moved").wait_for()
    assert "The original is not at" in page.locator(".moved").inner_text()


_STILL = """() => new Promise(done => {
    const still = () => { observer.disconnect(); done(); };
    let timer = setTimeout(still, 500);
    const observer = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(still, 500); });
    observer.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
})"""
"""Wait until nothing of the page has changed for half a second: its charts come later than its images."""


def test_last_image_is_reachable_on_a_phone(browser: Browser, synthetic: Path) -> None:
    """A grid of more than 15,000,000 px is scaled: its end shows the last image, and a wheel moves it row by row."""
    page, _seen = opened(browser, synthetic / "report", viewport=PHONE)
    page.evaluate(_STILL)
    page.evaluate("Object.defineProperty(R.Grid, 'MOST', {value: 20000}); R.grid.layout()")
    assert page.evaluate("R.grid.height > R.grid.drawn && R.grid.drawn === 20000")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    settled(page, "R.grid.cells.has(R.grid.rows.length - 1)")
    last = page.evaluate("R.grid.cells.get(R.grid.rows.length - 1).node.getBoundingClientRect().bottom")
    assert 0 < last <= PHONE["height"] + 1
    page.evaluate("scrollTo(0, R.grid.top + 9000)")
    settled(page, "Math.abs(R.grid.lastScroll - 9000) < 2")  # the grid hears of it after `scrollY` says it
    before = page.evaluate("R.grid.virtual")
    page.evaluate("scrollBy(0, 100)")
    settled(page, f"R.grid.virtual > {before}")
    assert page.evaluate("R.grid.virtual") == pytest.approx(before + 100, abs=2)


def test_cells_in_sight_are_left_alone_while_scrolling(browser: Browser, synthetic: Path) -> None:
    """A few pixels change nothing; cells out of sight are used again, and none of them stands in the way."""
    page, _seen = opened(browser, synthetic / "report")
    page.evaluate("scrollTo(0, R.grid.top + 5)")
    settled(page, "R.grid.shift === 0 && [...R.grid.cells.values()].every(cell => !cell.waits)")
    page.evaluate(_STILL)
    changed = """(pixels) => new Promise(done => {
        const seen = [], observer = new MutationObserver((list) => seen.push(...list));
        observer.observe(R.grid.element, {subtree: true, childList: true, attributes: true, characterData: true});
        scrollBy(0, pixels);
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(seen.length), 50)));
    })"""
    assert page.evaluate(changed, 20) == 0
    assert page.evaluate(changed, 4000) > 0
    stray = """[...document.querySelectorAll('#grid .cell')].filter((node) => {
        const {top, bottom} = node.getBoundingClientRect();
        return bottom > 0 && top < innerHeight && ![...R.grid.cells.values()].some((cell) => cell.node === node);
    }).length"""
    assert page.evaluate(stray) == 0
    page.evaluate("location.hash = '#q=0000012'")
    settled(page, "R.grid.rows.length === 1 && R.grid.cells.size === 1")
    assert page.evaluate(stray) == 0
    assert page.locator("#grid .cell").count() == 1


def test_print_has_every_image_that_passes(browser: Browser, synthetic: Path) -> None:
    """All images that pass are on paper with pictures, whatever is in sight; of more than a bound the first ones."""
    page, seen = opened(browser, synthetic / "report", "#folder=photos/鱼&sort=score")
    images = shown(page)
    assert images > page.evaluate("R.grid.cells.size") > 0
    page.evaluate(
        "addEventListener('afterprint', () => { window.foot = document.body.dataset.printed; });"
        "addEventListener('beforeprint', () => {"
        "  window.onPaper = [...document.querySelectorAll('#paper .cell')].map((cell) => cell.title);"
        "  window.pictures = document.querySelectorAll('#paper img[src^=data]').length;"
        "})"
    )
    assert page.evaluate("R.model.thumb[R.grid.rows[R.grid.rows.length - 1]]") > 0
    pdf = page.pdf(format="A4")
    assert page.evaluate("window.foot") == f"{images} images"
    assert page.evaluate("window.onPaper") == page.evaluate("[...R.grid.rows].map((row) => R.model.keyOf(row))")
    assert pdf.count(b"/Type /Page\n") > 1
    assert page.locator("#paper .cell").count() == 0
    page.evaluate("Object.defineProperty(R.Paper, 'MOST', {value: 12}); window.pictures = 0")
    page.evaluate("window.print = () => dispatchEvent(new Event('beforeprint'))")  # headless, it does nothing
    page.keyboard.press("Control+p")
    settled(page, "window.pictures > 0")
    assert page.evaluate("[window.pictures, onPaper.length]") == [12, 12]
    assert page.evaluate("document.body.dataset.printed") == f"The first 12 of {images} images"
    assert seen.complaints == []


def test_names_and_labels_are_texts(browser: Browser, place: Place) -> None:
    """Names with `#`, `?`, `%` and tags, and labels with tags, are shown as they are, and run nothing."""
    names = ["a #1 ?x=2 100%.png", "<b>bold.png", "引号\"'&.png", "x..%2f.png"]
    for number, name in enumerate(names):
        place.put(f"家居/{name}", picture(number))
    place.job()
    assert place.run().code == 0
    path = place.output / "results.jsonl"
    spoil(place, HOSTILE)
    assert HOSTILE in path.read_text("utf-8")
    done = place.batchrec("report", "results/furniture")
    assert done.code == 0, done.err
    for script in (place.output / "report" / "data").rglob("*.js"):
        assert "onerror" not in script.read_text()
    page, seen = opened(browser, place.output / "report")
    assert page.evaluate("window.owned") is None
    assert sorted(page.locator(".cell .name").all_inner_texts()) == sorted(names)
    assert page.locator(".line bdi").first.inner_text() == HOSTILE
    for index in range(len(names)):
        page.evaluate(f"R.grid.onOpen({index})")
        settled(page, "document.querySelector('.holder img')?.src.startsWith('file:')")
        page.keyboard.press("Escape")
    assert page.evaluate("window.owned") is None
    assert seen.complaints == []


def spoil(place: Place, label: str) -> None:
    """Put a label into every row, as a service could have sent it; the journal knows the new places."""
    path, journal = place.output / "results.jsonl", sqlite3.connect(place.output / "journal.db")
    lines, start = [], 0
    for row in rows_of(place.output):
        row["labels"][0]["name"] = label
        lines.append(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        journal.execute(
            "UPDATE items SET start = ?, length = ? WHERE image = (SELECT id FROM images WHERE key = ?)",
            (start, len(lines[-1]), row["image"]),
        )
        start += len(lines[-1])
    journal.execute("UPDATE outputs SET length = ? WHERE filename = 'results.jsonl'", (start,))
    journal.commit()
    journal.close()
    path.write_bytes(b"".join(lines))


def test_thumbnails_are_upright_and_hold_no_metadata(place: Place) -> None:
    """A JPEG that lies on its side stands in its thumbnail, which has no EXIF, so no GPS."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    file = BytesIO()
    Image.new("RGB", (400, 200), "red").save(file, "JPEG", exif=exif)
    place.put("家居/lying.jpg", file.getvalue())
    place.job()
    assert place.run().code == 0
    assert place.batchrec("report", "furniture.toml").code == 0
    (pack,) = (place.output / "report/data/thumbs").glob("*.js")
    found = re.search(r"\[(\d+),(\d+),\"([^\"]+)\"\]", pack.read_text())
    assert found is not None
    image = Image.open(BytesIO(base64.b64decode(found[3])))
    assert (found[1], found[2], image.size) == ("200", "400", (80, 160))
    assert not image.getexif()


def test_processes_of_a_killed_report_end(synthetic: Path) -> None:
    """Where `report` is killed while it makes thumbnails, the processes that make them end too."""
    report = Place(synthetic.parent).start("report", "results", "--out", "killed")
    made: set[int] = set()
    until(lambda: made.update(children_of(report.process.pid)) or len(made) > 1, seconds=60)
    report.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in made), seconds=60)


def children_of(pid: int) -> list[int]:
    """Processes that another one has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in children.read_text().split()] if children.exists() else []
