"""Accounts: credentials, and the token obtained for them once for all calls and kept between runs.

Token facts (API pages, 2024-02): valid 30 days; old ones stay valid when a new one is fetched; `expires_in` in seconds.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlencode

import orjson
from filelock import FileLock, Timeout

from ..errors import CredentialsRefused, ServiceUnavailable
from ..interfaces import Transport
from ..language import _, mark, ngettext
from ..redact import remember
from ..state.directory import write_private
from ..state.file_system import private_lock
from ..values import Authorization, Failure, Kind, Reply
from .call import JsonClient, read_object, words
from .credentials import Credentials, key_digest

_log = logging.getLogger(__name__)

TOKEN_PATH = "/oauth/2.0/token"
_FORM = "application/x-www-form-urlencoded"
_DAY = 86_400
"""Seconds before its end at which a token is renewed, or at a tenth of its life if that is shorter."""

_RENEW_AGAIN = 60.0
"""Seconds between attempts to renew a token that still works."""

_TURN_SECONDS = 10.0
"""Seconds that another process is waited for, while it fetches a token: a call takes no longer."""

_LOOK_AGAIN = 0.05
"""Seconds between two looks at another process's lock."""

_LONGEST_TOKEN = 8000  # characters; usual ones have 70; they travel in addresses, of which servers read 8 KB
_HINT = mark("check the key and secret with `batchrec login`")


class BearerAccount:
    """An account that signs with an API Key: nothing to fetch, nothing to renew."""

    refreshes = 0

    def __init__(self, credentials: Credentials) -> None:
        self.secrets = credentials.secrets
        self._authorization = Authorization(headers=(("Authorization", f"Bearer {credentials.bearer}"),))

    async def authorize(self) -> Authorization:
        """Authorization of every call."""
        return self._authorization

    def on_refused(self, authorization: Authorization) -> None:
        """Raise CredentialsRefused: there is no other key to try."""
        raise CredentialsRefused(_("the service does not take the API Key (bearer) of this profile"))


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    obtained: float
    expires: float

    @property
    def renew_at(self) -> float:
        return self.expires - min(_DAY, (self.expires - self.obtained) / 10)


class TokenAccount:
    """Account that signs with an OAuth token, fetched once and kept in `cache` (None: in memory).

    `now` gives Unix seconds, `time` monotonic seconds; `patience` is how many seconds an unreachable token endpoint
    is waited for.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        transport: Transport,
        *,
        cache: Path | None,
        patience: float,
        now: Callable[[], float],
        time: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._url = endpoint + TOKEN_PATH
        self._credentials = credentials
        self._client = JsonClient(endpoint, None, transport, patience=patience, time=time, rng=rng)
        name = key_digest(f"{endpoint}\0{credentials.api_key}\0{credentials.secret_key}")
        self._cache = cache / "tokens" / f"{name}.json" if cache else None
        self._now, self._time = now, time
        self._lock = asyncio.Lock()
        self._token: _Token | None = None
        self._renew_at = 0.0
        self._last = ""
        self._authorization = Authorization()
        self.refreshes = 0
        """Tokens of this run that were replaced by a new one."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, the secret, and the token once there is one."""
        return (*self._credentials.secrets, *((self._token.text,) if self._token else ()))

    async def authorize(self) -> Authorization:
        """Current token, fetched or renewed if need be. Raises CredentialsRefused or ServiceUnavailable."""
        if not self._usable():
            async with self._lock:
                while not self._usable():
                    await self._renew()
        return self._authorization

    def on_refused(self, authorization: Authorization) -> None:
        """Drop a token that the service refused, unless it was replaced since."""
        if authorization is self._authorization:
            self._token = None

    def _usable(self) -> bool:
        return self._token is not None and self._now() < min(self._renew_at, self._token.expires)

    async def _renew(self) -> None:
        good = self._token is not None and self._now() < self._token.expires
        failure = await (self._obtain() if good else self._obtain_patiently())
        if failure is not None:  # tokens are renewed early for this: the old one is good for a while yet
            _log.warning("the token is not renewed yet: %s", failure.message)
            self._renew_at = self._now() + _RENEW_AGAIN

    async def _obtain_patiently(self) -> None:
        attempts = 1

        def tell(failure: Failure) -> None:
            nonlocal attempts
            attempts += 1
            _log.warning("no token yet: %s", failure.message)

        failure = await self._client.patiently(self._obtain, tell)
        if failure is not None:
            raise ServiceUnavailable(
                ngettext(
                    "no token from {url}: {message} ({count} attempt)",
                    "no token from {url}: {message} ({count} attempts)",
                    attempts,
                ).format(url=self._url, message=failure.message, count=attempts)
            )

    async def _obtain(self) -> Failure | None:
        """Take the token that another process has fetched, or fetch one; returns the failure if there is none."""
        if self._take_over():
            return None
        async with self._refresh_lock():
            if self._take_over():
                return None
            outcome = await self._fetch()
            if isinstance(outcome, Failure):
                return outcome
            self.refreshes += bool(self._last)
            self._use(outcome, fresh=True)
            self._store(outcome)
            return None

    @asynccontextmanager
    async def _refresh_lock(self) -> AsyncIterator[None]:
        """Lock under which one process at a time fetches a token.

        The others wait for what it writes, for 10 s.

        Held for one request, not for the waits between them. Whoever cannot have it, since its holder is stuck or the
        folder is not writable, fetches all the same: two tokens do no harm.
        """
        if self._cache is None:
            yield
            return
        until = self._time() + _TURN_SECONDS
        lock: FileLock | None = None
        with contextlib.suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = private_lock(self._cache.with_suffix(".lock"))
            while not _acquired(lock) and self._time() < until:  # noqa: ASYNC110 - other processes signal nothing
                await asyncio.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _take_over(self) -> bool:
        """Use the token that is kept, unless it is the one that this process had last."""
        kept = self._kept()
        if kept is None or kept.text == self._last:
            return False
        self._use(kept, fresh=False)
        return True

    def _use(self, token: _Token, *, fresh: bool) -> None:
        remember(token.text)
        self._token = token
        self._renew_at = token.renew_at
        self._last = token.text
        self._authorization = Authorization(query=urlencode({"access_token": token.text}), fresh=fresh)

    async def _fetch(self) -> _Token | Failure:
        # In the body, where the official samples put it too: an address ends up in the logs of proxies.
        form = {
            "grant_type": "client_credentials",
            "client_id": self._credentials.api_key,
            "client_secret": self._credentials.secret_key,
        }
        return await self._client.once(
            TOKEN_PATH, urlencode(form).encode(), _FORM, lambda reply: read_token(reply, self._now())
        )

    def _kept(self) -> _Token | None:
        if self._cache is None:
            return None
        try:
            stored = orjson.loads(self._cache.read_bytes())
            token = _Token(str(stored["access_token"]), float(stored["obtained"]), float(stored["expires"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return token if self._now() < token.renew_at else None

    def _store(self, token: _Token) -> None:
        if self._cache is None:
            return
        content = {"access_token": token.text, "obtained": token.obtained, "expires": token.expires}
        with contextlib.suppress(OSError):  # the next run fetches another one: no reason to end this one
            write_private(self._cache, orjson.dumps(content))


def _acquired(lock: FileLock) -> bool:
    """Whether the lock could be had at once."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def read_token(reply: Reply, now: float) -> _Token | Failure:
    """Parse the token in a reply of the token endpoint; returns a failure that may pass.

    Raises CredentialsRefused.

    A wrong key is answered with HTTP 401 and `{"error": "invalid_client", ...}` (seen 2022 to 2026).
    """
    content = read_object(reply)
    if content is None:
        return Failure(Kind.TRANSIENT, f"http_{reply.status}", f"the token endpoint answered HTTP {reply.status}")
    if isinstance(content.get("error"), str) and reply.status < 500 and reply.status != 429:
        told = words(f"{content['error']}: {content.get('error_description')}")
        raise CredentialsRefused(
            _("the token endpoint does not take the key or secret ({told}); {hint}").format(told=told, hint=_(_HINT))
        )
    text, life = content.get("access_token"), content.get("expires_in")
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_TOKEN or not _lasts(life):
        return Failure(Kind.TRANSIENT, "no_token", f"the token endpoint answered HTTP {reply.status} without a token")
    return _Token(text, now, now + life)


def _lasts(life: object) -> TypeGuard[float]:
    """Whether a token's life is at least 1 s: with less, the next would be fetched at once, without end."""
    return isinstance(life, int | float) and not isinstance(life, bool) and life >= 1
