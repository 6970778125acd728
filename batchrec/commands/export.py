"""`batchrec export`: results in the form that another program reads."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..console.output import printing
from ..console.text import say
from ..engine.process import rare_collections
from ..errors import JobError
from ..exports import EXPORTS, Export, Exporter
from ..exports.images import COPY, HARD, SYMLINK, Images
from ..exports.target import Target
from ..fetch.cache import kept_bytes
from ..job.loading import output_directory
from ..journal.reader import Reader
from ..journal.results import results_of
from ..journal.selection import Selection
from ..language import _, ngettext
from ..state.directory import state_directory

__all__ = ["ExportOptions", "Selection", "export_results"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export beside its filters, as they are typed."""

    out: Path | None = None
    overwrite: bool = False
    copy: bool = False
    symlink: bool = False
    absolute: bool = False


def export_results(path: Path, format: str, selection: Selection, options: ExportOptions) -> None:
    """Export the results of an output directory or job, and say what got in and what did not.

    Raises JobError for wrong options and for a target that is there already, OutputFailed where it cannot be written.
    """
    exporter = _exporter(format, selection, options)
    directory = output_directory(path)
    with results_of(directory) as results:
        selection.check_steps(results.every_step())
        target = Target(directory, exporter.name, options.out, exporter.owns)
        target.check(overwrite=options.overwrite)
        way = COPY if options.copy else SYMLINK if options.symlink else HARD
        images = Images(results.base, absolute=options.absolute, way=way, kept=partial(kept_image, results.journal))
        with target.writing() as folder, rare_collections:
            export = Export(results, selection, images, folder, target.folder, say)
            exporter.write(export)
    _tell(exporter, export, target)


def kept_image(journal: Reader, key: str) -> bytes | None:
    """The cached bytes of an image by URL; None where they are not kept."""
    sha256 = journal.digest(key)
    return None if sha256 is None else kept_bytes(state_directory(os.environ), sha256)


def _exporter(format: str, selection: Selection, options: ExportOptions) -> Exporter:
    """The format. Raises JobError where there is none of that name, or the options do not fit it."""
    exporter = EXPORTS.get(format)
    if exporter is None:
        raise JobError(
            _("--to: there is no format {format!r}; expected one of: {formats}").format(
                format=format, formats=", ".join(EXPORTS)
            )
        )
    if options.copy and options.symlink:
        raise JobError(_("--copy and --symlink: expected one of them"))
    if (options.copy or options.symlink) and not exporter.places_images:
        able = ", ".join(each.name for each in EXPORTS.values() if each.places_images)
        raise JobError(
            _("{option}: {format} holds no images; these formats do: {able}").format(
                option="--copy" if options.copy else "--symlink", format=format, able=able
            )
        )
    if selection.failed and not exporter.failures:
        able = ", ".join(each.name for each in EXPORTS.values() if each.failures)
        raise JobError(
            _("--failed: {format} has no place for failures; these formats have: {able}").format(
                format=format, able=able
            )
        )
    return exporter


def _tell(exporter: Exporter, export: Export, target: Target) -> None:
    """Print the folder, and say on standard error what got in and what did not."""
    count = export.written
    if exporter.by_row:
        said = ngettext("{count:,} row exported", "{count:,} rows exported", count)
    else:
        said = ngettext("{count:,} image exported", "{count:,} images exported", count)
    say(said.format(count=count))
    for reason, number in export.left_out.items():
        say(_("left out: {reason}: {count:,}").format(reason=reason, count=number))
    for note in export.notes:
        say(note)
    for kept in target.kept:
        say(_("the earlier folder is kept as {path}").format(path=kept))
    with printing():
        print(target.folder)
