"""Text of an outcome: the end of a run, and the same lines in `batchrec status`."""

import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.cells import cell_len
from rich.text import Text

from ..api.codes import WORDS
from ..console.screen import BAD, FAINT, GOOD, WARN, cut_end, cut_front, flow, padded, words
from ..console.text import moment_in_words
from ..language import _, ngettext, titled
from ..redact import visible
from ..values import Row
from .outcome import LOW_SCORE, FailureGroup, LastRun, Outcome, Sample, StepLabels, common_folder
from .remedies import reason, remedy

_NAME_SHARE = 0.45
"""Part of a line that the name of an image takes at most."""

_MOST_LABELS = 3
"""Labels of a result in the table."""

_STEP_CELLS = 12
"""Columns from which on a part of a later step's label is shown."""

LEAST_SCORE = 0.01
"""Lowest score that is shown behind the first label: below it a label is noise."""


def outcome_lines(
    outcome: Outcome, run: LastRun | None, directory: Path, again: str | None, cells: int
) -> Iterator[Text]:
    """All that is said at the end of a run, in lines of at most so many cells; commands are not folded.

    `run` None: a run is under way. `again`: the command that runs the job, None where its
    job file is not known.
    """
    alone = len(outcome.labels) == 1
    sections = (
        list(_table(outcome.samples, outcome.done + outcome.failed, cells)),
        [line for labels in outcome.labels for line in _label_lines(labels, cells, alone=alone)],
        list(_failure_lines(outcome, cells)),
    )
    for section in filter(None, sections):
        yield from section
        yield Text()
    yield from _counts(outcome, run, cells)
    if run is not None and run.stopped_by:
        yield from _stopped(run, cells)
    yield from _commands(outcome, directory, again)


# -- results


def _table(samples: tuple[Sample, ...], finished: int, cells: int) -> Iterator[Text]:
    if not samples:
        return
    folder = common_folder(sample.image for sample in samples)
    names = [visible(sample.image.removeprefix(folder)) for sample in samples]
    heading = _("{count:,} of {all:,} images").format(count=len(samples), all=max(finished, len(samples)))
    if folder:
        heading += _(" in {folder}").format(folder=visible(folder))
    yield from flow([Text(heading, style=FAINT)], cells)
    widest = min(max(map(cell_len, names)), max(8, int(cells * _NAME_SHARE)))
    for name, sample in zip(names, samples, strict=True):
        room = max(8, cells - widest - 2)
        yield Text(padded(cut_front(name, widest), widest) + "  " + _fitting(sample.rows, room))


def _fitting(rows: tuple[Row, ...], cells: int) -> str:
    """The labels of an image: as many as there is room for, those of its later steps before further ones."""
    first, *later = rows
    text = ""
    for most in range(_MOST_LABELS, 0, -1):
        text = visible(" · ".join([_labels(first, most), *(f"{row['step']}: {_labels(row, 1)}" for row in later)]))
        if cell_len(text) <= cells:
            return text
    best = visible(_labels(first, 1))
    if later and cell_len(best) + _STEP_CELLS <= cells:
        return cut_end(text, cells)
    name, _space, score = best.rpartition(" ")
    if cell_len(best) > cells and re.fullmatch(r"[01]\.\d\d", score) and len(score) + 2 <= cells:
        return f"{cut_end(name, cells - len(score) - 1)} {score}"  # the name is cut, not the score
    return cut_end(best, cells)


def _labels(row: Row, most: int) -> str:
    """The best labels with their scores; the service's own word where it has one for finding nothing."""
    if not row["labels"]:
        found = row["response"].get("result")
        named = found[0].get("name") if isinstance(found, list) and found and isinstance(found[0], dict) else None
        return str(named or _("nothing found"))
    best, *others = row["labels"][:most]
    worth = [label for label in others if label["score"] is None or label["score"] >= LEAST_SCORE]
    return ", ".join(map(label_text, (best, *worth)))


def label_text(label: Row) -> str:
    """A label with its score; its box where it has no name."""
    name = label["name"] or _("box {left:g},{top:g} {width:g}x{height:g}").format(**label["box"])
    return name if label["score"] is None else f"{name} {label['score']:.2f}"


def _label_lines(labels: StepLabels, cells: int, *, alone: bool) -> Iterator[Text]:
    title = _("top labels") if alone else _("top labels of {step}").format(step=visible(labels.step))
    if labels.top:
        counted = [f"{name} {count:,}" for name, count in labels.top]
        parts = [words(part) for part in (titled(title, counted[0]), *counted[1:])]
        if labels.others:
            parts.append(
                Text(ngettext("{count:,} other", "{count:,} others", labels.others).format(count=labels.others))
            )
        yield from flow(parts, cells, 2)
    notes = []
    if labels.low:
        text = ngettext("{count:,} top label under {score}", "{count:,} top labels under {score}", labels.low).format(
            count=labels.low, score=LOW_SCORE
        )
        notes.append(Text(text))
    if labels.unlabelled:
        text = ngettext("{count:,} image without a label", "{count:,} images without a label", labels.unlabelled)
        notes.append(Text(text.format(count=labels.unlabelled)))
    if notes and not (alone or labels.top):
        notes[0] = words(f"{labels.step}: ").append_text(notes[0])
    if notes:
        notes[0] = Text("  ").append_text(notes[0])
        yield from flow(notes, cells, 2)


# -- failures


def _failure_lines(outcome: Outcome, cells: int) -> Iterator[Text]:
    for group in outcome.failures:
        yield from _group_lines(group, cells)
    if outcome.more_codes:
        text = ngettext("and {count:,} more code", "and {count:,} more codes", outcome.more_codes)
        yield Text(text.format(count=outcome.more_codes))


def _group_lines(group: FailureGroup, cells: int) -> Iterator[Text]:
    count = ngettext("{count:,} image failed", "{count:,} images failed", group.images).format(count=group.images)
    line = words(titled(count, str(group.code)), BAD)
    line.append_text(words(f" ({message})" if (message := _message(group)) else ""))
    yield from flow([line], cells, 2)
    names = [words(cut_front(visible(name), max(8, cells - 4))) for name in group.examples]
    if group.images > len(names):
        names.append(Text("…"))
    names[0] = Text("  ").append_text(names[0])
    yield from flow(names, cells, 2)
    yield from flow([words(f"  → {remedy(group.code, group.kind)}")], cells, 4)


def _message(group: FailureGroup) -> str:
    """Message of failures, or the meaning of their word where that is translated."""
    meaning = WORDS[group.code].meaning if group.code in WORDS else ""
    return group.message if _(meaning) == meaning else _(meaning)


# -- the last lines


def _counts(outcome: Outcome, run: LastRun | None, cells: int) -> Iterator[Text]:
    """`27 images done, 0 failed, 0 remaining · 38 results · 38 calls in 1.8 s`."""
    done = ngettext("{count:,} image done", "{count:,} images done", outcome.done).format(count=outcome.done)
    first = Text(done + _(", "), style=GOOD if outcome.done == outcome.images else "")
    first.append(_("{count:,} failed").format(count=outcome.failed), style=BAD if outcome.failed else "")
    first.append(_(", "))
    first.append(_("{count:,} remaining").format(count=outcome.remaining), style=WARN if outcome.remaining else "")
    parts = [
        first,
        Text(ngettext("{count:,} result", "{count:,} results", outcome.results).format(count=outcome.results)),
    ]
    if run is not None:
        text = ngettext("{count:,} call in {seconds:.1f} s", "{count:,} calls in {seconds:.1f} s", run.calls)
        parts.append(Text(text.format(count=run.calls, seconds=run.seconds)))
        if run.yuan is not None:
            parts.append(Text(_("about {yuan:.2f} yuan").format(yuan=run.yuan)))
        if run.earlier:
            text = ngettext(
                "{count:,} failure of earlier runs left alone",
                "{count:,} failures of earlier runs left alone",
                run.earlier,
            )
            parts.append(Text(text.format(count=run.earlier)))
        if run.ignored_by_kind:
            parts.append(ignored(run.ignored_by_kind))
    yield from flow(parts, cells, 2)


def ignored(by_kind: Mapping[str, int]) -> Text:
    """Number of ignored files, and by kind: `3 ignored (2 PDF, 1 text)`."""
    kinds = sorted(by_kind.items(), key=lambda each: (-each[1], each[0]))
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    return words(_("{count:,} ignored ({kinds})").format(count=sum(by_kind.values()), kinds=listed))


def _stopped(run: LastRun, cells: int) -> Iterator[Text]:
    text = reason(run.stopped_by or "")
    if run.resume_at:
        at = datetime.fromisoformat(run.resume_at).timestamp()
        text += _("; run again after {moment}").format(moment=moment_in_words(at, time.time()))
    yield from flow([words(text, WARN)], cells, 2)


def _commands(outcome: Outcome, directory: Path, again: str | None) -> Iterator[Text]:
    """Commands to copy, in whole lines."""
    folder = quoted(directory)
    rows = [(_("results"), f"batchrec show {folder}")]
    if outcome.failed:
        rows.append((_("failures"), f"batchrec show {folder} --failed"))
    if again is not None and outcome.failed:
        rows.append((_("retry"), f"{again} --retry-failed"))
    if again is not None and outcome.remaining:
        rows.append((_("go on"), again))
    widest = max(cell_len(titled(name)) - 1 for name, _command in rows)
    for name, command in rows:
        yield Text(padded(titled(name), widest + 2)).append(command)


def run_command(job_file: Path | None, changes: Sequence[str] = ()) -> str | None:
    """Command that runs a job with the changes of `--set`; None where there is no such file."""
    if job_file is None or not job_file.is_file():
        return None
    return " ".join((f"batchrec run {quoted(job_file)}", *(f"--set {visible(shlex.quote(text))}" for text in changes)))


def quoted(path: Path) -> str:
    """A path as a shell takes it: relative to the current folder where it is below it."""
    whole = os.path.abspath(path)
    near = os.path.relpath(whole)
    return visible(shlex.quote(whole if near.startswith(os.pardir) else near))
