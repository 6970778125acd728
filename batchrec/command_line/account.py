"""Commands about the account: login, and what is used of its quota."""

from typing import Annotated

import typer

from ..language import _
from .help import App
from .options import MOST
from .told import told
from .usage import whole_number

quota_app = App(invoke_without_command=True)

ServiceArgument = Annotated[
    str, typer.Argument(metavar="SERVICE", show_default=False, help=_("A service as `batchrec quota` lists it."))
]
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help=_("Required if several accounts are listed."))
]


def login(
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help=_("The name under which the key is kept."))
    ] = "default",
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint",
            metavar="URL",
            envvar="BATCHREC_ENDPOINT",
            show_envvar=False,
            help=_("The address where the key is tried, and the only one that it is ever sent to."),
        ),
    ] = "https://aip.baidubce.com",
    account: Annotated[
        str, typer.Option("--account", metavar="NAME", help=_("Profiles of one account share its counts."))
    ] = "",
) -> None:
    """Prompt for a key, try it, and keep it."""
    with told():
        from ..commands.login import login_at_terminal

        login_at_terminal(profile, endpoint, account)


@quota_app.callback()
def quota(ctx: typer.Context) -> None:
    """Show the counts of each account."""
    if ctx.invoked_subcommand is None:
        with told():
            from ..commands.show import show_counts

            show_counts()


@quota_app.command(
    "set", help=_("Correct a count to the number in the console.\n\nExample: `batchrec quota set dish --today 120`")
)
def quota_set(
    service: ServiceArgument,
    today: Annotated[
        int | None,
        typer.Option("--today", parser=whole_number(0, MOST), metavar="N", help=_("Calls of the Beijing day.")),
    ] = None,
    total: Annotated[
        int | None, typer.Option("--total", parser=whole_number(0, MOST), metavar="N", help=_("Calls in all."))
    ] = None,
    account: AccountOption = None,
) -> None:
    """Correct a count."""
    with told():
        from ..commands.quota import set_counts

        set_counts(service, account, today=today, total=total)


@quota_app.command(
    "open",
    help=_(
        "End the pause of a service whose quota was exhausted, after buying or claiming more.\n\n"
        "Example: `batchrec quota open dish`"
    ),
)
def quota_open(service: ServiceArgument, account: AccountOption = None) -> None:
    """End the pause of a service."""
    with told():
        from ..commands.quota import reopen_service

        reopen_service(service, account)
