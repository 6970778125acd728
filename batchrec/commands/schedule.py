"""`batchrec schedule`: install, list and remove schedules, with their next runs."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..console.output import printing
from ..console.text import say
from ..errors import JobError
from ..job.loading import output_directory
from ..language import _
from ..nightly import schedule, systemd
from ..nightly.cron import BEIJING_ZONE, Cron, zone_named
from ..outputs.directory import SUMMARY

_RUNS = 3
"""Next runs that are shown."""


def install_schedule(path: Path, at: str, zone: str, *, by_systemd: bool, dry_run: bool) -> None:
    """Schedule a job file, or show what would be written."""
    wanted = schedule.plan(path, at, zone, os.environ)
    now = datetime.now(UTC)
    if dry_run:
        text = _written(schedule.units_of(wanted)) if by_systemd else schedule.block_of(wanted, now)
        with printing():
            print(text, end="")
    else:
        schedule.install(wanted, "systemd" if by_systemd else "cron", os.environ, now)
    say(*wanted.notes)
    with printing():
        print(*_told(wanted.cron, now), sep="\n")
        print(_("log: {path}").format(path=wanted.log))
        if by_systemd:
            print(_("so that it runs while you are logged out: loginctl enable-linger"))


def _written(units: systemd.Units) -> str:
    return f"# {units.name}.service\n{units.service}\n# {units.name}.timer\n{units.timer}"


def _told(cron: Cron, now: datetime) -> Iterator[str]:
    """Lines for the next runs, in local and Beijing time."""
    beijing = zone_named(BEIJING_ZONE)
    yield _("next runs:")
    for run in cron.runs(now, _RUNS):
        here, there = run.astimezone(), run.astimezone(beijing)
        yield _("  {here:%Y-%m-%d %H:%M} here, {there:%Y-%m-%d %H:%M} Beijing").format(here=here, there=there)


def list_schedules(path: Path | None) -> None:
    """Show the schedules of this user, or that of a job file, with the last and the next runs."""
    job = None if path is None else os.path.abspath(path)
    found = [each for each in schedule.installed(os.environ) if job in (None, each.job)]
    now = datetime.now(UTC)
    with printing():
        if not found:
            print(_("nothing is scheduled"))
        for each in found:
            print(
                _("{job}: {at} {zone}, by {by}").format(
                    job=each.job, at=each.cron.text, zone=each.cron.zone, by=each.by
                )
            )
            print("  " + _last(each.job))
            print(*("  " + line for line in _told(each.cron, now)), sep="\n")


def _last(job: str) -> str:
    """A line about the last run of a job, from its summary."""
    try:
        summary = json.loads((output_directory(job) / SUMMARY).read_bytes())
        moment = datetime.fromisoformat(summary["finished_at"]).astimezone()
        text = _("last run: {moment:%Y-%m-%d %H:%M} here, exit code {code}, {calls:,} calls, {left:,} images remaining")
        return text.format(moment=moment, code=summary["exit_code"], calls=summary["calls"], left=summary["left"])
    except JobError as error:
        return error.complaints[0]
    except (OSError, ValueError, KeyError, TypeError):
        return _("last run: none yet")


def remove_schedule(path: Path) -> None:
    """Remove the schedule of a job file."""
    schedule.remove(path, os.environ)
    with printing():
        print(_("{job}: is not scheduled any more").format(job=os.path.abspath(path)))
