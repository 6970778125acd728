"""Inspection of a plan's images: digest and verdict of preparation, without decoding or a call."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from .. import images
from ..api.services import SERVICES
from ..concurrency import mapped
from ..engine.treatments import lies
from ..interfaces import ImageStore
from ..job.spec import Job, Step
from ..journal import Journal, Pending
from ..sources import failure_of, is_url
from ..state.inspection_cache import Inspected, InspectionCache, Key, Way, mark_of, of_file
from ..values import Failure, Kind

_BATCH = 500
"""Images inspected between two writes to the journal and the cache: some milliseconds each, and progress moves."""

UNKNOWN = None
"""Bytes of a URL that the service fetches itself."""

Verdicts = tuple[bytes | None, list[str]]
"""SHA-256 of a content (None: not readable), and by way of preparation the verdict as `verdict` writes it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Image that a run would not send at some steps: `code` and `message` as in failures.jsonl."""

    image: str
    steps: list[str]
    code: int | str
    message: str


class Inspection:
    """Inspection of every pending image of a job. Verdicts go to the journal, counts are attributes.

    `refused` is called with each image that would be refused, once for each reason.
    """

    def __init__(
        self, job: Job, store: ImageStore, cache: InspectionCache, refused: Callable[[Refusal], None] | None = None
    ) -> None:
        self._store, self._cache, self._tell = store, cache, refused
        self._steps = {way: [step.name for step in job.recognize if way_of(job, step) == way] for way in _ways(job)}
        self.ways = list(self._steps)
        self._marks = [mark_of(way) for way in self.ways]
        self.unreadable = self.refused = self.to_repair = self.unknown = 0
        self._by_url = all(step.send == "url" for step in job.recognize)

    def run(self, journal: Journal) -> Iterator[int]:
        """Inspect in batches; yields the size of each batch once the journal has it."""
        with ThreadPoolExecutor() as pool:
            for batch in _batches(journal.survey.pending()):
                found = list(self._inspect(batch, pool))
                journal.survey.looked_at(found)
                if self._tell is not None:
                    self._tell_refusals(self._tell, {image.number: image for image in batch}, found)
                for _, sha256, words in found:
                    self.unreadable += sha256 is None
                    self.refused += any(not accepted(word) for word in words)
                    self.to_repair += any(word_of(word) == images.REPAIR for word in words)
                yield len(batch)

    def _tell_refusals(
        self,
        tell: Callable[[Refusal], None],
        batch: dict[int, Pending],
        found: Iterable[tuple[int, bytes | None, list[str]]],
    ) -> None:
        for number, sha256, words in found:
            if sha256 is not None and all(map(accepted, words)):
                continue
            # Verdicts have no messages: the few files that are refused are read again.
            image = batch[number]
            data = failure_of(image.problem) if image.problem else self._store.read(image.key)
            refusals: dict[tuple[int | str, str], list[str]] = {}
            for way, word in zip(self.ways, words or [""] * len(self.ways), strict=True):
                if words and accepted(word):
                    continue
                failure = images.refusal(data, way.limits, way.treatment) if isinstance(data, bytes) else data
                if not isinstance(failure, Failure):
                    failure = Failure(Kind.IMAGE, word_of(word) or "unreadable", "")
                refusals.setdefault((failure.code, failure.message), []).extend(self._steps[way])
            for (code, message), steps in refusals.items():
                tell(Refusal(image.key, steps, code, message))

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
        urls = [image for image in batch if is_url(image.key)]
        yield from (self._of_url(image) for image in urls)
        batch = [image for image in batch if not is_url(image.key)] if urls else batch
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

    def _of_url(self, image: Pending) -> tuple[int, bytes | None, list[str]]:
        """Verdicts on a URL: of its cached bytes, else as of an image that nothing is wrong with."""
        if image.problem:
            return image.number, None, []
        data = UNKNOWN if self._by_url else self._store.read(image.key)
        if isinstance(data, bytes):
            return image.number, images.digest(data), [verdict(data, way) for way in self.ways]
        self.unknown += 1
        # Two spellings of one URL are the same image.
        return image.number, images.digest(self._store.locate(image.key).encode()), [""] * len(self.ways)

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


def _ways(job: Job) -> list[Way]:
    """Ways of preparation of a job, each once, in the order of its steps."""
    return list(dict.fromkeys(way_of(job, step) for step in job.recognize))


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
