"""Files below an address that fsspec opens: a folder, or a prefix of object storage. Blocks.

The only module that imports fsspec. What goes wrong is an OSError, whichever library says so.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..console.extras import pip_install
from ..errors import JobError
from ..language import _
from ..redact import remember

_LIBRARIES = {"s3": "s3fs", "oss": "ossfs", "gs": "gcsfs"}
"""Libraries by the schemes that need one beside fsspec."""

_ERRORS = {
    "s3": ("botocore.exceptions:BotoCoreError", "botocore.exceptions:ClientError"),
    "oss": ("oss2.exceptions:OssError",),
    "gs": ("gcsfs.retry:HttpError", "google.auth.exceptions:GoogleAuthError"),
}
"""Errors by scheme that are no OSErrors. Of `oss` and `gs` from their sources: they are untested."""

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OSS_ACCESS_KEY_SECRET", "OSS_SECRET_ACCESS_KEY")
"""Variables that hold secrets of object storage."""


def require_library(url: str) -> None:
    """Raise JobError, with the line to type, where a library for the address is not installed."""
    scheme = url.partition("://")[0]
    wanted = {"fsspec": pip_install("ray")}
    if scheme in _LIBRARIES:
        wanted[_LIBRARIES[scheme]] = f"pip install {_LIBRARIES[scheme]}"
    for library, line in wanted.items():
        if importlib.util.find_spec(library) is None:
            text = _("{scheme}:// needs the package {library}: {line}")
            raise JobError(text.format(scheme=scheme, library=library, line=line))


class StorageError(OSError):
    """Object storage cannot be reached, or refuses. The text is one line."""


class Storage:
    """Files below `url`, a path or an address. Raises OSError where they cannot be read or written.

    Names of files are relative to it. A file is written as a whole or not at all, but for what is appended.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # of the extra `ray`

        self.url = url
        scheme = url.partition("://")[0] if "://" in url else "file"
        remember(*(os.environ.get(name, "") for name in _SECRETS))
        self._foreign = tuple(_named(name) for name in _ERRORS.get(scheme, ()))
        self.appends = scheme == "file"
        """Whether files can be appended to, and folders are made."""
        with self._translated():
            # A listing that is kept would hide what other machines write meanwhile.
            options = {} if self.appends else {"use_listings_cache": False}
            self._fs, root = url_to_fs(url, **options)
        self._root = root.rstrip("/")

    def listed(self, folder: str = "") -> Mapping[str, Mapping[str, Any]]:
        """Entries of a folder, by name in order; none where there is no such folder."""
        path = self._path(folder)
        with self._translated():
            self._fs.invalidate_cache(path)
            try:
                entries = self._fs.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        # An object may have the name of the folder itself.
        found = {str(entry["name"]).rstrip("/").rpartition("/")[2]: entry for entry in entries}
        return dict(sorted(found.items()))

    def read(self, name: str, start: int = 0) -> bytes:
        """The bytes of a file from an offset on. Raises FileNotFoundError."""
        with self._translated():
            # No range is an error of S3. On a file system of files, a size may be an old one.
            if start and not self.appends and int(self._fs.info(self._path(name))["size"]) <= start:
                return b""
            content: bytes = self._fs.cat_file(self._path(name), start=start or None)
        return content

    def blocks(self, name: str, size: int = 1 << 22) -> Iterator[bytes]:
        """The bytes of a file, block by block. Raises FileNotFoundError."""
        with self._translated(), self._fs.open(self._path(name), "rb") as file:
            while block := file.read(size):
                yield block

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole."""
        with self._translated(), self._replacing(name) as path:
            self._fs.pipe_file(path, content)

    def append(self, name: str, content: bytes) -> None:
        """Append to a file, which is made where there is none."""
        with self._translated():
            self._make_folder(name)
            with self._fs.open(self._path(name), "ab") as file:
                file.write(content)

    def upload(self, local: str, name: str) -> None:
        """Write the content of a local file."""
        with self._translated(), self._replacing(name) as path:
            self._fs.put_file(local, path)

    def download(self, name: str, local: str) -> None:
        """Copy a file to a local one. Raises FileNotFoundError."""
        with self._translated():
            self._fs.get_file(self._path(name), local)

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; those that are gone already are passed over."""
        with self._translated():
            for name in names:
                self._fs.invalidate_cache(self._path(name))
                if self._fs.exists(self._path(name)):
                    self._fs.rm_file(self._path(name))

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it."""
        path = self._path(folder)
        with self._translated():
            self._fs.invalidate_cache(path)
            if self._fs.exists(path):
                self._fs.rm(path, recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _make_folder(self, name: str) -> None:
        """Make the folder of a file. Never on object storage: s3fs would make a bucket that is missing."""
        if self.appends:
            self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[str]:
        """The path to write a file to that is to be there as a whole or not at all."""
        if not self.appends:
            yield self._path(name)
            return
        self._make_folder(name)
        new = f"{self._path(name)}.new"
        yield new
        os.replace(new, self._path(name))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._foreign as error:
            lines = str(error).strip().splitlines()
            raise StorageError(lines[0] if lines else type(error).__name__) from None


def _named(name: str) -> type[BaseException]:
    module, _colon, attribute = name.partition(":")
    found: type[BaseException] = getattr(importlib.import_module(module), attribute)
    return found
