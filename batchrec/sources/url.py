"""URLs as inputs: images that are fetched when their turn comes."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..values import InputEntry
from .keys import normal, printable
from .logins import HIDDEN_LOGIN, is_url, split_login
from .scope import Scope

MAX_URL = 8192
"""The longest URL in characters: servers refuse longer ones."""

_SHOWN = 200  # characters of a longer one in `image`

_OTHER_SCHEME = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Url:
    """One URL of http or https."""

    given: str
    source: int
    scope: Scope

    @staticmethod
    def takes(given: str, _mode: int | None) -> bool:
        """Whether it is a URL; nothing on the disk is meant by one."""
        return is_url(given)

    def __iter__(self) -> Iterator[InputEntry]:
        """The URL, unless it is excluded. Raises JobError where it was listed with another login."""
        found = entry_of(self.given.strip(), self.source, 0, self.scope)
        if found is not None:
            yield found


def unfetched(given: str) -> tuple[str, str] | None:
    """Scheme of a URL that is not fetched, such as `ftp://`, and the URL without its login.

    None for a path and for URLs of http, https and file.
    """
    found = _OTHER_SCHEME.match(given)
    if found is None or is_url(given):
        return None
    return found[0].lower(), found[0] + re.sub(r"^[^/?#]*@", f"{HIDDEN_LOGIN}@", given[found.end() :])


def entry_of(url: str, source: int, position: int, scope: Scope) -> InputEntry | None:
    """The input that a URL is, of unknown size (-1); None where a pattern excludes it. Raises JobError."""
    masked, login = split_login(url)
    if scope.excludes(normal(masked)):  # as patterns are
        return None
    key, problem = printable(masked)
    if len(url) > MAX_URL:
        problem = f"the URL has {len(url):,} characters, and servers refuse more than {MAX_URL:,}: shorten it"
        # Not the key of another URL that begins alike.
        key = f"{key[:_SHOWN]}...{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        return InputEntry(key, source, position, -1, 0, problem)
    if login:
        scope.logins.put(key, login)
    return InputEntry(key, source, position, -1, 0, problem)
