"""One call: its body, its address, and what the reply means."""

import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pybase64

from ..exact_json import dumps, loads
from ..interfaces import Transport
from ..redact import redact
from ..values import Answer, Authorization, Failure, Kind, Reply
from .codes import kind_of, kind_of_status
from .labels import read_labels
from .services import MOST_LABELS, OptionValue, Reading, Service

_log = logging.getLogger(__name__)

_CONTENT_TYPES = {"form": "application/x-www-form-urlencoded", "json": "application/json"}
_MESSAGE_CHARACTERS = 500
_LARGEST = 2**63 - 1
_DEEP = 200
_NUMBER = re.compile(r"[0-9]{1,18}")
_PIECE = 12_000
"""Bytes of an image: a multiple of three, so that base64 pads none but the last."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is the same in every call of a step: the path, and the body but for the image."""

    path: str
    content_type: str
    head: bytes
    tail: bytes
    json: bool
    reading: Reading

    def body(self, image: bytes) -> bytes:
        """The whole body for an image (bytes before base64).

        Piece by piece, so that what lies between the file and the body stays in a core's cache.
        """
        pieces = memoryview(image)
        texts = [self._text(pieces[start : start + _PIECE]) for start in range(0, len(image), _PIECE)]
        return b"".join((self.head, *texts, self.tail))

    def _text(self, piece: memoryview) -> bytes:
        """base64, whose only characters that a form must escape are `+`, `/` and `=`.

        Three replacements cost 150 us for 100 KB where urllib's quoting costs 3.7 ms.
        """
        text = pybase64.b64encode(piece)
        return text if self.json else text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")


def make_request(service: Service, model: str | None, options: Mapping[str, OptionValue]) -> Request:
    """The request of a step. Booleans are written `true` and `false`; how the service reads others is unconfirmed."""
    path = service.path.format(model=quote(model or "", safe=""))
    content_type = _CONTENT_TYPES[service.body]
    if service.body == "json":
        tail = b'"' + (b"," + dumps(dict(options))[1:] if options else b"}")
        return Request(path, content_type, b'{"image":"', tail, True, service.reading)
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()}
    tail = b"&" + urlencode(words).encode() if words else b""
    return Request(path, content_type, b"image=", tail, False, service.reading)


class Client:
    """Sends calls to one endpoint. `time` is monotonic, in seconds, and finer than an event loop's milliseconds."""

    def __init__(self, endpoint: str, transport: Transport, time: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._time = time

    async def call(self, request: Request, body: bytes, authorization: Authorization) -> Answer | Failure:
        """Post one image, as `request.body` has made it ready, and read what comes back."""
        query = f"?{authorization.query}" if authorization.query else ""
        headers = dict(authorization.headers)
        headers["Content-Type"] = request.content_type
        sent = self._time()
        reply = await self._transport.post(f"{self._endpoint}{request.path}{query}", body, headers)
        if isinstance(reply, Failure):
            return reply
        return parse_reply(reply, request.reading, (self._time() - sent) * 1000)


def parse_reply(reply: Reply, reading: Reading, latency_ms: float = 0.0) -> Answer | Failure:
    """What a reply means. The JSON's `error_code` is read before the HTTP status."""
    try:
        content = loads(reply.body)
    except ValueError:
        content = None
    if isinstance(content, dict) and _writable(reply.body, content):
        code = _number(content.get("error_code"))
        if code:
            return _failure_of(code, content)
        if content.get("error") == "invalid_client":
            return Failure(Kind.REFUSED, "invalid_client", _words(content.get("error_description", "")))
        if reply.status < 300:
            labels = read_labels(reading, content)
            if labels is None:
                return Failure(Kind.TRANSIENT, "no_result", f"the reply has no {reading.key} that can be read")
            if len(labels) > MOST_LABELS:
                told = f"the reply has {len(labels):,} labels; at most {MOST_LABELS:,} are taken"
                return Failure(Kind.TRANSIENT, "no_result", told)
            return Answer(content, labels, latency_ms)
    if reply.status >= 300:
        return Failure(kind_of_status(reply.status), f"http_{reply.status}", f"HTTP {reply.status}")
    return Failure(Kind.TRANSIENT, "not_json", f"HTTP {reply.status} with a body that is not the service's JSON")


def _failure_of(code: int, content: dict[str, Any]) -> Failure:
    kind = kind_of(code)
    message = _words(content.get("error_msg", ""))
    if kind is Kind.UNKNOWN:
        _log.warning("the service answered with code %d, which nobody has documented: %s", code, message)
    return Failure(kind, code, message)


def _words(said: object) -> str:
    """What the service says, fit for files and logs."""
    return redact(str(said))[:_MESSAGE_CHARACTERS]


def _number(code: object) -> int:
    """The code, which somebody may have written as text or with a fraction; 0 where there is none."""
    if isinstance(code, str) and _NUMBER.fullmatch(code):
        return int(code)
    if isinstance(code, int | float) and not isinstance(code, bool) and math.isfinite(code):
        return max(-_LARGEST, min(_LARGEST, int(code)))
    return 0


def _writable(text: bytes, content: Any) -> bool:
    """Whether JSON that could be read can be written again: what is nested too deep cannot."""
    if text.count(b"[") + text.count(b"{") < _DEEP:
        return True
    try:
        dumps(content)
    except RecursionError:
        return False
    return True
