"""The commands: they print, map outcomes to exit codes, and decide nothing. What a command needs is imported by it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

_MOST = 10**12
"""As a count, what nobody needs more of, and every table can hold."""


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
    """How `run` shows how far it is."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"


class LogLevel(StrEnum):
    """How much is logged to standard error."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LATER = {
    "report": "a gallery of the results",
}
"""Commands of the contract that this version does not have."""

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
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Run a job, or resume it where it stopped.

    Example: `batchrec run jobs/demo.toml --set limits.qps=10`
    """
    with _told():
        from .engine.assembly import Options
        from .engine.resume import RunRequest
        from .job.loading import load_job

        _log_to_stderr(log_level)
        kinds = _kinds(retry_kind)
        wishes = RunRequest(retry_failed or kinds is not None, None if retry_failed else kinds, rebuild)
        _run_to_its_end(
            load_job(job, set_ or []), Options(wishes, limit, not no_reuse, reuse_models, progress.value, True)
        )


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
        import os

        from .commands.demo import unpack
        from .engine.assembly import Options
        from .job.loading import load_job

        _log_to_stderr(LogLevel.WARNING)
        job = unpack(folder)
        if progress is not Progress.NONE:
            _err(f"the demo job is {job}; again, or after a change: batchrec run {shlex.quote(str(job))}")
        environ = {name: value for name, value in os.environ.items() if name != "BATCHREC_ENDPOINT"}
        _run_to_its_end(load_job(job, environ=environ), Options(progress=progress.value, signals=True))


def _run_to_its_end(job: Any, options: Any) -> NoReturn:
    """Run a job that is loaded, show what the embedded endpoint saw, say how it ended, and end with its code."""
    from .api.endpoint import EMBEDDED
    from .commands.tables import ended, show_answers
    from .engine.assembly import run as run_job
    from .engine.process import run_loop

    summary = run_loop(lambda: run_job(job, options))
    if job.account.endpoint == EMBEDDED:
        with suppress(typer.Exit), _printing():  # a reader that has gone does not change how the run ended
            show_answers(job.directory, [step.name for step in job.recognize])
    if options.progress != Progress.NONE:
        _err(*ended(summary, job.directory))
    raise typer.Exit(summary.exit_code)


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
        from .commands.plan import payer_known
        from .commands.plan import plan as plan_job
        from .commands.tables import show_json, show_plan
        from .engine.process import run_loop
        from .job.loading import load_job

        _log_to_stderr(log_level)
        loaded = load_job(job, set_ or [])
        if not payer_known(loaded):
            _err("no credentials: quota and answers of earlier jobs are not looked at")
        found = run_loop(
            lambda: plan_job(loaded, reuse=not no_reuse, reuse_models=reuse_models, progress=progress.value)
        )
        with _printing():
            (show_json if json else show_plan)(found)


@app.command()
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="A job's output directory.")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say how far a job is, from its journal, also while it runs.

    Example: `batchrec status jobs/results/demo`
    """
    with _told():
        from .commands.status import status as status_of
        from .commands.tables import show_json, show_status
        from .engine.setup import is_held

        found = status_of(directory, running=is_held(directory))
        with _printing():
            (show_json if json else show_status)(found)


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="A job's output directory.")],
) -> None:
    """Check that journal, results, inputs and counts agree. Exit code 0 or 1; nothing is sent or written.

    Example: `batchrec verify jobs/results/demo`
    """
    from .commands.quota import open_counts

    with _told(), open_counts() as counts:
        from .commands.tables import show_findings
        from .commands.verify import verify as verify_directory
        from .engine.setup import is_held

        findings = verify_directory(directory, counts.counted, running=is_held(directory))
        with _printing():
            show_findings(findings)
        raise typer.Exit(1 if findings.problems else 0)


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
        from .commands.recognize import ImagesFailed
        from .commands.recognize import recognize as recognize_files
        from .engine.process import run_loop
        from .exact_json import dumps

        _log_to_stderr(log_level)
        options = dict(_pair(text) for text in option or [])

        async def show() -> int:
            try:
                rows = recognize_files(
                    files,
                    service=service,
                    model=model,
                    options=options,
                    endpoint=endpoint,
                    profile=profile,
                    reuse=not no_reuse,
                    signals=True,
                )
                async for row in rows:
                    with _printing():
                        sys.stdout.buffer.write(dumps(row) + b"\n")
            except ImagesFailed as error:
                for failure in error.failures:
                    _err(f"{failure['image']}: {failure['message']} ({failure['code']})")
                return error.exit_code
            return 0

        raise typer.Exit(run_loop(show))


@app.command()
def services(
    name: Annotated[str | None, typer.Argument(show_default=False, help="A service, for its options.")] = None,
) -> None:
    """List the services, or the options and limits of one.

    Example: `batchrec services dish`
    """
    with _told(), _printing():
        from .api.services import SERVICES
        from .commands.tables import show_service, show_services
        from .errors import JobError
        from .job.spec import did_you_mean

        if name is None:
            show_services()
        elif name in SERVICES:
            show_service(SERVICES[name])
        else:
            hint = did_you_mean(name, SERVICES) or "there are:"
            raise JobError(f"{name!r} is not a service; {hint} {', '.join(SERVICES)}")


@app.command()
def errors(
    code: Annotated[str | None, typer.Argument(show_default=False, help="A number of the service, or a word.")] = None,
) -> None:
    """Say what an error code means, and what batchrec does about it.

    Example: `batchrec errors 18`
    """
    with _told(), _printing():
        from .commands.tables import show_error, show_errors

        if code is None:
            show_errors()
        else:
            show_error(code)


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
    with _told():
        from .redact import remember

        remember(*filter(None, (key, secret)))
        _warn_of_arguments(ctx)
        _emulate(limits | {"api_key": key, "secret_key": secret}, host, port, faults, allow_host or [])


def _warn_of_arguments(ctx: typer.Context) -> None:
    """Say that a secret on the command line can be seen by every user of the machine."""
    sources = {f"--{name}": ctx.get_parameter_source(name) for name in ("key", "secret")}
    if given := [option for option, source in sources.items() if source and source.name == "COMMANDLINE"]:
        _err(
            f"warning: {' and '.join(given)}: arguments are visible in the process list; "
            "BATCHREC_EMULATOR_KEY and BATCHREC_EMULATOR_SECRET are not"
        )


def _emulate(values: dict[str, object], host: str, port: int, faults: Path | None, allowed: list[str]) -> None:
    """Serve the emulator with these settings until stopped."""
    from contextlib import closing

    from .emulator import (
        Emulator,
        FaultPlan,
        FaultPlanError,
        HostError,
        Settings,
        SettingsError,
        advice,
        best,
        changed,
        serve_forever,
    )
    from .engine.process import run_loop
    from .errors import JobError

    def announce(emulator: Emulator) -> None:
        print(emulator.url, flush=True)
        if emulator.exposed:
            _err(
                f"warning: --host {host} is beyond loopback: other machines can use this emulator and change its "
                "settings, and keys and images travel unencrypted"
            )

    with closing(best()) as answers:
        try:
            plan = FaultPlan.load(faults) if faults else None
            settings = changed(Settings(), values | {"models": answers.models})
            if line := advice(answers):
                _err(line)
            run_loop(lambda: serve_forever(settings, host, port, plan, announce, answers, allowed))
        except FaultPlanError as exc:
            raise JobError(*str(exc).split("\n")) from exc
        except SettingsError as exc:
            raise JobError(*(f"emulator: {line}" for line in str(exc).splitlines())) from exc
        except HostError as exc:
            raise JobError(f"--allow-host: {exc}") from exc
        except OSError as exc:
            raise JobError(f"{host}:{port}: {exc.strerror}; another --port, or 0 for any that is free") from exc


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
        from .commands.login import ask, tried_at, try_and_keep
        from .engine.process import run_loop

        host = tried_at(endpoint)
        _err(f"the key is tried at {host}")
        api_key, secret_key = ask("API Key"), ask("Secret Key")
        path = run_loop(lambda: try_and_keep(profile, api_key, secret_key, account, host))
        _err(f"the key works; kept as profile {profile!r} in {path}, for {host} alone")


@app.command()
def init(job: Annotated[Path, typer.Argument(metavar="[JOB.toml]")] = Path("job.toml")) -> None:
    """Write a commented job file to start from. It refers to the JSON Schema, so that editors complete it.

    Example: `batchrec init furniture.toml`
    """
    with _told():
        from .errors import JobError
        from .job.spec import template

        try:
            with job.open("x", encoding="utf-8") as file:
                file.write(template())
        except OSError as exc:
            raise JobError(f"{job}: {exc.strerror}; nothing was written") from exc
        _err(f"wrote {job}; set input.paths, then: batchrec run {job}")


@quota_app.callback()
def quota(ctx: typer.Context) -> None:
    """Show what each account has used of its quota, and correct it."""
    from .commands.quota import open_counts

    if ctx.invoked_subcommand is None:
        with _told(), open_counts() as counts, _printing():
            from .commands.tables import show_quota

            show_quota(counts.usage())


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
    from .commands.quota import open_counts

    with _told(), open_counts() as counts:
        from .commands.quota import resolve_account, resolve_service
        from .errors import JobError

        if today is None and total is None:
            raise JobError("nothing to set: give --today, --total or both")
        counts.correct(resolve_account(counts, account), resolve_service(counts, service), today=today, total=total)


@quota_app.command("open")
def quota_open(
    service: Annotated[str, typer.Argument(help="As `batchrec quota` lists it.")],
    account: Annotated[str | None, typer.Option(help="Needed where several accounts are listed.")] = None,
) -> None:
    """Forget that a service was used up, after buying or claiming more.

    Example: `batchrec quota open dish`
    """
    from .commands.quota import open_counts

    with _told(), open_counts() as counts:
        from .commands.quota import resolve_account
        from .errors import JobError

        if not counts.reopen(resolve_account(counts, account), service):
            raise JobError(f"{service} is not closed")


def _refuse_later(name: str, does: str) -> None:
    @app.command(
        name,
        help=f"Not in this version yet: {does}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def refused(ctx: typer.Context) -> None:
        from . import __version__

        _err(f"batchrec {name}: version {__version__} does not have this command yet")
        raise typer.Exit(2)


for _name, _does in LATER.items():
    _refuse_later(_name, _does)


# -- shared by the commands


@contextmanager
def _told() -> Iterator[None]:
    """What batchrec has to say to the user goes to standard error, and its exit code to the shell."""
    from .errors import BatchrecError, JobError
    from .redact import redact

    try:
        yield
    except BatchrecError as error:
        lines = error.complaints if isinstance(error, JobError) else (str(error),)
        _err(*map(redact, lines))
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, typer.Abort):  # Abort: at a prompt
        raise typer.Exit(130) from None


@contextmanager
def _printing() -> Iterator[None]:
    """For data: a disk that takes no more of it is an error, a reader that has gone (`| head`) is not worth a word."""
    from .console.text import discard
    from .errors import OutputFailed

    try:
        yield
        sys.stdout.flush()
    except OSError as exc:
        discard(sys.stdout)
        if isinstance(exc, BrokenPipeError):
            raise typer.Exit(1) from None
        raise OutputFailed(f"standard output: cannot be written: {exc.strerror}") from exc


def _err(*lines: str) -> None:
    from .console.text import say

    say(*lines)


def _log_to_stderr(level: LogLevel) -> None:
    import logging

    from .redact import RedactingFormatter

    class ToStderr(logging.Handler):
        """Looks standard error up anew each time: a live progress display replaces it."""

        def emit(self, record: logging.LogRecord) -> None:
            _err(*self.format(record).split("\n"))

    handler = ToStderr()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=level.value.upper(), handlers=[handler])


def _kinds(words: list[str] | None) -> tuple[str, ...] | None:
    from .errors import JobError
    from .values import Kind

    wrong = [word for word in words or () if word not in list(Kind)]
    if wrong:
        raise JobError(f"--retry-kind: {', '.join(wrong)} is no kind of failure; there are: {', '.join(Kind)}")
    return tuple(words) if words else None


def _pair(text: str) -> tuple[str, Any]:
    """`k=v` with v as TOML has it, or else as text."""
    import tomllib

    from .errors import JobError

    name, equals, value = text.partition("=")
    if not equals:
        raise JobError(f"--option {text!r}: expected K=V, for example top_num=3")
    try:
        return name, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return name, value
