"""One JSON call: token, error codes, retries; the emulator on real sockets, pauses in virtual time."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from batchrec.api.account import TokenAccount
from batchrec.api.call import JsonClient, json_object, while_it_may_pass
from batchrec.api.credentials import Credentials
from batchrec.api.http import open_transport
from batchrec.emulator import Emulator, FaultPlan, Settings, serve
from batchrec.errors import CredentialsRefused
from batchrec.values import Failure, Kind, Reply
from tests.support.emulator import path_of, picture
from tests.support.virtual_time import virtual

PATH = path_of("easydl_classification")
CONTENT = {"image": base64.b64encode(picture()).decode()}


@asynccontextmanager
async def calling(emulator: Emulator, patience: float = 20.0) -> AsyncIterator[JsonClient]:
    """A client with a token account of its own."""
    async with open_transport(emulator.url, 10) as transport:
        loop, rng = asyncio.get_running_loop(), random.Random(0)
        account = TokenAccount(
            emulator.url,
            Credentials("a-key", "a-secret"),
            transport,
            cache=None,
            patience=patience,
            now=loop.time,
            time=loop.time,
            rng=rng,
        )
        yield JsonClient(emulator.url, account, transport, patience=patience, time=loop.time, rng=rng)


async def test_call_fetches_a_token_and_returns_the_object() -> None:
    """The caller names path and content, and nothing else."""
    async with serve() as emulator, calling(emulator) as client:
        found = await client.call(PATH, CONTENT)
    assert isinstance(found, dict)
    assert "results" in found


async def test_failure_that_stays_is_returned_at_once() -> None:
    """A fault of the request is not tried again."""
    async with serve() as emulator, calling(emulator) as client:
        found = await client.call(PATH, {})
    assert isinstance(found, Failure)
    assert found.kind is Kind.REQUEST


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "code", "code": 18, "calls": [1]},
        {"kind": "code", "code": 336000, "calls": [1]},
        {"kind": "code", "code": 110, "calls": [1]},
        {"kind": "reset", "calls": [1]},
    ],
    ids=["throttled", "internal error", "token expired", "connection reset"],
)
async def test_failure_that_passes_is_tried_again(fault: dict[str, object]) -> None:
    """After a pause the second call has its result; a token that was refused is replaced."""
    plan = FaultPlan.parse({"faults": [{"service": "easydl_classification", **fault}]})
    async with serve(plan=plan) as emulator, calling(emulator) as client:
        found = await client.call(PATH, CONTENT)
    assert isinstance(found, dict)


async def test_wrong_key_is_told() -> None:
    """No call leaves without a token."""
    with pytest.raises(CredentialsRefused):
        async with serve(Settings(api_key="another")) as emulator, calling(emulator) as client:
            await client.call(PATH, CONTENT)


# -- patience, in virtual time


@virtual
async def test_attempts_end_with_the_patience() -> None:
    """The last failure comes back after `patience` seconds; each before was told, and the pauses grow."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    told: list[Failure] = []

    async def attempt() -> Failure:
        times.append(loop.time())
        return Failure(Kind.TRANSIENT, "connection", f"attempt {len(times)}")

    start = loop.time()
    outcome = await while_it_may_pass(attempt, told.append, patience=60, time=loop.time, rng=random.Random(0))
    assert outcome == Failure(Kind.TRANSIENT, "connection", f"attempt {len(times)}")
    assert 60 <= loop.time() - start < 75
    assert [failure.message for failure in told] == [f"attempt {number}" for number in range(1, len(times))]
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] < 1 < 3 < pauses[-1] <= 10


@virtual
async def test_no_patience_is_one_attempt() -> None:
    """As `login` needs it: the terminal is told at once."""
    outcomes: list[Failure | str] = [Failure(Kind.TRANSIENT, "timeout", "late"), "never reached"]

    async def attempt() -> Failure | str:
        return outcomes.pop(0)

    loop = asyncio.get_running_loop()
    outcome = await while_it_may_pass(attempt, pytest.fail, patience=0, time=loop.time, rng=random.Random(0))
    assert outcome == Failure(Kind.TRANSIENT, "timeout", "late")
    assert outcomes == ["never reached"]


# -- replies


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, b'{"dataset_id": 7}'), {"dataset_id": 7}),
        (Reply(200, b'{"error_code": 0, "a": 1}'), {"error_code": 0, "a": 1}),
        (Reply(200, b'{"error_code": "336001", "error_msg": "no"}'), Failure(Kind.REQUEST, 336001, "no")),
        (Reply(500, b'{"error_code": 17, "error_msg": "no"}'), Failure(Kind.EXHAUSTED, 17, "no")),
        (Reply(200, b"[1]"), (Kind.TRANSIENT, "not_json")),
        (Reply(200, b"<html>"), (Kind.TRANSIENT, "not_json")),
        (Reply(502, b"<html>"), (Kind.TRANSIENT, "http_502")),
        (Reply(404, b"{}"), (Kind.REQUEST, "http_404")),
        (Reply(401, b'{"error": "invalid_client"}'), (Kind.REFUSED, "invalid_client")),
    ],
)
def test_object_or_failure(reply: Reply, expected: object) -> None:
    """The error code is read before the status, and nothing but an object is a result."""
    found = json_object(reply)
    assert found == expected or (isinstance(found, Failure) and (found.kind, found.code) == expected)
