"""`batchrec report` and `batchrec compare`: the page of an output directory, and two results compared."""

import os
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from ..console.output import printing
from ..console.text import say
from ..engine.process import rare_collections
from ..engine.setup import is_held
from ..errors import JobError
from ..job.loading import load_job, output_directory
from ..language import _, ngettext
from ..outputs.directory import SUMMARY
from ..redact import visible
from ..report.build import Built, Request, Terms, build
from ..report.compare import Comparison, Difference, Side, compare
from ..report.folder import pack, size_of
from ..report.thumbnails import SIDE_PIXELS
from .layout import plain_console

FOLDER = "report"
"""Folder of the report in an output directory."""

_LEAST_SIDE_PIXELS, _MOST_SIDE_PIXELS = 32, 640
_TELL_SECONDS = 5.0
_MOST_ROWS = 40  # of a table of the comparison
_MEGABYTE_BYTES = 1e6


def write_report(path: Path, out: Path | None, side: int, other: Path | None, *, show: bool, zipped: bool) -> None:
    """Write the report of an output directory or a job file, and say where it is.

    Raises JobError for a directory that is none, a side that is no size, and a target that is no report.
    """
    if side and not _LEAST_SIDE_PIXELS <= side <= _MOST_SIDE_PIXELS:
        raise JobError(
            _("--thumbnails {side}: takes {least} to {most} pixels, usually {usual}; 0 makes no thumbnails").format(
                side=side, least=_LEAST_SIDE_PIXELS, most=_MOST_SIDE_PIXELS, usual=SIDE_PIXELS
            )
        )
    directory = output_directory(path)
    target = Path(os.path.abspath(out if out is not None else directory / FOLDER))
    request = Request(
        target,
        side,
        None if other is None else output_directory(other),
        running=is_held(directory),
        state=_last_summary(directory),
        terms=_terms(path, directory),
    )
    with rare_collections:
        built = build(directory, request, say, _Progress().told)
    packed = pack(target) if zipped else None
    _say_built(built, target, packed)
    if show:
        webbrowser.open((target / "index.html").as_uri())


def _terms(path: Path, directory: Path) -> Terms:
    """The limits and prices of the job, where a job file was given."""
    if path == directory:
        return Terms()
    job = load_job(path)
    qps = {step.name: _number(job.limits.qps if step.qps is None else step.qps) for step in job.recognize}
    return Terms(qps, dict(job.account.prices))


def _last_summary(directory: Path) -> dict[str, object]:
    """Content of summary.json; empty where there is none."""
    try:
        said = orjson.loads((directory / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _number(qps: object) -> float | None:
    return float(qps) if isinstance(qps, int | float) else None


class _Progress:
    """Progress of the thumbnails: a line on standard error every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def told(self, made: int, wanted: int) -> None:
        """Say how many are made, now and then."""
        if time.monotonic() - self._last >= _TELL_SECONDS:
            self._last = time.monotonic()
            say(_("{made:,} of {wanted:,} thumbnails made").format(made=made, wanted=wanted))


def _say_built(built: Built, target: Path, packed: Path | None) -> None:
    say(
        ngettext("report of {images:,} image", "report of {images:,} images", built.images).format(images=built.images)
        + ", "
        + ngettext("{rows:,} result or failure", "{rows:,} results and failures", built.rows).format(rows=built.rows)
        + ", "
        + _("{made:,} thumbnails made, {size:.1f} MB").format(made=built.made, size=size_of(target) / _MEGABYTE_BYTES)
    )
    if built.gone:
        say(
            ngettext(
                "{count:,} image has moved or changed since it was recognized, and has no thumbnail",
                "{count:,} images have moved or changed since they were recognized, and have no thumbnail",
                built.gone,
            ).format(count=built.gone)
        )
    with printing():
        print(visible(str(target / "index.html")))
        if packed is not None:
            print(visible(str(packed)))


def show_comparison(first: Path, second: Path, steps: list[str], *, json: bool) -> None:
    """Print the comparison of two output directories or job files: tables, or JSON.

    `steps`: none, one for both, or one for each. Raises JobError for more, and for a step that is not there.
    """
    if len(steps) > len(("first", "second")):
        raise JobError(_("--step: give it once for both directories, or twice, once for each"))
    names = steps * 2 if len(steps) == 1 else steps
    here, there = (*names, None, None)[:2]
    found, differences, opened = compare(output_directory(first), output_directory(second), (here, there))
    with closing(opened), printing():
        if json:
            _print_json(found, differences)
        else:
            _print_tables(found, differences)


def _print_json(found: Comparison, differences: Iterator[Difference]) -> None:
    """One JSON object, written piece by piece: the differences may be a million."""
    out = sys.stdout.write
    out('{"differences": [')
    for number, difference in enumerate(differences):
        out(("" if number == 0 else ",") + "\n  " + orjson.dumps(difference._asdict()).decode())
    rest = {
        "first": _side(found.sides[0]),
        "second": _side(found.sides[1]),
        "images": found.images,
        "same": found.same,
        "share": round(found.share, 6),
        "listed": found.listed,
        "failed": found.failed,
        "only_first": found.only_here,
        "only_second": found.only_there,
        "labels": found.labels(),
    }
    out("],\n" + orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode()[2:] + "\n")


def _side(side: Side) -> dict[str, str | None]:
    return {
        "directory": side.directory,
        "job": side.job,
        "step": side.step,
        "service": side.service,
        "model": side.model,
    }


def _print_tables(found: Comparison, differences: Iterator[Difference]) -> None:
    shown = list(islice(differences, _MOST_ROWS))
    more = sum(1 for _each in differences)
    console = plain_console()
    first, second = (f"{side.step} ({Path(side.directory).name})" for side in found.sides)
    console.print(
        _("{images:,} images in both, {same:,} with the same top label ({share:.1%})").format(
            images=found.images, same=found.same, share=found.share
        ),
        markup=False,
        soft_wrap=True,
    )
    console.print(
        _(
            "{listed:,} of the others list the other's top label; {failed:,} failed on either side; "
            "{first:,} only in the first, {second:,} only in the second"
        ).format(listed=found.listed, failed=found.failed, first=found.only_here, second=found.only_there),
        markup=False,
        soft_wrap=True,
    )
    _print_labels(console, found, first)
    if not shown:
        return
    table = _table(_("image"), first, _("score"), second, _("score"))
    for each in shown:
        cells = (each.image, _label(each.label), _score(each.score), _label(each.other_label), _score(each.other_score))
        table.add_row(*map(_plain, cells))
    console.print()
    console.print(table)
    if more:
        console.print(
            _("{count:,} more images differ; --json lists all").format(count=more), markup=False, soft_wrap=True
        )


def _print_labels(console: Console, found: Comparison, first: str) -> None:
    labels = [row for row in found.labels() if row["others"]]
    if not labels:
        return
    table = _table(first, _("images"), _("same"), _("most frequent other labels"))
    for row in labels[:_MOST_ROWS]:
        others = ", ".join(f"{_label(name or None)} {count:,}" for name, count in islice(row["others"].items(), 3))
        table.add_row(*map(_plain, (_label(row["label"]), f"{row['images']:,}", f"{row['same']:,}", others)))
    console.print()
    console.print(table)
    if len(labels) > _MOST_ROWS:
        count = len(labels) - _MOST_ROWS
        console.print(
            _("{count:,} more labels differ; --json lists all").format(count=count), markup=False, soft_wrap=True
        )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(_plain(column), overflow="fold")
    return table


def _plain(text: str) -> str:
    """A cell as it is, without markup or control characters."""
    return visible(text).replace("[", "\\[")


def _label(name: str | None) -> str:
    return _("(none)") if name is None else name or _("(main subject)")


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"
