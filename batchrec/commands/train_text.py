"""Report of `batchrec dataset train` on a new version, as text."""

import sys
from collections.abc import Iterable, Sequence

from ..datasets.detection import DetectionEvaluation
from ..datasets.evaluation import Answer, Evaluation, Share
from ..datasets.rules import rules
from ..datasets.training import Trained
from ..language import _, ngettext
from ..redact import visible

_MOST_CLASSES = 60  # on a terminal


def print_report(trained: Trained) -> None:
    counts, found = trained.counts, trained.evaluation
    least, better = rules().least_images, rules().better_images
    print(
        _("{version}: {images:,} images, {classes:,} classes, {fewest:,} images in the smallest").format(
            version=trained.version, images=trained.images, classes=len(counts), fewest=min(counts.values())
        )
    )
    if found is None:
        print(
            _("no evaluation: no class has two images that are no copies of each other")
            if trained.detection
            else _("no evaluation: fewer than two classes have two images that are no copies of each other")
        )
        return
    if isinstance(found, DetectionEvaluation):
        _print_detection(found)
    else:
        _print_figures(found)
        _print_classes(found)
        _print_answers(_("Likely wrong labels:"), found.likely_wrong)
        _print_answers(_("Least certain of their label:"), found.worst)
    if min(counts.values()) < better:
        most = least if min(counts.values()) < least else better
        print(_("These figures mean little: a class has fewer than {count:,} images.").format(count=most))


def _print_figures(found: Evaluation) -> None:
    rows = [
        (_("accuracy"), _share(found.accuracy)),
        (_("precision, recall, F1"), f"{found.precision:.3f}  {found.recall:.3f}  {found.f1:.3f}"),
        (
            _("top 1 to {count}").format(count=len(found.top)),
            "  ".join(f"{share:.3f}" for share in found.top),
        ),
        (_("majority class"), f"{found.majority_class:.3f}"),
        (_("nearest image by pixels"), f"{found.nearest_pixels:.3f}"),
        (_("recommended threshold"), f"{found.threshold:.2f}"),
    ]
    _print_rows(found, rows)


def _share(share: Share) -> str:
    return _("{value:.3f} (95 %: {low:.3f} to {high:.3f})").format(**share._asdict())


def _print_rows(found: Evaluation | DetectionEvaluation, rows: Sequence[tuple[str, str]]) -> None:
    print(
        _("Cross-validation in {folds} folds over {groups:,} groups of copies:").format(
            folds=found.folds, groups=found.groups
        )
    )
    for name, text in rows:
        print(f"  {name}: {text}")
    for name in found.left_out:
        print(_("  {name} is trained, and left out of the evaluation: its images are copies of one").format(name=name))
    print()


def _print_classes(found: Evaluation) -> None:
    print(_("Class: images, precision, recall (95 %), F1"))
    _print_first(
        f"  {visible(each.name)}: {each.images:,}  {each.precision:.3f}  {_interval(each.recall)}  {each.f1:.3f}"
        for each in found.classes
    )
    for pair in found.confused:
        print(
            "  "
            + ngettext(
                "{label} taken for {answer}: {count:,} image",
                "{label} taken for {answer}: {count:,} images",
                pair.images,
            ).format(label=visible(pair.label), answer=visible(pair.answer), count=pair.images)
        )
    print()


def _print_first(classes: Iterable[str]) -> None:
    """Print a line for each class; on a terminal those of the first ones, and the number of the others."""
    lines = list(classes)
    shown = lines[:_MOST_CLASSES] if sys.stdout.isatty() else lines
    for line in shown:
        print(line)
    if len(shown) < len(lines):
        print("  " + _("{count:,} more classes").format(count=len(lines) - len(shown)))


def _interval(share: Share) -> str:
    return f"{share.value:.3f} ({share.low:.3f} - {share.high:.3f})"


def _print_answers(title: str, answers: Sequence[Answer]) -> None:
    if not answers:
        return
    print(title)
    for each in answers:
        print(visible(f"  {each.file}: {each.score:.2f}, {each.answer} {each.answer_score:.2f}"))
    print()


def _print_detection(found: DetectionEvaluation) -> None:
    rows = [
        (_("AP50, mean of the classes"), f"{found.ap50:.3f}"),
        (_("AP50 of a central box"), f"{found.central_box:.3f}"),
        (_("recommended threshold"), f"{found.threshold:.2f}"),
        (_("precision at it"), f"{found.precision:.3f}"),
        (_("recall at it"), _share(found.recall)),
    ]
    _print_rows(found, rows)
    print(_("Class: images, boxes, AP50, AP50 of a central box, precision, recall (95 %)"))
    _print_first(
        f"  {visible(each.name)}: {each.images:,}  {each.boxes:,}  {each.ap50:.3f}  {each.central_box:.3f}  "
        f"{each.precision:.3f}  {_interval(each.recall)}"
        for each in found.classes
    )
    print()
    if found.ap50 <= found.central_box:
        print(_("A box in the middle of each image is as good: the model does not find places."))
