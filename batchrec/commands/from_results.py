"""`batchrec dataset from-results`: a data set out of the results of a job."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..console.output import printing
from ..console.text import say
from ..datasets.classes import MAPPING
from ..datasets.fix import free_name, new_folder
from ..datasets.from_results import Chosen, Wanted, choose, in_order
from ..datasets.names import new_names, read_names, write_names
from ..datasets.rules import rules
from ..errors import JobError
from ..exports.exporter import Export
from ..exports.images import COPY, Images
from ..exports.labelstudio import write_labelstudio
from ..job.loading import output_directory
from ..journal.results import Results, results_of
from ..journal.selection import Selection
from ..language import _, ngettext
from .export import kept_image

FOLDERS, LABEL_STUDIO = "folders", "labelstudio"
"""Formats: class folders for training, tasks for people to correct."""


@dataclass(frozen=True, slots=True)
class FromResultsOptions:
    """Options as they are typed. `step` None: the job's only one."""

    format: str = FOLDERS
    step: str | None = None
    min_score: float | None = None
    max_per_class: int | None = None
    unsure: int | None = None
    names: Path | None = None


def data_set_from_results(path: Path, out: Path, options: FromResultsOptions) -> None:
    """Make a data set of the results of an output directory or job, and say what got in and what did not.

    Raises JobError for wrong options, where nothing is left, and for a target that is there already; OutputFailed
    where it cannot be written.
    """
    tasks = options.format == LABEL_STUDIO
    if options.names is not None and tasks:
        raise JobError(_("--names: gives the names of class folders; leave it out with --format labelstudio"))
    with results_of(output_directory(path)) as results:
        selection = Selection(step=_step(results, options.step), min_score=options.min_score)
        images = Images(results.base, way=COPY, kept=partial(kept_image, results.journal))
        wanted = Wanted(options.max_per_class, options.unsure, tasks or options.unsure is not None, others=tasks)
        with new_folder(out) as folder:
            chosen = choose(results, selection, wanted, images)
            if not chosen.images:
                raise JobError(
                    _("{path}: no image is left for a data set: {reasons}").format(
                        path=path, reasons=", ".join(f"{count} {reason}" for reason, count in chosen.left_out.items())
                    )
                )
            if tasks:
                notes = _write_tasks(results, selection, chosen, images, folder, out)
            else:
                notes = _write_folders(chosen, images, folder, options.names)
    _tell(chosen, notes, out)


def _step(results: Results, given: str | None) -> str:
    """The step whose labels are taken. Raises JobError where there is none, or several to choose from."""
    steps = results.every_step()
    if given is None and len(steps) == 1:
        return steps[0]
    if given is None:
        raise JobError(_("--step: the job has several steps; give one of: {steps}").format(steps=", ".join(steps)))
    Selection(step=given).check_steps(steps)
    return given


def _write_folders(chosen: Chosen, images: Images, folder: Path, names: Path | None) -> list[str]:
    """Copy the images into a folder a class, by names that EasyDL takes; returns what to tell."""
    labels, taken = sorted(chosen.counts()), rules()
    renamed = new_names(labels, read_names(names, labels, taken), taken)
    used = set[str]()
    for each in chosen.images:
        stem, suffix = images.file_name(each.image)
        path = folder / free_name(used, renamed[each.label], stem, suffix)
        path.parent.mkdir(exist_ok=True)
        images.place(each.image, path, path)
    changed = {old: new for old, new in renamed.items() if old != new}
    if changed:
        write_names(folder / MAPPING, changed)
    return [_("class {old!r} is now {new}").format(old=old, new=new) for old, new in changed.items()]


def _write_tasks(
    results: Results, selection: Selection, chosen: Chosen, images: Images, folder: Path, out: Path
) -> list[str]:
    """Write Label Studio's tasks in the order of the chosen images; returns what to tell."""
    export = Export(results, selection, images, folder, out)
    write_labelstudio(export, in_order(results, selection, chosen))
    return export.notes


def _tell(chosen: Chosen, notes: list[str], out: Path) -> None:
    counts = chosen.counts()
    images = ngettext("{count:,} image", "{count:,} images", len(chosen.images)).format(count=len(chosen.images))
    classes = ngettext("{count:,} class", "{count:,} classes", len(counts)).format(count=len(counts))
    say(f"{images}, {classes}")
    for reason, number in chosen.left_out.items():
        say(_("left out: {reason}: {count:,}").format(reason=reason, count=number))
    for note in notes:
        say(note)
    with printing():
        print(out)
