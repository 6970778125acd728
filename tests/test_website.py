"""The documentation site: it builds strictly in both languages, and can be searched in both."""

import functools
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
LANGUAGES = ("en", "zh")


def built(root, work):
    """Exit code and output of the builder of that copy of the repository."""
    command = [sys.executable, root / "docs" / "website.py", "build", "--work", work]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from the repository."""
    work = tmp_path_factory.mktemp("website")
    code, said = built(ROOT, work)
    assert code == 0, said
    return work / "site"


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that writes no log."""

    def log_message(self, format, *arguments):
        pass


@contextmanager
def served(site):
    """The address of a server of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(site):
    """A page of Debian's Chromium, and the address of the site."""
    with served(site) as address, sync_playwright() as playwright:
        program = shutil.which("chromium") or "/usr/bin/chromium"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(), address
        browser.close()


def pages_of(nav):
    """Every page of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(entry)]


def test_every_page_is_in_the_navigation():
    """Both languages have the same pages in the same order, and no page is left out."""
    settings = [tomllib.loads((ROOT / f"docs/website.{each}.toml").read_text(encoding="utf-8")) for each in LANGUAGES]
    first, second = (pages_of(each["project"]["nav"]) for each in settings)
    assert first == second
    assert sorted(first) == sorted(["index.md", *(file.name for file in (ROOT / "docs/en").glob("*.md"))])


def test_a_broken_link_or_anchor_fails_the_build(tmp_path):
    """Each is named with its page and place."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for readme in ROOT.glob("README*.md"):
        shutil.copy(readme, tmp_path)
    page = tmp_path / "docs" / "en" / "errors.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[one](output.md#nowhere) [two](nothing.md)\n", "utf-8")
    code, said = built(tmp_path, tmp_path / "work")
    assert code == 1
    assert "anchor does not exist" in said
    assert "page does not exist" in said
    assert "errors.md" in said


def test_pages_stay_on_this_machine(page, site):
    """Nothing is loaded from another host, and the switch leads to the same page in the other language."""
    seen, address = page
    requests = []
    seen.on("request", lambda request: requests.append(request.url))
    seen.goto(f"{address}/en/errors.html")
    seen.click("a[hreflang=zh].md-header__button")
    seen.wait_for_url("**/zh/errors.html")
    assert len(requests) > 5
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert (site / "index.html").read_text(encoding="utf-8").count("/index.html") == 4


def found(page, address, language, query):
    """Pages, with their anchors, that the site's own search finds for that text, best first."""
    page.goto(f"{address}/{language}/index.html")
    page.click(".md-search__button")
    page.keyboard.insert_text(query)  # at once: typed, the first links may be those of half the text
    links = page.locator("a[href*='?h=']")
    links.first.wait_for(timeout=60_000)
    addresses = links.evaluate_all("all => all.map(each => each.href)")
    return [re.sub(r"\?[^#]*", "", unquote(each)).rpartition("/")[2] for each in addresses]


QUESTIONS = {
    ("en", "how to see the cats above 0.5"): "questions.html#how-do-i-see-the-cats-above-05",
    ("en", "what exit code 75 means"): "questions.html#what-does-exit-code-75-mean",
    ("en", "how to send smaller images"): "phone-images.html#send-smaller-images",
    ("en", "how to stop at 500 calls a day"): "cost.html#stop-at-500-calls-a-day",
    ("zh", "怎么看0.5以上的猫"): "questions.html#怎么看-05-以上的猫",
    ("zh", "退出码75是什么意思"): "questions.html#退出码-75-是什么意思",
    ("zh", "发送更小的图片"): "phone-images.html#发送更小的图片",
    ("zh", "一天500次调用后停止"): "cost.html#一天-500-次调用后停止",
}
"""Searches of a newcomer, each with a heading that must be found. Chinese has no blanks between words."""


@pytest.mark.parametrize(("language", "query"), QUESTIONS)
def test_a_newcomer_finds_the_page_by_search_alone(page, language, query):
    """The heading is among the first three that the site's own search lists."""
    assert QUESTIONS[language, query] in found(*page, language, query)[:3]
