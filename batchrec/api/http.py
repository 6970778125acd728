"""HTTP transports: aiohttp's session by default, the direct one for high rates.

Failures come back as values.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError
from yarl import URL

from ..interfaces import Transport, Upload
from ..values import Failure, Reply
from .connections import HEADERS, Connector, Unconnected, broken_call, no_connection, proxy_for, read_reply, trusting
from .direct import DirectTransport
from .uplink import Uplink

DIRECT_ABOVE = 500.0
"""Calls per second above which the direct transport is used: there the session's 50 us a call take 2.5 % of a core."""

_CONNECT_SECONDS = 10.0


@asynccontextmanager
async def open_transport(endpoint: str, call_seconds: float, rate: float = 0.0) -> AsyncIterator[Transport]:
    """Open one pool of connections to one endpoint, for a whole run.

    `call_seconds` bounds a call from the last byte of its body on; `rate` is the highest number of calls per second
    that the run can ask for (`math.inf` where it is not known), by which the transport is chosen.
    """
    # Connecting (name, TCP, TLS, proxy) must give up first: a call that never left is not counted.
    limits = aiohttp.ClientTimeout(total=None, connect=min(0.9 * call_seconds, _CONNECT_SECONDS))
    proxy = proxy_for(endpoint)
    connector = Connector(limit=0, ssl=trusting(endpoint))  # the pool of workers bounds the calls
    async with connector:
        if rate > DIRECT_ABOVE:
            yield DirectTransport(connector, proxy, limits, call_seconds)
            return
        # No cookies, and no netrc: nothing is sent but what a call carries.
        async with aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            timeout=limits,
            trust_env=False,
        ) as session:
            yield SessionTransport(session, proxy, call_seconds)


class SessionTransport:
    """Posts bytes through aiohttp's session, by its public API alone."""

    def __init__(self, session: aiohttp.ClientSession, proxy: str | None, call_seconds: float) -> None:
        self._session = session
        self._proxy = proxy
        self._seconds = call_seconds
        self._url = lru_cache(maxsize=64)(lambda text: URL(text, encoded=True))

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], upload: Upload | None = None
    ) -> Reply | Failure:
        """Post, and return the reply or the failure.

        Redirects are not followed: the token must not go elsewhere.
        """
        upload = upload or Uplink().upload(len(body))
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                return await self._exchange(url, _Body(body, upload, deadline, self._seconds), headers)
        except Unconnected as exc:
            return no_connection(exc.__cause__, proxied=self._proxy is not None)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError) as exc:
            return broken_call(exc, stalled=upload.stalled)
        finally:
            upload.end()

    async def _exchange(self, url: str, body: "_Body", headers: Mapping[str, str]) -> Reply | Failure:
        response = await self._session.post(
            self._url(url), data=body, headers=headers, allow_redirects=False, proxy=self._proxy
        )
        reusable = False
        try:
            reply = await read_reply(response.status, response.content)
            # A reply that came before all of the body had left is the last one of its connection.
            if reusable := isinstance(reply, Reply) and body.sent:
                body.upload.replied()
            return reply
        finally:
            if reusable:
                response.release()
            else:
                response.close()


class _Body(aiohttp.Payload):
    """Bytes of a request, whose way through the uplink is watched.

    `deadline` of the call is set to `seconds` after the last byte has left.
    """

    def __init__(self, body: bytes, upload: Upload, deadline: asyncio.Timeout, seconds: float) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = body
        self.upload = upload
        self._deadline, self._seconds = deadline, seconds
        self.sent = False
        """Whether all of it was handed to the connection."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body, and wait while the connection takes no more."""
        transport = getattr(writer, "transport", None)  # of all writers but those of tests
        for piece in self.upload.pieces(self._body, transport, self._deadline, self._seconds):
            await writer.write(piece)
        self.sent = True
