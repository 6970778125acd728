"""Shared by the emulator's tests: pictures, request bodies, and a caller with a token."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import aiohttp
from PIL import Image

from batchrec.emulator import Emulator, serve
from batchrec.emulator.answers.stand_in import finds_nothing
from batchrec.emulator.services import SERVICES

CREDENTIALS = {"grant_type": "client_credentials", "client_id": "a-key", "client_secret": "a-secret"}


def picture(width: int = 64, height: int = 48, *, format: str = "JPEG", shade: int = 90) -> bytes:
    """A plain picture; another shade makes other bytes."""
    file = BytesIO()
    Image.new("RGB", (width, height), (shade, 200 - shade // 2, shade // 3)).save(file, format)
    return file.getvalue()


def picture_where(service: str, *, nothing: bool) -> bytes:
    """A picture on which the stand-in sees something, or nothing, when asked by this service."""
    shades = (picture(shade=shade) for shade in range(256))
    return next(image for image in shades if finds_nothing(service, sha256(image)) == nothing)


def sha256(data: bytes) -> str:
    """As the emulator's counters name a picture."""
    return hashlib.sha256(data).hexdigest()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another connection brings about; TimeoutError after 60 s."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the emulator's counters are plain numbers and signal nothing
            await asyncio.sleep(0.005)


def path_of(service: str, model: str = "fruit") -> str:
    """The path of a service, an EasyDL one's under a model's name."""
    row = SERVICES[service]
    return row.path + (model if row.body == "json" else "")


def body_of(service: str, image: bytes | None, **options: object) -> bytes:
    """The request body in the service's own style."""
    fields: dict[str, object] = {} if image is None else {"image": base64.b64encode(image).decode()}
    fields |= options
    return (json.dumps(fields) if SERVICES[service].body == "json" else urlencode(fields)).encode()


@dataclass
class Caller:
    """An HTTP client of the emulator that can fetch a token and call a service."""

    emulator: Emulator
    http: aiohttp.ClientSession
    token: str = ""

    async def fetch_token(self, **changes: str) -> dict[str, Any]:
        """The token endpoint's reply, by GET."""
        async with self.http.get(f"{self.emulator.url}/oauth/2.0/token", params=CREDENTIALS | changes) as response:
            reply: dict[str, Any] = await response.json()
            return reply

    async def call(
        self,
        service: str,
        image: bytes | None = None,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        model: str = "fruit",
        **options: object,
    ) -> dict[str, Any]:
        """One call's JSON, whatever the HTTP status."""
        url = f"{self.emulator.url}{path_of(service, model)}"
        data = body_of(service, image, **options) if body is None else body
        params = {"access_token": self.token} if query is None else query
        async with self.http.post(url, params=params, data=data, headers=headers) as response:
            reply: dict[str, Any] = await response.json(content_type=None)
            return reply

    async def code(self, service: str, image: bytes | None = None, **arguments: Any) -> int:
        """The error code of one call, 0 for success."""
        return int((await self.call(service, image, **arguments)).get("error_code", 0))

    async def post(self, path: str, value: object) -> tuple[int, dict[str, Any]]:
        """JSON to one of the emulator's own doors: status and reply."""
        async with self.http.post(f"{self.emulator.url}{path}", json=value) as response:
            return response.status, await response.json()


@asynccontextmanager
async def calling(*arguments: Any, **named: Any) -> AsyncIterator[Caller]:
    """A served emulator (arguments as for `serve`) and its caller, with a token if one is given out."""
    async with serve(*arguments, **named) as emulator, aiohttp.ClientSession() as http:
        caller = Caller(emulator, http)
        if emulator.plan.pick("token", 1) is None:
            caller.token = (await caller.fetch_token()).get("access_token", "")
        yield caller
