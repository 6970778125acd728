"""Files of a data set for detection, and the image that a name in an annotation stands for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import JobError
from ..language import _, os_reason
from ..sources.folder import SUFFIXES
from .classes import is_system


@dataclass(slots=True)
class Tree:
    """Files below a folder by their keys, in order; hidden ones are left out.

    A key is the path below the folder, with `/` between names. `images` are known by their suffix.
    """

    root: Path
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    _by_name: dict[str, list[str]] = field(default_factory=dict)
    _by_stem: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def walk(cls, root: Path) -> "Tree":
        """List the files. Raises JobError where the folder cannot be read."""
        tree = cls(root)
        for key in sorted(_files(root)):
            name = key.rpartition("/")[2]
            stem, dot, suffix = name.rpartition(".")
            if dot and suffix.lower() in SUFFIXES:
                tree.images.append(key)
                tree._by_name.setdefault(name, []).append(key)
                tree._by_stem.setdefault(stem, []).append(key)
            else:
                tree.others.append(key)
        return tree

    def ending(self, *suffixes: str) -> list[str]:
        """Other files with one of these suffixes, such as `.json`, in any case."""
        return [key for key in self.others if key.lower().endswith(suffixes)]

    def path(self, key: str) -> Path:
        """The path of a file."""
        return self.root / key

    def named(self, name: str, beside: str) -> str | None:
        """The image with a name that the annotation `beside` has; of several the one with the nearest path.

        None where there is none, or where several are as near.
        """
        wanted = name.replace("\\", "/")
        folder = beside.rpartition("/")[0]
        exact = os.path.normpath(f"{folder}/{wanted}" if folder else wanted).replace(os.sep, "/")
        return self._nearest(self._by_name.get(wanted.rpartition("/")[2], []), (wanted, exact))

    def of_stem(self, annotation: str) -> str | None:
        """The image that has the name of an annotation but for the suffix, as `named` does."""
        stem = annotation.rpartition(".")[0]
        return self._nearest(self._by_stem.get(stem.rpartition("/")[2], []), (stem,), stems=True)

    def _nearest(self, keys: list[str], paths: tuple[str, ...], *, stems: bool = False) -> str | None:
        """The key that agrees with one of the paths in the most names, from the last one; None where two do."""
        if not keys:
            return None
        plain = {key: key.rpartition(".")[0] if stems else key for key in keys}
        near = sorted(((max(_agreeing(plain[key], path) for path in paths), key) for key in keys), reverse=True)
        return near[0][1] if len(near) == 1 or near[0][0] > near[1][0] else None


def _agreeing(one: str, other: str) -> float:
    """Names in which two paths agree, from the last one; half a name more where all of one agree."""
    count = 0
    names, others = one.split("/")[::-1], other.split("/")[::-1]
    for mine, theirs in zip(names, others, strict=False):
        if mine != theirs:
            return count
        count += 1
    return count + (0.5 if len(names) == len(others) else 0)


def _files(root: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise JobError(
            _("{path}: cannot be read: {reason}").format(path=error.filename or root, reason=os_reason(error))
        ) from error

    for folder, folders, names in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if not is_system(name)]
        for name in names:
            if not is_system(name):
                yield (Path(folder) / name).relative_to(root).as_posix()
