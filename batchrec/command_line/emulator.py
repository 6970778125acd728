"""The command that serves the emulator."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..language import _
from .told import told
from .usage import number, whole_number


def _count(name: str, meaning: str) -> Any:
    return typer.Option(name, parser=whole_number(0), metavar="N", help=meaning)


def _only(name: str, variable: str, meaning: str) -> Any:
    return typer.Option(name, metavar="TEXT", envvar=variable, show_envvar=False, help=meaning)


Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help=_("The address to listen on."))]
Port = Annotated[
    int, typer.Option("--port", parser=whole_number(0, 65535), metavar="N", help=_("The port; 0: any free one."))
]
Qps = Annotated[
    float | None,
    typer.Option(
        "--qps",
        parser=number(0),
        metavar="N",
        help=_("Calls per second and service; without it: no limit."),
    ),
]
Daily = Annotated[int | None, _count("--daily", _("Calls per service and day."))]
Total = Annotated[int | None, _count("--total", _("Calls per service in all."))]
Latency = Annotated[
    float, typer.Option("--latency", parser=number(0), metavar="SECONDS", help=_("Seconds that a reply takes."))
]
Faults = Annotated[Path | None, typer.Option("--faults", metavar="FILE", help=_("A fault plan, in JSON."))]
Life = Annotated[
    int, typer.Option("--token-life", parser=whole_number(1), metavar="SECONDS", help=_("Seconds that a token lives."))
]
Key = Annotated[str | None, _only("--key", "BATCHREC_EMULATOR_KEY", _("The only API Key accepted; without it: any."))]
Secret = Annotated[
    str | None, _only("--secret", "BATCHREC_EMULATOR_SECRET", _("The only Secret Key accepted; without it: any."))
]
Hosts = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", help=_("A further host name that requests may use."))
]
FetchHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--fetch-host", metavar="NAME", help=_("A host from which the url of a call is fetched; none: from nowhere.")
    ),
]


def emulator(
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8087,
    qps: Qps = None,
    daily: Daily = None,
    total: Total = None,
    latency: Latency = 0.0,
    faults: Faults = None,
    token_life: Life = 2_592_000,
    key: Key = None,
    secret: Secret = None,
    allow_host: Hosts = None,
    fetch_host: FetchHosts = None,
) -> None:
    """Serve the emulator."""
    limits: dict[str, object] = {"qps": qps, "daily": daily, "total": total, "latency": latency}
    limits |= {"token_life": token_life, "fetch_hosts": fetch_host or []}
    given = [f"--{name}" for name in ("key", "secret") if _from_command_line(ctx, name)]
    with told():
        from ..commands.emulator import serve_emulator

        serve_emulator(limits, key, secret, host, port, faults, allow_host or [], given)


def _from_command_line(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
