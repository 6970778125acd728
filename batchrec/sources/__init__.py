"""Sources of images: kinds of paths and the manifest, a module for each.

A new kind of path is a module and a row in `PATHS`; a new format of manifests a row in `rows.READERS`.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Protocol

from ..errors import JobError
from ..interfaces import Source
from ..language import _, os_reason
from ..values import Ignored, InputEntry, Notice
from .file import File
from .folder import Folder
from .glob import Glob, in_another_case
from .keys import decided, literal, normal, normal_pattern, quoted, readings
from .logins import Logins, is_url
from .manifest import Manifest
from .rows import READERS, kind
from .scope import Boundary, Scope, Sniffer, failure_of, irregular
from .spelling import advice, at_home, notices, spellings
from .store import FileStore, may_pass
from .url import Url, unfetched

__all__ = [
    "Boundary",
    "File",
    "FileStore",
    "Folder",
    "Glob",
    "Logins",
    "Manifest",
    "Scope",
    "at_home",
    "failure_of",
    "is_url",
    "may_pass",
    "open_sources",
]


class _PathKind(Protocol):
    """A kind of path in `input.paths`: a class that is made of the path, its index and the scope."""

    def takes(self, given: str, mode: int | None, /) -> bool:
        """Whether it takes a path. `mode` is of what exists under that very name, None if nothing is seen."""
        ...

    def __call__(self, given: str, source: int, scope: Scope, /) -> Source:
        """The source."""
        ...


PATHS: tuple[_PathKind, ...] = (Url, Folder, File, Glob)
"""Kinds of paths. The first that takes a path has it: a URL is no path, and what exists comes before a glob."""


def open_sources(
    paths: Sequence[str],
    manifest: str | None,
    column: str,
    exclude: Sequence[str],
    base: Path,
    output: Path,
    within: str | None = None,
    sniffer: Sniffer = lambda head: "unknown",
    logins: Logins | None = None,
) -> Iterator[InputEntry | Ignored | Notice]:
    """Every input of a job, in no order, read from the disk as it is iterated and never held.

    `base` is the job file's folder and `output` the output directory, both absolute; `within` the folder in which all
    inputs are to lie, relative to `base`. `sniffer` says of files in folders whose suffix does not tell it whether
    they are images, by their first bytes. `logins` takes users and passwords of URLs.

    Raises JobError at once, with every complaint, where something that the job names does not exist; while iterated,
    where a manifest is wrong.
    """

    def opened(*patterns: str) -> Iterator[InputEntry | Ignored | Notice]:
        scope = Scope(base, output, patterns, within, sniffer, logins)
        return chain.from_iterable(_opened(paths, manifest, column, scope, within))

    meant = [[found for text in spellings(given) for found in readings(normal_pattern(text))] for given in exclude]
    everything = opened()  # which complains of what does not exist
    if not any(len(choices) > 1 for choices in meant):
        return opened(*exclude)

    def listed() -> Iterator[InputEntry | Ignored | Notice]:
        # What brackets, backslashes and ~ in a pattern stand for is seen by the keys, so these are listed before.
        yield from opened(*decided(meant, (entry.key for entry in everything if isinstance(entry, InputEntry))))

    return listed()


def _opened(
    paths: Sequence[str], manifest: str | None, column: str, scope: Scope, within: str | None
) -> list[Iterable[InputEntry | Ignored | Notice]]:
    """The sources that a job names, notices about them first. Raises JobError with every complaint."""
    told: list[Notice] = []
    sources: list[Iterable[InputEntry | Ignored | Notice]] = [told]
    complaints: list[str] = []
    if within is not None and not at_home(Path(scope.full(".")), within).is_dir():
        lacking = _("{within} is no folder{advice}").format(within=quoted(within), advice=advice(within))
        complaints.append(
            _("input.within: {lacking}; expected a folder, relative to the job file").format(lacking=lacking)
        )
    for index, given in enumerate(paths):
        name = f"input.paths[{index}]"
        spelling = _spelling(given, scope)
        try:
            sources.append(_named(given, spelling, index, scope))
        except OSError as error:
            if other := unfetched(given):
                complaints.append(
                    _("{name}: {given}: {scheme} URLs are not fetched; expected http:// or https://").format(
                        name=name, given=quoted(other[1]), scheme=other[0]
                    )
                )
                continue
            expected = _("expected a file, a folder or a glob, relative to the job file")
            names = (literal(normal(text)) for text in spellings(given))
            hint = in_another_case(scope, (pattern + below for pattern in names for below in ("", "/**")))
            complaints.append(f"{name}: {quoted(given)} {_absence(error)}{advice(given)}; {expected}{hint}")
        told.extend(notices(name, given, spelling))
    if manifest is not None:
        spelling = _spelling(manifest, scope)
        told.extend(notices("input.manifest", manifest, spelling))
        complaints.extend(_complaints(spelling, scope))
        sources.append(Manifest(spelling, column, len(paths), scope))
    if complaints:
        raise JobError(*complaints)
    return sources


def _spelling(given: str, scope: Scope) -> str:
    """The first spelling of a path under which something is there; as written where nothing is."""
    for spelling in spellings(given) if not is_url(given) else ():
        with suppress(OSError):
            _status(spelling, scope)
            return spelling
    return given


def _named(given: str, spelling: str, index: int, scope: Scope) -> Source:
    """Source of a path: what exists comes before a glob. Raises OSError where no kind takes it."""
    mode, problem = None, None
    try:
        mode = None if is_url(given) else _status(spelling, scope).st_mode
    except OSError as error:
        problem, spelling = error, given
    for each in PATHS:
        if each.takes(spelling, mode):
            return each(spelling, index, scope)
    raise problem or OSError(_("is of no known kind"))


def _complaints(manifest: str, scope: Scope) -> Iterator[str]:
    kinds = ", ".join(READERS)
    if kind(manifest) not in READERS:
        yield _("input.manifest: {manifest} is of no known kind; expected one of {kinds}").format(
            manifest=quoted(manifest), kinds=kinds
        )
        return
    expected = _("expected a file ({kinds}), relative to the job file").format(kinds=kinds)
    if scope.is_outside(scope.full(normal(manifest))):
        yield _("input.manifest: {manifest} lies outside of input.within; expected a file in that folder").format(
            manifest=quoted(manifest)
        )
        return
    try:
        # A pipe would be waited for without end, and can be read only once.
        if problem := irregular(_status(manifest, scope).st_mode):
            yield f"input.manifest: {quoted(manifest)} {problem}; {expected}"
    except OSError as error:
        yield f"input.manifest: {quoted(manifest)} {_absence(error)}{advice(manifest)}; {expected}"


def _status(given: str, scope: Scope) -> os.stat_result:
    """The status of what the job file names.

    Nothing and NUL name no file, though the system may say otherwise.
    """
    if not given or "\0" in given:
        raise FileNotFoundError(given)
    return os.stat(scope.full(normal(given)))


def _absence(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return _("does not exist")
    return _("cannot be read: {reason}").format(reason=os_reason(error).lower())
