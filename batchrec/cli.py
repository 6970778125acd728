"""The command line as it is typed: names, arguments and help. What a command does is in `commands`.

A command imports what it needs, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command_line.account import login, quota_app
from .command_line.dataset import dataset_app
from .command_line.emulator import emulator
from .command_line.epilog import epilog
from .command_line.help import ACCOUNT, JOBS, RESULTS, START, TOOLS, App
from .command_line.models import dataset_train  # noqa: F401  # adds commands to `dataset_app`
from .command_line.nightly import doctor, schedule_app
from .command_line.options import (
    DirectoryOrJob,
    Format,
    JobFile,
    Json,
    Level,
    Limit,
    LogFile,
    LogFormat,
    LogLevel,
    Metrics,
    NoReuse,
    On,
    PlanOn,
    Progress,
    ProgressOption,
    Quiet,
    ReuseModels,
    Set,
    ShardSize,
    Verbose,
    display,
    log_level,
)
from .command_line.report import compare, report
from .command_line.results import export, show
from .command_line.told import told
from .command_line.usage import number
from .language import _

app = App(
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # Typer loads pydantic (60 ms) for an option without a value; a bool it takes as it is.
        "default_map": {
            "help": False,
            "quota": {"help": False},
            "schedule": {"help": False},
            "dataset": {"help": False},
            "install_completion": False,
            "show_completion": False,
        },
    },
    help=_(
        "Recognize thousands to millions of images with Baidu AI Cloud, each exactly once.\n\n"
        "Example: `batchrec run jobs/demo.toml`"
    ),
    epilog=epilog(),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"batchrec {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help=_("Print the version and exit.")),
    ] = False,
) -> None:
    pass


@app.command(
    rich_help_panel=JOBS,
    help=_("Run a job, or resume it where it stopped.\n\nExample: `batchrec run jobs/demo.toml --set limits.qps=10`"),
)
def run(
    job: JobFile,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help=_("Retry everything that has failed."))] = False,
    retry_kind: Annotated[
        list[str] | None,
        typer.Option(
            "--retry-kind",
            metavar="KIND",
            help=_(
                "Retry one kind of failure: transient, image, request, read, fetch, unknown, lying; may be repeated."
            ),
        ),
    ] = None,
    limit: Limit = None,
    progress: ProgressOption = Progress.AUTO,
    quiet: Quiet = False,
    no_reuse: NoReuse = False,
    reuse_models: ReuseModels = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help=_("Send images again whose rows results.jsonl has lost."))
    ] = False,
    set_: Set = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help=_("Fetch URLs from private addresses too, if the job file says so.")),
    ] = False,
    log_file: LogFile = None,
    log_format: Format = LogFormat.TEXT,
    metrics: Metrics = None,
    on: On = None,
    shard_size: ShardSize = 10_000,
    yes: Annotated[
        bool, typer.Option("--yes", help=_("Send images again without a question where options have changed."))
    ] = False,
    verbose: Verbose = False,
    level: Level = LogLevel.WARNING,
) -> None:
    """Run a job."""
    with told():
        from .commands.run import RunOptions, run_job_file
        from .console.log import LogOptions

        shown = display(progress, quiet)
        log = LogOptions(log_level(level, verbose), log_file, log_format.value)
        options = RunOptions(limit, not no_reuse, reuse_models, shown, log, yes, allow_private, metrics, on, shard_size)
        raise typer.Exit(run_job_file(job, set_ or [], options, retry_failed, retry_kind, rebuild=rebuild))


@app.command(
    rich_help_panel=RESULTS,
    help=_(
        "Merge what the nodes of a cluster have left of a run that was cut short, or copy results from object storage "
        "to a folder. Nothing is sent.\n\n"
        "Example: `batchrec merge results/furniture`"
    ),
)
def merge(
    directory: DirectoryOrJob,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help=_("Copy results at an address such as s3:// to this folder.")),
    ] = None,
    progress: ProgressOption = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Merge the parts of an output directory."""
    with told():
        from .commands.cluster import merge_parts

        raise typer.Exit(merge_parts(directory, display(progress, quiet), out))


@app.command(
    rich_help_panel=START,
    help=_(
        "Run the demo job without an account: 27 images, whose job file and results are put into a folder.\n\n"
        "Example: `batchrec demo`"
    ),
)
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help=_("The folder for job file, images and results."))
    ] = Path("batchrec-demo"),
    progress: ProgressOption = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Run the demo job."""
    with told():
        from .commands.demo import run_demo

        raise typer.Exit(run_demo(folder, display(progress, quiet)))


@app.command(
    rich_help_panel=START,
    help=_(
        "Write a short job file for a folder of images. No file is overwritten.\n\n"
        "Example: `batchrec init photos --embedded`"
    ),
)
def init(
    folder: Annotated[
        str | None,
        typer.Argument(metavar="[FOLDER]", show_default=False, help=_("A folder of images, an image or a list.")),
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help=_("Use the embedded endpoint, which needs no account."))
    ] = False,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service", metavar="NAME", help=_("A service to call, see `batchrec services`; may be repeated.")
        ),
    ] = None,
    all_keys: Annotated[bool, typer.Option("--all-keys", help=_("Write every key with its default."))] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help=_("Write job.schema.json beside the job file, for editors."))
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="JOB.toml", help=_("The new job file."))] = Path("job.toml"),
) -> None:
    """Write a job file."""
    with told():
        from .commands.init import JobFileOptions, write_job_file

        write_job_file(folder, out, JobFileOptions(embedded, tuple(service or ()), all_keys, schema))


@app.command(
    rich_help_panel=JOBS,
    help=_(
        "Show what a run would do: images, calls, time, days and cost. Nothing is sent.\n\n"
        "Example: `batchrec plan jobs/demo.toml`"
    ),
)
def plan(
    job: JobFile,
    json: Json = False,
    files: Annotated[
        bool,
        typer.Option(
            "--files",
            help=_("List the images that would be refused, and why; with --json as JSON lines, without the plan."),
        ),
    ] = False,
    progress: ProgressOption = Progress.AUTO,
    quiet: Quiet = False,
    no_reuse: NoReuse = False,
    reuse_models: ReuseModels = False,
    set_: Set = None,
    on: PlanOn = None,
    verbose: Verbose = False,
    level: Level = LogLevel.WARNING,
) -> None:
    """Show what a run would do."""
    with told():
        from .commands.show import show_plan_of

        raise typer.Exit(
            show_plan_of(
                job,
                set_ or [],
                reuse=not no_reuse,
                reuse_models=reuse_models,
                progress=display(progress, quiet),
                log_level=log_level(level, verbose),
                json=json,
                files=files,
                machines=on is not None,
            )
        )


@app.command(
    rich_help_panel=RESULTS,
    help=_("Show the progress of a job, also while it runs.\n\nExample: `batchrec status jobs/demo.toml`"),
)
def status(directory: DirectoryOrJob, json: Json = False) -> None:
    """Show the progress of a job."""
    with told():
        from .commands.show import show_status_of
        from .job.loading import output_directory

        show_status_of(output_directory(directory), json=json)


@app.command(
    rich_help_panel=RESULTS,
    help=_(
        "Check that journal, results, inputs and counts agree: exit code 0 or 1. Nothing is sent or written.\n\n"
        "Example: `batchrec verify jobs/demo.toml`"
    ),
)
def verify(
    directory: DirectoryOrJob,
    quick: Annotated[bool, typer.Option("--quick", help=_("Do not read the input files again."))] = False,
) -> None:
    """Check an output directory."""
    with told():
        from .commands.cluster import address_in, verify_address
        from .commands.show import show_findings_of
        from .job.loading import output_directory

        if (url := address_in(directory)) is not None:
            raise typer.Exit(verify_address(url, quick=quick))
        raise typer.Exit(show_findings_of(output_directory(directory), quick=quick))


app.command(
    rich_help_panel=RESULTS,
    help=_(
        "Show results in the terminal, one row an image, filtered and sorted. Without --label, scores are those of the "
        "top label.\n\nExample: `batchrec show jobs/demo.toml --max-score 0.3 --sort score`"
    ),
)(show)
app.command(
    "report",
    rich_help_panel=RESULTS,
    help=_(
        "Write a page with all images and their results: filters, search, charts. No server, no network.\n\n"
        "Example: `batchrec report jobs/demo.toml --open`"
    ),
)(report)
app.command(
    "compare",
    rich_help_panel=RESULTS,
    help=_(
        "Compare two results: agreement of the top labels, label by label, and the images that differ.\n\n"
        "Example: `batchrec compare jobs/demo.toml jobs/demo.toml --step advanced_general --step animal`"
    ),
)(compare)
app.command(
    rich_help_panel=RESULTS,
    help=_(
        "Export results for another program. Nothing is sent.\n\nExample: `batchrec export jobs/demo.toml --to xlsx`"
    ),
)(export)


@app.command(
    rich_help_panel=JOBS,
    help=_(
        "Recognize a few images without a job file: a table on a terminal, otherwise JSON lines.\n\n"
        "Example: `batchrec recognize cat.jpg --service animal --option top_num=3 --endpoint embedded`"
    ),
)
def recognize(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", show_default=False, help=_("Images, folders or globs."))
    ],
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help=_("The service to call: see `batchrec services`."))
    ] = "advanced_general",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help=_("A request parameter of the service; may be repeated.")),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help=_("Your EasyDL model."))] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help=_("`embedded`, or the address of the service."))
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help=_("The credentials, as `batchrec login` keeps them."))
    ] = "default",
    qps: Annotated[
        float | None,
        typer.Option(
            "--qps", parser=number(), metavar="N", help=_("Calls per second; default: 2, embedded: no limit.")
        ),
    ] = None,
    limit: Limit = None,
    json: Annotated[bool, typer.Option("--json", help=_("Print JSON lines on a terminal as well."))] = False,
    no_reuse: NoReuse = False,
    progress: ProgressOption = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
    level: Level = LogLevel.WARNING,
) -> None:
    """Recognize a few images."""
    with told():
        from .commands.recognize import Printing, print_rows

        raise typer.Exit(
            print_rows(
                files,
                Printing(json, limit, display(progress, quiet), log_level(level, verbose)),
                service=service,
                pairs=option or [],
                model=model,
                endpoint=endpoint,
                profile=profile,
                qps=qps,
                reuse=not no_reuse,
            )
        )


app.command(
    rich_help_panel=START,
    help=_(
        "Prompt for a key, try it with one token call, and keep it in a file that only this user can read.\n\n"
        "Example: `batchrec login --profile shop`"
    ),
)(login)

app.command(
    rich_help_panel=TOOLS,
    help=_(
        "Check credentials, clock, TLS, proxy, disk, locks, state folder and schedules: exit code 0 or 1.\n\n"
        "Example: `batchrec doctor jobs/nightly.toml`"
    ),
)(doctor)

app.add_typer(
    schedule_app,
    name="schedule",
    rich_help_panel=JOBS,
    help=_("Run a job every night by cron or systemd.\n\nExample: `batchrec schedule list`"),
)

app.add_typer(
    quota_app,
    name="quota",
    rich_help_panel=ACCOUNT,
    help=_("Show the calls and quota of each account, and correct them.\n\nExample: `batchrec quota`"),
)

app.add_typer(
    dataset_app,
    name="dataset",
    rich_help_panel=TOOLS,
    help=_("Data sets for training an EasyDL model.\n\nExample: `batchrec dataset check fruit`"),
)


@app.command(
    rich_help_panel=ACCOUNT,
    help=_("List the services, or the options and limits of one.\n\nExample: `batchrec services dish`"),
)
def services(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help=_("A service, for its options."))
    ] = None,
) -> None:
    """List the services."""
    with told():
        from .commands.show import show_catalogue

        show_catalogue(name)


@app.command(
    rich_help_panel=ACCOUNT,
    help=_("Explain an error code, a word of failures.jsonl or an exit code.\n\nExample: `batchrec errors 18`"),
)
def errors(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", show_default=False, help=_("A number or a word; without it: all of them.")),
    ] = None,
) -> None:
    """Explain error codes."""
    with told():
        from .commands.show import show_codes

        show_codes(code)


app.command(
    rich_help_panel=TOOLS,
    help=_(
        "Serve the emulator: the service's protocol without an account. Its first line is its URL.\n\n"
        "Example: `batchrec emulator --port 0 --qps 10 --daily 500`"
    ),
)(emulator)
