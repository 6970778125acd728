"""Commands about nightly runs: schedules, and the check of the environment."""

from pathlib import Path
from typing import Annotated

import typer

from ..language import _
from .help import App
from .options import JobFile, Json
from .told import told

schedule_app = App(no_args_is_help=True)


@schedule_app.command(
    "install",
    help=_(
        "Schedule a job in your crontab, in place of an earlier schedule of it. All other lines stay as they are.\n\n"
        "Example: `batchrec schedule install jobs/nightly.toml --dry-run`"
    ),
)
def schedule_install(
    job: JobFile,
    at: Annotated[
        str, typer.Option("--at", metavar="CRON", help=_("Minute, hour, day, month and weekday, as in a crontab."))
    ] = "10 0 * * *",  # ten minutes after the quota of the day begins
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help=_("The time zone of --at."))] = "Asia/Shanghai",
    systemd: Annotated[
        bool, typer.Option("--systemd", help=_("A timer of systemd instead; it makes up for missed runs."))
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=_("Show what would be written. Nothing is changed."))
    ] = False,
) -> None:
    """Schedule a job."""
    with told():
        from ..commands.schedule import install_schedule

        install_schedule(job, at, zone, by_systemd=systemd, dry_run=dry_run)


@schedule_app.command(
    "list",
    help=_("Show scheduled jobs with their last and next runs.\n\nExample: `batchrec schedule list`"),
)
def schedule_list(
    job: Annotated[
        Path | None, typer.Argument(metavar="[JOB.toml]", show_default=False, help=_("Only this job file."))
    ] = None,
) -> None:
    """List schedules."""
    with told():
        from ..commands.schedule import list_schedules

        list_schedules(job)


@schedule_app.command(
    "remove",
    help=_("Remove the schedule of a job.\n\nExample: `batchrec schedule remove jobs/nightly.toml`"),
)
def schedule_remove(job: JobFile) -> None:
    """Remove a schedule."""
    with told():
        from ..commands.schedule import remove_schedule

        remove_schedule(job)


def doctor(
    job: Annotated[
        Path | None, typer.Argument(metavar="[JOB.toml]", show_default=False, help=_("The job file to check for."))
    ] = None,
    json: Json = False,
) -> None:
    """Check the environment."""
    with told():
        from ..commands.doctor import show_checks

        raise typer.Exit(show_checks(job, as_json=json))
