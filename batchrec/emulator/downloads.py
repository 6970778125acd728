"""Pictures that a call names by `url`: fetched from the hosts that a setting allows, and no others."""

import asyncio
from http import HTTPStatus

import aiohttp
from yarl import URL

from .settings import Settings

MAX_URL_BYTES = 1024
"""The longest `url`, as the error table has it (282114)."""

_MOST_BYTES = 8 * 1024 * 1024
_SECONDS = 10.0
"""Seconds to the end of a download; the service's own are not known."""


async def download(url: str, settings: Settings) -> bytes | int:
    """The bytes at a URL, or the code that refuses it.

    282114: too long. 282111: no URL of http or https. 282112: not one of `fetch_hosts`, or no answer in time. 282110:
    404. 282113: any other reply than 200 with a body, redirects among them. Which of the two is for which status is
    not known of the service.
    """
    if not url or len(url.encode()) > MAX_URL_BYTES:
        return 282114
    try:
        parts = URL(url)
    except ValueError:
        return 282111
    if parts.scheme not in ("http", "https") or not parts.host:
        return 282111
    if parts.host not in settings.fetch_hosts:
        return 282112
    try:
        async with (
            asyncio.timeout(_SECONDS),
            aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(parts, allow_redirects=False) as response,
        ):
            if response.status == HTTPStatus.NOT_FOUND:
                return 282110
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MOST_BYTES:
                    return 282113
            return bytes(body) if body and response.status == HTTPStatus.OK else 282113
    except (TimeoutError, aiohttp.ClientConnectionError):
        return 282112
    except (aiohttp.ClientError, ValueError):
        return 282113
