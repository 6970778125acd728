"""Checks of the environment of runs, each with a remedy. Nothing is changed, and no key is sent."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from ..api.endpoint import EMBEDDED, LIVE
from ..engine.setup import credentials_of
from ..errors import BatchrecError, JobError
from ..job.loading import build_job, load_job
from ..job.spec import Job
from ..language import _, os_reason
from ..state.directory import config_directory, state_directory
from ..state.file_system import OUTPUT_REMEDY, STATE_REMEDY, check_locks
from . import crontab, schedule
from .cron import machine_zone
from .notify import notifier_of
from .reach import reach

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

Status = Literal["ok", "warning", "problem"]

_LOW_BYTES = 1_000_000_000
_FULL_BYTES = 100_000_000
_FEW_FILES = 1024
"""Descriptors below which fewer calls are in flight than a fast account allows."""

_DAEMONS = frozenset(("cron", "crond", "cronie", "fcron", "dcron"))


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, how it ended, what was found, and what to do about it."""

    name: str
    status: Status
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Patient:
    """Subject of the checks: the job (None: no job file was given), and the environment."""

    job: Job | None
    environ: Mapping[str, str]

    @property
    def endpoint(self) -> str:
        return self.job.account.endpoint if self.job else self.environ.get("BATCHREC_ENDPOINT") or LIVE


def checks(path: Path | None, environ: Mapping[str, str]) -> Iterator[Check]:
    """Check the environment of a job file, or of any run where there is none."""
    job = None
    if path is not None:
        try:
            job = load_job(path, environ=environ)
        except JobError as error:
            for line in error.complaints:
                yield Check("job file", "problem", line, _("correct the job file; the checks below are without it"))
        else:
            yield Check("job file", "ok", str(job.path))
    patient = _Patient(job, environ)
    for name, check in _CHECKS.items():
        try:
            yield from check(patient)
        except BatchrecError as error:
            yield Check(name, "problem", str(error))


def _credentials(patient: _Patient) -> Iterator[Check]:
    if patient.endpoint == EMBEDDED:
        yield Check("credentials", "ok", _("the embedded endpoint needs none"))
        return
    job = patient.job or _any_job(patient.endpoint)
    found = credentials_of(job, patient.environ)
    origin = _(" and ").join(found.variables) or _("profile {name!r}").format(name=job.account.profile)
    yield Check("credentials", "ok", _("{origin}, for {endpoint}").format(origin=origin, endpoint=job.account.endpoint))
    if found.variables:
        text = _("{names} are variables, which a scheduled run does not have").format(names=origin)
        yield Check("credentials", "warning", text, _("keep the key with `batchrec login` for scheduled runs"))


def _any_job(endpoint: str) -> Job:
    """A job that stands for any, where no job file was given."""
    raw = {"input": {"paths": ["."]}, "recognize": [{"service": "dish"}], "account": {"endpoint": endpoint}}
    return build_job(raw, "job.toml", {} if endpoint == LIVE else {("account", "endpoint"): "BATCHREC_ENDPOINT"})


def _service(patient: _Patient) -> Iterator[Check]:
    if patient.endpoint == EMBEDDED:
        yield Check("service", "ok", _("the embedded endpoint is in the process of the run"))
        return
    for name, good, text, remedy in reach(patient.endpoint):
        yield Check(name, "ok" if good else "problem", text, remedy)


def _disk(patient: _Patient) -> Iterator[Check]:
    for folder in _folders(patient):
        usage = shutil.disk_usage(_existing(folder))
        status: Status = "problem" if usage.free < _FULL_BYTES else "warning" if usage.free < _LOW_BYTES else "ok"
        text = _("{folder}: {free:,.1f} GB free").format(folder=folder, free=usage.free / 1e9)
        yield Check("disk", status, text, "" if status == "ok" else _("make room, or name another folder"))


def _locks(patient: _Patient) -> Iterator[Check]:
    for folder, remedy in zip(_folders(patient), (STATE_REMEDY, OUTPUT_REMEDY), strict=False):
        place = _existing(folder)
        if not os.access(place, os.W_OK):
            text = _("{folder}: cannot be written").format(folder=place)
            yield Check("locks", "problem", text, _("make it writable for this user, or name another folder"))
            continue
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                check_locks(file.fileno(), place)
        except OSError as exc:
            yield Check("locks", "problem", f"{folder}: {os_reason(exc)}", _(remedy))
        else:
            yield Check("locks", "ok", _("{folder}: locks work").format(folder=folder))


def _descriptors(_patient: _Patient) -> Iterator[Check]:
    if resource is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= _FEW_FILES:
        yield Check("descriptors", "ok", _("a process may open files enough"))
        return
    text = _("a process may open {count:,} files").format(count=hard)
    yield Check("descriptors", "warning", text, _("raise the hard limit (`ulimit -Hn`), or fewer calls are in flight"))


def _state(patient: _Patient) -> Iterator[Check]:
    """Two state folders in use count the calls of one day twice."""
    folder = state_directory(patient.environ).resolve()
    usual = Path(platformdirs.user_state_dir("batchrec", appauthor=False)).resolve()
    scheduled = {path for path in map(Path, _scheduled_folders()) if path.resolve() != folder}
    others = {usual, *scheduled} - {folder}
    used = sorted(str(other) for other in others if (other / "quota.db").exists() or other in scheduled)
    if used:
        text = _("{folder}; there is another one in use: {used}").format(folder=folder, used=", ".join(used))
        remedy = _(
            "set BATCHREC_STATE_DIR to one of them everywhere, and run `batchrec schedule install` again; each of them "
            "counts calls by itself, so that the quota is exceeded"
        )
        yield Check("state folder", "problem", text, remedy)
        return
    yield Check("state folder", "ok", str(folder))


def _scheduled_folders() -> Iterator[str]:
    """State folders that the blocks of the crontab name."""
    if crontab.available():
        for block in crontab.blocks_in(crontab.read_table()):
            yield from crontab.variable_in(block.text, "BATCHREC_STATE_DIR")


def _files(patient: _Patient) -> Iterator[Check]:
    """The config folder and notify.toml."""
    folder = config_directory(patient.environ)
    if patient.job is not None and patient.job.notify is not None:
        notifier_of(patient.job.notify.use, patient.environ)
        yield Check("notifications", "ok", _("notify.toml has [{name}]").format(name=patient.job.notify.use))
    if folder.exists() and stat.S_IMODE(folder.stat().st_mode) & 0o022:
        text = _("{folder}: others can write there").format(folder=folder)
        yield Check("config folder", "problem", text, f"chmod go-w {folder}")
    else:
        yield Check("config folder", "ok", str(folder))


def _cron(patient: _Patient) -> Iterator[Check]:
    found = schedule.installed(patient.environ)
    by_cron = [each for each in found if each.by == "cron"]
    text = _("scheduled jobs: {count}; the machine's zone is {zone}").format(count=len(found), zone=machine_zone()[0])
    if by_cron and not daemon_runs():
        yield Check("schedule", "problem", text + _("; no cron daemon runs"), _("start it: systemctl start cron"))
    else:
        yield Check("schedule", "ok", text)
    for each in found:
        if not Path(each.job).exists():
            remedy = _("remove its schedule: batchrec schedule remove {job}").format(job=each.job)
            yield Check("schedule", "problem", _("{job}: there is no such file").format(job=each.job), remedy)


def daemon_runs() -> bool:
    """Whether a cron daemon runs; True where the system does not say."""
    processes = Path("/proc")
    if not (processes / "self").exists() or Path("/run/systemd/system/cron.target").exists():
        return True
    for path in processes.glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() in _DAEMONS:
                return True
        except OSError:  # a process that has ended
            continue
    return False


def _folders(patient: _Patient) -> tuple[Path, ...]:
    """The state folder, and the output directory of the job."""
    return (state_directory(patient.environ), *((patient.job.directory,) if patient.job else ()))


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


_CHECKS: dict[str, Callable[[_Patient], Iterator[Check]]] = {
    "credentials": _credentials,
    "service": _service,
    "disk": _disk,
    "locks": _locks,
    "descriptors": _descriptors,
    "state folder": _state,
    "notifications": _files,
    "schedule": _cron,
}
"""The checks, in the order in which they are shown; the name is that of a check that fails as a whole."""
