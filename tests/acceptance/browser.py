"""Foreign web pages in a real browser: a server for a page and its reports, and headless Chromium."""

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Site:
    """A web site on a loopback port of its own. Its one page may report by POST, also from another origin."""

    def __init__(self, page: str) -> None:
        self.reports: queue.Queue[Any] = queue.Queue()
        """The JSON values that pages have reported."""
        reports = self.reports

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(page.encode() if self.path.partition("?")[0] == "/" else b"")

            def do_POST(self) -> None:
                reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._reply(b"")

            def _reply(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Keep standard error clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Free the port; may be called twice."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def site(page: str) -> Iterator[Site]:
    """A site for as long as the block lasts."""
    opened = Site(page)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def chromium(url: str, profile: Path, *flags: str) -> Iterator[None]:
    """Headless Chromium with a new profile, showing `url` for as long as the block lasts."""
    program = shutil.which("chromium") or shutil.which("/usr/bin/chromium")
    assert program, "chromium is missing on PATH; Debian: apt-get install chromium"
    command = [program, *FLAGS, *flags, f"--user-data-dir={profile}", url]
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
