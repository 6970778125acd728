"""Canary of a step: images whose results tell that the model under an address is another one.

The service gives no version of a model. The same images are sent before the first other call of a run; a run without
other calls sends none, and neither does the first run, whose own results they are compared with later. A change is
told at once in the log, and again at the end of the run; the journal keeps it, since the rows of before stay.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..journal import Journal
from ..journal.canaries import CanaryImage
from ..language import _, ngettext
from ..values import Label, ModelChange, Prepared, Row
from .setup import hold

_log = logging.getLogger(__name__)

_SAME_SCORE = 1e-4
"""Difference of scores that is no other model: another machine adds up in another order."""

_BOX_PIXELS = 1.0
"""Pixels of what was sent by which the sides of a box may differ for the same reason, before they are rounded."""

Labels = list[list[Any]]
"""Name, score, and box (left, top, width, height) or None, of each label."""


class Canary:
    """Canary images of one step in a run. `read` gets a row of results.jsonl by its place."""

    def __init__(
        self,
        number: int,
        name: str,
        fingerprint: str,
        count: int,
        journal: Journal,
        read: Callable[[int, int], Row],
    ) -> None:
        self.done = False
        """Whether the images have been sent, or need not be in this run."""
        self.lock = asyncio.Lock()
        self._number, self._name, self._fingerprint, self._count = number, name, fingerprint, count
        self._journal, self._read = journal, read

    def images(self) -> list[CanaryImage]:
        """The images to send, with their labels of before."""
        found = self._journal.canaries.images(self._number, self._name, self._fingerprint, self._count)
        return [each if each.labels is not None else self._from_row(each) for each in found]

    def answered(self) -> None:
        """Note that a call has come back with an answer."""
        self._journal.canaries.answered()

    def conclude(self, images: Sequence[CanaryImage], found: Sequence[CanaryImage | None]) -> None:
        """Compare what was found with what is known, and keep it for the next run, together with a change.

        `found` has None for an image that was not sent or failed; what is known of it stays. An image that was sent in
        another variant than before is not compared.
        """
        if not any(found):
            self._warn_of_absence()
            return
        pairs = [(was, now) for was, now in zip(images, found, strict=True) if now and was.variant == now.variant]
        changed = [was for was, now in pairs if not alike(was.labels or [], now.labels or [], now.pixel)]
        change = None
        if changed:
            since, at = max(each.at for each in changed), max(now.at for _was, now in pairs)
            change = ModelChange(self._name, since, at, len(changed), len(pairs))
        kept = [now or was for was, now in zip(images, found, strict=True)]
        self._journal.canaries.put(self._name, self._fingerprint, kept, change)
        if change is not None:
            _log.warning("%s", describe(change))

    def _warn_of_absence(self) -> None:
        """Say that nothing can be compared, unless no image was sent before this run."""
        if self._journal.canaries.any_sent(self._number):
            text = _(
                "step {name!r}: none of its images could be sent again, so that a change of the model is not noticed; "
                "copies, images with other bytes and images that are no input any more are not sent as canary images"
            )
            _log.warning("%s", text.format(name=self._name))

    def _from_row(self, image: CanaryImage) -> CanaryImage:
        labels = self._read(image.start, image.length)["labels"]
        return image._replace(labels=[[each["name"], each["score"], _sides(each.get("box"))] for each in labels])


def describe(change: ModelChange) -> str:
    """Sentence about a change, for a person."""
    return ngettext(
        "step {name!r}: the model under this address has changed since {since}: {count} of {all} canary images "
        "has another result; results of before are of the earlier model; to have all images sent to this one, give "
        "the job another output.directory",
        "step {name!r}: the model under this address has changed since {since}: {count} of {all} canary images "
        "have another result; results of before are of the earlier model; to have all images sent to this one, "
        "give the job another output.directory",
        change.changed,
    ).format(name=change.step, since=change.since, count=change.changed, all=change.compared)


def tell_model_changes(journal: Journal, job: str, on_change: Callable[[ModelChange], None] | None) -> None:
    """Tell changes at the end of a run: its own, and those of runs that were killed before their end.

    With `on_change` None the line in the log is enough; else each run tells them until `forget_changes`.
    """
    changes = journal.canaries.untold()
    for change in changes:
        _log.warning("%s: %s", job, describe(change))
        if on_change is not None:
            on_change(change)
    if changes and on_change is None:
        journal.canaries.told(changes)


def forget_changes(directory: Path, changes: Collection[ModelChange]) -> None:
    """Have a journal note that changes were told: no run tells them again.

    Raises DirectoryBusy, JobError, OutputFailed.
    """
    with hold(directory), closing(Journal(directory)) as journal:
        journal.canaries.told(changes)


def labels_of(labels: Sequence[Label], sent: Prepared) -> Labels:
    """Names, scores and boxes, as they are kept: in pixels of the image as displayed, as in its row."""
    return [
        [label.name, label.score, None if label.box is None else _sides(sent.displayed(label.box).sides)]
        for label in labels
    ]


def pixel_of(sent: Prepared) -> float:
    """Pixels of the image as displayed by which a box may differ and be the same."""
    scale = max(max(each.scale_x, each.scale_y) for each in (sent, *sent.tiles))
    return _BOX_PIXELS if scale == 1 else scale * _BOX_PIXELS + 1


def alike(one: Labels, other: Labels, pixel: float = _BOX_PIXELS) -> bool:
    """Whether two results are of one model: the same names in the same order, scores and boxes."""
    return len(one) == len(other) and all(
        name == other_name
        and abs((score or 0.0) - (other_score or 0.0)) <= _SAME_SCORE
        and (box is None) == (other_box is None)
        and all(abs(side - other_side) <= pixel for side, other_side in zip(box or (), other_box or (), strict=True))
        for (name, score, box), (other_name, other_score, other_box) in zip(one, other, strict=True)
    )


def _sides(box: dict[str, float] | None) -> list[float] | None:
    return None if box is None else [box[side] for side in ("left", "top", "width", "height")]
