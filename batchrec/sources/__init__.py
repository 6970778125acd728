"""Sources of images: named files, folders, globs and manifests, one module for each kind."""

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from stat import S_ISDIR

from ..errors import JobError
from ..interfaces import Source
from ..values import Ignored, InputEntry, Notice
from .file import File
from .folder import Folder
from .glob import Glob
from .keys import is_pattern, normal, quoted
from .manifest import Manifest
from .rows import READERS, kind
from .scope import OUTSIDE, Boundary, Scope, irregular, reason
from .store import FileStore

__all__ = ["OUTSIDE", "Boundary", "File", "FileStore", "Folder", "Glob", "Manifest", "Scope", "open_sources"]


def open_sources(
    paths: Sequence[str],
    manifest: str | None,
    column: str,
    exclude: Sequence[str],
    base: Path,
    output: Path,
    within: str | None = None,
) -> Iterator[InputEntry | Ignored | Notice]:
    """Every input of a job, in no order, read from the disk as it is iterated and never held.

    `base` is the job file's folder and `output` the output directory, both absolute; `within` the folder in which all
    inputs are to lie, relative to `base`. Raises JobError at once, with every complaint, where something that the job
    names does not exist; while iterated, where a manifest is wrong.
    """
    scope = Scope(base, output, exclude, within)
    sources: list[Source] = []
    complaints: list[str] = []
    if within is not None and not os.path.isdir(scope.full(within)):
        complaints.append(f"input.within: {quoted(within)} is no folder; expected a folder, relative to the job file")
    for index, given in enumerate(paths):
        try:
            sources.append(_named(given, index, scope))
        except JobError as error:
            complaints.extend(error.complaints)
    if manifest is not None:
        complaints.extend(_complaints(manifest, scope))
        sources.append(Manifest(manifest, column, len(paths), scope))
    if complaints:
        raise JobError(*complaints)
    return chain.from_iterable(sources)


def _named(given: str, index: int, scope: Scope) -> Source:
    """Source of a path of the job file: what exists under that very name comes before a glob."""
    key = normal(given)
    expected = "expected a file, a folder or a glob, relative to the job file"
    try:
        status = _status(given, scope)
    except OSError as error:
        if is_pattern(given):
            return Glob(given, index, scope)
        raise JobError(f"input.paths[{index}]: {quoted(given)} {_absence(error)}; {expected}") from error
    return (Folder if S_ISDIR(status.st_mode) else File)(key, index, scope)


def _complaints(manifest: str, scope: Scope) -> Iterator[str]:
    kinds = ", ".join(READERS)
    if kind(manifest) not in READERS:
        yield f"input.manifest: {quoted(manifest)} is of no known kind; expected one of {kinds}"
        return
    expected = f"expected a file ({kinds}), relative to the job file"
    if scope.is_outside(scope.full(normal(manifest))):
        yield f"input.manifest: {quoted(manifest)} lies outside of input.within; expected a file in that folder"
        return
    try:
        # A pipe would be waited for without end, and can be read only once.
        if problem := irregular(_status(manifest, scope).st_mode):
            yield f"input.manifest: {quoted(manifest)} {problem}; {expected}"
    except OSError as error:
        yield f"input.manifest: {quoted(manifest)} {_absence(error)}; {expected}"


def _status(given: str, scope: Scope) -> os.stat_result:
    """The status of what the job file names.

    Nothing and NUL name no file, though the system may say otherwise.
    """
    if not given or "\0" in given:
        raise FileNotFoundError(given)
    return os.stat(scope.full(normal(given)))


def _absence(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist"
    return f"cannot be read: {reason(error)}"
