"""Users and passwords of URLs: sent to the host they are for, and never written.

Pure text: nothing is fetched or looked at here.
"""

import re
from collections.abc import Iterable, Mapping

from ..errors import JobError
from ..language import _

HIDDEN_LOGIN = "***"
"""Text in place of user and password in keys, and so in every file."""

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_AUTHORITY = re.compile(r"([^\[\]:]*|\[[^\]]*\])(:\d*)?")
_IN_TEXT = re.compile(r"(https?://)([^\s\"'<>]*@)", re.IGNORECASE)


class Logins:
    """User and password of URLs, by the key of their image. They live in memory only."""

    def __init__(self, logins: Mapping[str, str] | None = None) -> None:
        self._logins: dict[str, str] = dict(logins or {})

    @property
    def present(self) -> bool:
        """Whether any URL has a login."""
        return bool(self._logins)

    def put(self, key: str, login: str) -> None:
        """Keep a login. Raises JobError where the same URL has another one: the rows could not be told apart."""
        if self._logins.setdefault(key, login) != login:
            raise JobError(
                _(
                    "input: {key!r} is listed with different users or passwords, which are never written, so that the "
                    "rows could not be told apart; expected one login for a URL"
                ).format(key=key)
            )

    def of(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of some images, by key."""
        return {key: self._logins[key] for key in keys if key in self._logins}

    def get(self, key: str) -> str:
        """`user:password` as it was written; empty where the URL has none."""
        return self._logins.get(key, "")


def is_url(text: str) -> bool:
    """Whether it is a URL of http or https, and no path."""
    return _SCHEME.match(text) is not None


def split_login(url: str) -> tuple[str, str]:
    """The URL with `***` for its user and password, and these; empty where there are none.

    A password with an unescaped "/", "?" or "#" ends the host too early: all of it is taken for the login.
    """
    scheme = _SCHEME.match(url)
    if scheme is None or "@" not in url:
        return url, ""
    rest = url[scheme.end() :]
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    at = authority.rfind("@")
    if at < 0 and not _AUTHORITY.fullmatch(authority):
        at = rest.rfind("@")
    return (url, "") if at < 0 else (f"{scheme[0]}{HIDDEN_LOGIN}{rest[at:]}", rest[:at])


def without_logins(text: str) -> str:
    """A text with the logins of the URLs in it masked."""
    if "://" not in text or "@" not in text:
        return text
    return _IN_TEXT.sub(lambda found: split_login(found[0] + "h")[0][:-1], text)
