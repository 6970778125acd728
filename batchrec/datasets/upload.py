"""Upload of a data set to EasyDL: create, add each image, compare the counts of labels.

An image has the same name at each upload, made of its class and content, and is sent with `appendLabel` false. So
sending it again, after a kill or a lost answer, replaces it (an assumption). Confirmed images are noted and not sent
again. An image of another class than at an earlier upload has another name, and replaces nothing: it stays there under
its old class, so it is named and sent at each upload until the counts show that the old one is gone.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import pybase64
from aiolimiter import AsyncLimiter

from ..api.call import JsonClient, json_object
from ..api.retry import MISCONFIGURED_AFTER, Action, decide
from ..errors import CredentialsRefused, JobError, ServiceUnavailable
from ..exact_json import dumps
from ..language import _
from ..state.uploads import UploadLog
from ..values import Failure, Kind
from .boxes import whole_corners
from .check import Checked
from .classes import Sample
from .findings import Severity
from .fix import suffix_of

_log = logging.getLogger(__name__)

PREFIX = "/rpc/2.0/easydl/"
CLASSIFICATION, DETECTION = "IMAGE_CLASSIFICATION", "OBJECT_DETECTION"
"""EasyDL's words for the types of data sets."""

_DELETED, _THERE_ALREADY = 406002, 406003  # error codes
_WORKERS = 16  # calls in flight at most; another public client has 32
_PAGE_ROWS = 100  # the most that a list gives at once
_DIGEST_CHARACTERS = 16


class Entity(NamedTuple):
    """An image as it is sent: its name there, its file with the SHA-256, and its labels."""

    name: str
    sample: Sample
    sha256: str
    labels: list[dict[str, Any]]


class Compared(NamedTuple):
    """A label: images sent in all, those of them without an identical one, images at the service."""

    label: str
    sent: int
    different: int
    there: int

    @property
    def short(self) -> bool:
        """Whether images are missing there; identical ones may be kept once."""
        return self.there < self.different

    @property
    def more(self) -> bool:
        """Whether more images are there than were sent."""
        return self.there > self.sent


class Moved(NamedTuple):
    """An image that was sent under another class: its file, both classes, its old name there."""

    key: str
    old: str
    new: str
    entity: str


@dataclass(slots=True)
class Uploaded:
    """Result of an upload: the data set's number, images in all, sent now, sent earlier, failed, labels.

    `moved`: images that the service still has under an old class.
    """

    number: int
    images: int = 0
    sent: int = 0
    earlier: int = 0
    failed: list[tuple[str, Failure]] = field(default_factory=list)
    labels: list[Compared] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    stopped: bool = False


def entities_of(checked: Checked) -> list[Entity]:
    """The images to send, in order, identical ones of a class once. Those with an error are left out."""
    wrong = {each.where for each in checked.findings if each.severity is Severity.ERROR}
    found: dict[str, Entity] = {}
    for sample, looked in zip(checked.dataset.samples, checked.looked, strict=True):
        labels = _labels(checked, sample, looked) if sample.key not in wrong else []
        if labels:
            with checked.dataset.path(sample).open("rb") as file:
                suffix = suffix_of(file.read(4))
            start = f"{sample.label}_" if sample.label else ""
            name = f"{start}{looked.sha256[:_DIGEST_CHARACTERS]}{suffix}"
            found.setdefault(name, Entity(name, sample, looked.sha256, labels))
    return list(found.values())


def _labels(checked: Checked, sample: Sample, looked: Any) -> list[dict[str, Any]]:
    if not checked.dataset.detection:
        return [{"label_name": sample.label}]
    labels = []
    for each in checked.boxes(sample, looked):
        left, top, right, bottom = whole_corners(each.box)
        sides = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        labels.append({"label_name": each.label, **sides})
    return labels


def moved_of(entities: list[Entity], known: dict[str, str]) -> list[Moved]:
    """The images that were sent under another class, by the names and labels of all that were sent.

    An image that has both classes now is none of them. In a set for detection a name has no class.
    """
    earlier: dict[str, list[str]] = {}
    for name in known.keys() - {each.name for each in entities}:
        earlier.setdefault(name.rpartition("_")[2][:_DIGEST_CHARACTERS], []).append(name)
    return [
        Moved(each.sample.key, orjson.loads(known[name])[0]["label_name"], each.sample.label, name)
        for each in entities
        if each.sample.label
        for name in sorted(earlier.get(each.sha256[:_DIGEST_CHARACTERS], ()))
    ]


class Uploader:
    """Sends a checked data set; `qps` calls a second at most. `told` is told of images done, and of all.

    `stop` is asked before each image: once it is true no further one is sent. `found` is told the number of a data set
    that the service has and that is not known here.
    """

    def __init__(
        self,
        client: JsonClient,
        log: UploadLog,
        qps: float,
        *,
        told: Callable[[int, int], None] = lambda done, all: None,
        stop: Callable[[], bool] = lambda: False,
        found: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._client, self._log, self._told, self._stop, self._found = client, log, told, stop, found
        self._limiter = AsyncLimiter(1, 1 / qps)

    async def upload(self, checked: Checked, name: str, *, again: bool = False) -> Uploaded:
        """Send what was not confirmed yet, or with `again` everything, and compare the labels.

        Raises JobError where the data set was deleted, CredentialsRefused, ServiceUnavailable.
        """
        type = DETECTION if checked.dataset.detection else CLASSIFICATION
        entities = await asyncio.to_thread(entities_of, checked)
        done = Uploaded(self._log.number(type, name) or await self._create(type, name))
        self._log.note_number(type, name, done.number)
        known = self._log.sent(done.number)
        moved = moved_of(entities, known)
        keys = {each.key for each in moved}
        left = [each for each in entities if again or each.sample.key in keys or known.get(each.name) != _text(each)]
        done.images, done.earlier = len(entities), len(entities) - len(left)
        queue = iter(left)
        workers = [asyncio.create_task(self._work(checked, type, name, queue, done)) for _each in range(_WORKERS)]
        try:
            done.stopped = any(await asyncio.gather(*workers))
        finally:
            for worker in workers:
                worker.cancel()
        if not done.stopped:
            done.labels = await self._compare(type, name, entities, done)
            done.moved = self._remaining(moved, done)
        return done

    def _remaining(self, moved: list[Moved], done: Uploaded) -> list[Moved]:
        """Images that the service still has under the old class, by its counts; others are forgotten."""
        wrong = {each.label for each in done.labels if each.short or each.more}
        remaining = [each for each in moved if {each.old, each.new} & wrong]
        for each in moved:
            if each not in remaining:
                self._log.forget_sent(done.number, each.entity)
        return remaining

    async def _work(self, checked: Checked, type: str, name: str, queue: Iterator[Entity], done: Uploaded) -> bool:
        """Send images of the queue; returns whether it was stopped before the end."""
        for entity in queue:
            if self._stop():
                return True
            outcome = await self._add(checked, type, entity, done.number)
            if not isinstance(outcome, Failure):
                self._log.note_sent(done.number, entity.name, _text(entity))
                done.sent += 1
            elif outcome.code == _DELETED:
                raise self._gone(type, name, done.number)
            else:
                _raise_for_all(outcome)
                done.failed.append((entity.sample.key, outcome))
                if not done.sent and not done.earlier and len(done.failed) >= MISCONFIGURED_AFTER:
                    raise ServiceUnavailable(
                        _("{count} images were refused and none was taken; the last one: {message}").format(
                            count=len(done.failed), message=_said(outcome)
                        )
                    )
            self._told(done.earlier + done.sent + len(done.failed), done.images)
        return False

    def _gone(self, type: str, name: str, number: int) -> JobError:
        """Forget a data set that was deleted at the service; returns the error to raise."""
        self._log.forget(type, name)
        return JobError(
            _("data set {name!r} ({number}) was deleted at the service; run again to make it anew").format(
                name=name, number=number
            )
        )

    async def _add(self, checked: Checked, type: str, entity: Entity, number: int) -> dict[str, Any] | Failure:
        try:
            data = await asyncio.to_thread(checked.dataset.read, entity.sample)
        except OSError as error:
            return Failure(Kind.READ, "unreadable", error.strerror or str(error), counted=False)
        if hashlib.sha256(data).hexdigest() != entity.sha256:
            return Failure(Kind.READ, "unreadable", _("the file has changed since it was checked"), counted=False)
        content = pybase64.b64encode(data).decode()
        return await self._call(
            "dataset/addentity",
            {
                "type": type,
                "dataset_id": number,
                "entity_content": content,
                "entity_name": entity.name,
                "labels": entity.labels,
                "appendLabel": False,
            },
        )

    async def _create(self, type: str, name: str) -> int:
        """Make the data set; where it is there already, perhaps since an answer was lost, look its number up."""
        existed = False
        reply = await self._call("dataset/create", {"type": type, "dataset_name": name})
        if isinstance(reply, Failure) and reply.code == _THERE_ALREADY:
            rows = await self._list("dataset/list", {"type": type})
            if isinstance(rows, Failure):
                reply = rows
            elif found := [
                row["dataset_id"] for row in rows if row.get("dataset_name") == name and "dataset_id" in row
            ]:
                reply = {"dataset_id": found[0]}
                existed = True
        if isinstance(reply, Failure):
            _raise_for_all(reply)
            raise ServiceUnavailable(
                _("data set {name!r} cannot be made: {message}").format(name=name, message=_said(reply))
            )
        number = reply.get("dataset_id")
        if not isinstance(number, int):
            raise ServiceUnavailable(_("the reply to dataset/create has no dataset_id"))
        if existed:
            self._found(number)
        return number

    async def _compare(self, type: str, name: str, entities: list[Entity], done: Uploaded) -> list[Compared]:
        """Compare the labels that were sent with those at the service, which may have others."""
        failed = {key for key, _failure in done.failed}
        rows = await self._list("label/list", {"type": type, "dataset_id": done.number})
        if isinstance(rows, Failure):
            if rows.code == _DELETED:
                raise self._gone(type, name, done.number)
            _raise_for_all(rows)
            raise ServiceUnavailable(f"label/list: {_said(rows)}")
        there = {str(row.get("label_name")): _count(row.get("entity_count")) for row in rows}
        sent, different = Counter[str](), Counter[str]()
        copies = Counter(each.sha256 for each in entities)
        for each in entities:
            if each.sample.key not in failed:
                labels = {str(label["label_name"]) for label in each.labels}
                sent.update(labels)
                different.update(labels if copies[each.sha256] == 1 else ())
        return [
            Compared(label, sent[label], different[label], there.get(label, 0))
            for label in sorted(sent.keys() | {label for label, count in there.items() if count})
        ]

    async def _list(self, path: str, content: dict[str, Any]) -> list[dict[str, Any]] | Failure:
        rows: list[dict[str, Any]] = []
        while True:
            reply = await self._call(path, {**content, "start": len(rows), "num": _PAGE_ROWS})
            if isinstance(reply, Failure):
                return reply
            page = reply.get("results")
            rows += (row for row in page if isinstance(row, dict)) if isinstance(page, list) else ()
            if not page or len(rows) >= _count(reply.get("total_num")):
                return rows

    async def _call(self, path: str, content: dict[str, Any]) -> dict[str, Any] | Failure:
        body = dumps(content)

        async def attempt() -> dict[str, Any] | Failure:
            await self._limiter.acquire()
            return await self._client.once(PREFIX + path, body, "application/json", json_object)

        def tell(failure: Failure) -> None:
            _log.info("%s is called again: %s", path, failure.message)

        return await self._client.patiently(attempt, tell)


def _raise_for_all(failure: Failure) -> None:
    """Raise for a failure that is not of one image: after these nothing else would be taken either."""
    if failure.kind is Kind.REFUSED:
        raise CredentialsRefused(_("the service refuses the upload: {message}").format(message=_said(failure)))
    if decide(failure) is not Action.FAIL:
        raise ServiceUnavailable(
            _("the service keeps failing: {message}; images that were sent are noted, run again to go on").format(
                message=_said(failure)
            )
        )


def _said(failure: Failure) -> str:
    return f"{failure.code} {failure.message}".strip()


def _text(entity: Entity) -> str:
    """The labels as they are noted, so that an image with other labels is sent again."""
    return dumps(entity.labels).decode()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
