"""Trained models on this machine: versions, the published one, applications that may call it.

    models/fruit/model.json            service, method, published version, bound applications
    models/fruit/V1/head.npz           the head, for the embedded endpoint
    models/fruit/V1/version.json       origin: data set, classes, parameters, versions of libraries
    models/fruit/V1/evaluation.json    the evaluation; null where none was possible
    models/fruit/V1/out_of_fold.jsonl  for each evaluated image: labels, results, fold, group of copies

A version appears by one rename, complete, and is never changed: an interrupted training leaves nothing.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from ..errors import JobError, OutputFailed
from ..language import _, os_reason
from ..state.directory import make_private, write_private
from ..state.durable import sync_directory
from ..state.file_system import private_lock, with_cause

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_VERSION = re.compile(r"V([1-9][0-9]{0,8})")
_LOCK_SECONDS = 10.0  # to wait for another process that publishes or binds

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class State:
    """Contents of model.json. `published` is the name of a version, empty for none.

    `method`: the way to a result: `features` of the whole image, or `crops` of it.
    """

    service: str
    published: str = ""
    bound: tuple[str, ...] = ()
    method: str = "features"


class Model:
    """A model by its name, in the folder of all models; it need not have a version yet."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises JobError where the name cannot be part of an address."""
        if not _NAME.fullmatch(name):
            raise JobError(
                _("{name!r} is no name of a model; expected letters, digits, - and _, for example fruit").format(
                    name=name
                )
            )
        self.name = name
        self._folder = folder / name

    def versions(self) -> list[str]:
        """The versions, the oldest first. Raises JobError where they cannot be listed."""
        try:
            found = [match for name in os.listdir(self._folder) if (match := _VERSION.fullmatch(name))]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise JobError(
                _("{path}: cannot be read: {reason}").format(path=self._folder, reason=os_reason(exc))
            ) from exc
        return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]

    def check_there(self) -> list[str]:
        """The versions. Raises JobError where there is none, with the command that trains one."""
        if found := self.versions():
            return found
        raise JobError(
            _("there is no model {name}; train one: batchrec dataset train DIR --name {name}").format(name=self.name)
        )

    def path(self, version: str, file: str) -> Path:
        """The path of a file of a version."""
        return self._folder / version / file

    def read(self, version: str, file: str) -> Any:
        """A JSON file of a version. Raises JobError where it cannot be read."""
        return _read(self.path(version, file))

    def state(self) -> State:
        """The published version and the bound applications. Raises JobError where model.json cannot be read."""
        found = _read(self._folder / "model.json")
        try:
            method = str(found.get("method", "features"))  # that of models that were made before there were two
            return State(str(found["service"]), str(found["published"]), tuple(map(str, found["bound"])), method)
        except (KeyError, TypeError, AttributeError) as exc:
            raise JobError(
                _("{path}: is damaged; restore it, or remove the folder {folder} and train again").format(
                    path=self._folder / "model.json", folder=self._folder
                )
            ) from exc

    def add(self, service: str, method: str, files: Files) -> str:
        """Add a version with these files; returns its name.

        Raises JobError where the model is of another service, OutputFailed where it cannot be written.
        """
        try:
            make_private(self._folder)
            with _locked(self._folder):
                if (self._folder / "model.json").exists():
                    self._check_service(service)
                else:
                    self._write(State(service, method=method))
                version = f"V{int(self.versions()[-1][1:]) + 1}" if self.versions() else "V1"
                with _new_folder(self._folder / version) as folder:
                    for name, data in files.items():
                        write_private(folder / name, data)
            return version
        except OSError as exc:
            raise self._failed(exc) from exc

    def publish(self, version: str) -> None:
        """Have a version answer under the model's name. Raises JobError where there is none of that name."""
        if version not in (known := self.check_there()):
            raise JobError(
                _("{name} has no version {version!r}; there are: {known}").format(
                    name=self.name, version=version, known=", ".join(known)
                )
            )
        with self._changing() as state:
            self._write(replace(state, published=version))

    def bind(self, app: str) -> None:
        """Let an application call the model."""
        self.check_there()
        with self._changing() as state:
            self._write(replace(state, bound=tuple(dict.fromkeys((*state.bound, app)))))

    def unbind(self) -> None:
        """Let no application call the model any more."""
        self.check_there()
        with self._changing() as state:
            self._write(replace(state, bound=()))

    @contextmanager
    def _changing(self) -> Iterator[State]:
        try:
            with _locked(self._folder):
                yield self.state()
        except OSError as exc:
            raise self._failed(exc) from exc

    def _check_service(self, service: str) -> None:
        if (found := self.state().service) != service:
            raise JobError(
                _("{name} is a model of {found}, and this one is of {service}; give another --name").format(
                    name=self.name, found=found, service=service
                )
            )

    def _write(self, state: State) -> None:
        found = asdict(state)
        write_private(self._folder / "model.json", orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")

    def _failed(self, exc: OSError) -> OutputFailed:
        reason = with_cause(exc, _("set BATCHREC_DATA_DIR to a folder on a local disk"))
        return OutputFailed(_("{path}: cannot be written: {reason}").format(path=self._folder, reason=reason))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a model for a change. Raises OSError where it cannot be had."""
    with private_lock(folder / ".lock").acquire(timeout=_LOCK_SECONDS):
        yield


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Folder to write into, which is `path` at the end of the block, and gone after an error."""
    new = path.with_name(".new")
    try:
        shutil.rmtree(new, ignore_errors=True)  # of a training that was killed; whoever is here holds the lock
        make_private(new)
        yield new
        sync_directory(new)
        os.rename(new, path)
        sync_directory(path.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as exc:
        raise JobError(_("{path}: cannot be read: {reason}").format(path=path, reason=os_reason(exc))) from exc
    except ValueError as exc:
        raise JobError(_("{path}: is no JSON: {reason}").format(path=path, reason=exc)) from exc
