"""Store of images that are files, or URLs whose bytes are cached."""

from ..interfaces import ImageStore
from ..sources.logins import Logins, is_url
from ..values import Failure, Kind
from .address import Refused, parse
from .cache import UrlCache, url_key


class Store:
    """Files as `files` has them, and URLs as the cache has them (None: none of them).

    `private`: private addresses are allowed.
    """

    def __init__(self, files: ImageStore, cache: UrlCache | None, logins: Logins, *, private: bool) -> None:
        self._files, self._cache, self._logins = files, cache, logins
        self._private = private

    def locate(self, key: str) -> str:
        """The absolute path of a file; a URL in one spelling, without its login."""
        if not is_url(key):
            return self._files.locate(key)
        try:
            return parse(key).url
        except Refused:
            return key

    def stat(self, key: str) -> tuple[int, int] | None:
        """Size in bytes, and the time of the last change or fetch in nanoseconds; None where there is nothing."""
        if not is_url(key):
            return self._files.stat(key)
        found = None if self._cache is None or (name := self._name(key)) is None else self._cache.find(name)
        return None if found is None else (found.size, int(found.at * 1e9))

    def read(self, key: str) -> bytes | Failure:
        """The bytes of a file or of a cached URL, or the failure. Nothing is fetched here."""
        if not is_url(key):
            return self._files.read(key)
        name = self._name(key)
        data = None if self._cache is None or name is None else self._cache.read(name)
        return NOT_FETCHED if data is None else data

    def loss(self, key: str) -> str:
        """Description of what is gone; empty for a URL, whose server is nobody else's."""
        return "" if is_url(key) else self._files.loss(key)

    def forget(self, key: str) -> None:
        """Drop the cached bytes of a URL; nothing for a file."""
        if self._cache is not None and is_url(key) and (name := self._name(key)) is not None:
            self._cache.forget(name)

    def _name(self, key: str) -> bytes | None:
        try:
            return url_key(parse(key).url, self._logins.get(key), private=self._private)
        except Refused:
            return None


NOT_FETCHED = Failure(Kind.FETCH, "fetch_missing", "fetched, but not kept in the cache", counted=False)
"""Failure of an image that is not in the cache."""
