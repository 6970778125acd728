"""Opening an output directory again, after kills at any point and changes of inputs, steps or files."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchrec import images
from batchrec.api.services import SERVICES
from batchrec.engine.resume import OpenReport, RunRequest, open_directory
from batchrec.engine.rows import Asked, Outcome, answered, copied, failed
from batchrec.errors import Interrupted, JobError, OutputFailed, ResultsDamaged
from batchrec.job.follow_ups import follow_ups, triggered
from batchrec.job.loading import build_job
from batchrec.journal import Journal
from batchrec.outputs import OUTPUTS, CsvOutput
from batchrec.outputs.files import ResultFiles
from batchrec.sources import open_sources
from batchrec.values import Answer, Failure, InputEntry, Kind, Label, Prepared, QuotaKey, Task

GENERAL = {"service": "advanced_general"}
DISH = {"service": "dish"}
FOOD = DISH | {"when": {"step": "advanced_general", "label": "food"}}
EVERYTHING = 2**62
CHARGE = QuotaKey("me", "advanced_general", "2026-11-23")
TORN = Failure(Kind.IMAGE, "torn", "the picture ends early")
TIMEOUT = Failure(Kind.TRANSIENT, "timeout", "no answer")


class Killed(BaseException):
    """The process ends here."""


PARTS = ("opening", "queue", "calls", "answers", "reader")
"""Attributes of a journal whose methods are its own."""


class Mortal:
    """Another object, until its clock has run down: the next call of it or its parts is the kill."""

    def __init__(self, target: object, clock: list[int]) -> None:
        self.__dict__.update(_target=target, _clock=clock)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name in PARTS:
            return Mortal(value, self._clock)
        if not callable(value):
            return value

        def call(*args: Any, **named: Any) -> Any:
            self._clock[0] -= 1
            if self._clock[0] < 0:
                raise Killed
            return value(*args, **named)

        return call

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._target, name, value)


class Desk:
    """A job with its photographs, processed as by the engine, and killed at will. `calls` counts requests."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.photos = base / "photos"
        self.photos.mkdir(parents=True)
        self.directory = base / "results" / "desk"
        self.directory.mkdir(parents=True)
        self.runner = asyncio.Runner()
        self.calls = 0
        self.clock = 10**18
        self.raw: dict[str, Any] = {"input": {"paths": ["photos"]}, "recognize": [GENERAL, FOOD]}

    # -- the world

    def photo(self, name: str, content: str) -> None:
        """Write a photograph, at a time of its own."""
        (self.photos / name).write_text(content)
        self.touch(name)

    def touch(self, name: str) -> None:
        self.clock += 10**9
        os.utime(self.photos / name, ns=(self.clock, self.clock))

    def sha256(self, key: str) -> bytes:
        return images.digest((self.base / key).read_bytes())

    # -- a process

    def open(self, clock: list[int] | None = None, *, stopped: Callable[[], bool] = lambda: False, **wishes: Any):
        """Start a run on the directory; with a clock, until it has run down."""
        self.job = build_job(self.raw, self.base / "desk.toml")
        self.journal = Journal(self.directory)
        self.files = ResultFiles(self.directory, [OUTPUTS[name] for name in self.job.output.formats], {})
        clock = clock or [EVERYTHING]
        wanted = self.job.input
        entries = open_sources(
            wanted.paths, wanted.manifest, wanted.column, wanted.exclude, self.job.base, self.job.directory
        )
        try:
            opened: OpenReport = open_directory(
                self.job,
                Mortal(self.journal, clock),  # type: ignore[arg-type]
                Mortal(self.files, clock),  # type: ignore[arg-type]
                entries,
                RunRequest(**wishes),
                stopped,
            )
        except Killed:
            self.kill()
            raise
        except BaseException:
            self.journal.close()
            raise
        self.runner.run(self.files.__aenter__())
        self.steps = opened.steps
        return opened

    def close(self) -> None:
        self.runner.run(self.files.__aexit__(None, None, None))
        self.journal.close()

    def kill(self) -> None:
        """End the process without a word: whatever closing would write is taken back."""
        left = {path: path.read_bytes() for path in self.directory.iterdir() if path.suffix != ".db-shm"}
        self.close()
        for path in self.directory.iterdir():
            path.unlink()
        for path, content in left.items():
            path.write_bytes(content)

    def restart(self, **wishes: Any) -> OpenReport:
        self.close()
        return self.open(**wishes)

    # -- the work

    def claim(self, count: int = 1000, horizon: int = EVERYTHING) -> list[Task]:
        return self.journal.queue.claim(list(self.steps.values()), horizon, count)

    def answer(self, task: Task, *names: str) -> Outcome:
        """The outcome of a call that gave these labels; its log_id is its number."""
        self.calls += 1
        name = self.name_of(task.step)
        step = next(step for step in self.job.recognize if step.name == name)
        labels = tuple(Label(label, 0.5) for label in names)
        at = f"moment {self.calls}"
        reply = {"log_id": self.calls, "result": list(names)}
        service = Asked(name, SERVICES[step.service], None)
        outcome = answered(service, task, self.sha256(task.key), Prepared(b""), Answer(reply, labels, 1.5), 1, at)
        return outcome.followed_by(triggered(follow_ups(self.job, self.steps).get(task.step, ()), labels))

    def name_of(self, step: int) -> str:
        return next(name for name, number in self.steps.items() if number == step)

    def append(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The first half of a commit: rows in the files. The outcomes with their rows' places."""
        rows = [self.files.encode(outcome.row) for outcome in outcomes if outcome.row is not None]
        lines = iter(self.runner.run(self.files.append(rows)))
        placed = []
        for outcome in outcomes:
            start, line = next(lines) if outcome.row is not None else (0, b"")
            placed.append(outcome._replace(finished=outcome.finished._replace(start=start, length=len(line))))
        self.files.sync()
        return placed

    def commit(self, outcomes: list[Outcome]) -> None:
        """Both halves, of calls that leave only now."""
        self.journal.calls.sent([CHARGE] * sum(map(by_a_call, outcomes)))
        finished = [outcome.finished for outcome in self.append(outcomes)]
        self.journal.answers.commit(finished, self.files.places)
        self.journal.sync()

    def answer_all(self, *names: str) -> list[tuple[str, str]]:
        """Answer whatever is to be asked, follow-ups too: the images and steps that were."""
        done = []
        while tasks := self.claim():
            done += [(task.key.removeprefix("photos/"), self.name_of(task.step)) for task in tasks]
            self.commit([self.answer(task, *names) for task in tasks])
        return done

    def fail(self, task: Task, failure: Failure = TORN) -> None:
        self.commit([failed(task, self.sha256(task.key), failure, 1, "now")])

    # -- what is there

    def rows(self) -> list[dict[str, Any]]:
        """results.jsonl, every line of which is whole."""
        text = (self.directory / "results.jsonl").read_bytes()
        assert text == b"" or text.endswith(b"\n")
        return [json.loads(line) for line in text.splitlines()]

    def answers(self) -> list[tuple[str, str]]:
        """Image and step of every row, in the order of the inputs and steps."""
        return sorted((row["image"].removeprefix("photos/"), row["step"]) for row in self.rows())

    def csv_agrees(self) -> bool:
        expected = CsvOutput.header + b"".join(CsvOutput().encode(row) for row in self.rows())
        return (self.directory / "results.csv").read_bytes() == expected

    def failures(self) -> list[tuple[str, str]]:
        return [(row["image"].removeprefix("photos/"), row["code"]) for row in self.journal.reader.failures()]

    def inode(self, name: str) -> int:
        return (self.directory / name).stat().st_ino


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Three photographs a, b, c, nothing asked yet."""
    desk = Desk(tmp_path)
    for name in "abc":
        desk.photo(name, name)
        (desk.photos / name).rename(desk.photos / f"{name}.jpg")
    with desk.runner:
        yield desk


@pytest.fixture
def done(desk: Desk) -> Desk:
    """The same, all answered: every photograph is food, and was asked about as a dish."""
    desk.open()
    desk.answer_all("food")
    return desk


ALL = [(f"{name}.jpg", step) for name in "abc" for step in ("advanced_general", "dish")]


def by_a_call(outcome: Outcome) -> bool:
    """Whether it is what the service has answered."""
    return outcome.finished.failure is None and outcome.finished.attempts > 0


# -- kills


class Kills(RuleBasedStateMachine):
    """A run that may be killed at any moment, beside a model of the loss allowed: nothing committed."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(Path(tempfile.mkdtemp()))
        self.answers: dict[tuple[str, str], int] = {}
        self.superseded: dict[tuple[str, str], tuple[int, str]] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self.food: set[str] = set()
        self.contents: dict[str, str] = {}
        self.hands: dict[Task, int] = {}
        self.lost = 0
        self.parked: dict[Task, Task] = {}
        for name, content in (("a", "one"), ("b", "two"), ("c", "one")):
            self.write(f"{name}.jpg", content)
        self.desk.open()

    def teardown(self) -> None:
        self.desk.close()
        self.desk.runner.close()
        shutil.rmtree(self.desk.base)

    def key(self, task: Task) -> tuple[str, str]:
        return task.key, self.desk.name_of(task.step)

    def expected(self) -> list[tuple[str, str]]:
        """Pending items, in input order."""
        general = [(image, "advanced_general") for image in self.contents]
        wanted = general + [(image, "dish") for image in self.food]
        return sorted(set(wanted) - self.answers.keys() - self.failures.keys())

    def reopen(self, **wishes: Any) -> None:
        self.lost += sum(self.hands.values())
        self.hands.clear()
        self.parked.clear()
        self.drop_unasked()
        opened = self.desk.open(**wishes)
        assert opened.outcome_unknown == self.lost
        self.nothing_is_lost()

    def nothing_is_lost(self) -> None:
        rows = self.desk.rows()
        expected = self.answers | {key: number for key, (number, _) in self.superseded.items()}
        assert len(rows) == len(expected)
        assert {(row["image"], row["step"]): row["response"]["log_id"] for row in rows} == expected
        assert self.desk.csv_agrees()
        assert [(row["image"], row["step"]) for row in self.desk.journal.reader.failures()] == sorted(self.failures)
        tasks = self.desk.claim()
        assert [self.key(task) for task in tasks] == self.expected()
        assert self.desk.journal.reader.counts().open == len(tasks)
        self.desk.journal.opening.recover()

    @rule(count=st.integers(1, 3))
    def claim(self, count: int) -> None:
        held = {self.key(task) for task in self.hands | self.parked}
        tasks = self.desk.claim(count)
        assert [self.key(task) for task in tasks] == [key for key in self.expected() if key not in held][:count]
        self.hands |= dict.fromkeys(tasks, 0)

    def somebody(self, data: st.DataObject) -> Task:
        return data.draw(st.sampled_from(sorted(self.hands, key=lambda task: (task.position, task.step))))

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        task = self.somebody(data)
        if not self.hands[task]:
            self.desk.journal.calls.sent([CHARGE])
            self.hands[task] = 1

    @precondition(lambda self: any(self.hands.values()))
    @rule()
    def settle(self) -> None:
        self.come_back(next(task for task, calls in self.hands.items() if calls))

    def come_back(self, task: Task) -> None:
        """A call comes back without an answer."""
        self.desk.journal.calls.settled(CHARGE, counted=True)
        self.hands[task] = 0

    @precondition(lambda self: len(self.hands) > 1)
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        """A copy waits for its leader."""
        leader = self.somebody(data)
        same = [t for t in self.hands if t.step == leader.step and t != leader and not self.hands[t]]
        for task in same:
            if self.desk.sha256(task.key) == self.desk.sha256(leader.key):
                self.desk.journal.queue.park(task, self.desk.sha256(task.key), leader.image)
                del self.hands[task]
                self.parked[task] = leader
                break

    @precondition(lambda self: self.hands)
    @rule(
        data=st.data(),
        label=st.sampled_from(["food", "tree"]),
        kill=st.sampled_from(["no", "no", "no", "before", "after"]),
        broken=st.booleans(),
    )
    def finish(self, data: st.DataObject, label: str, kill: str, broken: bool) -> None:
        """Some outcomes are committed; a kill between the files and the journal takes them back."""
        some = data.draw(st.lists(st.sampled_from(list(self.hands)), min_size=1, max_size=3, unique=True))
        group = [self.outcome(task, label, broken) for task in some]
        for task, outcome in zip(some, group, strict=True):
            if self.hands[task] < by_a_call(outcome):
                self.desk.journal.calls.sent([CHARGE])
                self.hands[task] = 1
            elif self.hands[task] > by_a_call(outcome):
                self.come_back(task)
        placed = self.desk.append(group)
        if kill == "before":
            self.desk.kill()
            return self.reopen()
        self.desk.journal.answers.commit([outcome.finished for outcome in placed], self.desk.files.places)
        for outcome in group:
            self.note(outcome)
        if kill == "after":
            self.desk.kill()
            return self.reopen()
        return None

    def outcome(self, task: Task, label: str, broken: bool) -> Outcome:
        sha256 = self.desk.sha256(task.key)
        known = self.desk.journal.answers.finished_content(task.step, sha256)
        if known is not None and known.failure is None:
            row = self.desk.files.read(known.start, known.length)
            assert row["sha256"] == sha256.hex()
            outcome = copied(task, sha256, known, row)
            food = row["labels"][0]["name"] == "food"
            follow = (self.desk.steps["dish"],) if food and row["step"] == "advanced_general" else ()
            return outcome.followed_by(follow)
        return failed(task, sha256, TIMEOUT, 1, "now") if broken else self.desk.answer(task, label)

    def note(self, outcome: Outcome) -> None:
        task = outcome.finished.task
        if outcome.row is None:
            self.failures[self.key(task)] = "timeout"
        else:
            self.answers[self.key(task)] = outcome.row["response"]["log_id"]
            self.superseded.pop(self.key(task), None)
        if outcome.finished.follow:
            self.food.add(task.key)
        del self.hands[task]
        if task in self.parked.values():
            self.desk.journal.queue.unpark(task.step, task.image)
            self.parked = {copy: leader for copy, leader in self.parked.items() if leader != task}

    @rule(
        jsonl=st.binary(max_size=300),
        csv=st.binary(max_size=300),
        photos=st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["one", "two", "three"])),
        retry=st.booleans(),
    )
    def kill(self, jsonl: bytes, csv: bytes, photos: dict[str, str], retry: bool) -> None:
        """A kill leaves a torn tail of any length; photographs appear and change while nobody looks."""
        self.desk.kill()
        self.drop_unasked()
        for name, tail in (("results.jsonl", jsonl), ("results.csv", csv)):
            with (self.desk.directory / name).open("ab") as file:
                file.write(tail)
        for name, content in photos.items():
            self.write(f"{name}.jpg", content)
        if retry:
            self.failures.clear()
        self.reopen(retry=retry)

    def drop_unasked(self) -> None:
        """Old rows of a follow-up that the new bytes do not ask for go with the next opening."""
        for (image, step), (_, content) in list(self.superseded.items()):
            settled = image not in self.food and (image, "advanced_general") in self.answers
            if step == "dish" and settled and content != self.contents[image]:
                del self.superseded[image, step]

    def write(self, name: str, content: str) -> None:
        """The same bytes are no change; other bytes are sent again, and the old rows stay until then."""
        image = f"photos/{name}"
        if self.contents.get(image) != content:
            for key in [key for key in self.answers if key[0] == image]:
                self.superseded[key] = self.answers[key], self.contents[image]
            for known in (self.answers, self.failures):
                for step in ("advanced_general", "dish"):
                    known.pop((image, step), None)
            self.food.discard(image)
        self.contents[image] = content
        self.desk.photo(name, content)

    @invariant()
    def every_input_is_somewhere(self) -> None:
        counts = self.desk.journal.reader.counts()
        assert (counts.answered, counts.superseded) == (len(self.answers | self.superseded), len(self.superseded))
        assert counts.failed == len(self.failures)
        assert counts.open == len(self.expected())


Kills.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestKills = Kills.TestCase


def food_without_condition(desk: Desk) -> None:
    desk.raw["recognize"] = [GENERAL, DISH]


def other_options(desk: Desk) -> None:
    desk.raw["recognize"] = [GENERAL | {"options": {"baike_num": 1}}, FOOD]


def other_label(desk: Desk) -> None:
    desk.raw["recognize"] = [GENERAL, DISH | {"when": {"step": "advanced_general", "label": "tree|food"}}]


def other_file(desk: Desk) -> None:
    desk.photo("b.jpg", "another picture")


def lost_lines(desk: Desk) -> None:
    lines = (desk.directory / "results.jsonl").read_bytes().splitlines(keepends=True)
    (desk.directory / "results.jsonl").write_bytes(b"".join(lines[1:4]))


def lost_csv(desk: Desk) -> None:
    (desk.directory / "results.csv").unlink()


@pytest.mark.parametrize(
    ("change", "wishes"),
    [
        (food_without_condition, {}),
        (other_options, {}),
        (other_file, {}),
        (lost_lines, {"rebuild": True}),
        (lost_csv, {}),
        (other_label, {"retry": True}),
    ],
)
def test_kill_at_each_point_of_opening(desk, tmp_path, change, wishes):
    """After any number of interrupted openings the next one ends as an undisturbed one would have."""
    desk.open()
    desk.commit([desk.answer(task, "food") for task in desk.claim()])
    desk.commit([desk.answer(task, "rice") for task in desk.claim(2)])
    desk.fail(desk.claim(1)[0])
    desk.close()
    change(desk)

    def ended(copy: Desk) -> tuple[Any, ...]:
        assert copy.csv_agrees()
        assert (list(copy.directory.glob("*.new")), copy.journal.note("swap")) == ([], None)
        state = copy.answers(), [(task.key, task.step) for task in copy.claim()], copy.failures()
        copy.close()
        return state

    def copied_to(name: str) -> Desk:
        copy = Desk(tmp_path / name)
        shutil.copytree(desk.base / "photos", copy.photos, dirs_exist_ok=True)
        shutil.copytree(desk.directory, copy.directory, dirs_exist_ok=True)
        copy.raw = desk.raw
        return copy

    plain = copied_to("plain")
    with plain.runner:
        plain.open(**wishes)
        expected = ended(plain)
    for calls in range(EVERYTHING):
        copy = copied_to(f"killed-{calls}")
        with copy.runner:
            try:
                copy.open([calls], **wishes)
            except Killed:
                copy.open(**wishes)
                assert ended(copy) == expected
            else:
                assert ended(copy) == expected
                break
    assert calls > 15


def test_kill_between_two_swaps(done):
    """Of two new files one was put in place: the next opening puts the other, and nothing is cut off."""
    done.close()
    other_file(done)
    done.open()
    done.answer_all("food")
    done.close()

    class Half(ResultFiles):
        def swap(self, filenames):
            super().swap(filenames[:1])
            raise Killed

    journal = Journal(done.directory)
    files = Half(done.directory, list(OUTPUTS.values()), {})
    with pytest.raises(Killed):
        open_directory(done.job, journal, files, found(done), RunRequest(), lambda: False)
    journal.close()
    assert (done.directory / "results.csv.new").exists()
    done.open()
    assert done.answers() == ALL
    assert done.csv_agrees()
    done.close()


def found(desk: Desk) -> list[InputEntry]:
    stats = [(path, path.stat()) for path in sorted(desk.photos.iterdir())]
    return [InputEntry(f"photos/{path.name}", 0, 0, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def test_unknown_calls_are_told_until_a_run_comes_to_its_end(desk):
    """A run that is cut short itself does not swallow how many calls a kill had left unanswered."""
    desk.open()
    desk.journal.calls.sent([CHARGE] * len(desk.claim(2)))
    desk.kill()
    with pytest.raises(Interrupted):
        desk.open(stopped=lambda: True)
    assert desk.open().outcome_unknown == 2
    assert desk.restart().outcome_unknown == 2
    desk.journal.conclude(desk.files.stamps())
    assert desk.restart().outcome_unknown == 0
    desk.close()


# -- inputs


def test_nothing_changed(done):
    """A rerun of a finished job asks nothing and writes no result file anew."""
    before = done.inode("results.jsonl"), done.inode("results.csv"), done.answers()
    done.restart()
    assert done.claim() == []
    assert (done.inode("results.jsonl"), done.inode("results.csv"), done.answers()) == before
    done.close()


def test_changed_file(done):
    """Other bytes are sent again at every step; the old rows stay until then, and then are taken out."""
    done.close()
    old = {row["response"]["log_id"] for row in done.rows() if row["image"] == "photos/b.jpg"}
    other_file(done)
    done.open()
    assert done.answers() == ALL
    assert done.answer_all("food") == [("b.jpg", "advanced_general"), ("b.jpg", "dish")]
    done.restart()
    assert done.answers() == ALL
    assert not old & {row["response"]["log_id"] for row in done.rows()}
    assert done.csv_agrees()
    done.close()


def test_changed_file_that_asks_for_no_follow_up(done):
    """The old row of the follow-up goes once the new bytes are answered: nothing will take its place."""
    done.close()
    other_file(done)
    done.open()
    assert done.answer_all("tree") == [("b.jpg", "advanced_general")]
    done.restart()
    assert done.answers() == [answer for answer in ALL if answer != ("b.jpg", "dish")]
    assert done.csv_agrees()
    done.close()


def test_touched_file(done):
    """The same bytes with another time are hashed and left alone, and are not hashed a second time."""
    done.close()
    done.touch("b.jpg")
    inode = done.inode("results.jsonl")
    done.open()
    assert (done.claim(), done.answers(), done.inode("results.jsonl")) == ([], ALL, inode)
    assert list(done.journal.opening.take_inputs(found(done))) == []
    done.close()


def test_gone_and_back(done):
    """Rows of an image that is gone stay; it is no input meanwhile, and not asked again when it returns."""
    done.close()
    (done.photos / "b.jpg").rename(done.base / "b.jpg")
    done.open()
    assert (done.journal.reader.counts().images, done.answers(), done.claim()) == (2, ALL, [])
    done.close()
    (done.base / "b.jpg").rename(done.photos / "b.jpg")
    done.open()
    assert (done.journal.reader.counts().images, done.answers(), done.claim()) == (3, ALL, [])
    done.close()


def test_unanswered_and_gone(desk):
    """An image gone before its call is neither called for nor missing; back again, it is called for."""
    desk.open()
    desk.close()
    (desk.photos / "b.jpg").rename(desk.base / "b.jpg")
    desk.open()
    assert desk.answer_all("tree") == [("a.jpg", "advanced_general"), ("c.jpg", "advanced_general")]
    assert desk.journal.reader.counts().open == 0
    desk.close()
    (desk.base / "b.jpg").rename(desk.photos / "b.jpg")
    desk.open()
    assert desk.answer_all("tree") == [("b.jpg", "advanced_general")]
    desk.close()


def test_answered_file_of_a_manifest_is_missing(done):
    """A missing file that a manifest still names keeps its answers: no success becomes a failure."""
    done.close()
    names = "".join(f"photos/{name}.jpg\n" for name in "abc")
    (done.base / "images.txt").write_text(names)
    done.raw["input"] = {"manifest": "images.txt"}
    content = (done.photos / "b.jpg").read_text()
    (done.photos / "b.jpg").unlink()
    done.open()
    assert (done.answers(), done.claim(), done.failures()) == (ALL, [], [])
    done.close()
    done.photo("b.jpg", content)
    done.open()
    assert (done.answers(), done.claim()) == (ALL, [])
    done.close()
    done.photo("b.jpg", "another picture")
    done.open()
    assert done.answer_all("tree") == [("b.jpg", "advanced_general")]
    done.close()


def test_new_order_of_inputs(desk):
    """Images are asked in the order the inputs have now."""
    desk.open()
    desk.close()
    desk.raw["input"] = {"paths": ["photos/c.jpg", "photos"]}
    desk.open()
    assert [task.key for task in desk.claim()] == ["photos/c.jpg", "photos/a.jpg", "photos/b.jpg"]
    desk.close()


def test_file_replaced_between_two_steps(desk):
    """An image whose steps were asked about different bytes is found out by the next run, and asked again."""
    desk.open()
    desk.commit([desk.answer(task, "food") for task in desk.claim()])
    desk.photo("b.jpg", "another picture")
    desk.commit([desk.answer(task, "rice") for task in desk.claim()])
    desk.restart()
    assert [(task.key, desk.name_of(task.step)) for task in desk.claim()] == [("photos/b.jpg", "advanced_general")]
    assert desk.answers() == ALL
    desk.close()


def test_limit(desk):
    """At most so many unanswered images, in input order, and their follow-ups; answered ones do not count."""
    desk.open()
    desk.commit([desk.answer(desk.claim(1)[0], "tree")])
    desk.restart()
    horizon = desk.journal.queue.horizon(list(desk.steps.values()), 1)
    (task,) = desk.claim(horizon=horizon)
    desk.commit([desk.answer(task, "food")])
    (follow_up,) = desk.claim(horizon=horizon)
    assert (task.key, follow_up.key) == ("photos/b.jpg", "photos/b.jpg")
    desk.commit([desk.answer(follow_up, "rice")])
    assert not desk.journal.queue.unfinished(list(desk.steps.values()), horizon)
    assert desk.journal.queue.unfinished(list(desk.steps.values()), EVERYTHING)
    assert desk.journal.queue.horizon(list(desk.steps.values()), 0) == 0
    desk.close()


def test_signal_while_changed_files_are_hashed(done):
    """A signal is heeded between two files that are hashed, not only while the inputs are listed."""
    done.close()
    for name in "abc":
        done.touch(f"{name}.jpg")
    asked_before = iter([False] * 4)
    with pytest.raises(Interrupted):
        done.open(stopped=lambda: next(asked_before, True))


# -- steps


def test_other_options(done):
    """A changed step is called anew; its old rows stay until then, those of its follow-up for good."""
    done.close()
    other_options(done)
    done.open()
    assert done.answers() == ALL
    assert done.answer_all("food") == [(f"{name}.jpg", "advanced_general") for name in "abc"]
    done.restart()
    assert done.answers() == ALL
    assert {row["response"]["log_id"] for row in done.rows()} == set(range(4, 10))
    done.close()


def test_renamed_step(done):
    """Another name is another step; the rows under the old name stay."""
    done.close()
    done.raw["recognize"] = [GENERAL | {"step": "first"}]
    done.open()
    assert done.answer_all("tree") == [(f"{name}.jpg", "first") for name in "abc"]
    assert sorted({step for _, step in done.answers()}) == ["advanced_general", "dish", "first"]
    done.close()


def test_step_removed_and_back(desk):
    """Nothing is asked twice; images answered meanwhile are judged for the follow-up when it is back."""
    desk.open()
    desk.commit([desk.answer(desk.claim(1)[0], "food")])
    desk.close()
    desk.raw["recognize"] = [GENERAL]
    desk.open()
    assert desk.answer_all("food") == [("b.jpg", "advanced_general"), ("c.jpg", "advanced_general")]
    assert desk.journal.reader.counts().open == 0
    desk.close()
    desk.raw["recognize"] = [GENERAL, FOOD]
    desk.open()
    assert desk.answer_all("rice") == [(f"{name}.jpg", "dish") for name in "abc"]
    desk.close()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([GENERAL], [GENERAL, FOOD], ["a", "b"]),
        ([GENERAL, DISH], [GENERAL, FOOD], ["a", "b"]),
        ([GENERAL, FOOD], [GENERAL, DISH], ["a", "b", "c"]),
        ([GENERAL, FOOD], [GENERAL, DISH | {"when": {"step": "advanced_general", "label": "tree"}}], ["c"]),
        ([GENERAL, FOOD], [GENERAL, DISH | {"when": {"step": "advanced_general", "min_score": 0.6}}], []),
    ],
    ids=["new", "added", "removed", "other label", "score"],
)
def test_conditions_are_judged_on_stored_answers(desk, before, after, expected):
    """A new or changed `when` lists exactly the images whose stored answers it asks for."""
    desk.raw["recognize"] = before
    desk.open()
    general = [task for task in desk.claim() if task.step == desk.steps["advanced_general"]]
    desk.commit([desk.answer(task, "tree" if task.key == "photos/c.jpg" else "food") for task in general])
    desk.close()
    desk.raw["recognize"] = after
    desk.open()
    assert [task.key for task in desk.claim()] == [f"photos/{name}.jpg" for name in expected]
    desk.close()


def test_failed_where_the_condition_no_longer_asks(desk):
    """A failed follow-up no longer triggered is no failure and not retried; triggered again, it is one."""
    desk.open()
    desk.commit([desk.answer(task, "food") for task in desk.claim()])
    for task in desk.claim():
        desk.fail(task)
    expected = [(f"{name}.jpg", "torn") for name in "abc"]
    assert desk.failures() == expected
    desk.close()
    desk.raw["recognize"] = [GENERAL, DISH | {"when": {"step": "advanced_general", "label": "tree"}}]
    desk.open(retry=True)
    assert (desk.failures(), desk.claim(), desk.journal.reader.counts().failed) == ([], [], 0)
    desk.close()
    desk.raw["recognize"] = [GENERAL, FOOD]
    desk.open()
    assert (desk.failures(), desk.claim()) == (expected, [])
    desk.close()
    desk.raw["recognize"] = [GENERAL, DISH]
    desk.open()
    assert (desk.failures(), desk.claim()) == (expected, [])
    desk.close()


# -- failures


def test_failed_images(desk):
    """A plain rerun leaves them alone; a retry calls again, all or of one kind; a changed file always."""
    desk.open()
    a, b, c = desk.claim()
    desk.fail(a)
    desk.fail(b, TIMEOUT)
    desk.fail(c, TIMEOUT)
    desk.restart()
    assert desk.claim() == []
    desk.close()
    desk.photo("c.jpg", "another picture")
    desk.open()
    assert [task.key for task in desk.claim()] == ["photos/c.jpg"]
    desk.restart(retry=True, retry_kinds=("transient",))
    assert [task.key for task in desk.claim()] == ["photos/b.jpg", "photos/c.jpg"]
    desk.restart(retry=True, retry_kinds=())
    assert [task.key for task in desk.claim()] == ["photos/b.jpg", "photos/c.jpg"]
    desk.restart(retry=True)
    assert desk.answer_all("tree") == [(f"{name}.jpg", "advanced_general") for name in "abc"]
    assert desk.failures() == []
    desk.close()


def test_failures_of_now(desk):
    """Failures of images that are gone and of steps that were dropped are not told, and return with them."""
    desk.open()
    a, b, _ = desk.claim()
    desk.fail(a)
    desk.fail(b)
    desk.close()
    (desk.photos / "a.jpg").rename(desk.base / "a.jpg")
    desk.open(retry=True, retry_kinds=("transient",))
    assert (desk.failures(), desk.journal.reader.counts().failed) == ([("b.jpg", "torn")], 1)
    desk.close()
    desk.raw["recognize"] = [DISH]
    desk.open()
    assert (desk.failures(), desk.journal.reader.counts().failed) == ([], 0)
    desk.close()
    (desk.base / "a.jpg").rename(desk.photos / "a.jpg")
    desk.raw["recognize"] = [GENERAL]
    desk.open()
    assert desk.failures() == [("a.jpg", "torn"), ("b.jpg", "torn")]
    desk.close()


# -- damage


@pytest.mark.parametrize("how", ["shortened", "deleted"])
def test_results_shorter_than_committed(done, how):
    """The run stops with a reason and leaves the file as it is; put back, the file is accepted."""
    done.close()
    results = done.directory / "results.jsonl"
    content = results.read_bytes()
    results.write_bytes(content[:-1])
    if how == "deleted":
        results.unlink()
    with pytest.raises(ResultsDamaged, match="run again with --rebuild"):
        done.open()
    assert results.exists() == (how == "shortened")
    results.write_bytes(content)
    done.open()
    assert (done.claim(), done.answers()) == ([], ALL)
    done.close()


def test_rebuild_asks_only_for_what_is_missing(done):
    """Rows that are still there stay as they are; missing ones are asked again, follow-ups too."""
    done.close()
    lines = (done.directory / "results.jsonl").read_bytes().splitlines(keepends=True)
    kept = [lines[1], lines[2], lines[3]]
    (done.directory / "results.jsonl").write_bytes(b"".join(kept))
    done.open(rebuild=True)
    assert (done.directory / "results.jsonl").read_bytes() == b"".join(kept)
    assert done.csv_agrees()
    asked_again = done.answer_all("food")
    assert sorted(asked_again) == [("a.jpg", "advanced_general"), ("b.jpg", "dish"), ("c.jpg", "dish")]
    assert done.answers() == ALL
    done.restart()
    assert done.claim() == []
    done.close()


def test_rebuild_without_results(done):
    """With the whole file gone everything is asked again."""
    done.close()
    (done.directory / "results.jsonl").unlink()
    done.open(rebuild=True)
    assert (done.rows(), done.csv_agrees()) == ([], True)
    assert sorted(done.answer_all("food")) == ALL
    done.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"not JSON\n",
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'{"image": "photos/a.jpg"}\n',
        b'{"image":"photos/c.jpg","step":"dish","service":"dish","labels":5,"response":{},"answered_at":""}\n',
        b'{"image":"photos/c.jpg","step":"dish","service":"dish","labels":[5],"response":{},"answered_at":""}\n',
        b'{"image":"photos/c.jpg","step":"dish","service":"dish","labels":[],"response":[],"answered_at":""}\n',
        b"torn",
    ],
)
def test_rebuild_after_an_edit_by_hand(done, garbage):
    """A line that is no row, a row twice and a row of nobody's are left out; the other rows stay."""
    done.close()
    lines = (done.directory / "results.jsonl").read_bytes().splitlines(keepends=True)
    stranger = lines[0].replace(b"photos/a.jpg", b"photos/z.jpg")
    (done.directory / "results.jsonl").write_bytes(b"".join([*lines[:5], lines[0], stranger, garbage]))
    done.open(rebuild=True)
    assert (done.directory / "results.jsonl").read_bytes() == b"".join(lines[:5])
    assert done.csv_agrees()
    assert done.answer_all("food") == [("c.jpg", "dish")]
    done.close()


def spoil_csv(path: Path, how: str) -> None:
    content = path.read_bytes()
    spoilt = {"shorter": content[:-1], "edited": content.replace(b"food", b"FOOD"), "empty": b""}
    path.unlink()
    if how != "deleted":
        path.write_bytes(spoilt[how])


@pytest.mark.parametrize("how", ["deleted", "shorter", "edited", "empty"])
def test_csv_is_made_again(done, how):
    """A missing or damaged CSV is made again from results.jsonl, which is not written for that."""
    inode = done.inode("results.jsonl")
    done.close()
    spoil_csv(done.directory / "results.csv", how)
    done.open()
    assert done.csv_agrees()
    assert (done.inode("results.jsonl"), done.claim()) == (inode, [])
    done.close()


def test_csv_dropped_and_back(desk):
    """A format that is left out for a while is whole again when it is back."""
    desk.open()
    desk.commit([desk.answer(desk.claim(1)[0], "tree")])
    desk.close()
    desk.raw["output"] = {"formats": ["jsonl"]}
    desk.open()
    desk.commit([desk.answer(desk.claim(1)[0], "tree")])
    assert not desk.csv_agrees()
    desk.close()
    del desk.raw["output"]
    desk.open()
    assert desk.csv_agrees()
    desk.close()


# -- directories of others


def test_another_name_or_endpoint(done):
    """A directory is one job's at one endpoint: another one is told whose it is, and changes nothing."""
    done.close()
    for change, expected in (
        ({"name": "other"}, "holds the results of name 'desk', but this job has name 'other'"),
        ({"account": {"endpoint": "embedded"}}, "endpoint 'https://aip.baidubce.com', but this job has endpoint"),
    ):
        kept, done.raw = done.raw, done.raw | change | {"output": {"directory": "results/desk"}}
        with pytest.raises(JobError, match=expected):
            done.open()
        done.raw = kept
    done.open()
    assert (done.answers(), done.claim()) == (ALL, [])
    done.close()


@pytest.mark.parametrize("wishes", [{}, {"rebuild": True}], ids=["plain", "rebuild"])
def test_results_without_a_journal(done, wishes):
    """Answers that no journal accounts for are not cut off as if they were torn."""
    done.close()
    content = (done.directory / "results.jsonl").read_bytes()
    (done.directory / "journal.db").unlink()
    with pytest.raises(JobError, match=r"results\.jsonl: no journal\.db accounts for it"):
        done.open(**wishes)
    assert (done.directory / "results.jsonl").read_bytes() == content


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_journal_that_is_no_database(desk, content):
    """A broken journal.db ends the run with its path and a reason."""
    (desk.directory / "journal.db").write_bytes(content)
    with pytest.raises(OutputFailed, match=r"journal.db: is broken: "):
        desk.open()
