"""aiohttp as the transport. The only place, with the emulator's server, that knows it; its errors become ours here."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
from yarl import URL

from . import __version__
from .model import Failure, Kind, Reply

MAX_REPLY = 16 * 1024 * 1024
"""Bytes of a reply that are read at most; replies with encyclopaedia text are some 50 KB."""

_CONNECT_SECONDS = 10.0
_LARGE = 2**20


@asynccontextmanager
async def open_transport(endpoint: str, call_seconds: float) -> AsyncIterator["HttpTransport"]:
    """One session for a whole run, to one endpoint. `call_seconds` bounds a whole call."""
    # Connecting (name, TCP, TLS, proxy) must give up first: a call that never left is not counted.
    limits = aiohttp.ClientTimeout(total=call_seconds, connect=min(0.9 * call_seconds, _CONNECT_SECONDS))
    # Certificates are verified, always; SSL_CERT_FILE adds to what is trusted. The pool of workers bounds the calls.
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=limits,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"batchrec/{__version__}", "Accept": "application/json"},
    ) as session:
        yield HttpTransport(session, proxy_for(endpoint))


def proxy_for(endpoint: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for an endpoint. Plain http is for loopback: never proxied."""
    url = URL(endpoint)
    proxies = getproxies_environment()
    if url.scheme != "https" or proxy_bypass_environment(f"{url.host}:{url.port}", proxies):
        return None
    proxy = proxies.get("https")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class HttpTransport:
    """Posts bytes through one aiohttp session."""

    def __init__(self, session: aiohttp.ClientSession, proxy: str | None) -> None:
        self._session = session
        self._proxy = proxy

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Failure:
        """The reply, or why there is none. Redirects are not followed: the token must not go elsewhere."""
        # A large body is sent in pieces: as bytes it would be one write, which aiohttp warns about.
        data = body if len(body) < _LARGE else io.BytesIO(body)
        try:
            async with self._session.post(
                URL(url, encoded=True), data=data, headers=headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                return await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as exc:
            return _failure(exc)


async def _read(response: aiohttp.ClientResponse) -> Reply | Failure:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_REPLY:
            return Failure(Kind.TRANSIENT, "not_json", f"the reply is larger than {MAX_REPLY >> 20} MB")
    return Reply(response.status, bytes(body))


def _failure(exc: Exception) -> Failure:
    """What went wrong, without the address: it holds the token."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return Failure(Kind.TRANSIENT, "tls", _certificate(exc.certificate_error), counted=False)
        case aiohttp.ClientConnectorSSLError():
            return Failure(Kind.TRANSIENT, "tls", f"no TLS connection to {exc.host}: {exc.strerror}", counted=False)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Failure(Kind.TRANSIENT, "connection", "the proxy made no connection", counted=False)
        case aiohttp.ClientConnectorError():
            reason = exc.strerror or type(exc.os_error).__name__
            message = f"no connection to {exc.host}:{exc.port}: {reason}"
            return Failure(Kind.TRANSIENT, "connection", message, counted=False)
        case aiohttp.ConnectionTimeoutError():
            return Failure(Kind.TRANSIENT, "connection", "no connection within the time", counted=False)
        case TimeoutError():
            return Failure(Kind.TRANSIENT, "timeout", "no answer within limits.timeout")
        case _:
            return Failure(Kind.TRANSIENT, "disconnected", f"the connection broke ({type(exc).__name__})")


def _certificate(error: Exception) -> str:
    reason = getattr(error, "verify_message", None) or str(error)
    return f"the server's certificate was not accepted: {reason}"
