"""Commands that select results: show and export."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..language import _
from .options import MOST, DirectoryOrJob
from .told import told
from .usage import number, one_of, whole_number

StepOption = Annotated[str | None, typer.Option("--step", metavar="NAME", help=_("Results of this step alone."))]
LabelOption = Annotated[
    str | None, typer.Option("--label", metavar="RE", help=_("Labels whose name or root matches this expression."))
]
LeastScore = Annotated[
    float | None,
    typer.Option("--min-score", parser=number(), metavar="X", help=_("Labels with this score, 0 to 1, or more.")),
]
Failed = Annotated[bool, typer.Option("--failed", help=_("Failures instead of results."))]


class Sort(StrEnum):
    """Order of the images that `show` lists."""

    SCORE = "score"


def show(
    directory: DirectoryOrJob,
    label: LabelOption = None,
    not_label: Annotated[
        str | None, typer.Option("--not-label", metavar="RE", help=_("Images without a label that matches."))
    ] = None,
    min_score: LeastScore = None,
    max_score: Annotated[
        float | None,
        typer.Option("--max-score", parser=number(), metavar="X", help=_("Labels with this score, 0 to 1, or less.")),
    ] = None,
    step: StepOption = None,
    failed: Failed = False,
    sort: Annotated[
        Sort | None,
        typer.Option("--sort", parser=one_of(Sort), metavar="score", help=_("Best scores first; else in input order.")),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", parser=whole_number(0, MOST), metavar="N", help=_("At most N images; 0: all of them.")
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help=_("As the lines of results.jsonl."))] = False,
    csv: Annotated[bool, typer.Option("--csv", help=_("As CSV, a row an image and step."))] = False,
    paths0: Annotated[bool, typer.Option("--paths0", help=_("As paths that end with NUL, for `xargs -0`."))] = False,
    link_to: Annotated[
        Path | None, typer.Option("--link-to", metavar="FOLDER", help=_("Link the images into a folder."))
    ] = None,
) -> None:
    """Show results."""
    given = {"json": json, "csv": csv, "paths0": paths0, "link_to": link_to is not None}
    with told():
        from ..commands.show import show_results_of

        filters = {
            "step": step,
            "label": label,
            "not_label": not_label,
            "min_score": min_score,
            "max_score": max_score,
            "failed": failed,
        }
        show_results_of(directory, filters, given, by_score=sort is Sort.SCORE, limit=limit, link_to=link_to)


def export(
    directory: DirectoryOrJob,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            show_default=False,
            help=_("parquet, xlsx, coco, yolo, labelstudio, folders or imagefolder."),
        ),
    ],
    step: StepOption = None,
    label: LabelOption = None,
    min_score: LeastScore = None,
    top: Annotated[
        int | None,
        typer.Option("--top", parser=whole_number(1, MOST), metavar="N", help=_("The first N labels of each result.")),
    ] = None,
    failed: Failed = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help=_("The folder to write to; default: DIR/export/FORMAT.")),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=_("Replace an earlier export."))] = False,
    copy: Annotated[bool, typer.Option("--copy", help=_("Copy images instead of making hard links."))] = False,
    symlink: Annotated[bool, typer.Option("--symlink", help=_("Symbolic links instead of hard links."))] = False,
    absolute: Annotated[bool, typer.Option("--absolute", help=_("Absolute paths of images."))] = False,
) -> None:
    """Export results."""
    with told():
        from ..commands.export import ExportOptions, Selection, export_results

        selection = Selection(step=step, label=label, min_score=min_score, top=top, failed=failed)
        export_results(directory, to, selection, ExportOptions(out, overwrite, copy, symlink, absolute))
