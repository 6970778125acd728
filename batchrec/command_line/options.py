"""Arguments and options that several commands have: names, types and help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..language import _
from .usage import one_of, whole_number

MOST = 10**12
"""Largest count that is accepted: SQLite and the tables on the screen hold it."""


class Progress(StrEnum):
    """Display of progress."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"


class LogLevel(StrEnum):
    """Least severe level that is logged to standard error."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """Format of the log."""

    TEXT = "text"
    JSON = "json"


JobFile = Annotated[Path, typer.Argument(metavar="JOB.toml", show_default=False, help=_("The job file."))]
DirectoryOrJob = Annotated[
    Path,
    typer.Argument(
        metavar="DIR|JOB.toml", show_default=False, help=_("An output directory, or the job file that it belongs to.")
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        "-n",
        parser=whole_number(1, MOST),
        metavar="N",
        help=_("At most N images without a result, in input order."),
    ),
]
ProgressOption = Annotated[
    Progress,
    typer.Option(
        "--progress",
        parser=one_of(Progress),
        metavar="auto|rich|plain|none",
        help=_("A live display, plain lines, or none; auto: live on a terminal, else plain."),
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=_("No progress; warnings and errors only."))]
Level = Annotated[
    LogLevel,
    typer.Option(
        "--log-level",
        parser=one_of(LogLevel),
        metavar="debug|info|warning|error",
        help=_("The least severe messages to log to standard error."),
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help=_("The same as --log-level info."))]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help=_("Log and progress to a file as well, with the time; without a terminal only errors are printed, too."),
    ),
]
Format = Annotated[
    LogFormat,
    typer.Option("--log-format", parser=one_of(LogFormat), metavar="text|json", help=_("Lines of text or of JSON.")),
]
Metrics = Annotated[
    Path | None,
    typer.Option("--metrics", metavar="FILE.prom", help=_("Write a file for the textfile collector of Prometheus.")),
]
NoReuse = Annotated[bool, typer.Option("--no-reuse", help=_("Use no cached result of an earlier job."))]
ReuseModels = Annotated[
    bool, typer.Option("--reuse-models", help=_("Use cached results of EasyDL models as well, which may be outdated."))
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help=_("Change a key of the job file, for example limits.qps=10; may be repeated."),
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ray|ADDRESS",
        help=_("Run on a Ray cluster: `ray` for one that runs here, else a local one; or its address."),
    ),
]
PlanOn = Annotated[
    str | None,
    typer.Option("--on", metavar="ray|ADDRESS", help=_("Tell how many cores the calls need, here and on a cluster.")),
]
ShardSize = Annotated[
    int,
    typer.Option("--shard-size", parser=whole_number(1, MOST), metavar="N", help=_("With --on: images of a shard.")),
]
Json = Annotated[bool, typer.Option("--json", help=_("Print one JSON object instead of tables."))]


def display(progress: Progress, quiet: bool) -> Literal["auto", "rich", "plain", "none"]:
    """The display of progress with `--quiet`."""
    return "none" if quiet else progress.value


def log_level(level: LogLevel, verbose: bool) -> str:
    """The level with `--verbose`, which lowers it to `info` but never raises it."""
    return (LogLevel.INFO if verbose and level is not LogLevel.DEBUG else level).value
