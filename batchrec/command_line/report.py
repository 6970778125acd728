"""Commands that show results in a browser, and compare two of them."""

from pathlib import Path
from typing import Annotated

import typer

from ..language import _
from .options import DirectoryOrJob, Json
from .told import told
from .usage import whole_number

Second = Annotated[
    Path,
    typer.Argument(metavar="DIR|JOB.toml", show_default=False, help=_("Another one; the same one compares two steps.")),
]


def report(
    directory: DirectoryOrJob,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help=_("The folder to write to; default: DIR/report."))
    ] = None,
    thumbnails: Annotated[
        int,
        typer.Option(
            "--thumbnails",
            parser=whole_number(0),
            metavar="N",
            help=_("Longer side of the thumbnails in pixels; 0: none."),
        ),
    ] = 160,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="DIR|JOB.toml", help=_("Show the results of another directory beside them.")),
    ] = None,
    zip_: Annotated[bool, typer.Option("--zip", help=_("Pack the report into a zip file beside it as well."))] = False,
    open_: Annotated[bool, typer.Option("--open", help=_("Open the report in the browser."))] = False,
) -> None:
    """Write the report."""
    with told():
        from ..commands.report import write_report

        write_report(directory, out, thumbnails, compare, show=open_, zipped=zip_)


def compare(
    first: DirectoryOrJob,
    second: Second,
    step: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="NAME", help=_("The step to compare; twice: one for each directory.")),
    ] = None,
    json: Json = False,
) -> None:
    """Compare two results."""
    with told():
        from ..commands.report import show_comparison

        show_comparison(first, second, step or [], json=json)
