"""Counting of a plan's calls: contents without a result, reused results, and what the limits leave."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .. import images
from ..api.client import expected_body
from ..api.credentials import Credentials
from ..api.services import SERVICES, Service
from ..engine.resume import fingerprint_of
from ..engine.setup import by_service, caps_of, payer, result_cache
from ..engine.treatments import alike_before, cached_row
from ..images import calls_of
from ..job.follow_ups import Conditions, follow_ups, labels_of, triggered
from ..job.spec import NO_LIMIT, Job, Step
from ..journal import Journal
from ..limits.quota import Quota
from ..limits.shared_rate import SharedRates
from ..periods import PERIODS
from ..state.answer_cache import AnswerCache
from ..state.uplinks import measured
from ..times import beijing_day
from ..values import ADVISED_SIDE, Caps, Label, Target
from .estimate import CallLimit, LaneLimits, StepWork, UplinkRate
from .inspection import Inspection, accepted, variant_of, way_of


class Counter:
    """Counts of calls and limits: from the journal of a survey, and from the state folder of the account."""

    def __init__(
        self,
        job: Job,
        state: Path,
        credentials: Credentials | None,
        now: Callable[[], float],
        *,
        reuse: bool,
        reuse_models: bool,
        digests: Mapping[str, str],
    ) -> None:
        self._job, self._state, self._credentials, self.now = job, state, credentials, now
        self._reuse, self._reuse_models, self._digests = reuse, reuse_models, digests
        self._extra: dict[int, list[int]] = {}
        """By a step's number: images that cached results of earlier steps put on its list."""

    def count(self, journal: Journal, numbers: Mapping[str, int], inspection: Inspection) -> tuple[list[StepWork], int]:
        """Work of every step, and the number of pairs of image and step whose result is known."""
        following, lanes = follow_ups(self._job, numbers), self._lanes()
        states, known = journal.reader.by_step(), 0
        works = []
        with closing(_Reuse(self._cache(), reuse_models=self._reuse_models)) as reuse:
            for step in self._job.recognize:
                number = numbers[step.name]
                way = inspection.ways.index(way_of(self._job, step))
                sent, cached = self._count_step(journal, step, number, way, following.get(number, ()), reuse)
                known += cached
                state = states[number]
                works.append(
                    StepWork(
                        step=step.name,
                        service=step.service,
                        model=step.model,
                        lane=lanes[step.name],
                        after=None if step.when is None else step.when.step,
                        sure=sent.calls,
                        sent=sent.bytes,
                        sent_shrunk=sent.shrunk,
                        again=sent.again,
                        listed=state.answered + state.failed + state.open,
                        finished=state.answered,
                        price=self._job.account.prices.get(step.service),
                        free=self._job.account.free.get(step.service, 0),
                    )
                )
        return works, known

    def limits(self, busy: Collection[str]) -> dict[str, LaneLimits]:
        """Limits of every lane. Counts of today are looked up for those with calls (`busy`) alone."""
        limits = {}
        for lane, members in by_service(self._job).items():
            caps = caps_of(self._job, members)
            left = self._left(lane, caps) if lane in busy else {}
            counted = tuple(CallLimit(PERIODS[name], most, left.get(name, most)) for name, most in caps.calls)
            limits[lane] = LaneLimits(self._rate(lane, caps), counted, beijing_day(self.now()))
        return limits

    def uplink(self) -> UplinkRate | None:
        """Rate that the uplink carried in the last run that it limited; None where none is known."""
        found = measured(self._state, self._job.account.endpoint)
        return None if found is None else UplinkRate(*found, shrinkable=self._job.input.max_side is None)

    def _cache(self) -> AnswerCache | None:
        if not self._reuse or self._credentials is None:
            return None
        return result_cache(self._job, self._state, self._credentials, self.now)

    def _lanes(self) -> dict[str, str]:
        """By a step's name: what limits are counted for."""
        return {step.name: lane for lane, members in by_service(self._job).items() for step in members}

    def _count_step(
        self, journal: Journal, step: Step, number: int, way: int, follow: Conditions, reuse: "_Reuse"
    ) -> tuple["_Sent", int]:
        """Contents that need a call, and images with a known result, which may put them on later steps' lists."""
        sent, known, service = _Sent(), 0, SERVICES[step.service]
        superseded = journal.reader.superseded(number)
        find, boxes = reuse.finder(step), service.reading.boxes
        for each in journal.survey.contents(number, self._extra.get(number, ())):
            if not each.words or not accepted(each.words[way]):
                continue
            variant = variant_of(each.words[way])
            earlier = alike_before(variant, boxes=boxes)
            if each.finished and journal.answers.finished_content(number, each.sha256, variant, earlier=earlier):
                known += each.copies
            else:
                labels = find(each.sha256, variant)
                known += labels is not None
                if labels is None:
                    calls = max(0, calls_of(variant) - journal.tiles.count(each.image, number))
                    sent.add(service, each.size, variant, calls)
                    sent.again += each.image in superseded
                for after in triggered(follow, labels) if labels is not None else ():
                    self._extra.setdefault(after, []).append(each.image)
        if step.canary is not None and sent.calls:
            fingerprint = fingerprint_of(step, self._digests)
            for image in journal.canaries.images(number, step.name, fingerprint, step.canary):
                variant = image.variant or ""
                sent.add(service, image.task.size, variant, calls_of(variant))
        return sent, known

    def _rate(self, lane: str, caps: Caps) -> float | None:
        """Calls/s: as set, or for "auto" the rate that earlier runs have found; None where there is no limit."""
        if caps.qps < math.inf:
            return None if caps.qps == NO_LIMIT else caps.qps
        if self._credentials is None:
            return None
        with (
            closing(SharedRates(self._state)) as rates,
            rates.transaction(payer(self._job, self._credentials), lane) as rate,
        ):
            return rate.ceiling.proven or None

    def _left(self, lane: str, caps: Caps) -> dict[str, int]:
        """Calls that the limits leave of their present periods, by name; nothing where nobody counts."""
        if self._credentials is None or not caps.calls:
            return {}
        with closing(Quota(self._state, self.now)) as quota:
            return quota.left(Target(payer(self._job, self._credentials), lane, caps))


@dataclass(slots=True)
class _Sent:
    """Calls of a step and bytes of their bodies: as the job is, and with the side that is recommended.

    `again` counts the contents whose image has a superseded result.
    """

    calls: int = 0
    again: int = 0
    bytes: int = 0
    shrunk: int = 0

    def add(self, service: Service, size: int, variant: str, calls: int) -> None:
        """Count the calls for a file of `size` bytes; its tiles together are taken to weigh as much as it.

        Nothing is known of a URL's bytes; its `size` is negative.
        """
        if size < 0:
            self.calls += calls
            return
        sent = images.expected_bytes(size, service.limits, images.shrunk_size(variant))
        self.calls += calls
        self.bytes += expected_body(service, sent)
        self.shrunk += expected_body(service, images.expected_bytes_at(sent, ADVISED_SIDE))


class _Reuse:
    """Cached results of earlier jobs, as far as a run would reuse them; `cache` None: none of them."""

    def __init__(self, cache: AnswerCache | None, *, reuse_models: bool) -> None:
        self._cache, self._reuse_models = cache, reuse_models

    def finder(self, step: Step) -> Callable[[bytes, str], Sequence[Label] | None]:
        """Function from an image's SHA-256 and variant to the labels of its cached result, or None."""
        cache, service = self._cache, SERVICES[step.service]
        if cache is None or (service.custom and not self._reuse_models):
            return lambda _, __: None
        key = cache.cache_key(step.fingerprint, personal=service.personal)

        def find(sha256: bytes, variant: str) -> Sequence[Label] | None:
            row = cached_row(cache, key, sha256, variant, boxes=service.reading.boxes)
            return None if row is None else labels_of(row)

        return find

    def close(self) -> None:
        """Close the cache's database."""
        if self._cache is not None:
            self._cache.close()
