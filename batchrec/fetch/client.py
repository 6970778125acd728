"""Fetcher: one image by its URL into the cache, with retries, redirects and bounds.

Each address is resolved here, checked, and connected to by its number, also through a proxy; with TLS the certificate
is the name's.
"""

import asyncio
import email.utils
import logging
import random
import sqlite3
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from ..api.connections import HEADERS, proxy_of, trusting
from ..sources.logins import HIDDEN_LOGIN, Logins
from ..values import Failure, Kind
from .address import Address, Refused, parse, resolve
from .cache import Incoming, Kept, UrlCache, url_key
from .encoding import decoder, is_foreign
from .tunnel import TunnelConnector, TunnelledRequest

_log = logging.getLogger(__name__)

MOST_REDIRECTS = 5
"""Redirects that are followed; each target is resolved and checked anew."""

ATTEMPTS = 4
"""Attempts of an image while its server can be reached."""

MOST_CONNECTIONS = 64
"""Fetches under way at once, of all hosts together."""

_CHUNK_BYTES = 65_536
_BACKOFF_SECONDS = 0.5  # before the second attempt at most, doubled with each
_LONGEST_WAIT_SECONDS = 120.0
"""Seconds of a Retry-After that are waited; where a server asks for more, a later run tries again."""

_DOWN_AFTER = 8
"""Failures to reach a host, with no result between, after which its images get one attempt each."""

_MOST_ADDRESSES = 3  # of a host that are tried in one attempt
_MOST_ENCODING = 40  # characters of a Content-Encoding that are told
_MOST_TAG = 1024  # characters of an ETag or date that are kept
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses that may pass."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """`input.fetch` of a job: `timeout` in seconds of an attempt, `max_bytes` of a body."""

    per_host: int = 4
    timeout: float = 30.0
    max_bytes: int = 20_000_000
    private: bool = False


class _Ended(NamedTuple):
    """End of an attempt: failure, whether another may succeed, seconds that the server asks to wait.

    `reached`: the host has answered.
    """

    failure: Failure | None
    again: bool = False
    wait: float = 0.0
    reached: bool = True


@dataclass(slots=True)
class _Host:
    """State of a host: failures to reach it in a row; the monotonic time until which it asked for a pause.

    `refusal` is the code and message of all that is fetched from it until `refused_until`, a longer pause.
    """

    lost: int = 0
    resume_at: float = 0.0
    refusal: tuple[str, str] = ("", "")
    refused_until: float = 0.0


class _Wrong(Exception):
    """A reply that is none to keep; the arguments are those of `_Ended`."""

    def __init__(self, code: str, message: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.ended = _Ended(_failure(code, message), again, wait)


class Fetcher:
    """Fetches images into the cache. `look` tells the kind of what is no image by its first bytes.

    `per_host` of one host at once is kept to by the caller, `MOST_CONNECTIONS` of all hosts here.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        cache: UrlCache,
        logins: Logins,
        options: FetchOptions,
        look: Callable[[bytes], str | None],
        rng: random.Random | None = None,
    ) -> None:
        self._session, self._cache, self._logins, self._options = session, cache, logins, options
        self._look = look
        self._rng = rng or random.Random()
        self._hosts: dict[str, _Host] = {}
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)

    @property
    def per_host(self) -> int:
        """Fetches from one host at once."""
        return self._options.per_host

    @property
    def ahead_bytes(self) -> int:
        """Bytes that may be fetched ahead of their use: they must not push each other out of the cache."""
        return min(_AHEAD_BYTES, self._cache.most_bytes // 4)

    def has(self, key: str) -> int | None:
        """Size in bytes of an image that need not be fetched; None where it has to be."""
        try:
            found = self._cache.fresh(self._key(parse(key), key))
        except Refused:
            return None
        return None if found is None else found.size

    def host(self, key: str) -> str:
        """Host of an image, by which fetches are bounded."""
        try:
            return parse(key).host
        except Refused:
            return ""

    def address(self, key: str) -> str:
        """The URL of an image with its login, as it was written."""
        login = self._logins.get(key)
        return key.replace(HIDDEN_LOGIN, login, 1) if login else key

    async def fetch(self, key: str) -> Failure | None:
        """Fetch an image into the cache, with retries; the failure where that cannot be done."""
        try:
            address = parse(key)
        except Refused as refused:
            return _failure("fetch_address", str(refused))
        # Two spellings of one URL are fetched once.
        async with self._locks.setdefault(self._key(address, key), asyncio.Lock()):
            return None if self.has(key) is not None else await self._persist(address, key)

    async def _persist(self, address: Address, key: str) -> Failure | None:
        """Attempt until the image is there, or another attempt is of no use."""
        host = self._host(address)
        time_now = asyncio.get_running_loop().time
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(max(0.0, host.resume_at - time_now()))
            async with self._places:
                ended = await self._attempt(address, key)
            host.lost = 0 if ended.reached else host.lost + 1
            if ended.failure is None or not ended.again or host.lost >= _DOWN_AFTER:
                return ended.failure
            if ended.wait:
                host.resume_at = max(host.resume_at, time_now() + ended.wait)
            elif attempt + 1 < ATTEMPTS:
                await asyncio.sleep(self._rng.uniform(0, _BACKOFF_SECONDS * 2**attempt))
        return ended.failure

    # -- one attempt

    def _host(self, address: Address) -> _Host:
        return self._hosts.setdefault(address.host, _Host())

    def _key(self, address: Address, key: str) -> bytes:
        return url_key(address.url, self._logins.get(key), private=self._options.private)

    async def _attempt(self, address: Address, key: str) -> _Ended:
        cached = self._cache.find(self._key(address, key))
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._follow(address, key, cached)
        except _Wrong as wrong:
            return wrong.ended
        except Refused as refused:
            return _Ended(_failure("fetch_private", str(refused)))
        except TimeoutError:
            told = f"not fetched within input.fetch.timeout ({self._options.timeout:g} s)"
            return _Ended(_failure("fetch_timeout", told), again=True, reached=False)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as exc:
            return _unfetched(exc)
        return _Ended(None)

    async def _follow(self, address: Address, key: str, cached: Kept | None) -> None:
        """Request the image, from redirect to redirect, each target checked anew."""
        origin, login = address.origin, self._logins.get(key)
        cache_key = self._key(address, key)
        time_now = asyncio.get_running_loop().time
        for _ in range(MOST_REDIRECTS + 1):
            host = self._host(address)
            if time_now() < host.refused_until:
                raise _Wrong(*host.refusal)
            headers = _headers(address, login if address.origin == origin else "", cached)
            async with self._requested(address, headers) as response:
                if response.status not in _REDIRECTS:
                    self._check_pause(response, host, time_now())
                    await self._take(response, cache_key, cached)
                    return
                location = response.headers.get("Location", "")
            if not location:
                raise _Wrong("fetch_redirects", f"HTTP {response.status} without a Location")
            try:
                address = address.joined(location)
            except Refused as refused:
                raise _Wrong("fetch_redirects", str(refused)) from None
        raise _Wrong("fetch_redirects", f"more than {MOST_REDIRECTS} redirects")

    @asynccontextmanager
    async def _requested(self, address: Address, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response of the first address of the host that can be connected to."""
        ips = (await resolve(address, private=self._options.private))[:_MOST_ADDRESSES]
        proxy = proxy_of(URL(f"{address.scheme}://{address.authority}"))
        for at, ip in enumerate(ips):
            try:
                response = await self._session.get(
                    address.at(ip),
                    headers=headers,
                    allow_redirects=False,
                    proxy=proxy,
                    server_hostname=address.host if address.scheme == "https" else None,
                )
            except aiohttp.ClientConnectorError:
                if at + 1 == len(ips) or proxy is not None:
                    raise
                continue
            whole = False
            try:
                yield response
                whole = response.content.at_eof()
            finally:
                if whole:
                    response.release()
                else:
                    response.close()
            return

    def _check_pause(self, response: aiohttp.ClientResponse, host: _Host, now: float) -> None:
        """Note a pause that is not waited for, and raise _Wrong. `now` is monotonic seconds."""
        if (wait := _pause(response)) > _LONGEST_WAIT_SECONDS:
            told = f"{_status_told(response.status)}; Retry-After is more than {_LONGEST_WAIT_SECONDS:g} s"
            host.refusal = f"fetch_{response.status}", f"{told}: nothing is fetched from the host until then"
            host.refused_until = now + wait
            raise _Wrong(*host.refusal)

    async def _take(self, response: aiohttp.ClientResponse, key: bytes, cached: Kept | None) -> None:
        """Take a response that is no redirect. Raises _Wrong where it is none of an image."""
        status = response.status
        if status == HTTPStatus.NOT_MODIFIED and cached is not None:
            self._cache.confirm(key)
            return
        if status != HTTPStatus.OK:
            raise _Wrong(f"fetch_{status}", _status_told(status), again=status in _PASSING, wait=_pause(response))
        most = self._options.max_bytes
        if (response.content_length or 0) > most:
            raise _Wrong("fetch_too_large", f"more than input.fetch.max_bytes ({most:,} bytes)")
        decode = decoder(_encoding(response))
        with _storing():
            body = self._cache.incoming()
        try:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                for piece in decode(chunk):
                    with _storing():
                        body.write(piece)
                    if body.size > most:
                        raise _Wrong("fetch_too_large", f"more than input.fetch.max_bytes ({most:,} bytes)")
            self._keep(response, key, body)
        except zlib.error:
            told = f"the body is not encoded as its Content-Encoding says ({_encoding(response)})"
            raise _Wrong("fetch_encoding", told) from None
        finally:
            body.discard()

    def _keep(self, response: aiohttp.ClientResponse, key: bytes, body: Incoming) -> None:
        """Keep a whole body if it is an image's: a page in its place must not be taken from the cache again."""
        if not body.size:
            raise _Wrong("fetch_empty", "the server sent no bytes")
        if kind := self._look(body.head):
            if is_foreign(encoding := _encoding(response)):
                told = f"the server sent Content-Encoding: {encoding}, which batchrec does not accept and cannot decode"
                raise _Wrong("fetch_encoding", told)
            raise _Wrong("fetch_not_an_image", f"the server sent no image ({kind})")
        etag, modified = (_short(response.headers.get(name)) for name in ("ETag", "Last-Modified"))
        with _storing():
            self._cache.put(key, body, etag, modified)


@contextmanager
def _storing() -> Iterator[None]:
    """Make the failure of an image of what the disk does, told from what the network does."""
    try:
        yield
    except (OSError, sqlite3.Error) as exc:
        told = getattr(exc, "strerror", None) or str(exc)
        raise _Wrong("fetch_storage", f"the cache in the state folder cannot be written: {told}") from exc


_AHEAD_BYTES = 256 * 1024 * 1024
"""Bytes that are fetched ahead of their use at most. They lie on the disk, not in memory."""


@asynccontextmanager
async def open_fetcher(
    cache: UrlCache, logins: Logins, options: FetchOptions, look: Callable[[bytes], str | None]
) -> AsyncIterator[Fetcher]:
    """Open a fetcher with connections of its own.

    Raises JobError where SSL_CERT_FILE or a proxy cannot be used.
    """
    for scheme in ("https", "http"):
        proxy_of(URL(f"{scheme}://example.invalid"))  # before the run, not at its first image
    connector = TunnelConnector(limit=0, ssl=trusting("https:"))
    async with aiohttp.ClientSession(
        connector=connector,
        request_class=TunnelledRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": HEADERS["User-Agent"], "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, connect=options.timeout),
        auto_decompress=False,  # aiohttp breaks the connection where it has no decoder, and does not say for what
        trust_env=False,
    ) as session:
        yield Fetcher(session, cache, logins, options, look)


def _pause(response: aiohttp.ClientResponse) -> float:
    """Seconds for which the host asks for no requests, 0 where the status is none that may pass."""
    if response.status not in _PASSING:
        return 0.0
    return retry_after(response.headers.get("Retry-After", ""), time.time())


def retry_after(text: str, now: float) -> float:
    """Seconds that a Retry-After asks for, by number or date; 0 for anything else. `now` is Unix seconds."""
    text = text.strip()
    if text.isdecimal():
        return min(float(text), 1e9)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _headers(address: Address, login: str, cached: Kept | None) -> dict[str, str]:
    headers = {"Host": address.authority}
    if login:
        headers["Authorization"] = f"Basic {b64encode(unquote_to_bytes(_with_colon(login))).decode()}"
    if cached is not None and cached.etag:
        headers["If-None-Match"] = cached.etag
    elif cached is not None and cached.modified:
        headers["If-Modified-Since"] = cached.modified
    return headers


def _with_colon(login: str) -> str:
    return login if ":" in login else f"{login}:"


def _encoding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()[:_MOST_ENCODING]


def _short(text: str | None) -> str | None:
    return text if text is not None and len(text) <= _MOST_TAG else None


def _status_told(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _unfetched(exc: Exception) -> _Ended:
    """End of an attempt that an error cut short. Its message has no URL, since that may be secret."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            told = "the server's certificate was not accepted; see SSL_CERT_FILE"
            return _Ended(_failure("fetch_tls", told))
        case aiohttp.ClientConnectorSSLError():
            return _Ended(_failure("fetch_tls", "no TLS connection"), again=True, reached=False)
        case aiohttp.ClientHttpProxyError() if exc.status in _PASSING:
            told = f"the proxy made no connection: HTTP {exc.status}"
            return _Ended(_failure("fetch_connection", told), again=True, reached=False)
        case aiohttp.ClientHttpProxyError():
            return _Ended(_failure("fetch_proxy", _refusal(exc.status, exc.request_info.url)), reached=False)
        case aiohttp.ClientProxyConnectionError():
            return _Ended(_failure("fetch_proxy", "no connection to the proxy"), again=True, reached=False)
        case aiohttp.ClientConnectorError():
            told = f"no connection: {exc.strerror or type(exc.os_error).__name__}"
            return _Ended(_failure("fetch_connection", told), again=True, reached=False)
        case OSError() if not isinstance(exc, aiohttp.ClientError | ConnectionError):
            told = f"the host cannot be found or reached: {exc.strerror or exc}"
            return _Ended(_failure("fetch_connection", told), again=True, reached=False)
        case _:
            # The kind of break differs from try to try, and a message that differs would count as a new failure.
            _log.debug("the connection broke: %s", type(exc).__name__)
            return _Ended(_failure("fetch_disconnected", "the connection broke before the image was whole"), again=True)


def _refusal(status: int, url: URL) -> str:
    """The refusal of a proxy to make a tunnel to a URL's address, with what helps."""
    told = f"the proxy refused a tunnel (CONNECT) to port {url.port}: {_status_told(status)}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):  # 401: tinyproxy
        return f"{told}; check user and password in {url.scheme.upper()}_PROXY"
    remedy = "have CONNECT to that port allowed there, or name the host in NO_PROXY"
    return f"{told}; {'use https:// URLs, ' if url.scheme == 'http' else ''}{remedy}"


def _failure(code: str, message: str) -> Failure:
    return Failure(Kind.FETCH, code, message, counted=False)
