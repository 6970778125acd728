"""The documentation site: `python docs/website.py build`, `python docs/website.py serve`.

The pages in docs/en and docs/zh are plain Markdown that is read in the repository as well. For the site they are copied
to a work folder: README becomes the first page, a link to a file that is not part of the site becomes plain text, and
the line below a title, with the other language and README, is left out, since the site has a menu for both. Zensical
builds each language by itself; docs/website.en.toml and docs/website.zh.toml are its settings.
"""

import argparse
import functools
import http.server
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = {"en": "README.md", "zh": "README.zh-CN.md"}
"""README of each language, the first page of its site."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
SIBLINGS = re.compile(r"^(English · |\[English\]).*\n\n?", re.MULTILINE)
"""The line below a title."""

ENTRANCE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>batchrec</title>
<script>location.replace(navigator.language.startsWith("zh") ? "zh/index.html" : "en/index.html")</script>
<p><a href="en/index.html">English</a> · <a href="zh/index.html">中文</a>
"""


def staged(text: str, page: str, language: str) -> str:
    """The Markdown of a page of the repository, as a page of the site."""

    def moved(found: re.Match[str]) -> str:
        image, label, target = found.groups()
        path, anchor, heading = target.partition("#")
        if "://" in target or not path:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        folder, name = posixpath.split(file)
        if file == HOME[language]:
            name = "index.md"
        elif folder == "docs/pictures":
            name = f"pictures/{name}"
        elif folder != f"docs/{language}":
            return label
        return f"{image}[{label}]({name}{anchor}{heading})"

    return LINK.sub(moved, SIBLINGS.sub("", text, count=1))


def stage(language: str, work: Path) -> Path:
    """Fill the work folder with a language's pages and pictures; returns the settings beside them."""
    folder = work / language
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = {f"docs/{language}/{file.name}": file.name for file in (ROOT / "docs" / language).glob("*.md")}
    for page, name in {**pages, HOME[language]: "index.md"}.items():
        text = staged((ROOT / page).read_text(encoding="utf-8"), page, language)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pictures").mkdir()
    for picture in (ROOT / "docs" / "pictures").glob(f"*.{language}.*"):
        shutil.copy(picture, folder / "pictures")
    return Path(shutil.copy(ROOT / "docs" / f"website.{language}.toml", work))


def build(work: Path) -> Path:
    """Build both languages into `site` in the work folder, and return it.

    A broken link or anchor is named and ends the process with exit code 1.
    """
    site = work / "site"
    shutil.copytree(ROOT / "docs" / "theme", work / "theme", dirs_exist_ok=True)
    for language in HOME:
        settings = stage(language, work)
        shutil.rmtree(site / language, ignore_errors=True)
        command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", settings.name]
        if subprocess.run(command, cwd=work, check=False).returncode:
            sys.exit(1)
    (site / "index.html").write_text(ENTRANCE, encoding="utf-8")
    return site


def serve(site: Path, port: int) -> None:
    """Serve the site on this machine until Ctrl-C."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the documentation site, strictly, in both languages.")
    parser.add_argument("action", choices=("build", "serve"))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "docs", help="folder for copies and site")
    parser.add_argument("--port", type=int, default=8000, help="port of `serve`; 0: any")
    given = parser.parse_args()
    built = build(given.work)
    if given.action == "serve":
        serve(built, given.port)
