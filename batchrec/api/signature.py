"""BCE v1 signatures, the way of signing of accounts that have an access key and no API Key.

Source: the service's page on authorization, and the official signers, with which a property test compares this one.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from ..errors import CredentialsRefused
from ..language import _
from ..values import Authorization
from .credentials import Credentials

_SECONDS = 1800
"""Life of a signature, in seconds; what the official clients use."""


def authorization_header(
    credentials: Credentials,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    at: float,
) -> str:
    """Sign a request at the Unix time `at`: all of `headers` that are not empty, which must hold `Host`.

    `path` as it is sent, percent-encoded.
    """
    scope = f"bce-auth-v1/{credentials.access_key}/{_utc(at)}/{_SECONDS}"
    lines = {name.strip().lower(): value.strip() for name, value in headers.items()}
    names = sorted(name for name, value in lines.items() if value)
    text = "\n".join(
        (
            method,
            path,
            "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in query.items())),
            "\n".join(sorted(f"{_encoded(name)}:{_encoded(lines[name])}" for name in names)),
        )
    )
    key = _hmac(credentials.secret_access_key, scope)
    return f"{scope}/{';'.join(names)}/{_hmac(key, text)}"


class SignatureAccount:
    """An account that signs each call by itself: no token is fetched. `now` gives Unix seconds."""

    refreshes = 0

    def __init__(self, endpoint: str, credentials: Credentials, now: Callable[[], float]) -> None:
        self.secrets = credentials.secrets
        self._credentials = credentials
        self._host = urlsplit(endpoint).netloc
        self._now = now
        self._authorization = Authorization(sign=self._sign)

    async def authorize(self) -> Authorization:
        """Authorization of every call."""
        return self._authorization

    def on_refused(self, authorization: Authorization) -> None:
        """Raise CredentialsRefused: there is no other key to try."""
        raise CredentialsRefused(_("the service does not take the signatures of this profile (access_key)"))

    def _sign(self, path: str) -> Mapping[str, str]:
        at = self._now()
        date = {"x-bce-date": _utc(at)}
        headers = {"host": self._host, **date}
        return date | {"Authorization": authorization_header(self._credentials, "POST", path, {}, headers, at)}


def _utc(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
