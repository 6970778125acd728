"""Fast transport for high rates: aiohttp's connections and its reply parser, without its session.

The session makes anew for each call what is the same in all of them, at some 50 us of processor time
(`python -m benchmarks overhead` has both transports). The price is that this module uses parts of aiohttp that
are no public API: `ClientRequest` and the reply parser of a connection. aiohttp 4 changes them.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from yarl import URL

from ..interfaces import Upload
from ..values import Failure, Reply
from .connections import HEADERS, Connector, Unconnected, broken_call, no_connection, read_reply
from .uplink import Uplink

_INTERIM = frozenset(range(100, 200)) - {101}
"""Status codes of interim replies; after 101 comes something else than HTTP."""


class DirectTransport:
    """Posts bytes over the connections of a pool, and reads replies with aiohttp's parser."""

    def __init__(
        self, connector: Connector, proxy: str | None, limits: aiohttp.ClientTimeout, call_seconds: float
    ) -> None:
        self._connector = connector
        self._proxy = URL(proxy) if proxy else None
        self._limits = limits
        self._seconds = call_seconds
        self._target = lru_cache(maxsize=64)(self._make_target)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], upload: Upload | None = None
    ) -> Reply | Failure:
        """Post, and return the reply or the failure.

        Redirects are not followed: the token must not go elsewhere.
        """
        upload = upload or Uplink().upload(len(body))
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                return await self._exchange(self._target(url, *headers.items()), body, upload, deadline)
        except Unconnected as exc:
            return no_connection(exc.__cause__, proxied=self._proxy is not None)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError) as exc:
            return broken_call(exc, stalled=upload.stalled)
        finally:
            upload.end()

    async def _exchange(
        self, target: "_Target", body: bytes, upload: Upload, deadline: asyncio.Timeout
    ) -> Reply | Failure:
        connection = await self._connector.connect(target.request, [], self._limits)
        reusable, writer = False, None
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:  # the pool gives none such
                raise Unconnected from ConnectionResetError()
            protocol.set_response_params(read_until_eof=True)
            head = (target.head, b"Content-Length: %d\r\n\r\n" % len(body))
            pieces = upload.pieces(body, transport, deadline, self._seconds)
            transport.writelines((*head, next(pieces)))
            if (second := next(pieces, None)) is not None:
                writer = asyncio.ensure_future(_write(protocol, transport, second, pieces))
            message, content = await protocol.read()
            while message.code in _INTERIM:
                message, content = await protocol.read()
            reply = await read_reply(message.code, content)
            # A reply that came before all of the body had left is the last one of its connection.
            left = (writer is None or writer.done()) and not transport.get_write_buffer_size()
            if left and isinstance(reply, Reply):
                upload.replied()
                reusable = not message.upgrade
            return reply
        finally:
            if writer is not None:
                writer.cancel()
            if reusable:
                connection.release()
            else:
                connection.close()

    def _make_target(self, url: str, *headers: tuple[str, str]) -> "_Target":
        """Raises ValueError where a header has a line break in it, which would begin another one."""
        request = aiohttp.ClientRequest(
            "POST",
            URL(url, encoded=True),
            headers={**HEADERS, **dict(headers)},
            loop=asyncio.get_running_loop(),
            proxy=self._proxy,
        )
        lines = [f"POST {request.url.raw_path_qs} HTTP/1.1"]
        lines += (f"{name}: {value}" for name, value in request.headers.items() if name != "Content-Length")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header has more than one line")
        return _Target(request, "\r\n".join((*lines, "")).encode())


async def _write(
    protocol: ResponseHandler,
    transport: asyncio.Transport,
    piece: bytes | memoryview,
    pieces: Iterator[bytes | memoryview],
) -> None:
    """Write the further pieces of a body beside the reading of the reply, which may come early."""
    with contextlib.suppress(OSError):  # the reader meets it as well
        while piece and not transport.is_closing():
            await protocol._drain_helper()
            transport.write(piece)
            piece = next(pieces, b"")


class _Target(NamedTuple):
    """Constant part of the calls to an address: aiohttp's request to connect for, and the head as bytes."""

    request: aiohttp.ClientRequest
    head: bytes
