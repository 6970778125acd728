"""Parts and their merge: one row for each image and step, whoever wrote how many, and wherever they were cut."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchrec.api.services import SERVICES
from batchrec.cluster.merge import Merger
from batchrec.cluster.parts import GATHERED_SECONDS, Parts, PartWriter, Subject, damages, decode, encode
from batchrec.cluster.wanted import Wanted
from batchrec.engine.rows import Asked, Outcome, answered, failed
from batchrec.exact_json import dumps
from batchrec.images import digest
from batchrec.job.spec import Step, When
from batchrec.journal import Journal, StepRecord
from batchrec.outputs import OUTPUTS
from batchrec.outputs.files import ResultFiles
from batchrec.values import Answer, Failure, InputEntry, Kind, Label, Prepared, Task, Treatment

IMAGES = ("a.jpg", "b.jpg", "c.jpg")
STEPS = ("first", "second")
STEP = Step(service="dish")
SUBJECT = Subject(STEP.fingerprint, Treatment().decisive, 10, 1)
FOLLOWING = {1: [(When(step="first", label="food", min_score=0.0), 2)]}


def outcome(image: str, step: str, epoch: int, *, fails: bool = False) -> Outcome:
    """An outcome whose time tells the epoch; images are of different bytes."""
    task = Task(0, 0, image, 0, 10, variant="")
    sha256, at = digest(image.encode()), f"2026-11-23T00:00:{epoch:02}.000Z"
    if fails:
        return failed(task, sha256, Failure(Kind.IMAGE, "unreadable", "no image"), 1, at)
    answer = Answer({"log_id": 2**63}, (Label("food", 0.9),), 12.0)
    return answered(Asked(step, SERVICES["dish"], None), task, sha256, Prepared(b""), answer, 1, at)


def line(made: Outcome, step: str, subject: Subject | None = None) -> bytes:
    row = None if made.row is None else dumps(made.row) + b"\n"
    return encode(made.finished, step, subject or SUBJECT, row)


class Directory:
    """An output directory that its run holds, with the parts beside it."""

    def __init__(self, path: Path, images: Sequence[str] = IMAGES) -> None:
        self.path, self.parts = path, Parts(str(path))
        self._images = images

    def merge(self) -> int:
        """Open the directory, as a run does, and merge what there is; returns the records that were dropped."""
        return asyncio.run(self._merge())

    async def _merge(self) -> int:
        async with self.opened() as merger:
            await merger.catch_up(self.parts.shards())
            await merger.catch_up(self.parts.shards())
        return merger.dropped

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Merger]:
        """Open the directory, as a run does; what remains and is damaged is noted at the end."""
        with closing(Journal(self.path)) as journal:
            files = ResultFiles(self.path, [OUTPUTS["jsonl"]], journal.reader.outputs() or {"results.jsonl": (0, 0)})
            journal.opening.recover()
            list(journal.opening.take_inputs(InputEntry(key, 0, 0, 10, 1) for key in self._images))
            steps = journal.opening.take_steps([StepRecord(name, "dish", name, "") for name in STEPS])
            journal.queue.fill([steps["first"]])
            async with files:
                wanted = Wanted(dict.fromkeys(steps.values(), STEP), Treatment(), self)
                merger = Merger(journal, files, self.parts, steps, FOLLOWING, wanted)
                yield merger
            self.remaining = journal.reader.remaining()
            self.failures = list(journal.reader.failures())
        self.damaged = merger.damaged

    def read(self, key: str) -> bytes:
        """The bytes of an image, as a store of images."""
        return key.encode()

    def rows(self) -> list[dict]:
        """The rows of results.jsonl."""
        return [json.loads(text) for text in (self.path / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_a_record_comes_back_as_it_went():
    """Rows with exact integers, and failures; a line that is not whole is none."""
    for made in (outcome("a.jpg", "first", 3), outcome("a.jpg", "first", 3, fails=True)):
        text = line(made, "first")
        record = decode(text)
        assert (record.image, record.step, record.variant, record.attempts) == ("a.jpg", "first", "", 1)
        assert (record.sha256, record.at) == (made.finished.sha256, made.finished.at)
        assert (record.row, record.failure) == (made.row, made.finished.failure)
        assert {decode(text[:cut]) for cut in range(len(text))} == {None}
    assert decode(b"\0" * 20 + b"}\n") is None


def test_follow_ups_and_failures_are_merged(directory: Directory):
    """A step that follows is merged with the record that asks for it; a failure that is merged stays one."""
    writer = PartWriter(directory.parts, "1", 1)
    writer.add([line(outcome("a.jpg", step, 1), step) for step in STEPS])
    writer.add([line(outcome("b.jpg", "first", 1, fails=True), "first")])
    writer.done()
    assert directory.merge() == 0
    assert [(row["image"], row["step"]) for row in directory.rows()] == [("a.jpg", "first"), ("a.jpg", "second")]
    assert [(failure["image"], failure["code"]) for failure in directory.failures] == [("b.jpg", "unreadable")]
    assert directory.remaining == 1


@pytest.mark.parametrize(
    ("subject", "fails", "counts"),
    [
        (SUBJECT, False, True),
        (SUBJECT, True, True),
        (SUBJECT._replace(mtime_ns=2), False, True),  # touched: its bytes are those of before
        (SUBJECT._replace(size=9), True, True),
        (SUBJECT._replace(treatment="max_side=16"), False, True),  # which changes nothing of this image
        (SUBJECT._replace(fingerprint="of other options"), False, False),
    ],
)
def test_records_of_what_the_job_asked_before(
    directory: Directory, subject: Subject, fails: bool, counts: bool
) -> None:
    """They do not count where options or the bytes of a file have changed since; a file that was only touched does."""
    made = outcome("a.jpg", "first", 1, fails=fails)
    PartWriter(directory.parts, "1", 1).add([line(made, "first", subject)])
    assert (directory.merge() == 0) == counts


def test_records_of_other_bytes(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not count."""
    monkeypatch.setattr(directory, "read", lambda key: b"saved anew")
    PartWriter(directory.parts, "1", 1).add([line(outcome("a.jpg", "first", 1), "first", SUBJECT._replace(size=9))])
    assert directory.merge() == 1
    assert directory.rows() == []


def test_a_node_that_wakes_up_promises_nothing_that_is_gone(directory: Directory) -> None:
    """Its shard was merged and removed meanwhile: what it adds is merged, and there is no note of the removed part."""
    writer = PartWriter(directory.parts, "1", 1)
    writer.add([line(outcome("a.jpg", "first", 1), "first")])
    assert directory.merge() == 0
    directory.parts.remove("1")
    writer.add([line(outcome("b.jpg", "first", 1), "first")])
    writer.done()
    assert list(damages(directory.parts)) == []
    assert directory.merge() == 0
    assert (len(directory.rows()), directory.damaged) == (2, {})


async def test_a_part_that_shows_late_brings_what_others_wait_for(tmp_path: Path) -> None:
    """The record of a step that follows is read first, and merged once that of the step before is there."""
    directory = Directory(tmp_path)
    writers = [PartWriter(directory.parts, "1", epoch) for epoch in (1, 2)]
    for writer, step in zip(writers, STEPS, strict=True):
        writer.add([line(outcome("a.jpg", step, 1), step)])
    told = {name: promise for writer in writers for name, promise in writer.promises.items()}
    (late,) = (tmp_path / "parts/1").glob("00001-*.jsonl")
    aside = late.rename(tmp_path / "aside")
    async with directory.opened() as merger:
        finishing = asyncio.ensure_future(merger.finish({"1": told}))
        await asyncio.sleep(0.7)
        assert not finishing.done()
        aside.rename(late)
        await finishing
    assert [(row["image"], row["step"]) for row in directory.rows()] == [("a.jpg", "first"), ("a.jpg", "second")]
    assert directory.damaged == {}


def test_a_merge_may_be_repeated(directory: Directory):
    """The second one adds nothing; removed parts are gone."""
    PartWriter(directory.parts, "1", 1).add([line(outcome("a.jpg", "first", 1), "first")])
    assert directory.merge() == 0
    before = directory.rows()
    assert directory.merge() == 1
    assert directory.rows() == before
    directory.parts.remove("1")
    assert directory.parts.shards() == []


def test_the_lowest_epoch_counts(directory: Directory):
    """It was paid first, whatever was written first."""
    for epoch in (12, 3, 7):
        PartWriter(directory.parts, "1", epoch).add([line(outcome("a.jpg", "first", epoch), "first")])
    assert directory.merge() == 2
    assert [row["answered_at"] for row in directory.rows()] == ["2026-11-23T00:00:03.000Z"]


def test_equal_bytes_of_two_shards_have_one_origin(directory: Directory):
    """Both were sent, each by its shard; the second says whose bytes it has."""
    twin = outcome("b.jpg", "first", 1)
    twin.row["sha256"] = outcome("a.jpg", "first", 1).row["sha256"]
    PartWriter(directory.parts, "1", 1).add([line(outcome("a.jpg", "first", 1), "first")])
    PartWriter(directory.parts, "2", 1).add([line(twin, "first")])
    directory.merge()
    assert [(row["image"], row["same_as"]) for row in directory.rows()] == [("a.jpg", None), ("b.jpg", "a.jpg")]


def test_records_gather_where_nothing_is_appended(tmp_path: Path):
    """On an object store: a part of five seconds, or of a thousand records, and the rest at the end."""
    now = [0.0]
    parts = Parts(f"memory://{tmp_path.name}")
    assert not parts.appends
    writer = PartWriter(parts, "1", 1, lambda: now[0])
    text = line(outcome("a.jpg", "first", 1), "first")
    writer.add([text])
    assert parts.of("1") == {}
    now[0] = GATHERED_SECONDS
    writer.add([text])
    writer.add([text] * 1000)
    writer.add([text])
    writer.done()
    *written, note = parts.of("1")
    promises = parts.promises("1", note)
    assert [promises[name].records for name in written] == [2, 1000, 1]
    assert {name: promise.bytes for name, promise in promises.items()} == {n: parts.of("1")[n] for n in written}


def spoil(path: Path, how: str) -> None:
    """Damage a part of two records as a disk or a person may."""
    content = path.read_bytes()
    match how:
        case "missing":
            path.unlink()
        case "short":
            path.write_bytes(content[: content.index(b"\n") + 1])
        case "changed":
            path.write_bytes(content.replace(b"0.9", b"0.8"))


@pytest.mark.parametrize("how", ["missing", "short", "changed"])
def test_a_part_that_is_not_what_its_note_says_is_left_out(directory: Directory, how: str):
    """It is named with the reason, and none of its records is merged; those of other parts are."""
    for shard, image in (("1", "a.jpg"), ("2", "b.jpg")):
        writer = PartWriter(directory.parts, shard, 1)
        writer.add([line(outcome(image, step, 1), step) for step in STEPS])
        writer.done()
    assert list(damages(directory.parts)) == []
    (part,) = (directory.path / "parts/1").glob("*.jsonl")
    spoil(part, how)
    directory.merge()
    assert {row["image"] for row in directory.rows()} == {"b.jpg"}
    reasons = {"missing": "is missing", "short": "bytes of whole lines, but", "changed": "holds other bytes"}
    ((name, reason),) = damages(directory.parts)
    assert name == f"parts/1/{part.name}"
    assert reasons[how] in reason
    assert directory.damaged == {("1", part.name): reason}


Epoch = tuple[int, list[int], int]
"""Number of an epoch, the records that it wrote by their place in `RECORDS`, and the bytes that a kill took."""

RECORDS = [(image, step) for image in IMAGES for step in STEPS]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.lists(st.sampled_from(range(len(RECORDS))), max_size=6, unique=True),
            st.integers(0, 900),
        ),
        max_size=5,
    ),
    st.sets(st.integers(0, 5)),
)
@example(epochs=[(1, [5], 0), (1, [4], 0)], merged_after=set())  # a step before the record that asks for it
def test_any_epochs_cut_anywhere_give_one_row_an_image(
    tmp_path_factory: pytest.TempPathFactory, epochs: list[Epoch], merged_after: set[int]
):
    """Parts of several epochs, in any order, cut at any byte, merged at any time: no row twice, none lost."""
    directory, whole = Directory(tmp_path_factory.mktemp("out")), set[tuple[str, str]]()
    for number, (epoch, chosen, cut) in enumerate(epochs):
        records = [RECORDS[place] for place in sorted(chosen)]
        texts = [line(outcome(*record, epoch), record[1]) for record in records]
        kept = b"".join(texts)[: max(0, sum(map(len, texts)) - cut)]
        if kept:
            directory.parts.append("1", f"{epoch:05}-{number:08}-0001.jsonl", kept)
        whole |= {record for place, record in enumerate(records) if len(b"".join(texts[: place + 1])) <= len(kept)}
        if number in merged_after:
            directory.merge()
    directory.merge()
    rows = [(row["image"], row["step"]) for row in directory.rows()]
    assert len(rows) == len(set(rows))
    answered_first = {(image, step) for image, step in whole if (image, "first") in whole}
    assert set(rows) == answered_first
    assert directory.remaining == len({image for image in IMAGES if {(image, "first"), (image, "second")} - set(rows)})
