"""User units of systemd for a job: a service and its timer."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError, OutputFailed
from ..language import _, os_reason

_COMMAND_SECONDS = 30.0
_MARK = "# batchrec schedule: "
_AT = "# at: "


@dataclass(frozen=True, slots=True)
class Units:
    """A service and its timer: their common name, and the text of each."""

    name: str
    service: str
    timer: str


def unit_name(job: str) -> str:
    """The name of the units of a job file, by its absolute path; two jobs of one file name differ."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(job).stem)
    return f"batchrec-{stem}-{hashlib.sha256(os.fsencode(job)).hexdigest()[:8]}"


def units_of(
    job: str, folder: Path, words: Sequence[str], environment: Mapping[str, str], calendar: str, at: str
) -> Units:
    """The units that run a command in a folder at the times of `calendar`.

    `at` is the schedule as it was given.
    """
    name = unit_name(job)
    variables = "".join(f"Environment={_word(f'{key}={value}')}\n" for key, value in environment.items())
    service = (
        f"{_MARK}{job}\n[Unit]\nDescription=batchrec run {_text(job)}\n\n[Service]\nType=oneshot\n"
        f"WorkingDirectory={_text(str(folder))}\n{variables}ExecStart={' '.join(map(_argument, words))}\n"
        "# A daily limit is no failure.\nSuccessExitStatus=75\n"
    )
    timer = (
        f"{_MARK}{job}\n{_AT}{at}\n[Unit]\nDescription=batchrec run {_text(job)}\n\n[Timer]\n"
        f"OnCalendar={calendar}\n# A run that was missed is made up for.\nPersistent=true\nRandomizedDelaySec=60\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    return Units(name, service, timer)


def _text(text: str) -> str:
    """A text in a unit file: `%` begins a specifier."""
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """A quoted word of a unit file."""
    return '"' + _text(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _argument(text: str) -> str:
    """An argument of ExecStart, where `$` begins a variable."""
    return _word(text.replace("$", "$$"))


def folder_of(environ: Mapping[str, str]) -> Path:
    """The folder of the user's units."""
    config = environ.get("XDG_CONFIG_HOME", "")
    return (Path(config) if config.startswith("/") else Path.home() / ".config") / "systemd" / "user"


def scheduled(environ: Mapping[str, str]) -> dict[str, str]:
    """By job file: the schedule of its timer as it was given."""
    found = {}
    for path in sorted(folder_of(environ).glob("batchrec-*.timer")):
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        if len(lines) > 1 and lines[0].startswith(_MARK) and lines[1].startswith(_AT):
            found[lines[0].removeprefix(_MARK)] = lines[1].removeprefix(_AT)
    return found


def install(units: Units, environ: Mapping[str, str]) -> Path:
    """Write the units and start the timer; returns the timer's path.

    Raises JobError where the user has no systemd, before anything is written; OutputFailed where a unit cannot be
    written or started.
    """
    _systemctl("show-environment")  # the user's own manager has to be there
    folder = folder_of(environ)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, text in (("service", units.service), ("timer", units.timer)):
            path = folder / f"{units.name}.{suffix}"
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as exc:
        raise OutputFailed(_("{path}: cannot be written: {reason}").format(path=folder, reason=os_reason(exc))) from exc
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"{units.name}.timer")
    return folder / f"{units.name}.timer"


def remove(job: str, environ: Mapping[str, str]) -> bool:
    """Stop and remove the units of a job file; whether there were any. Raises OutputFailed."""
    if job not in scheduled(environ):
        return False
    name, folder = unit_name(job), folder_of(environ)
    if shutil.which("systemctl"):
        _systemctl("disable", "--now", f"{name}.timer", needed=False)
    try:
        for suffix in ("service", "timer"):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    except OSError as exc:
        raise OutputFailed(_("{path}: cannot be written: {reason}").format(path=folder, reason=os_reason(exc))) from exc
    if shutil.which("systemctl"):
        _systemctl("daemon-reload", needed=False)
    return True


def _systemctl(*words: str, needed: bool = True) -> None:
    """Run `systemctl --user`. Raises JobError where it fails and is `needed`."""
    path = shutil.which("systemctl")
    if path is None:
        raise JobError(_("there is no command `systemctl` on this machine; leave --systemd out to use cron"))
    try:
        done = subprocess.run(
            (path, "--user", *words), capture_output=True, timeout=_COMMAND_SECONDS, check=False, text=True
        )
        said = "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as exc:
        said = str(exc)
    if said and needed:
        raise JobError(
            _(
                "systemctl --user {words}: {said}; log in as this user itself (not by su), or leave --systemd out to "
                "use cron"
            ).format(words=" ".join(words), said=said)
        )
