"""Calls for the canary images of a step, before its first other call in a run."""

import asyncio
from collections.abc import Callable, Sequence

from ..journal.canaries import CanaryImage
from ..journal.tiles import TileAnswer
from ..sources import is_url
from ..times import iso_utc
from ..values import Answer, Failure
from .attempts import Caller
from .canary import Canary, labels_of, pixel_of
from .lane import Backlog, Lane, Postponed, Step
from .preparation import Preparation, Ready
from .tiles import merged
from .workers import Workers


class CanaryCaller:
    """Sends canary images as `Caller` sends others; their results are compared and not recorded."""

    def __init__(
        self,
        caller: Caller,
        workers: Workers,
        preparation: Preparation,
        backlog: Backlog,
        now: Callable[[], float],
    ) -> None:
        self._caller, self._workers = caller, workers
        self._preparation, self._backlog, self._now = preparation, backlog, now

    async def before(self, lane: Lane, step: Step) -> None:
        """Send the canary images of a step, unless they were sent in this run; others wait for that."""
        canary = step.canary
        if canary is None or canary.done:
            return
        async with canary.lock:
            if not canary.done:
                canary.done = await self._send(lane, step, canary)

    async def _send(self, lane: Lane, step: Step, canary: Canary) -> bool:
        """Send the images and compare; False where a call may not leave now: the next one tries again."""
        images, found = canary.images(), list[CanaryImage | None]()
        await self._fetch(images)
        for image in images:
            now = await self._find(lane, step, canary, image)
            if isinstance(now, Postponed):
                return False
            found.append(now)
        canary.conclude(images, found)
        return True

    async def _fetch(self, images: Sequence[CanaryImage]) -> None:
        """Have the bytes of URLs in the cache; those that fail are not there when they are read."""
        fetcher = self._preparation.fetcher
        keys = [image.task.key for image in images if is_url(image.task.key)]
        if fetcher is None or not keys:
            return
        places = asyncio.Semaphore(fetcher.per_host)

        async def fetch(key: str) -> None:
            async with places:
                if fetcher.has(key) is None:
                    await fetcher.fetch(key)

        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(fetch(key))

    async def _find(self, lane: Lane, step: Step, canary: Canary, image: CanaryImage) -> CanaryImage | Postponed | None:
        """The image with its labels of now; None where it fails or is another file."""
        data, sha256, variant = await self._preparation.read(step, image.task)
        if isinstance(data, Failure) or sha256 != image.task.sha256:
            return None
        while (prepared := await self._preparation.prepare(step, image.task, data)) is Postponed.SET_ASIDE:
            await self._backlog.change()
        self._preparation.leave_place(image.task)
        if isinstance(prepared, Failure | Postponed):
            return None
        ready = Ready(sha256, *prepared)
        result = await self._ask(lane, step, canary, image, ready)
        if not isinstance(result, Answer):
            return result
        labels, at = labels_of(result.labels, ready.image), iso_utc(self._now())
        return image._replace(labels=labels, at=at, variant=variant, pixel=pixel_of(ready.image))

    async def _ask(
        self, lane: Lane, step: Step, canary: Canary, image: CanaryImage, ready: Ready
    ) -> Answer | Postponed | None:
        """The answer to an image, or that to its tiles; None where a call fails."""
        answers: list[Answer] = []
        for body in [tile.body for tile in ready.tiles] or [ready.body]:
            reply = await self._caller.ask(lane.gate, step, image.task, ready._replace(body=body))
            if isinstance(reply, Postponed):
                return reply
            result, _attempts = reply
            if isinstance(result, Answer):
                canary.answered()
            self._workers.release()
            if not isinstance(result, Answer):
                return None
            answers.append(result)
        if not ready.tiles:
            return answers[0]
        replies = [TileAnswer(answer.reply, 1, answer.latency_ms) for answer in answers]
        return merged(step.request.reading, ready.image.tiles, replies)
