"""Inspection of a plan's images: digest and verdict of preparation, without decoding or a call."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from .. import images
from ..api.services import SERVICES
from ..concurrency import mapped
from ..engine.treatments import lies
from ..interfaces import ImageStore
from ..job.spec import Job, Step
from ..journal import Journal, Pending
from ..state.inspection_cache import Inspected, InspectionCache, Key, Way, mark_of, of_file
from ..values import Failure

_BATCH = 500
"""Images inspected between two writes to the journal and the cache: some milliseconds each, and progress moves."""

Verdicts = tuple[bytes | None, list[str]]
"""SHA-256 of a content (None: not readable), and by way of preparation the verdict as `verdict` writes it."""


class Inspection:
    """Inspection of every pending image of a job. Verdicts go to the journal, counts are attributes."""

    def __init__(self, job: Job, store: ImageStore, cache: InspectionCache) -> None:
        self._store, self._cache = store, cache
        self.ways = list(dict.fromkeys(way_of(job, step) for step in job.recognize))
        self._marks = [mark_of(way) for way in self.ways]
        self.unreadable = self.refused = self.to_repair = 0

    def run(self, journal: Journal) -> Iterator[int]:
        """Inspect in batches; yields the size of each batch once the journal has it."""
        with ThreadPoolExecutor() as pool:
            for batch in _batches(journal.survey.pending()):
                found = list(self._inspect(batch, pool))
                journal.survey.looked_at(found)
                for _, sha256, words in found:
                    self.unreadable += sha256 is None
                    self.refused += any(not accepted(word) for word in words)
                    self.to_repair += any(word_of(word) == images.REPAIR for word in words)
                yield len(batch)

    def lying(self, journal: Journal, step: int, way: int) -> int:
        """Number of images at a step that an earlier version sent lying on their side."""
        count = 0
        with ThreadPoolExecutor() as pool:
            for batch in journal.treatments.untold(step):
                files = [Pending(one.image, one.key, one.size, one.mtime_ns, one.sha256, one.problem) for one in batch]
                found = self._inspect(files, pool)
                count += sum(lies(variant_of(words[way])) for _, _, words in found if words)
        return count

    def _inspect(
        self, batch: Sequence[Pending], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, bytes | None, list[str]]]:
        keys = [of_file(self._store.locate(image.key), image.size, image.mtime_ns) for image in batch]
        known = self._cache.get(keys)
        missing: list[Pending] = []
        unknown: list[Key] = []
        for image, key in zip(batch, keys, strict=True):
            if (recalled := self._recalled(image, known.get(key))) is None:
                missing.append(image)
                unknown.append(key)
            else:
                yield image.number, *recalled
        fresh: dict[Key, Inspected] = {}
        read = mapped(pool, self._read, missing)
        for image, key, (sha256, words) in zip(missing, unknown, read, strict=True):
            if sha256 is not None:
                before = known.get(key)
                others = before.verdicts if before is not None and before.sha256 == sha256 else {}
                fresh[key] = Inspected(sha256, {**others, **dict(zip(self._marks, words, strict=True))})
            yield image.number, sha256, words
        self._cache.put(fresh)

    def _recalled(self, image: Pending, entry: Inspected | None) -> Verdicts | None:
        """Verdicts that need no look into the file; None where it is to be read."""
        if entry is None or image.problem or entry.sha256 != (image.sha256 or entry.sha256):
            return None
        words = [entry.verdicts[mark] for mark in self._marks if mark in entry.verdicts]
        return (entry.sha256, words) if len(words) == len(self._marks) else None

    def _read(self, image: Pending) -> Verdicts:
        data = image.problem or self._store.read(image.key)
        if isinstance(data, Failure | str):
            return None, []
        return images.digest(data), [verdict(data, way) for way in self.ways]


def way_of(job: Job, step: Step) -> Way:
    """Way of preparation of a step: two steps with the same way share their verdicts."""
    return Way(SERVICES[step.service].limits, job.treatment, images.extras())


def verdict(data: bytes, way: Way) -> str:
    """The word of `images.foresee`, and behind a colon the text of `images.variant` where there is one."""
    word, variant = (look(data, way.limits, way.treatment) for look in (images.foresee, images.variant))
    return f"{word}:{variant}" if variant else word


def word_of(verdict: str) -> str:
    """The word of `images.foresee` in a verdict."""
    return verdict.partition(":")[0]


def variant_of(verdict: str) -> str:
    """The variant in a verdict."""
    return verdict.partition(":")[2]


def accepted(verdict: str) -> bool:
    """Whether a verdict lets the image be sent: unchanged or repaired."""
    return word_of(verdict) in ("", images.REPAIR)


def _batches(pending: Iterable[Pending]) -> Iterator[list[Pending]]:
    one_by_one = iter(pending)
    while batch := list(islice(one_by_one, _BATCH)):
        yield batch
