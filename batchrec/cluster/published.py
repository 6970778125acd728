"""Results of a cluster run at an address: object storage, without locks, appending and renaming.

The journal is a SQLite file, which no shared storage can hold. So the output directory that a run works on lies in the
state folder of its machine, and the address has a copy of it as of the end of the last run, beside the parts since:

    parts/                     as in any output directory
    state-GENERATION.tar.gz    the output directory, with its journal
    results.jsonl, ...         the files for readers
    MERGED.json                written last: the generation, and size and SHA-256 of each of these
    HELD.json                  the run that is at work, with its last sign of life

A machine that has another generation, or none, takes the copy and goes on from the parts. Parts are removed when a copy
holds what they held. Blocks.
"""

import hashlib
import json
import os
import secrets
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import JobError, OutputFailed, ResultsDamaged
from ..job.spec import Job
from ..journal import reading
from ..language import _, ngettext, os_reason
from ..outputs.directory import JOURNAL, NAMES, RESULT_FILES
from ..state.directory import state_directory
from .parts import Parts, damages
from .storage import Storage, StorageError

MERGED = "MERGED.json"
_STATE = "state-"
NOTE = "published"
"""Note of a journal: the address and the generation of the copy that holds it."""

_COPIED = (JOURNAL, *RESULT_FILES)


class Described(NamedTuple):
    """Size and SHA-256, in hex, of a file."""

    bytes: int
    sha256: str


class Merged(NamedTuple):
    """Content of MERGED.json: the generation, the job file, the copy and all files."""

    generation: str
    job_file: str
    state: str
    files: Mapping[str, Described]


def work_directory(job: Job, url: str, environ: Mapping[str, str]) -> Path:
    """The folder, on this machine, of the output directory that a job with results at an address works on."""
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    return state_directory(environ) / "outputs" / key / job.name


def working(job: Job, environ: Mapping[str, str]) -> Job:
    """The job with its output directory on this machine; itself where it has no address."""
    if job.address is None:
        return job
    return job.written_to(work_directory(job, job.address, environ))


class Published:
    """The copy of an output directory at an address. Raises OSError and ResultsDamaged."""

    def __init__(self, url: str) -> None:
        self.url, self.storage, self.parts = url, Storage(url), Parts(url)

    def merged(self) -> Merged | None:
        """Content of MERGED.json; None where nothing was published."""
        try:
            said: dict[str, Any] = json.loads(self.storage.read(MERGED))
            files = {name: Described(**each) for name, each in said["files"].items()}
            return Merged(said["generation"], said["job_file"], said["state"], files)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise ResultsDamaged(_("{url}/{name}: is damaged").format(url=self.url, name=MERGED)) from None

    def bring(self, directory: Path, merged: Merged | None) -> None:
        """Make a local output directory the copy that was published, unless it goes on from that already."""
        if generation_of(directory, self.url) == (merged.generation if merged else None):
            return
        if merged is None and any(name.startswith(_STATE) for name in self.storage.listed()):
            raise ResultsDamaged(_("{url}/{name}: is missing").format(url=self.url, name=MERGED))
        directory.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (directory / name).unlink(missing_ok=True)
        if merged is None:
            return
        packed = directory / f".{merged.state}"
        try:
            self.storage.download(merged.state, str(packed))
            if _described(packed) != merged.files[merged.state]:
                text = _("{url}/{name}: holds other bytes than were written")
                raise ResultsDamaged(text.format(url=self.url, name=merged.state))
            with tarfile.open(packed) as archive:
                for member in archive:
                    if member.name in _COPIED:
                        archive.extract(member, directory, filter="data")
        except FileNotFoundError:
            raise ResultsDamaged(_("{url}/{name}: is missing").format(url=self.url, name=merged.state)) from None
        finally:
            packed.unlink(missing_ok=True)

    def publish(self, directory: Path, job_file: Path, shards: Sequence[str]) -> None:
        """Write the copy of an output directory, and remove the shards whose parts it holds, and older copies.

        A kill at any point leaves the last copy whole, or this one.
        """
        generation = generation_of(directory, self.url) or new_generation()
        state, packed = f"{_STATE}{generation}.tar.gz", directory / f".{generation}.tar.gz"
        present = [name for name in _COPIED if (directory / name).exists()]
        try:
            with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
                for name in present:
                    archive.add(directory / name, name)
            files = {state: _described(packed)}
            self.storage.upload(str(packed), state)
        finally:
            packed.unlink(missing_ok=True)
        for name in present:
            if name != JOURNAL:
                files[name] = _described(directory / name)
                self.storage.upload(str(directory / name), name)
        said = {
            "generation": generation,
            "job_file": str(job_file),
            "state": state,
            "files": {name: each._asdict() for name, each in files.items()},
        }
        self.storage.write(MERGED, json.dumps(said, indent=1, ensure_ascii=False).encode())
        older = [name for name in self.storage.listed() if name.startswith(_STATE) and name != state]
        self.storage.remove(older)
        for shard in shards:
            self.parts.remove(shard)

    def problems(self, *, quick: bool) -> Iterator[str]:
        """Yield a sentence for each thing that is wrong with the copy and the parts.

        `quick`: of the copy, sizes alone are compared.
        """
        merged = self.merged()
        listed = self.storage.listed()
        for name, expected in merged.files.items() if merged else ():
            if name not in listed:
                yield _("{name}: is missing").format(name=name)
            elif (size := int(listed[name]["size"])) != expected.bytes:
                text = _("{name}: has {size:,} bytes, but {bytes:,} were written; run again, or batchrec merge")
                yield text.format(name=name, size=size, bytes=expected.bytes)
            elif not quick and self._sha256(name) != expected.sha256:
                yield _("{name}: holds other bytes than were written; run again, or batchrec merge").format(name=name)
        for part, reason in damages(self.parts):
            yield f"{part}: {reason}"
        if shards := self.parts.shards():
            text = ngettext(
                "the parts of {count:,} shard are not merged; run again, or batchrec merge",
                "the parts of {count:,} shards are not merged; run again, or batchrec merge",
                len(shards),
            )
            yield text.format(count=len(shards))
        if merged is None and not shards:
            yield _("there is nothing that a run has written")

    def _sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        for block in self.storage.blocks(name):
            digest.update(block)
        return digest.hexdigest()


def new_generation() -> str:
    """The name of a new copy."""
    return secrets.token_hex(6)


def noted(url: str, generation: str) -> str:
    """The journal's note of a copy."""
    return f"{generation} {url}"


def generation_of(directory: Path, url: str) -> str | None:
    """The copy at an address that a local output directory goes on from; None where it is of no such copy."""
    if not (directory / JOURNAL).exists():
        return None
    with reading(directory) as journal:
        generation, _space, address = str(journal.note(NOTE) or "").partition(" ")
    return generation if address == url else None


def check_copy(directory: Path, url: str) -> None:
    """Raise JobError where a folder holds something else than a copy of the results at an address."""
    held = any(os.path.lexists(directory / name) for name in NAMES)
    if (directory.exists() and not directory.is_dir()) or (held and generation_of(directory, url) is None):
        text = _("--out {directory}: holds something else than a copy of {url}; expected a new folder")
        raise JobError(text.format(directory=directory, url=url))


def failed(url: str, exc: OSError) -> JobError | OutputFailed:
    """The error for an address that cannot be read or written."""
    if isinstance(exc, FileNotFoundError) and not isinstance(exc, StorageError) and not url.startswith("file:"):
        return JobError(_("{url}: there is no such bucket; make it first").format(url=url))
    reason = os_reason(exc)
    return OutputFailed(_("{url}: cannot be read or written: {reason}").format(url=url, reason=reason))


def _described(path: Path) -> Described:
    with path.open("rb") as file:
        return Described(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
