"""A schedule of a job: a command with its environment, in a crontab or in units."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..api.credentials import VARIABLES, load_credentials
from ..api.endpoint import EMBEDDED
from ..errors import JobError
from ..job.loading import load_job
from ..job.spec import Job
from ..language import _
from ..state.directory import config_directory, state_directory
from . import crontab, systemd
from .cron import Cron, calendar_of, lines_in, machine_zone, parse

_KEPT = ("BATCHREC_ENDPOINT", "BATCHREC_LANG", "SSL_CERT_FILE", "NO_PROXY", "no_proxy")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_LONGEST_LINE_BYTES = 990
"""Debian's cron refuses a command of 1,000 characters."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule that can be installed. `notes` are for the user."""

    job: Path
    cron: Cron
    words: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule that is installed: the job file, its times, and by what: "cron" or "systemd"."""

    job: str
    cron: Cron
    by: str


def plan(path: Path, at: str, zone: str, environ: Mapping[str, str]) -> Plan:
    """The schedule of a job file. Raises JobError with every reason why it would not run at night."""
    cron = parse(at, zone)
    job = load_job(path, environ=environ)
    path = job.path
    if crontab.has_line_end(path):
        raise JobError(_("{path!r}: a path with a line end cannot be scheduled").format(path=str(path)))
    environment, notes = _environment(environ)
    _check_credentials(job, environ)
    log = path.with_suffix(".log")
    if not os.access(log if log.exists() else log.parent, os.W_OK):
        raise JobError(_("{path}: the log cannot be written there; make the folder writable").format(path=log))
    words = (*_program(), "run", str(path), "--progress", "plain", "--log-file", str(log))
    return Plan(path, cron, words, environment, log, tuple(notes))


def _program() -> tuple[str, ...]:
    """The command of this installation, by an absolute path."""
    installed = Path(sys.executable).parent / "batchrec"
    return (str(installed),) if installed.exists() else (sys.executable, "-m", "batchrec")


def _environment(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Variables that the run needs as they are here, and notes on those that it does not get.

    A state folder of its own would count the quota twice, so that folders are always named.
    """
    kept = {
        "BATCHREC_STATE_DIR": str(state_directory(environ).absolute()),
        "BATCHREC_CONFIG_DIR": str(config_directory(environ).absolute()),
    }
    notes = []
    for name in (*_KEPT, *_PROXIES):
        value = environ.get(name, "")
        if not value:
            continue
        if name in _PROXIES and urlsplit(value).password is not None:
            notes.append(_("{name} holds a password, so it is not written into the schedule").format(name=name))
        else:
            kept[name] = value
    if any(sign in value for value in kept.values() for sign in "\n\r\0"):
        raise JobError(_("a variable of the environment holds a line end; it cannot be scheduled"))
    return kept, notes


def _check_credentials(job: Job, environ: Mapping[str, str]) -> None:
    """Raise JobError where the credentials are in variables that a scheduled run does not have."""
    if job.account.endpoint == EMBEDDED:
        return
    names = {name for pair in VARIABLES for name in pair}
    try:
        load_credentials(job.account.profile, {name: environ[name] for name in environ.keys() - names})
    except JobError as error:
        if names & environ.keys():
            raise JobError(
                *error.complaints,
                _("A scheduled run does not have the variables {names}; keep the key with `batchrec login`").format(
                    names=_(" and ").join(sorted(names & environ.keys()))
                ),
            ) from None
        raise


def block_of(wanted: Plan, now: datetime) -> str:
    """The lines of a crontab between the marks. Raises JobError where cron cannot express them."""
    machine = machine_zone()
    variables = [f"{name}={value}" for name, value in wanted.environment.items()]
    command = crontab.quoted(["cd", str(wanted.job.parent)]) + " && "
    command += crontab.quoted(["env", *variables, *wanted.words])
    if len(os.fsencode(command)) > _LONGEST_LINE_BYTES:
        raise JobError(
            _("the command has {count:,} bytes, and cron takes {most:,}; use --systemd, or shorter paths").format(
                count=len(os.fsencode(command)), most=_LONGEST_LINE_BYTES
            )
        )
    lines = [f"{times} {command}" for times in lines_in(wanted.cron, machine, now)]
    return "\n".join((f"# {wanted.cron.text} {wanted.cron.zone}, here in {machine[0]}", *lines, ""))


def units_of(wanted: Plan) -> systemd.Units:
    """The units of a schedule. Raises JobError where systemd cannot express it."""
    return systemd.units_of(
        str(wanted.job),
        wanted.job.parent,
        wanted.words,
        wanted.environment,
        calendar_of(wanted.cron),
        f"{wanted.cron.text} {wanted.cron.zone}",
    )


def installed(environ: Mapping[str, str]) -> list[Scheduled]:
    """All schedules of this user. Raises JobError where the crontab cannot be read."""
    found = [Scheduled(job, _given(at), "systemd") for job, at in systemd.scheduled(environ).items()]
    if crontab.available():
        for block in crontab.blocks_in(crontab.read_table()):
            at = block.text.partition(",")[0].removeprefix("# ")
            found.append(Scheduled(block.job, _given(at), "cron"))
    return found


def _given(text: str) -> Cron:
    at, _blank, zone = text.rpartition(" ")
    return parse(at, zone)


def install(wanted: Plan, by: str, environ: Mapping[str, str], now: datetime) -> None:
    """Install a schedule, by "cron" or "systemd", in place of an earlier one of the job. Raises JobError."""
    other = [each.by for each in installed(environ) if each.job == str(wanted.job) and each.by != by]
    if other:
        raise JobError(
            _("{job}: is scheduled by {other} already; first run: {command}").format(
                job=wanted.job, other=other[0], command=shlex.join(("batchrec", "schedule", "remove", str(wanted.job)))
            )
        )
    if by == "systemd":
        systemd.install(units_of(wanted), environ)
        return
    text = block_of(wanted, now)
    before = crontab.read_table()
    crontab.write_table(before, crontab.with_block(before, str(wanted.job), text), environ)


def remove(path: Path, environ: Mapping[str, str]) -> None:
    """Remove the schedule of a job file, which need not exist any more. Raises JobError where it has none."""
    job = os.path.abspath(path)
    found = systemd.remove(job, environ)
    if crontab.available():
        before = crontab.read_table()
        after = crontab.without_block(before, job)
        if after is not None:
            crontab.write_table(before, after, environ)
            found = True
    if not found:
        raise JobError(_("{job}: is not scheduled; `batchrec schedule list` shows what is").format(job=job))
