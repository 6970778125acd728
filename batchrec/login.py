"""`batchrec login`: try a key with one token call, then keep it for this user alone."""

import asyncio
import json
import os
import random
import time
from pathlib import Path

from .account import Credentials, TokenAccount, credentials_file, read_profiles
from .errors import JobError, OutputFailed
from .http import open_transport
from .redact import remember
from .state import write_private

_SECONDS = 30.0


async def try_and_keep(profile: str, api_key: str, secret_key: str, account: str, endpoint: str) -> Path:
    """Fetch one token, then write the profile; the file it is kept in.

    Raises JobError, CredentialsRefused, ServiceUnavailable, OutputFailed. Nothing is written unless the key works.
    """
    if not api_key or not secret_key:
        raise JobError("both an API Key and a Secret Key are needed")
    credentials = Credentials(api_key, secret_key, account=account)
    remember(*credentials.secrets)
    path = credentials_file(os.environ)
    profiles = read_profiles(path)
    async with open_transport(endpoint, _SECONDS) as transport:
        time_ = asyncio.get_running_loop().time
        await TokenAccount(
            endpoint, credentials, transport, cache=None, patience=0, now=time.time, time=time_, rng=random.Random()
        ).authorize()
    table = {"api_key": api_key, "secret_key": secret_key} | ({"account": account} if account else {})
    try:
        write_private(path, _toml({**profiles, profile: table}).encode())
    except OSError as exc:
        raise OutputFailed(f"{path}: cannot be written: {exc.strerror}") from exc
    return path


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
