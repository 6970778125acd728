"""Rules of the gateway: authorization, rate and quota limits, and their error codes.

Two rules hold in this file. Nothing here reads a clock, a socket or the global random state: the time comes
as `at` (Unix seconds), randomness as a `random.Random`. And nothing is forgotten between calls but what a
real gateway would forget: tokens stay valid beside newer ones, refused calls leave no trace unless a switch
says so.
"""

from collections import Counter, deque
from random import Random
from urllib.parse import parse_qsl

from .settings import Settings
from .signatures import Received, signed

SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
"""Twitter's epoch: log ids captured since 2020 decode to the day they were posted with it."""

GATEWAY_CODES = range(1, 112)
"""Codes that the gateway answers itself; only these come without a log_id (captured replies)."""

MESSAGES: dict[int, str] = {
    1: "Unknown error",
    2: "Service temporarily unavailable",
    3: "Unsupported openapi method",
    4: "Open api request limit reached",
    6: "No permission to access data",
    13: "Get service token failed",
    14: "IAM Certification failed",
    15: "app not exsits or create failed",
    17: "Open api daily request limit reached",
    18: "Open api qps request limit reached",
    19: "Open api total request limit reached",
    23: "IAM API-KEY authentication failed",
    100: "Invalid parameter",
    110: "Access token invalid or no longer valid",
    111: "Access token expired",
    216015: "module closed",
    216017: "not initialized",
    216100: "invalid param",
    216101: "param image not exist",
    216102: "service not support",
    216103: "param too long",
    216110: "appid not exist",
    216200: "empty image",
    216201: "image format error",
    216202: "image size error",
    216203: "image size error",
    216630: "recognize error",
    216634: "detect error",
    282000: "internal error",
    282003: "missing parameters: image",
    282100: "image transcode error",
    282101: "image split limit reached",
    282102: "target detect error",
    282103: "target recognize error",
    282110: "urls not exit",
    282111: "url format illegal",
    282112: "url download timeout",
    282113: "url response invalid",
    282114: "url size error",
    282810: "image recognize error",
    283300: "Invalid argument",
    336000: "Internal error",
    336001: "Invalid argument",
    336002: "JSON不合法",
    336003: "Base64解码失败",
    336004: "输入文件大小不合法",
    336005: "图片解码失败",
    336006: "缺失必要参数",
    336100: "model temporarily unavailable",
    406000: "internal server error",
    406001: "param invalid",
    406002: "dataset not exist",
    406003: "dataset already exists",
    406004: "dataset can not be modified temporarily",
    406005: "label not exist",
    406006: "no permission to modify the dataset",
}
"""The service's texts, spelt as it spells them (official docs 2019 to 2024; 23 from captured replies)."""


def error_body(code: int, log_id: int, message: str | None = None) -> dict[str, object]:
    """The JSON of an error: the gateway's without a log_id, the recognizers' with one (captured replies)."""
    text = message if message is not None else MESSAGES.get(code, "unknown error")
    body: dict[str, object] = {"error_code": code, "error_msg": text}
    return body if code in GATEWAY_CODES else {"log_id": log_id, **body}


class LogIds:
    """Log ids as the service mints them since 2020: snowflakes, unique and rising, of 19 digits."""

    def __init__(self, random: Random) -> None:
        self._worker = random.getrandbits(10)
        self._sequence = 0
        self._last = 0

    def mint(self, at: float) -> int:
        """The next id: milliseconds since the epoch, 10 bits of worker, 12 bits of sequence."""
        self._sequence = (self._sequence + 1) % 4096
        stamp = (int(at * 1000) - SNOWFLAKE_EPOCH_MS) << 22
        self._last = max(self._last + 1, stamp | self._worker << 12 | self._sequence)
        return self._last


class Tokens:
    """The token endpoint's memory. A new token does not end the old ones (official docs)."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ends: dict[str, int] = {}

    def issue(self, settings: Settings, at: float) -> dict[str, object]:
        """A fresh token's whole reply. Without `brain_all_scope` the official SDK would not send the token."""
        access = self._mint("24", settings.token_life, at)
        refresh = self._mint("25", 315_360_000, at)
        self._ends[access] = int(at) + settings.token_life
        if settings.refresh_token_opens:
            self._ends[refresh] = int(at) + 315_360_000
        return {
            "refresh_token": refresh,
            "expires_in": settings.token_life,
            "session_key": self._hex() + self._hex(),
            "access_token": access,
            "scope": "public brain_all_scope wise_adapt",
            "session_secret": self._hex(),
        }

    def check(self, token: str, at: float) -> int:
        """0 for a valid token, 100 for none, 110 for an unknown or revoked one, 111 for one past its end."""
        if not token:
            return 100
        end = self._ends.get(token)
        if end is None:
            return 110
        return 111 if at >= end else 0

    def revoke(self) -> None:
        """Every token issued so far is unknown from now on."""
        self._ends.clear()

    def _mint(self, kind: str, life: int, at: float) -> str:
        return f"{kind}.{self._hex()}.{life}.{int(at) + life}.282335-{self._random.randrange(10**7, 10**8)}"

    def _hex(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


def client_error(settings: Settings, api_key: str, secret_key: str) -> str | None:
    """None for accepted credentials, else what `invalid_client` is described with (captured replies)."""
    if not api_key or settings.api_key not in (None, api_key):
        return "unknown client id"
    if not secret_key or settings.secret_key not in (None, secret_key):
        return "Client authentication failed"
    return None


def authorize(settings: Settings, tokens: Tokens, request: Received, at: float) -> int:
    """0 or the gateway's code for one call's credentials, the `Authorization` header looked at first."""
    authorization = request.headers.get("authorization", "")
    if authorization.startswith("Bearer "):
        key = authorization.removeprefix("Bearer ").strip()
        known = key.startswith("bce-v3/") if settings.bearer is None else key == settings.bearer
        return 0 if known else 23
    if authorization.startswith("bce-auth-"):
        return 0 if signed(request, settings, at) else 14
    access_token = dict(parse_qsl(request.query)).get("access_token", "")
    if settings.token_ends_at_question_mark:
        access_token = access_token.partition("?")[0]
    return tokens.check(access_token, at)


class Limits:
    """Usage of the account by service; each service has limits of its own (official FAQ)."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._days: Counter[tuple[str, int]] = Counter()
        self._totals: Counter[str] = Counter()

    def admit(self, service: str, settings: Settings, at: float) -> int:
        """0 and the call is counted, or 19, 17 or 18 at once: the service never queues (forum answer)."""
        day = _day(settings, at)
        if settings.total is not None and self._totals[service] >= settings.total:
            return 19
        if settings.daily is not None and self._days[service, day] >= settings.daily:
            return 17
        if settings.qps is not None and not self._fits(service, settings, settings.qps, at):
            return 18
        self._totals[service] += 1
        self._days[service, day] += 1
        return 0

    def give_back(self, service: str, settings: Settings, at: float) -> None:
        """The call admitted `at` did not count after all."""
        self._totals[service] -= 1
        self._days[service, _day(settings, at)] -= 1

    def used(self, service: str, settings: Settings, at: float) -> tuple[int, int]:
        """Calls counted on the day of `at`, and in all."""
        return self._days[service, _day(settings, at)], self._totals[service]

    def _fits(self, service: str, settings: Settings, qps: float, at: float) -> bool:
        """Whether the window has room; a fractional rate means a longer window (0.5: one call in 2 s)."""
        allowed = int(qps) or 1
        span = allowed / qps if qps else float("inf")
        recent = self._recent.setdefault(service, deque())
        while recent and not _same_window(settings, recent[0], at, span):
            recent.popleft()
        fits = qps > 0 and len(recent) < allowed
        if fits or settings.refused_calls_take_qps:
            recent.append(at)
        return fits


def _same_window(settings: Settings, then: float, at: float, span: float) -> bool:
    if settings.window == "fixed":
        return then // span == at // span
    return at - then < span


def _day(settings: Settings, at: float) -> int:
    return int((at - settings.day_starts_at_utc * 3600) // 86_400)
