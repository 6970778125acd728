"""`batchrec login`: try a key with one token call, then keep it for this user alone."""

import asyncio
import json
import os
import random
import time
from pathlib import Path

from filelock import FileLock, Timeout

from .account import Credentials, TokenAccount, credentials_file, read_profiles, real_endpoint
from .endpoint import LIVE
from .errors import JobError, OutputFailed
from .http import open_transport
from .redact import remember
from .state import write_private

_SECONDS = 30.0


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
        raise OutputFailed(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    return path


def _keep(path: Path, profile: str, table: dict[str, str]) -> None:
    """Put a profile into the file. Two logins at once take turns, so that both are kept."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(path.with_name(path.name + ".lock"), timeout=_SECONDS, mode=0o600):
        write_private(path, _toml({**read_profiles(path), profile: table}).encode())


def _toml(profiles: dict[str, dict[str, str]]) -> str:
    """Tables of texts as TOML. Its basic strings are JSON's, but for surrogates and DEL, which JSON lets pass."""
    lines: list[str] = []
    for name, table in profiles.items():
        lines.append(f"[{_quoted(name)}]")
        lines.extend(f"{key} = {_quoted(str(value))}" for key, value in table.items())
        lines.append("")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
