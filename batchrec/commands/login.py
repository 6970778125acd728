"""`batchrec login`: try a key with one token call, then keep it for this user alone."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import typer
from filelock import Timeout

from ..api.account import TokenAccount
from ..api.credentials import Credentials, credentials_file, of_fields, read_profiles, real_endpoint
from ..api.endpoint import LIVE
from ..api.http import open_transport
from ..api.pasted import is_api_key, pasted_key
from ..console.text import say
from ..engine.process import run_loop
from ..errors import JobError, OutputFailed
from ..language import _
from ..redact import remember
from ..state.directory import make_private, write_private
from ..state.file_system import CONFIG_REMEDY, private_lock, with_cause

_SECONDS = 30.0
_WAKE_EVERY = 0.2
"""Seconds between two looks for a Ctrl-C at a prompt."""


def login_at_terminal(profile: str, endpoint: str, account: str) -> None:
    """Ask for key and secret, try them at the endpoint, and keep them."""
    host = tried_at(endpoint)
    say(_("the key is tried at {host}").format(host=host))
    api_key = ask("API Key")
    bearer = is_api_key(api_key)
    secret_key = "" if bearer else ask("Secret Key")
    path = run_loop(lambda: try_and_keep(profile, api_key, secret_key, account, host))
    tried = (
        _("an API Key (bce-v3) needs no secret, and no call without cost can try it") if bearer else _("the key works")
    )
    say(
        _("{tried}; kept as profile {profile!r} in {path}, for {host} alone").format(
            tried=tried, profile=profile, path=path, host=host
        )
    )


def ask(label: str) -> str:
    """Ask at the terminal, without echo.

    Ctrl-C at any moment raises typer.Abort, and the terminal echoes again.
    """
    with _woken():
        return pasted_key(str(typer.prompt(label, hide_input=True)))


@contextmanager
def _woken() -> Iterator[None]:
    """Interrupt system calls five times a second, so that Python looks for signals.

    Python notes a signal and raises KeyboardInterrupt later. A Ctrl-C that is noted just before a blocking read begins
    does not interrupt it, and the prompt would wait for the next key.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_signal: None)
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
        raise JobError(_("--endpoint (or BATCHREC_ENDPOINT): {problem}").format(problem=exc)) from None


async def try_and_keep(profile: str, api_key: str, secret_key: str, account: str, endpoint: str) -> Path:
    """Fetch one token, then write the profile, which belongs to that endpoint; the file it is kept in.

    An API Key (`bce-v3/...`) has no token to try, and is kept as it is.

    Raises JobError, CredentialsRefused, ServiceUnavailable, OutputFailed. Nothing is written unless the key works.
    """
    endpoint = tried_at(endpoint)
    credentials = replace(of_fields({"api_key": api_key, "secret_key": secret_key}), account=account, endpoint=endpoint)
    if not credentials.complete:
        raise JobError(_("both an API Key and a Secret Key are needed, or an API Key that begins with bce-v3/"))
    remember(*credentials.secrets)
    path = credentials_file(os.environ)
    read_profiles(path)  # a file that cannot be added to is told before anything is sent
    if not credentials.bearer:
        await _try(credentials)
    table = {name: getattr(credentials, name) for name in ("api_key", "secret_key", "bearer", "account", "endpoint")}
    if endpoint == LIVE:
        del table["endpoint"]
    try:
        await asyncio.to_thread(_keep, path, profile, {key: value for key, value in table.items() if value})
    except (OSError, Timeout) as exc:
        raise OutputFailed(
            _("{path}: cannot be written: {reason}").format(path=path, reason=with_cause(exc, CONFIG_REMEDY))
        ) from exc
    return path


async def _try(credentials: Credentials) -> None:
    """Fetch one token."""
    async with open_transport(credentials.endpoint, _SECONDS) as transport:
        await TokenAccount(
            credentials.endpoint,
            credentials,
            transport,
            cache=None,
            patience=0,
            now=time.time,
            time=asyncio.get_running_loop().time,
            rng=random.Random(),
        ).authorize()


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
