"""Models of the user's own: those that were trained on this machine, read from a folder.

    FOLDER/fruit/model.json    {"service": "easydl_classification", "published": "V2", "bound": ["12345678"]}
    FOLDER/fruit/V2/head.npz   weights (classes x 1280), bias (classes), classes (their names)

Nothing but the standard library is imported, so that digests can be looked up without the network.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

HEAD = "head.npz"
_STATE = "model.json"
_PARTS = {"classes.npy", "weights.npy", "bias.npy"}
"""Files within a head, an npz file."""

_UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""Errors of a file that is no whole zip archive."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_VERSION = re.compile(r"V([1-9][0-9]{0,8})")


class Damaged(Exception):
    """A file of a model cannot be used. The text names it within the folder of all models.

    `folder` is that of the model.
    """

    def __init__(self, file: Path, reason: str) -> None:
        self.file, self.reason = file, reason
        self.folder = file.parents[1] if file.name == HEAD else file.parent
        super().__init__(f"{file.relative_to(self.folder.parent).as_posix()} is damaged: {reason}")


class Condition(NamedTuple):
    """Condition of a model.

    The service it is of, the published version (empty for none), the bound applications.
    """

    service: str
    published: str
    bound: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """The published version of a model: its head, the head's SHA-256, whether an application may call it."""

    head: Path
    digest: str
    bound: bool


class OwnModels:
    """The published models in a folder, which may be missing.

    `live`: each look reads anew, so that a version answers as soon as it is published. Else a model stays what it was
    at the first look: a job's results must not be a mixture.
    """

    def __init__(self, folder: Path, *, live: bool = False) -> None:
        self._folder, self._live = folder, live
        self._found: dict[tuple[str, str], Published | None] = {}

    def find(self, service: str, name: str) -> Published | None:
        """The published version of a model of that service; None where there is none.

        Raises Damaged.
        """
        if not self._live and (service, name) in self._found:
            return self._found[service, name]
        found = self._found[service, name] = self._read(service, name)
        return found

    def digest(self, service: str, name: str) -> str:
        """The digest of the published version of a model of that service; empty where there is none.

        Raises Damaged.
        """
        found = self.find(service, name)
        return found.digest if found is not None else ""

    def damages(self) -> Iterator[Damaged]:
        """The models in the folder that cannot be used, by name."""
        for path in sorted(self._folder.glob(f"*/{_STATE}")):
            try:
                self.condition(path.parent.name)
            except Damaged as error:
                yield error

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the oldest first."""
        found = [match for path in (self._folder / name).iterdir() if (match := _VERSION.fullmatch(path.name))]
        return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]

    def condition(self, name: str) -> Condition | None:
        """The condition of a model; None where there is none of that name.

        Raises Damaged where model.json or the published head is.
        """
        if not _NAME.fullmatch(name):
            return None
        file = self._folder / name / _STATE
        try:
            state = json.loads(file.read_bytes())
            found = Condition(str(state["service"]), str(state["published"]), tuple(map(str, state["bound"])))
            if found.published and not _VERSION.fullmatch(found.published):
                raise ValueError(f"{found.published!r} is no version")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _damaged(file, error) from error
        if found.published:
            check_head(self._head(name, found.published))
        return found

    def _head(self, name: str, version: str) -> Path:
        return self._folder / name / version / HEAD

    def _read(self, service: str, name: str) -> Published | None:
        found = self.condition(name)
        if found is None or found.service != service or not found.published:
            return None
        head = self._head(name, found.published)
        return Published(head, _digest(head, head.stat().st_mtime_ns), bool(found.bound))


def check_head(path: Path) -> None:
    """Prove the checksums of a head, once for a file that does not change. Raises Damaged."""
    try:
        _check(path, path.stat().st_mtime_ns)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


@lru_cache(maxsize=256)
def _check(path: Path, _changed: int) -> None:
    with zipfile.ZipFile(path) as file:
        if lacking := _PARTS - set(file.namelist()):
            raise ValueError(f"lacks {', '.join(sorted(lacking))}")
        if (wrong := file.testzip()) is not None:
            raise ValueError(f"{wrong} has another checksum")


def _damaged(file: Path, error: Exception) -> Damaged:
    return Damaged(file, (error.strerror if isinstance(error, OSError) else None) or str(error))


@lru_cache(maxsize=256)
def _digest(path: Path, _changed: int) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
