"""Known answers: same question, same bytes; bounded in size and age, and never in the way."""

import itertools
import logging
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from batchrec.api.endpoint import earlier_spellings
from batchrec.api.services import SERVICES
from batchrec.exact_json import dumps
from batchrec.state.answer_cache import OLDEST_SECONDS, AnswerCache
from batchrec.times import iso_utc

DISH, LOGO, EASYDL = SERVICES["dish"], SERVICES["logo"], SERVICES["easydl_classification"]
LIVE = "https://aip.baidubce.com"
NOW = 1_800_000_000.0
DIGEST = b"d" * 32


def row(number: int = 0, **more: Any) -> dict[str, Any]:
    answer = {"image": f"{number}.jpg", "labels": [], "response": {"log_id": 2**70 + number}}
    return {**answer, "answered_at": iso_utc(NOW), **more}


def answer(question: bytes, digest: bytes, told: dict[str, Any]) -> tuple[bytes, bytes, str, bytes]:
    return question, digest, told["answered_at"], dumps(told) + b"\n"


def known_at(folder: Path, *, account: str = "me", endpoint: str = LIVE, now: float = NOW, **more: Any) -> AnswerCache:
    return AnswerCache(folder, endpoint, account, lambda: now, **more)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[AnswerCache]:
    """An empty store."""
    with closing(known_at(tmp_path)) as store:
        yield store


def test_same_question_about_the_same_bytes(known, tmp_path):
    """An answer that one process put another one gets, to the last digit; a newer answer wins."""
    question = known.cache_key("top_num 3", personal=DISH.personal)
    known.put([answer(question, DIGEST, row(1))])
    with closing(known_at(tmp_path)) as other:
        assert other.get(other.cache_key("top_num 3", personal=DISH.personal), DIGEST) == row(1)
        other.put([answer(question, DIGEST, row(2))])
    assert known.get(question, DIGEST) == row(2)


@pytest.mark.parametrize("spelling", [f"{LIVE}:443", f"{LIVE}.", f"{LIVE}.:443"])
@pytest.mark.parametrize("personal", [False, True])
def test_rows_under_an_earlier_spelling_of_the_endpoint_are_found(tmp_path, spelling, personal):
    """A file of a version that kept endpoints as they were written has its rows under that text."""
    with closing(known_at(tmp_path, endpoint=spelling)) as before:
        before.put([answer(before.cache_key("options", personal=personal), DIGEST, row(1))])
    with closing(sqlite3.connect(tmp_path / "answers.db")) as db:
        db.execute("PRAGMA user_version = 0")
    with closing(known_at(tmp_path, earlier=earlier_spellings(LIVE))) as store:
        question = store.cache_key("options", personal=personal)
        assert store.get(question, DIGEST) == row(1)
        assert store.get(question, b"e" * 32) is None
        store.put([answer(question, DIGEST, row(2))])
        assert store.get(question, DIGEST) == row(2)
    with closing(known_at(tmp_path, endpoint="https://another.host", earlier=())) as store:
        assert store.get(store.cache_key("options", personal=personal), DIGEST) is None


@pytest.mark.parametrize(
    "asked",
    [
        lambda folder: (known_at(folder), DISH, "other options", DIGEST),
        lambda folder: (known_at(folder, endpoint="http://127.0.0.1:8087"), DISH, "options", DIGEST),
        lambda folder: (known_at(folder), DISH, "options", b"e" * 32),
    ],
    ids=["options", "endpoint", "bytes"],
)
def test_another_question(known, tmp_path, asked: Callable[[Path], Any]):
    """Another service, model, option or endpoint, or other bytes, are not known."""
    known.put([answer(known.cache_key("options", personal=DISH.personal), DIGEST, row())])
    store, service, fingerprint, digest = asked(tmp_path)
    with closing(store):
        assert store.get(store.cache_key(fingerprint, personal=service.personal), digest) is None


def test_an_older_answer_replaces_no_newer_one(known):
    """Rows that are put again after a kill may have been answered anew by another job meanwhile."""
    question = known.cache_key("x", personal=DISH.personal)
    known.put([answer(question, DIGEST, row(1))])
    known.put([answer(question, DIGEST, row(2, answered_at=iso_utc(NOW - 5)))])
    assert known.get(question, DIGEST) == row(1)


@pytest.mark.parametrize(("service", "shared"), [(DISH, True), (LOGO, False), (EASYDL, False)])
def test_what_belongs_to_an_account(known, tmp_path, service, shared):
    """The user's own models and logos answer for one account; what everybody is told is known to all."""
    known.put([answer(known.cache_key("x", personal=service.personal), DIGEST, row())])
    with closing(known_at(tmp_path, account="you")) as other:
        assert (other.get(other.cache_key("x", personal=service.personal), DIGEST) is not None) == shared


def test_old_answers_are_not_given(known, tmp_path):
    """After the age limit the service is asked again, and the file forgets."""
    question = known.cache_key("x", personal=DISH.personal)
    known.put([answer(question, DIGEST, row())])
    with closing(known_at(tmp_path, now=NOW + OLDEST_SECONDS)) as young_enough:
        assert young_enough.get(question, DIGEST) is not None
    with closing(known_at(tmp_path, now=NOW + OLDEST_SECONDS + 1)) as later:
        assert later.get(question, DIGEST) is None
    assert known.get(question, DIGEST) is None


def test_file_stays_small(tmp_path):
    """Beyond the size limit the oldest answers make way, and the youngest stay."""
    most = 2_000_000
    with closing(known_at(tmp_path, most_bytes=most)) as store:
        question = store.cache_key("x", personal=DISH.personal)
        for group in range(100):
            numbers = range(100 * group, 100 * group + 100)
            store.put(
                [answer(question, number.to_bytes(32, "big"), row(number, filler="x" * 1000)) for number in numbers]
            )
        held = [store.get(question, number.to_bytes(32, "big")) is not None for number in range(10_000)]
    size = sum(path.stat().st_size for path in tmp_path.glob("answers.db"))
    assert most / 2 < size < 2 * most
    assert held == sorted(held)
    assert held[-1000:] == [True] * 1000


def test_two_processes_put_and_get(known, tmp_path):
    """Writers wait for each other, and readers for nobody."""
    question = known.cache_key("x", personal=DISH.personal)

    def many(start: int) -> None:
        with closing(AnswerCache(tmp_path, LIVE, "me", itertools.count(NOW).__next__)) as store:
            for number in range(start, start + 50):
                store.put([answer(question, number.to_bytes(32, "big"), row(number))])
                assert store.get(question, number.to_bytes(32, "big")) == row(number)

    threads = [threading.Thread(target=many, args=(start,)) for start in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(known.get(question, number.to_bytes(32, "big")) == row(number) for number in range(150))


def test_files_are_their_owners_alone(known, tmp_path):
    """0600, side files too."""
    known.put([answer(known.cache_key("x", personal=DISH.personal), DIGEST, row())])
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("content", [b"not a database at all, by far", b"SQLite format 3\0" + b"\0" * 4096])
def test_broken_file_is_said_once_and_is_in_nobodys_way(tmp_path, caplog, content):
    """A store that cannot be used knows nothing and keeps nothing; the run goes on."""
    (tmp_path / "answers.db").write_bytes(content)
    with closing(known_at(tmp_path)) as store, caplog.at_level(logging.WARNING):
        question = store.cache_key("x", personal=DISH.personal)
        store.put([answer(question, DIGEST, row())])
        assert store.get(question, DIGEST) is None
    assert len([record for record in caplog.records if "answers.db" in record.message]) <= 1
    assert (tmp_path / "answers.db").read_bytes() == content


def test_an_excerpt_has_the_newest_rows_of_its_services(known, tmp_path):
    """As a file for processes elsewhere, bounded in bytes; none where there are no rows."""
    question = known.cache_key("top_num 3", personal=False)
    told = [row(number, service=service) for number, service in enumerate(("dish", "dish", "logo"))]
    known.put([answer(question, bytes([number]) * 32, each) for number, each in enumerate(told)])
    size = len(answer(question, DIGEST, told[1])[3])
    for most, numbers in ((10 * size, {0, 1}), (size, {1})):
        folder = tmp_path / str(most)
        folder.mkdir()
        (folder / "answers.db").write_bytes(known.excerpt(["dish", "car"], most))
        with closing(known_at(folder)) as other:
            assert {number for number in range(3) if other.get(question, bytes([number]) * 32)} == numbers
    assert known.excerpt(["car"], 1000) == b""
