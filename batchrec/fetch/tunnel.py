"""Tunnels through a proxy for plain http too, to the address that was checked.

A proxy that is sent a plain `GET http://...` looks the name up by itself, and may get another address than the one
that was checked. The number in place of the name is no way out: a proxy must replace the Host header by what stands in
the URL (RFC 9112, 3.2.2), and servers of several names would not know which is meant. So the proxy is sent a CONNECT
to the checked address, as it is for https, and the request goes through the tunnel with the Host header of the name.

aiohttp has tunnels for https only. `TunnelledRequest` lets it take a proxied request of plain http for one that needs
a tunnel, and `TunnelConnector` leaves out the TLS in it.
"""

import asyncio
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class TunnelledRequest(aiohttp.ClientRequest):
    """A request that goes through a tunnel wherever it goes through a proxy."""

    def is_ssl(self) -> bool:
        """Whether the request needs a tunnel through its proxy; without one, whether it needs TLS."""
        return self.proxy is not None or super().is_ssl()


class TunnelConnector(aiohttp.TCPConnector):
    """Pool of connections whose tunnels carry TLS for https, and nothing but the request for http."""

    async def _start_tls_connection(
        self, underlying_transport: asyncio.Transport, req: aiohttp.ClientRequest, *args: Any, **named: Any
    ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
        """Begin what the tunnel carries. Should aiohttp not call this any more, http fails for want of TLS."""
        if req.url.scheme == "https":
            return await super()._start_tls_connection(underlying_transport, req, *args, **named)
        protocol = ResponseHandler(asyncio.get_running_loop())
        underlying_transport.set_protocol(protocol)
        protocol.connection_made(underlying_transport)
        return underlying_transport, protocol
