"""`batchrec dataset`: data sets for training an EasyDL model."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from ..console.output import printing
from ..console.text import say
from ..datasets.check import CLASSIFICATION, DETECTION, Checked, check
from ..datasets.findings import KINDS, Finding, Severity
from ..datasets.fix import Fixed
from ..datasets.fix import fix as mend
from ..datasets.pack import check_format, pack
from ..errors import JobError
from ..language import _, ngettext
from ..redact import visible

_TELL_SECONDS = 5.0
_MOST_LISTED = 20  # findings of a kind on a terminal
_BAR_COLUMNS = 40  # of the largest class
_MOST_CLASSES = 60  # of the chart


class Telling:
    """Progress on standard error: a line every five seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _TELL_SECONDS

    def __call__(self, done: int, count: int) -> None:
        """Say how many images are done, where it is time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL_SECONDS
            say(_("{done:,} of {count:,} images").format(done=done, count=count))


def check_data_set(
    directory: Path, type: str | None, *, deep: bool, fix: Path | None, names: Path | None, json: bool
) -> int:
    """Check a data set, print what was found, and write a mended one; returns the exit code, 0 or 1.

    Raises JobError where it is none, and where the mended one cannot be made.
    """
    if names is not None and fix is None:
        raise JobError(_("--names: gives the names of a mended data set; add --fix OUT"))
    checked = check(directory, type, deep=deep, told=Telling())
    fixed = None if fix is None else mend(checked, fix, names, Telling())
    exit_code = int(checked.count(Severity.ERROR) + checked.count(Severity.WARNING) > 0)
    with printing(exit_code):
        if json:
            _print_json(checked, fixed)
        else:
            _print_findings(checked)
    if fixed is not None and fix is not None:
        _say_fixed(fixed, fix)
    return exit_code


def pack_data_set(directory: Path, out: Path, type: str | None, format: str | None, *, force: bool) -> None:
    """Pack a data set, and print the path and SHA-256 of each archive.

    Raises JobError where it has errors and is not forced, and where the target is there already.
    """
    checked = check(directory, type, told=Telling())
    check_format(format, detection=checked.dataset.detection)
    refuse_errors(checked, force=force)
    with printing():
        for archive in pack(checked, out, format):
            print(visible(f"{archive.sha256}  {archive.path}"))


def refuse_errors(checked: Checked, *, force: bool, text: str = "") -> None:
    """Raise JobError where a data set has errors and is not forced. `text` is for the complaint."""
    if checked.errors and not force:
        first = checked.errors[0]
        raise JobError(
            (
                text
                or _(
                    "{path}: has errors ({count:,}), the first one: {where} {text}. `batchrec dataset check` lists "
                    "them, --fix mends what can be mended, --force goes on all the same"
                )
            ).format(path=checked.dataset.root, count=len(checked.errors), where=first.where, text=first.text)
        )


def _print_json(checked: Checked, fixed: Fixed | None) -> None:
    found: dict[str, Any] = {
        "type": DETECTION if checked.dataset.detection else CLASSIFICATION,
        "classes": checked.dataset.counts(),
        "images": len(checked.dataset.samples),
        "digest": checked.digest,
        "deep": checked.deep,
        "findings": [
            {
                "severity": str(each.severity),
                "kind": each.kind,
                "where": visible(each.where),
                "detail": visible(each.detail),
                "remedy": KINDS[each.kind].remedy,
                "fixed": KINDS[each.kind].fixed,
            }
            for each in checked.findings
        ],
    }
    if fixed is not None:
        left_out = [{"kind": each.kind, "where": visible(each.where)} for each in fixed.left_out]
        found["fix"] = {
            "copied": fixed.copied,
            "mended": fixed.mended,
            "left_out": left_out,
            "names": {visible(old): new for old, new in fixed.names.items()},
        }
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def _print_findings(checked: Checked) -> None:
    by_kind: dict[str, list[Finding]] = {}
    for finding in checked.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    most = _MOST_LISTED if sys.stdout.isatty() else sys.maxsize
    for kind in (kind for kind in KINDS if kind in by_kind):
        found = by_kind[kind]
        print(f"{KINDS[kind].severity} {kind} ({len(found):,}): {_(KINDS[kind].remedy)}")
        for each in found[:most]:
            print(visible(f"  {each.where or '.'} {each.text}"))
        if len(found) > most:
            print("  " + _("{count:,} more; --json lists all").format(count=len(found) - most))
        print()
    _print_chart(checked)
    counts = Counter(str(each.severity) for each in checked.findings)
    print(_summary(len(checked.dataset.samples), len(checked.dataset.labels), counts))
    if not checked.deep:
        print(_("mirrored and cropped copies were not looked for; --deep does"))


def _summary(images: int, classes: int, counts: Counter[str]) -> str:
    return ", ".join(
        (
            ngettext("{count:,} image", "{count:,} images", images).format(count=images),
            ngettext("{count:,} class", "{count:,} classes", classes).format(count=classes),
            ngettext("{count:,} error", "{count:,} errors", counts["error"]).format(count=counts["error"]),
            ngettext("{count:,} warning", "{count:,} warnings", counts["warning"]).format(count=counts["warning"]),
        )
    )


def _print_chart(checked: Checked) -> None:
    """A bar a class, so that an uneven data set is seen."""
    counts = sorted(checked.dataset.counts().items(), key=lambda each: -each[1])
    width = max((len(visible(label)) for label, _count in counts[:_MOST_CLASSES]), default=0)
    largest = max((count for _label, count in counts), default=1) or 1
    for label, count in counts[:_MOST_CLASSES]:
        bar = "#" * max(round(_BAR_COLUMNS * count / largest), count > 0)
        print(f"  {visible(label):<{width}} {count:>7,} {bar}".rstrip())
    if len(counts) > _MOST_CLASSES:
        print("  " + _("{count:,} more classes").format(count=len(counts) - _MOST_CLASSES))
    print()


def _say_fixed(fixed: Fixed, out: Path) -> None:
    say(
        _("{path}: {copied:,} images copied, {mended:,} re-encoded, {left:,} left out").format(
            path=out, copied=fixed.copied, mended=fixed.mended, left=len(fixed.left_out)
        )
    )
    for old, new in fixed.names.items():
        if old != new:
            say(_("class {old!r} is now {new}").format(old=old, new=new))
