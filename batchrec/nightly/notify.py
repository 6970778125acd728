"""Notifications of a run: the tables of notify.toml, and one message by a command or a webhook.

Addresses are secrets: they are masked in every line. A notifier has 10 s; one that fails is a line, and no more.
"""

import json
import logging
import os
import signal
import ssl
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..api.credentials import VARIABLES, read_profiles
from ..errors import JobError
from ..language import _, os_reason
from ..redact import redact, remember
from ..state.directory import config_directory
from ..values import Summary

_log = logging.getLogger(__name__)

_LIMIT_SECONDS = 10.0
_SAID_CHARACTERS = 200
"""Characters of a command's own complaint that are shown."""

_SHORTEST_PART_CHARACTERS = 8
"""Parts of an address below it, such as `api`, are no secrets and stand in ordinary words."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """A table of notify.toml: a command or an address."""

    name: str
    command: tuple[str, ...] = ()
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A message: the event, a sentence, the summary, and the output directory.

    `end`: what follows the address of a webhook: `/start`, or `/` and the exit code.
    """

    event: str
    text: str
    summary: Summary
    directory: str
    end: str


def notify_file(environ: Mapping[str, str]) -> Path:
    """Path of notify.toml; the file need not exist."""
    return config_directory(environ) / "notify.toml"


def notifier_of(name: str, environ: Mapping[str, str]) -> Notifier:
    """The notifier of a name. Raises JobError where notify.toml lacks it, is wrong, or others can read it."""
    path = notify_file(environ)
    tables = read_profiles(path, '[NAME] url = "https://..."')
    if name not in tables:
        raise JobError(
            _(
                '{path}: there is no table [{name}], which notify.use names; expected: [{name}] and url = "https://..."'
            ).format(path=path, name=name)
        )
    table = tables[name]
    url, command = table.get("url"), table.get("command")
    if table.keys() - {"url", "command"} or (url is None) == (command is None):
        raise JobError(
            _("{path}: [{name}]: expected either command or url, and nothing else").format(path=path, name=name)
        )
    if url is not None:
        return Notifier(name, url=_address(path, name, url))
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise JobError(
            _('{path}: [{name}] command: expected a list of texts, for example: ["/usr/local/bin/tell", "ops"]').format(
                path=path, name=name
            )
        )
    remember(*(word for word in command if "://" in word))
    return Notifier(name, command=tuple(command))


def _address(path: Path, name: str, url: Any) -> str:
    """The address without its last slash, remembered as a secret."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
        _port = parts.port
    except ValueError:
        right = False
    if not right:
        raise JobError(
            _("{path}: [{name}] url: expected https://... (its content is not shown)").format(path=path, name=name)
        )
    pieces = [*parts.path.split("/"), parts.query, parts.password or ""]
    remember(url, url.rstrip("/"), *(piece for piece in pieces if len(piece) >= _SHORTEST_PART_CHARACTERS))
    return str(url)


def send(notifier: Notifier, message: Message) -> bool:
    """Send a message; whether that went well. What goes wrong is logged as one line."""
    body = json.dumps(message.summary.as_json(), ensure_ascii=False).encode(errors="backslashreplace")
    problem = _run(notifier, message, body) if notifier.command else _post(notifier.url, message, body)
    if problem:
        line = "notify.toml [%s]: %s is not told: %s"
        _log.warning("%s", redact(line % (notifier.name, message.event, problem)))
    return not problem


def _run(notifier: Notifier, message: Message, body: bytes) -> str:
    """Run the command with the summary on its standard input; returns why that failed, or an empty text.

    There are no pipes: a process that the command leaves behind could hold them open.
    """
    facts = {
        "event": message.event,
        "message": message.text,
        "job": message.summary.job,
        "exit_code": str(message.summary.exit_code),
        "directory": message.directory,
        "stopped_by": message.summary.stopped_by or "",
        "resume_at": message.summary.resume_at or "",
    }
    keys = {name for names in VARIABLES for name in names}
    environ = {name: value for name, value in os.environ.items() if name not in keys}
    environ |= {f"BATCHREC_{name.upper()}": value.replace("\0", "") for name, value in facts.items()}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(body)
        given.seek(0)
        try:
            process = subprocess.Popen(
                notifier.command, stdin=given, stdout=said, stderr=said, env=environ, start_new_session=True
            )
        except (OSError, ValueError) as exc:
            return _("the command cannot be started: {reason}").format(reason=os_reason(exc))
        try:
            code = process.wait(_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return _("the command took more than {seconds:.0f} s").format(seconds=_LIMIT_SECONDS)
        said.seek(0)
        words = said.read(4 * _SAID_CHARACTERS).decode(errors="replace").split("\n")[0][:_SAID_CHARACTERS]
    return _("the command ended with exit code {code}: {words}").format(code=code, words=words) if code else ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the address is a secret, and a POST would become a GET."""

    def redirect_request(self, *_args: Any, **_kinds: Any) -> None:
        return None


def _post(url: str, message: Message, body: bytes) -> str:
    """Post the summary; returns why that failed, or an empty text.

    In a thread that is left behind after 10 s: the time limit of a socket starts anew with every byte.
    """
    base, mark, query = url.partition("?")
    headers = {"Content-Type": "application/json", "User-Agent": f"batchrec/{message.summary.version}"}
    headers["Batchrec-Event"] = message.event
    problems: list[str] = [_("no reply within {seconds:.0f} s").format(seconds=_LIMIT_SECONDS)]

    def post() -> None:
        try:
            request = urllib.request.Request(
                base.rstrip("/") + message.end + mark + query, body, headers, method="POST"
            )
            opener = urllib.request.build_opener(_NoRedirects)
            with opener.open(request, timeout=_LIMIT_SECONDS):
                problems.clear()
        except urllib.error.HTTPError as exc:
            problems[:] = [_("HTTP {status}").format(status=exc.code)]
            exc.close()
        except urllib.error.URLError as exc:
            problems[:] = [str(exc.reason)]
        except (OSError, HTTPException, ValueError, ssl.SSLError) as exc:
            problems[:] = [str(exc) or type(exc).__name__]

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    thread.join(_LIMIT_SECONDS)
    return "".join(problems)
