"""One emulated account: from the parts of a call to its answer.

Knows the rules and the clock, but no socket.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

import orjson

from . import bodies
from .answers import Answers, Undecodable
from .answers.own_models import Damaged
from .bodies import Fields
from .changes import changed
from .counters import Counters
from .data_sets import DataSets, Refused
from .images import CLASSIC, EASYDL, Picture, inspect, inspect_bytes
from .rules import Limits, LogIds, Tokens, authorize, client_error, error_body
from .services import Service
from .settings import Settings
from .signatures import Received

JSON = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply, and the word under which it is counted."""

    outcome: str
    body: bytes
    status: int = 200
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class Call:
    """One recognition call as it arrived."""

    service: Service
    model: str | None
    request: Received
    raw: bytes

    @property
    def counted(self) -> str:
        """Name under which the call counts towards the limits: each EasyDL model has limits of its own."""
        return f"{self.service.name}/{self.model}" if self.model else self.service.name


class Desk:
    """Answers calls by the rules and keeps the books."""

    def __init__(
        self,
        settings: Settings,
        answers: Answers,
        now: Callable[[], float],
        fetch: Callable[[str, Settings], Awaitable[bytes | int]],
    ) -> None:
        random = Random(settings.seed)
        self.settings = settings
        self.counters = Counters()
        self.data_sets = DataSets()
        self.tokens = Tokens(random)
        self._answers = answers
        self._fetch = fetch
        self._now = now
        self._limits = Limits()
        self._log_ids = LogIds(random)

    def configure(self, changes: Mapping[str, object]) -> None:
        """Other settings from the next call on; SettingsError names what is wrong, and then nothing changes."""
        self.settings = changed(self.settings, changes)

    def now(self) -> float:
        """The emulated time, Unix seconds."""
        return self._now() + self.settings.clock_offset

    async def pause(self) -> None:
        """Wait for the latency that every reply has."""
        if self.settings.latency:
            await asyncio.sleep(self.settings.latency)

    def error(self, code: int, message: str | None = None) -> Answer:
        """The answer with an error code, in the shape and under the HTTP status that its layer uses."""
        body = error_body(code, self._log_ids.mint(self.now()), message)
        status = 200 if "log_id" in body else self.settings.gateway_status
        return Answer(str(code), orjson.dumps(body), status, self.settings.error_content_type)

    def bare(self) -> Answer:
        """A reply that lacks its result."""
        return Answer("no_result", orjson.dumps({"log_id": self._log_ids.mint(self.now())}))

    async def token(self, parameters: Mapping[str, str]) -> Answer:
        """The token endpoint. 401 and its texts are captured; the reply to other grants is assumed."""
        at = self.now()
        await self.pause()
        if parameters.get("grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "The authorization grant type is not supported")
        api_key, secret_key = parameters.get("client_id", ""), parameters.get("client_secret", "")
        if wrong := client_error(self.settings, api_key, secret_key):
            return _refusal(401, "invalid_client", wrong)
        self.counters.tokens_issued += 1
        return Answer("ok", orjson.dumps(self.tokens.issue(self.settings, at)), content_type="application/json")

    async def data_set(self, name: str, request: Received, raw: bytes) -> Answer:
        """One call of the data-set API; these count towards no limit, since none is documented."""
        await self.pause()
        if code := authorize(self.settings, self.tokens, request, self.now()):
            return self.error(code)
        try:
            return Answer("ok", self._signed(self.data_sets.answer(name, raw, self.settings)))
        except Refused as refused:
            return self.error(refused.code, refused.message)

    async def recognize(self, call: Call) -> Answer:
        """One recognition call, from the gateway to the reply."""
        try:
            return await self._recognize(call)
        except Damaged as damaged:
            return self.error(_MODEL_UNAVAILABLE, str(damaged))

    async def _recognize(self, call: Call) -> Answer:
        service, settings, at = call.service, self.settings, self.now()
        code = self._gate(call, at)
        await self.pause()
        if code:
            return self.error(code)
        picture, options = _read(call, settings)
        if picture == _BY_URL:
            picture = await self._fetched(call, options["url"], settings)
        if not isinstance(picture, Picture):
            return self._refused(call, picture, settings, at)
        try:
            guesses = await self._answers.answer(service.name, picture, options, call.model)
        except Undecodable:
            return self._refused(call, 216201, settings, at)
        self.counters.recognized(service.name, picture.sha256)
        return Answer("ok", self._signed(service.compose(guesses, options)))

    async def _fetched(self, call: Call, url: str, settings: Settings) -> Picture | int:
        """The picture at a URL, or the code that refuses it."""
        found = await self._fetch(url, settings)
        if isinstance(found, int):
            return found
        return inspect_bytes(found, settings, EASYDL if call.service.body == "json" else CLASSIC)

    def _refused(self, call: Call, code: int, settings: Settings, at: float) -> Answer:
        """The error of a call that was admitted, and whose picture or parameters are not right."""
        if not settings.failed_calls_take_quota:
            self._limits.give_back(call.counted, settings, at)
        return self.error(code)

    def _gate(self, call: Call, at: float) -> int:
        """0, or the code of the first gate that is closed: credentials, permission, limits."""
        settings, name = self.settings, call.service.name
        code = authorize(settings, self.tokens, call.request, at)
        if code:
            return code
        if settings.services is not None and name not in settings.services:
            return 6
        if call.model is not None and (code := self._barred(name, call.model)):
            return code
        code = self._limits.admit(call.counted, settings, at)
        self.counters.judged(name, at, admitted=not code)
        return code

    def _barred(self, service: str, model: str) -> int:
        """0, or the code for a model that the account's application may not call."""
        settings, allowed = self.settings, self._answers.may_call(service, model)
        if allowed is None:
            return settings.unknown_model_code
        return 0 if allowed and (settings.models is None or model in settings.models) else 6

    def _signed(self, body: dict[str, object]) -> bytes:
        """With a log id, before or after the rest: the service keeps no order (captured replies)."""
        log_id = self._log_ids.mint(self.now())
        return orjson.dumps({"log_id": log_id, **body} if log_id % 2 else {**body, "log_id": log_id})


def _read(call: Call, settings: Settings) -> tuple[Picture | int, dict[str, str]]:
    """The picture and the parameters of a call, or the code that refuses the body.

    `image` wins over `url`; for a `url` alone the code is `_BY_URL`, and the picture is to be fetched.
    """
    easydl = call.service.body == "json"
    found: Fields | int = bodies.easydl(call.raw) if easydl else bodies.form(call.raw)
    if isinstance(found, int):
        return found, {}
    if found.image is None and found.options.get("url"):
        return _BY_URL, found.options
    general = call.service.name == "advanced_general"
    return inspect(found.image, settings, EASYDL if easydl else CLASSIC, general=general), found.options


_BY_URL = -1  # in place of a code
_MODEL_UNAVAILABLE = 336100  # the service's "model temporarily unavailable"


def _refusal(status: int, error: str, description: str) -> Answer:
    body = orjson.dumps({"error": error, "error_description": description})
    return Answer(error, body, status, "application/json")
