"""BCE v1 signatures of calls, verified by the service's published rules.

An `Authorization` header reads `bce-auth-v1/ACCESS KEY/TIMESTAMP/SECONDS/SIGNED HEADERS/SIGNATURE`. The signing key is
the HMAC-SHA256, in hex, of its first four parts under the secret; the signature is that of method, path, query and
headers under the signing key. `Host` counts as it arrived: the official clients sign a host that is not this one.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

from .settings import Settings

_FORM = re.compile(
    r"(bce-auth-v1/([^/]+)/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/(\d{1,9}))/([a-z0-9;-]*)/([0-9a-f]{64})", re.IGNORECASE
)
_DEFAULT = frozenset({"host", "content-length", "content-type", "content-md5"})
"""Headers that an empty list of signed headers stands for, as far as the call has them, beside all `x-bce-` headers."""

_EARLY_SECONDS = 900
"""A client's clock may be ahead by so much. Unconfirmed; the rules name no bound."""


class Received(NamedTuple):
    """The parts of a request that say who calls: header names in lower case, the query as it was sent."""

    path: str = "/"
    query: str = ""
    headers: Mapping[str, str] = {}
    method: str = "POST"


def signed(request: Received, settings: Settings, at: float) -> bool:
    """Whether the signature is right and its time has come and is not over.

    The pair that is asked for is `access_key` and `secret_access_key`, or else `api_key` and `secret_key`: the official
    clients sign with these. Without a secret to compare with, every pair is accepted, as every API Key is.
    """
    found = _FORM.fullmatch(request.headers.get("authorization", "").strip())
    if found is None:
        return False
    scope, access_key, time, seconds, listed, signature = found.groups()
    if not _lasts(time, int(seconds), at) or settings.signing_key not in (None, access_key):
        return False
    names = _signed_names(request.headers, [name for name in listed.lower().split(";") if name])
    if "host" not in names:
        return False
    if (secret := settings.signing_secret) is None:
        return True
    key = _hmac(secret, scope)
    text = "\n".join((request.method, _path(request.path), _query(request.query), _headers(request.headers, names)))
    return hmac.compare_digest(_hmac(key, text), signature.lower())


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def _lasts(time: str, seconds: int, at: float) -> bool:
    try:
        begins = datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    return begins - _EARLY_SECONDS <= at <= begins + seconds


def _signed_names(headers: Mapping[str, str], listed: Sequence[str]) -> Sequence[str]:
    if listed:
        return listed
    return [name for name, value in headers.items() if value and (name in _DEFAULT or name.startswith("x-bce-"))]


def _path(path: str) -> str:
    return quote(unquote(path), safe="/-_.~")


def _query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    encoded = [(_encoded(unquote(name)), _encoded(unquote(value))) for name, _, value in pairs]
    return "&".join(sorted(f"{name}={value}" for name, value in encoded if name.lower() != "authorization"))


def _headers(headers: Mapping[str, str], names: Sequence[str]) -> str:
    return "\n".join(sorted(f"{_encoded(name)}:{_encoded(headers.get(name, '').strip())}" for name in names))


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
