"""Account of a run or an upload, by the kind of its credentials."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from ..interfaces import Account, Transport
from .account import BearerAccount, TokenAccount
from .credentials import Credentials
from .signature import SignatureAccount


def open_account(
    endpoint: str,
    credentials: Credentials,
    transport: Transport,
    *,
    cache: Path | None,
    patience: float,
    now: Callable[[], float],
) -> Account:
    """Make the account, in a running event loop.

    `cache`: the state folder, where a token is kept; None: in memory. `patience`: seconds that an unreachable token
    endpoint is waited for. `now` gives Unix seconds.
    """
    if credentials.bearer:
        return BearerAccount(credentials)
    if credentials.access_key:
        return SignatureAccount(endpoint, credentials, now)
    time, rng = asyncio.get_running_loop().time, random.Random()
    return TokenAccount(endpoint, credentials, transport, cache=cache, patience=patience, now=now, time=time, rng=rng)
