"""The command line as it is typed: names, arguments and help. What a command does is in `commands`.

A command imports what it needs, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_MOST = 10**12
"""Largest count that is accepted: SQLite and the tables on the screen hold it."""


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={
        "help_option_names": ["-h", "--help"],
        # Typer loads pydantic (60 ms) for an option without a value; a bool it takes as it is.
        "default_map": {"help": False, "quota": {"help": False}},
    },
    help="Recognize thousands to millions of images with Baidu AI Cloud, exactly once.\n\n"
    "Example: `batchrec run jobs/demo.toml`",
)
quota_app = typer.Typer(
    invoke_without_command=True,
    help="Show what each account has used of its quota, and correct it.\n\nExample: `batchrec quota`",
)
app.add_typer(quota_app, name="quota")


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


LATER = {
    "report": "a gallery of the results",
}
"""Commands that this version does not have yet, and their purpose."""

JobFile = Annotated[Path, typer.Argument(metavar="JOB.toml", show_default=False)]
Level = Annotated[LogLevel, typer.Option("--log-level", help="What is logged to standard error.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"batchrec {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    job: JobFile,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again for all that has failed.")] = False,
    retry_kind: Annotated[
        list[str] | None, typer.Option("--retry-kind", metavar="KIND", help="Ask again for failures of this kind.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=_MOST, metavar="N", help="At most N unanswered images.")
    ] = None,
    progress: Annotated[Progress, typer.Option(help="How far it is: live, plain lines, or nothing.")] = Progress.AUTO,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="Take no answer from an earlier job.")] = False,
    reuse_models: Annotated[
        bool, typer.Option("--reuse-models", help="Take answers of EasyDL models from earlier jobs as well.")
    ] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Ask again for what results.jsonl has lost.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a key of the job file.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask for results again without a question where options have changed.")
    ] = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Run a job, or resume it where it stopped.

    Example: `batchrec run jobs/demo.toml --set limits.qps=10`
    """
    with _told():
        from .commands.run import RunOptions, run_job_file

        options = RunOptions(limit, not no_reuse, reuse_models, progress.value, log_level.value, yes)
        raise typer.Exit(run_job_file(job, set_ or [], options, retry_failed, retry_kind, rebuild=rebuild))


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where the job, its photographs and results are put.")
    ] = Path("batchrec-demo"),
    progress: Annotated[Progress, typer.Option(help="How far it is: live, plain lines, or nothing.")] = Progress.AUTO,
) -> None:
    """Run the demo job: 27 photographs, without an account. Job file, photographs and results are put into a folder.

    Example: `batchrec demo`
    """
    with _told():
        from .commands.demo import run_demo

        raise typer.Exit(run_demo(folder, progress.value))


@app.command()
def plan(
    job: JobFile,
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    progress: Annotated[Progress, typer.Option(help="How far it is: live, plain lines, or nothing.")] = Progress.AUTO,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="As if no answer of an earlier job were taken.")] = False,
    reuse_models: Annotated[
        bool, typer.Option("--reuse-models", help="As if those of EasyDL models were taken as well.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a key of the job file.")
    ] = None,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Say what a run would do: images, calls, time, days and money. Nothing is sent.

    Example: `batchrec plan jobs/demo.toml`
    """
    with _told():
        from .commands.show import show_plan_of

        raise typer.Exit(
            show_plan_of(
                job,
                set_ or [],
                reuse=not no_reuse,
                reuse_models=reuse_models,
                progress=progress.value,
                log_level=log_level.value,
                json=json,
            )
        )


@app.command()
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="A job's output directory.")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say how far a job is, from its journal, also while it runs.

    Example: `batchrec status jobs/results/demo`
    """
    with _told():
        from .commands.show import show_status_of

        show_status_of(directory, json=json)


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="A job's output directory.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the input files again to see whether they have changed.")
    ] = False,
) -> None:
    """Check that journal, results, inputs and counts agree. Exit code 0 or 1; nothing is sent or written.

    Example: `batchrec verify jobs/results/demo`
    """
    with _told():
        from .commands.show import show_findings_of

        raise typer.Exit(show_findings_of(directory, quick=quick))


@app.command()
def recognize(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", show_default=False)],
    service: Annotated[str, typer.Option(help="What is asked; see `batchrec services`.")] = "advanced_general",
    option: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A request parameter of the service.")] = None,
    model: Annotated[str | None, typer.Option(help="Your EasyDL model.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="`embedded`, or the address of the service.")] = None,
    profile: Annotated[str, typer.Option(help="Which credentials, as `batchrec login` keeps them.")] = "default",
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="Take no answer from an earlier job.")] = False,
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Recognize a few files: rows as in results.jsonl, to standard output.

    Example: `batchrec recognize cat.jpg --service animal --option top_num=3 --endpoint embedded`
    """
    with _told():
        from .commands.recognize import print_rows

        raise typer.Exit(
            print_rows(
                files,
                service=service,
                pairs=option or [],
                model=model,
                endpoint=endpoint,
                profile=profile,
                reuse=not no_reuse,
                log_level=log_level.value,
            )
        )


@app.command()
def services(
    name: Annotated[str | None, typer.Argument(show_default=False, help="A service, for its options.")] = None,
) -> None:
    """List the services, or the options and limits of one.

    Example: `batchrec services dish`
    """
    with _told():
        from .commands.show import show_catalogue

        show_catalogue(name)


@app.command()
def errors(
    code: Annotated[str | None, typer.Argument(show_default=False, help="A number of the service, or a word.")] = None,
) -> None:
    """Say what an error code means, and what batchrec does about it.

    Example: `batchrec errors 18`
    """
    with _told():
        from .commands.show import show_codes

        show_codes(code)


@app.command()
def emulator(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8087,
    qps: Annotated[float | None, typer.Option(min=0, help="Calls per second and service; none: no limit.")] = None,
    daily: Annotated[int | None, typer.Option(min=0, help="Calls per service and day.")] = None,
    total: Annotated[int | None, typer.Option(min=0, help="Calls per service in all.")] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that every answer takes.")] = 0.0,
    faults: Annotated[Path | None, typer.Option(metavar="FILE", help="A fault plan, JSON.")] = None,
    token_life: Annotated[int, typer.Option(min=1, help="Seconds that a token lives.")] = 2_592_000,
    key: Annotated[
        str | None,
        typer.Option(envvar="BATCHREC_EMULATOR_KEY", show_envvar=False, help="The only API Key accepted; none: any."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="BATCHREC_EMULATOR_SECRET", show_envvar=False, help="The only Secret Key accepted; none: any."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A host name under which requests may come, too.")
    ] = None,
) -> None:
    """Serve the emulator: the service's wire protocol without an account. Its first line is its URL.

    Example: `batchrec emulator --port 0 --qps 10 --daily 500`
    """
    limits = {"qps": qps, "daily": daily, "total": total, "latency": latency, "token_life": token_life}
    given = [f"--{name}" for name in ("key", "secret") if _from_command_line(ctx, name)]
    with _told():
        from .commands.emulator import serve_emulator

        serve_emulator(limits, key, secret, host, port, faults, allow_host or [], given)


def _from_command_line(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command()
def login(
    profile: Annotated[str, typer.Option(help="The name under which it is kept.")] = "default",
    endpoint: Annotated[
        str,
        typer.Option(
            envvar="BATCHREC_ENDPOINT", show_envvar=False, help="Where the key is tried; it is sent nowhere else."
        ),
    ] = "https://aip.baidubce.com",
    account: Annotated[str, typer.Option(help="Profiles of one account share its counts under this name.")] = "",
) -> None:
    """Ask for a key and a secret, try them with one token call, and keep them for this user alone.

    Example: `batchrec login --profile shop`
    """
    with _told():
        from .commands.login import login_at_terminal

        login_at_terminal(profile, endpoint, account)


@app.command()
def init(job: Annotated[Path, typer.Argument(metavar="[JOB.toml]")] = Path("job.toml")) -> None:
    """Write a commented job file to start from. It refers to the JSON Schema, so that editors complete it.

    Example: `batchrec init furniture.toml`
    """
    with _told():
        from .commands.init import write_job_file

        write_job_file(job)


@quota_app.callback()
def quota(ctx: typer.Context) -> None:
    """Show what each account has used of its quota, and correct it."""
    if ctx.invoked_subcommand is None:
        with _told():
            from .commands.show import show_counts

            show_counts()


@quota_app.command("set")
def quota_set(
    service: Annotated[str, typer.Argument(help="As `batchrec quota` lists it.")],
    today: Annotated[int | None, typer.Option(min=0, max=_MOST, help="Calls of the Beijing day.")] = None,
    total: Annotated[int | None, typer.Option(min=0, max=_MOST, help="Calls in all.")] = None,
    account: Annotated[str | None, typer.Option(help="Needed where several accounts are listed.")] = None,
) -> None:
    """Correct a count, to what the console says.

    Example: `batchrec quota set dish --today 120 --total 3400`
    """
    with _told():
        from .commands.quota import set_counts

        set_counts(service, account, today=today, total=total)


@quota_app.command("open")
def quota_open(
    service: Annotated[str, typer.Argument(help="As `batchrec quota` lists it.")],
    account: Annotated[str | None, typer.Option(help="Needed where several accounts are listed.")] = None,
) -> None:
    """Forget that a service was used up, after buying or claiming more.

    Example: `batchrec quota open dish`
    """
    with _told():
        from .commands.quota import reopen_service

        reopen_service(service, account)


def _refuse_later(name: str, does: str) -> None:
    @app.command(
        name,
        help=f"Not in this version yet: {does}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def refused(ctx: typer.Context) -> None:
        from . import __version__
        from .console.text import say

        say(f"batchrec {name}: version {__version__} does not have this command yet")
        raise typer.Exit(2)


for _name, _does in LATER.items():
    _refuse_later(_name, _does)


@contextmanager
def _told() -> Iterator[None]:
    """Print an error of batchrec to standard error, and end with its exit code."""
    from .console.text import say
    from .errors import BatchrecError, JobError
    from .redact import redact

    try:
        yield
    except BatchrecError as error:
        lines = error.complaints if isinstance(error, JobError) else (str(error),)
        say(*map(redact, lines))
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, typer.Abort):  # Abort: at a prompt
        raise typer.Exit(130) from None
