"""Connections shared by both transports: pool, proxy, and the errors of aiohttp as failures."""

import os
import ssl
from http import HTTPStatus
from typing import Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from .. import __version__
from ..errors import JobError
from ..language import _, os_reason
from ..values import Failure, Kind, Reply
from .pasted import pasted

MAX_REPLY = 2 * 1024 * 1024
"""Bytes of a reply that are read at most. Those with encyclopaedia text are some 50 KB, and JSON of nothing but empty
objects takes 25 times its bytes as Python values."""

HEADERS = {"User-Agent": f"batchrec/{__version__}", "Accept": "application/json"}
"""Headers of every request."""


_PERCENT = "special characters of a password must be percent-encoded: # is %23, @ is %40, / is %2F, % is %25"

_UNTRUSTED = (
    "if a proxy, firewall or server of your own signs it, save that authority's certificate as a PEM file, and name "
    "it in SSL_CERT_FILE"
)

_REMEDIES = {
    9: "check the clock of this machine (SSL_CERT_FILE does not help here)",
    10: "check the clock of this machine, or have the server's certificate renewed (SSL_CERT_FILE does not help here)",
    62: "another server answers: check the endpoint, DNS and HTTPS_PROXY (SSL_CERT_FILE does not help here)",
    64: "another server answers: check the endpoint, DNS and HTTPS_PROXY (SSL_CERT_FILE does not help here)",
}
"""Remedies by OpenSSL's number of the reason: not valid yet, expired, another host name, another address."""


class Unconnected(Exception):
    """There is no connection, so the call never left; the cause says why."""


class Connector(aiohttp.TCPConnector):
    """Pool of connections that tells calls that never left from all others.

    Uses the methods of aiohttp that have no underscore, with whatever arguments they have.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        """Connect as aiohttp does. Raises Unconnected for whatever goes wrong before there is a connection."""
        while True:
            try:
                connection = await super().connect(*args, **kwargs)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
                raise Unconnected from exc
            protocol, transport = connection.protocol, connection.transport
            if protocol is not None and transport is not None and not transport.is_closing():
                # A reply that arrived while the connection was idle would be taken for that of the next image.
                if not (protocol in self._used and protocol.should_close):
                    self._used.add(protocol)
                    return connection
            elif protocol is None or protocol not in self._used:
                connection.close()
                raise Unconnected from ConnectionResetError()
            connection.close()


def proxy_for(endpoint: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for an endpoint.

    Plain http is for loopback, and never proxied. Raises JobError as `proxy_of`.
    """
    url = URL(endpoint)
    return proxy_of(url) if url.scheme == "https" else None


def proxy_of(url: URL) -> str | None:
    """The proxy that HTTPS_PROXY or HTTP_PROXY and NO_PROXY name for a URL.

    Raises JobError where it is no proxy that can be used: going past it might be what its owner wants to prevent.
    """
    proxies = getproxies_environment()
    if proxy_bypass_environment(f"{url.host}:{url.port}", proxies):
        return None
    if not (proxy := pasted(proxies.get(url.scheme, ""))):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _usable(proxy):
        raise JobError(
            _(
                "{variable}: expected http://host:port or http://user:password@host:port (the value is not shown); "
                "special characters of a password must be percent-encoded: # is %23, @ is %40, / is %2F, % is %25"
            ).format(variable=f"{url.scheme.upper()}_PROXY")
        )
    return proxy


def _usable(proxy: str) -> bool:
    """Whether it is the address of an HTTP proxy. aiohttp would speak HTTP to any other, or go past it."""
    try:
        url = URL(proxy)
    except ValueError:
        return False
    # A password with a "/", "?" or "#" ends the host too early.
    return url.scheme in ("http", "https") and bool(url.host) and url.raw_path_qs in ("", "/") and not url.fragment


async def read_reply(status: int, content: aiohttp.StreamReader) -> Reply | Failure:
    """Read a reply to its end, or to `MAX_REPLY` bytes: then the connection must not be used again."""
    body = bytearray()
    while chunk := await content.readany():
        body += chunk
        if len(body) > MAX_REPLY:
            return Failure(Kind.TRANSIENT, "not_json", f"the reply is larger than {MAX_REPLY >> 20} MB")
    return Reply(status, bytes(body))


def no_connection(exc: BaseException | None, *, proxied: bool) -> Failure:
    """Failure of a call that had no connection: nothing was sent, so nothing can have been counted."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return Failure(Kind.TRANSIENT, "tls", _certificate(exc.certificate_error), counted=False)
        case aiohttp.ClientConnectorSSLError():
            message = f"no TLS connection to {exc.host}: {exc.strerror}; see HTTPS_PROXY and SSL_CERT_FILE"
            return Failure(Kind.TRANSIENT, "tls", message, counted=False)
        case aiohttp.ClientHttpProxyError():
            message = f"the proxy made no connection: it answered HTTP {exc.status}"
            if exc.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                message += f"; check user and password in HTTPS_PROXY; {_PERCENT}"
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


def broken_call(exc: Exception, *, stalled: bool = False) -> Failure:
    """Failure of a call that may have left. Its message has no address: that holds the token.

    `stalled`: its time ended while the body was being sent.
    """
    match exc:
        case TimeoutError() if stalled:
            return Failure(Kind.TRANSIENT, "timeout", "the upload made no progress and was given up")
        case TimeoutError():
            return Failure(Kind.TRANSIENT, "timeout", "no reply within limits.timeout")
        case _:
            return Failure(Kind.TRANSIENT, "disconnected", f"the connection broke ({type(exc).__name__})")


def trusting(endpoint: str) -> ssl.SSLContext | bool:
    """Certificates to trust: the system's, or those of SSL_CERT_FILE. Verification is always on.

    For a plain endpoint nothing is loaded, which takes 50 ms, but a file that is not there is still a mistake. Raises
    JobError where SSL_CERT_FILE cannot be used, which OpenSSL would pass over in silence.
    """
    path = os.environ.get("SSL_CERT_FILE") or None
    try:
        if endpoint.startswith("https:"):
            return ssl.create_default_context(cafile=path)
        if path is not None:
            os.stat(path)
    except ssl.SSLError as exc:
        raise JobError(
            _("SSL_CERT_FILE: {path}: holds no certificate; expected a file in PEM form").format(path=path)
        ) from exc
    except OSError as exc:
        raise JobError(
            _("SSL_CERT_FILE: {path}: {reason}; name a file of certificates, or unset it").format(
                path=path, reason=os_reason(exc)
            )
        ) from exc
    return True


def _certificate(error: Exception) -> str:
    reason = getattr(error, "verify_message", None) or str(error)
    remedy = _REMEDIES.get(getattr(error, "verify_code", 0), _UNTRUSTED)
    return f"the server's certificate was not accepted: {reason}; {remedy}"
