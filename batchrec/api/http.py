"""aiohttp as the transport. The only place, with the emulator's server, that knows it; its errors become ours here."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import NamedTuple
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.tracing import Trace
from yarl import URL

from .. import __version__
from ..errors import JobError
from ..values import Failure, Kind, Reply

MAX_REPLY = 2 * 1024 * 1024
"""Bytes of a reply that are read at most. Those with encyclopaedia text are some 50 KB, and JSON of nothing but empty
objects takes 25 times its bytes as Python values."""

_CONNECT_SECONDS = 10.0
_INTERIM = frozenset(range(100, 200)) - {101}
"""Status codes that say nothing yet; after 101 comes something else than HTTP."""


@asynccontextmanager
async def open_transport(endpoint: str, call_seconds: float) -> AsyncIterator["HttpTransport"]:
    """One pool of connections for a whole run, to one endpoint. `call_seconds` bounds a whole call."""
    # Connecting (name, TCP, TLS, proxy) must give up first: a call that never left is not counted.
    limits = aiohttp.ClientTimeout(total=call_seconds, connect=min(0.9 * call_seconds, _CONNECT_SECONDS))
    proxy = proxy_for(endpoint)
    # Certificates are verified, always; SSL_CERT_FILE adds to what is trusted. The pool of workers bounds the calls.
    async with _Connector(limit=0, ssl=ssl.create_default_context()) as connector:
        yield HttpTransport(connector, proxy, limits)


def proxy_for(endpoint: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for an endpoint. Plain http is for loopback: never proxied.

    Raises JobError where it is no proxy that can be used: going past it might be what its owner wants to prevent.
    """
    url = URL(endpoint)
    proxies = getproxies_environment()
    if url.scheme != "https" or proxy_bypass_environment(f"{url.host}:{url.port}", proxies):
        return None
    proxy = proxies.get("https")
    if proxy is None:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _usable(proxy):
        raise JobError("HTTPS_PROXY: expected http://host:port (the value is not shown: it may hold a password)")
    return proxy


def _usable(proxy: str) -> bool:
    """Whether it is the address of an HTTP proxy. aiohttp would speak HTTP to any other, or go past it."""
    try:
        url = URL(proxy)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


class _Unconnected(Exception):
    """There is no connection, so the call never left; the cause says why."""


class _Connector(aiohttp.TCPConnector):
    """Tells calls that never left from all others, and keeps no connection on which something came unasked."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the name is aiohttp's
    ) -> Connection:
        """As aiohttp does; whatever goes wrong before there is a connection is raised as _Unconnected."""
        try:
            return await super().connect(req, traces, timeout)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise _Unconnected from exc

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        # A reply that arrived while the connection was idle would be taken for the answer of the next picture.
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()
        return None


class HttpTransport:
    """Posts bytes over aiohttp's connections, and reads replies with its parser.

    aiohttp's session would do both, at 105 us of processor time a call where this takes 50: it makes anew for each
    call what is the same in all of them (`python -m benchmarks overhead` has both, as `client: HTTP`).
    """

    def __init__(self, connector: aiohttp.BaseConnector, proxy: str | None, limits: aiohttp.ClientTimeout) -> None:
        self._connector = connector
        self._proxy = URL(proxy) if proxy else None
        self._limits = limits
        self._target = lru_cache(maxsize=64)(self._make_target)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Failure:
        """The reply, or why there is none. Redirects are not followed: the token must not go elsewhere."""
        try:
            async with asyncio.timeout(self._limits.total):
                return await self._exchange(self._target(url, *headers.items()), body)
        except _Unconnected as exc:
            return _unconnected(exc.__cause__, proxied=self._proxy is not None)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError) as exc:
            return _failure(exc)

    async def _exchange(self, target: "_Target", body: bytes) -> Reply | Failure:
        connection = await self._connector.connect(target.request, [], self._limits)
        reusable = False
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or transport.is_closing():
                raise _Unconnected from ConnectionResetError()
            protocol.set_response_params(read_until_eof=True)
            transport.writelines((target.head, b"Content-Length: %d\r\n\r\n" % len(body), body))
            message, content = await protocol.read()
            while message.code in _INTERIM:
                message, content = await protocol.read()
            reply = await _read(message.code, content)
            # A reply that came before all of the body had left is the last one of its connection.
            reusable = isinstance(reply, Reply) and not message.upgrade and not transport.get_write_buffer_size()
            return reply
        finally:
            if reusable:
                connection.release()
            else:
                connection.close()

    def _make_target(self, url: str, *headers: tuple[str, str]) -> "_Target":
        """Raises ValueError where a header has a line break in it, which would begin another one."""
        request = aiohttp.ClientRequest(
            "POST",
            URL(url, encoded=True),
            headers={"User-Agent": f"batchrec/{__version__}", "Accept": "application/json", **dict(headers)},
            loop=asyncio.get_running_loop(),
            proxy=self._proxy,
        )
        lines = [f"POST {request.url.raw_path_qs} HTTP/1.1"]
        lines += (f"{name}: {value}" for name, value in request.headers.items() if name != "Content-Length")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header has more than one line")
        return _Target(request, "\r\n".join((*lines, "")).encode())


class _Target(NamedTuple):
    """What is the same in all calls to an address: how aiohttp connects to it, and how a request begins."""

    request: aiohttp.ClientRequest
    head: bytes


async def _read(status: int, content: aiohttp.StreamReader) -> Reply | Failure:
    body = bytearray()
    while chunk := await content.readany():
        body += chunk
        if len(body) > MAX_REPLY:
            return Failure(Kind.TRANSIENT, "not_json", f"the reply is larger than {MAX_REPLY >> 20} MB")
    return Reply(status, bytes(body))


def _unconnected(exc: BaseException | None, *, proxied: bool) -> Failure:
    """Why there is no connection; nothing was sent, so nothing can have been counted."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return Failure(Kind.TRANSIENT, "tls", _certificate(exc.certificate_error), counted=False)
        case aiohttp.ClientConnectorSSLError():
            return Failure(Kind.TRANSIENT, "tls", f"no TLS connection to {exc.host}: {exc.strerror}", counted=False)
        case aiohttp.ClientHttpProxyError():
            message = f"the proxy made no connection: it answered HTTP {exc.status}"
        case aiohttp.ClientConnectorError():
            place = "the proxy" if isinstance(exc, aiohttp.ClientProxyConnectionError) else f"{exc.host}:{exc.port}"
            way = " through the proxy" if proxied and place != "the proxy" else ""
            message = f"no connection to {place}{way}: {exc.strerror or type(exc.os_error).__name__}"
        case TimeoutError():
            message = "no connection within the time"
        case _:
            whose = "the proxy made no connection" if proxied else "no connection"
            message = f"{whose} ({type(exc).__name__})"
    return Failure(Kind.TRANSIENT, "connection", message, counted=False)


def _failure(exc: Exception) -> Failure:
    """What went wrong after the call may have left, without the address: it holds the token."""
    match exc:
        case TimeoutError():
            return Failure(Kind.TRANSIENT, "timeout", "no answer within limits.timeout")
        case _:
            return Failure(Kind.TRANSIENT, "disconnected", f"the connection broke ({type(exc).__name__})")


def _certificate(error: Exception) -> str:
    reason = getattr(error, "verify_message", None) or str(error)
    return f"the server's certificate was not accepted: {reason}"
