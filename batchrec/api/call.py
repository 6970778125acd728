"""One JSON call to the service: authorization, error codes, and retries while a failure may pass."""

import asyncio
import logging
import math
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ..exact_json import dumps, loads
from ..interfaces import Account, Transport
from ..redact import redact
from ..values import Authorization, Failure, Kind, Reply
from .codes import kind_of, kind_of_status
from .retry import Action, Breaker, decide

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_MESSAGE_CHARACTERS = 500
"""Characters of the service's own words that go into files and logs."""

_LARGEST = 2**63 - 1
"""Largest error code: SQLite's integers hold no more."""

_DEEP = 200
"""Brackets of a reply below which its nesting cannot exceed what JSON writers take."""

_NUMBER = re.compile(r"[0-9]{1,18}")


class JsonClient:
    """Client for calls whose replies are JSON objects, in the name of one account.

    `account` None: calls without authorization, as the one for the token itself. A call is repeated while its failure
    may pass, for `patience` seconds at most. `time` is monotonic, in seconds.
    """

    def __init__(
        self,
        endpoint: str,
        account: Account | None,
        transport: Transport,
        *,
        patience: float,
        time: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._endpoint, self._account, self._transport = endpoint, account, transport
        self._patience, self._time, self._rng = patience, time, rng

    async def call(self, path: str, content: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """Post the content to a path of the endpoint; returns the reply's object or the last failure.

        Raises CredentialsRefused or ServiceUnavailable where there is no authorization to be had.
        """
        body = dumps(dict(content))

        async def attempt() -> dict[str, Any] | Failure:
            return await self.once(path, body, "application/json", json_object)

        def tell(failure: Failure) -> None:
            _log.warning("%s is called again: %s", path, failure.message)

        return await self.patiently(attempt, tell)

    async def once(
        self, path: str, body: bytes, content_type: str, read: Callable[[Reply], _T | Failure]
    ) -> _T | Failure:
        """Post a body once; returns what `read` makes of the reply, or the failure. Raises as `call` does."""
        authorization = Authorization() if self._account is None else await self._account.authorize()
        reply = await self._transport.post(*addressed(self._endpoint, path, content_type, authorization, body))
        outcome = reply if isinstance(reply, Failure) else read(reply)
        if self._account is not None and isinstance(outcome, Failure) and outcome.kind is Kind.TOKEN:
            self._account.on_refused(authorization)
        return outcome

    async def patiently(
        self, attempt: Callable[[], Awaitable[_T | Failure]], tell: Callable[[Failure], None]
    ) -> _T | Failure:
        """Repeat an attempt with the patience of this client, as `while_it_may_pass` does."""
        return await while_it_may_pass(attempt, tell, patience=self._patience, time=self._time, rng=self._rng)


def addressed(
    endpoint: str, path: str, content_type: str, authorization: Authorization, body: bytes
) -> tuple[str, bytes, dict[str, str]]:
    """The arguments of `Transport.post`: address, body, headers."""
    query = f"?{authorization.query}" if authorization.query else ""
    signed = {} if authorization.sign is None else authorization.sign(path)
    headers = {**dict(authorization.headers), **signed, "Content-Type": content_type}
    return f"{endpoint}{path}{query}", body, headers


async def while_it_may_pass(
    attempt: Callable[[], Awaitable[_T | Failure]],
    tell: Callable[[Failure], None],
    *,
    patience: float,
    time: Callable[[], float],
    rng: random.Random,
) -> _T | Failure:
    """Repeat an attempt while its failure may pass, with growing pauses, for `patience` seconds.

    Returns the first success, the first failure that stays, or the last one when the time is over. `tell` is given each
    failure that is followed by another attempt.
    """
    breaker = Breaker(patience)
    while isinstance(outcome := await attempt(), Failure):
        if decide(outcome) not in (Action.AGAIN, Action.REPEAT):
            return outcome
        breaker.failed("call", time(), suspect=False)
        if breaker.expired(time()):
            return outcome
        tell(outcome)
        await asyncio.sleep(breaker.probe_delay(rng))
    return outcome


def json_object(reply: Reply) -> dict[str, Any] | Failure:
    """Parse a reply as the service's JSON object, or as the failure that it means.

    The JSON's `error_code` is read before the HTTP status: the service answers with 200 in any case.
    """
    content = read_object(reply)
    if content is not None:
        code = _number(content.get("error_code"))
        if code:
            return _failure_of(code, content)
        if content.get("error") == "invalid_client":
            return Failure(Kind.REFUSED, "invalid_client", words(content.get("error_description", "")))
        if reply.status < 300:
            return content
    if reply.status >= 300:
        return Failure(kind_of_status(reply.status), f"http_{reply.status}", f"HTTP {reply.status}")
    return Failure(Kind.TRANSIENT, "not_json", f"HTTP {reply.status} with a body that is not the service's JSON")


def read_object(reply: Reply) -> dict[str, Any] | None:
    """The reply's JSON object, whatever it means; None where it is none that could be written again."""
    try:
        content = loads(reply.body)
    except ValueError:
        return None
    return content if isinstance(content, dict) and _writable(reply.body, content) else None


def _failure_of(code: int, content: dict[str, Any]) -> Failure:
    kind = kind_of(code)
    message = words(content.get("error_msg", ""))
    if kind is Kind.UNKNOWN:
        _log.warning("the service answered with code %d, which nobody has documented: %s", code, message)
    return Failure(kind, code, message)


def words(said: object) -> str:
    """Words of the service, without secrets and short enough for files and logs."""
    return redact(str(said))[:_MESSAGE_CHARACTERS]


def _number(code: object) -> int:
    """Error code as a number, also where it came as text or with a fraction; 0 where there is none."""
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
