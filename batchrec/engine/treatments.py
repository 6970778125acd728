"""Treatment of a job's images against that of its last run: what it changes is sent again.

A result belongs to its image's variant: what `upright` and the like change of this image (`images.variant`). After a
change of the treatment, the files of finished images are read, and those with another variant are sent again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .. import images
from ..api.services import SERVICES
from ..interfaces import ImageStore
from ..job.follow_ups import follow_ups
from ..job.spec import Job, Step
from ..journal import Item, Journal
from ..state.answer_cache import AnswerCache, CacheKey, content_key
from ..values import Row, Treatment
from .setup import image_store

_BEFORE = Treatment()
"""The treatment that is assumed for results of versions that noted none: what was sent otherwise is `LYING`."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Numbers of results and failures that were dropped: by a change of the treatment, and as `LYING`."""

    dropped: int = 0
    lying: int = 0


def take_treatments(
    job: Job,
    journal: Journal,
    numbers: Mapping[str, int],
    proceed: Callable[[], None],
    *,
    lying: bool = False,
    store: ImageStore | None = None,
) -> Changes:
    """Drop results and failures of images that the job's treatment changes otherwise than the last run's.

    `lying`: drop too what an earlier version sent lying on its side. `proceed` is called before each file is read.
    `store` None: the files of the inputs alone.
    """
    store = image_store(job) if store is None else store
    known, decisive = journal.treatments, job.treatment.decisive
    following = follow_ups(job, numbers)
    dropped = again = 0
    for step in job.recognize:
        number = numbers[step.name]
        after = [follow for _, follow in following.get(number, ())]
        before = known.of_step(number)
        if (_BEFORE.decisive if before is None else before) != decisive:
            known.begin(number)
        for batch in known.unchecked(number):
            found = list(_variants(job, step, store, batch, proceed))
            same = {item.image: variant for item, variant in found if variant == item.variant}
            dropped += known.settle(number, same, [item.image for item, _ in found if item.image not in same], after)
        for batch in known.untold(number) if lying and may_lie(job, step) else ():
            found = list(_variants(job, step, store, batch, proceed))
            as_now = {item.image: variant for item, variant in found if not variant}
            again += known.settle(number, as_now, [item.image for item, variant in found if lies(variant)], after)
    known.end(dict.fromkeys(numbers.values(), decisive))
    return Changes(dropped, again)


def may_lie(job: Job, step: Step) -> bool:
    """Whether an earlier version may have sent images lying on their side: it turned them for boxes only."""
    return job.treatment.upright and not SERVICES[step.service].reading.boxes


def lies(variant: str) -> bool:
    """Whether an image with this variant was sent lying where it was not turned."""
    return images.UPRIGHT in variant.split(images.BETWEEN)


def alike_before(variant: str, *, boxes: bool) -> bool:
    """Whether versions that noted no variant sent an image alike: they turned it for boxes only."""
    return variant in (("", images.UPRIGHT) if boxes else ("",))


def cached_row(cache: AnswerCache, key: CacheKey, sha256: bytes, variant: str, *, boxes: bool) -> Row | None:
    """The cached row of an image, where it was sent with the same variant.

    Where boxes come back, versions that noted no variant kept rows of turned images like those of others.
    """
    row = cache.get(key, content_key(sha256, variant))
    if boxes and alike_before(variant, boxes=boxes):
        if row is None and variant:  # without one, it was the same look-up
            row = cache.get(key, sha256)
        if row is not None and (images.TURNED in (row["repaired"] or ())) != (variant == images.UPRIGHT):
            return None
    return row


def _variants(
    job: Job, step: Step, store: ImageStore, items: Sequence[Item], proceed: Callable[[], None]
) -> Iterator[tuple[Item, str]]:
    """The variants of images, by reading their files; those that cannot be read are left out."""
    limits = SERVICES[step.service].limits
    for item in items:
        proceed()
        data = item.problem or store.read(item.key)
        if isinstance(data, bytes):
            yield item, images.variant(data, limits, job.treatment)
