"""`batchrec login`: try a key with one token call, then keep it for this user alone."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from filelock import Timeout

from ..api.account import TokenAccount
from ..api.credentials import Credentials, credentials_file, read_profiles, real_endpoint
from ..api.endpoint import LIVE
from ..api.http import open_transport
from ..console.text import say
from ..engine.process import run_loop
from ..errors import JobError, OutputFailed
from ..redact import remember
from ..state.directory import make_private, write_private
from ..state.file_system import CONFIG_REMEDY, private_lock, with_cause

_SECONDS = 30.0
_WAKE_EVERY = 0.2
"""Seconds between two looks for a Ctrl-C at a prompt."""


def login_at_terminal(profile: str, endpoint: str, account: str) -> None:
    """Ask for key and secret, try them at the endpoint, and keep them."""
    host = tried_at(endpoint)
    say(f"the key is tried at {host}")
    api_key, secret_key = ask("API Key"), ask("Secret Key")
    path = run_loop(lambda: try_and_keep(profile, api_key, secret_key, account, host))
    say(f"the key works; kept as profile {profile!r} in {path}, for {host} alone")


def ask(label: str) -> str:
    """Ask at the terminal, without echo.

    Ctrl-C at any moment raises typer.Abort, and the terminal echoes again.
    """
    with _woken():
        return str(typer.prompt(label, hide_input=True)).strip()


@contextmanager
def _woken() -> Iterator[None]:
    """Interrupt system calls five times a second, so that Python looks for signals.

    Python notes a signal and raises KeyboardInterrupt later. A Ctrl-C that is noted just before a blocking read begins
    does not interrupt it, and the prompt would wait for the next key.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _WAKE_EVERY, _WAKE_EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def tried_at(endpoint: str) -> str:
    """The normal form of the endpoint that a key is for. Raises JobError, which does not show the value."""
    try:
        return real_endpoint(endpoint)
    except ValueError as exc:
        raise JobError(f"--endpoint (or BATCHREC_ENDPOINT): {exc}") from None


async def try_and_keep(profile: str, api_key: str, secret_key: str, account: str, endpoint: str) -> Path:
    """Fetch one token, then write the profile, which belongs to that endpoint; the file it is kept in.

    Raises JobError, CredentialsRefused, ServiceUnavailable, OutputFailed. Nothing is written unless the key works.
    """
    endpoint = tried_at(endpoint)
    if not api_key or not secret_key:
        raise JobError("both an API Key and a Secret Key are needed")
    credentials = Credentials(api_key, secret_key, account=account, endpoint=endpoint)
    remember(*credentials.secrets)
    path = credentials_file(os.environ)
    read_profiles(path)  # a file that cannot be added to is told before anything is sent
    async with open_transport(endpoint, _SECONDS) as transport:
        time_ = asyncio.get_running_loop().time
        await TokenAccount(
            endpoint, credentials, transport, cache=None, patience=0, now=time.time, time=time_, rng=random.Random()
        ).authorize()
    table = {"api_key": api_key, "secret_key": secret_key, "account": account, "endpoint": endpoint}
    if endpoint == LIVE:
        del table["endpoint"]
    try:
        await asyncio.to_thread(_keep, path, profile, {key: value for key, value in table.items() if value})
    except (OSError, Timeout) as exc:
        raise OutputFailed(f"{path}: cannot be written: {with_cause(exc, CONFIG_REMEDY)}") from exc
    return path


def _keep(path: Path, profile: str, table: dict[str, str]) -> None:
    """Put a profile into the file. Two logins at once take turns, so that both are kept."""
    make_private(path.parent)
    with private_lock(path.with_name(path.name + ".lock")).acquire(timeout=_SECONDS):
        write_private(path, _toml({**read_profiles(path), profile: table}).encode())


def _toml(profiles: dict[str, dict[str, str]]) -> str:
    """Tables of texts as TOML.

    Its basic strings are JSON's, but for surrogates and DEL, which JSON lets pass.
    """
    lines: list[str] = []
    for name, table in profiles.items():
        lines.append(f"[{_quoted(name)}]")
        lines.extend(f"{key} = {_quoted(str(value))}" for key, value in table.items())
        lines.append("")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
