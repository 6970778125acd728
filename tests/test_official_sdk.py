"""The official SDK (``baidu-aip``) pointed at the emulator gets the answers of the live service.

The SDK knows no other host, so its class attributes are replaced. It blocks, so it runs in threads.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import aip
import pytest
import requests

from batchrec.emulator import Emulator, FaultPlan, Settings, serve
from tests.support.emulator import path_of, picture, picture_where, sha256

# The SDK signs with datetime.utcnow(), which Python 3.12 deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

IMAGE = picture()
KEYS = ("4711", "a-key", "a-secret")
URLS = {
    "advanced_general": "advancedGeneral",
    "object_detect": "objectDetect",
    "dish": "dishDetect",
    "car": "carDetect",
    "logo": "logoSearch",
    "animal": "animalDetect",
    "plant": "plantDetect",
    "multi_object_detect": "multiObjectDetect",
    "landmark": "landmark",
    "ingredient": "ingredient",
    "currency": "currency",
    "redwine": "redwine",
}
"""The SDK's names by service; the first seven are those of the original tutorial."""


@pytest.fixture
def point_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Emulator], None]:
    """A function that makes the SDK talk to an emulator until the test ends."""

    def point(emulator: Emulator) -> None:
        for owner in (aip.base.AipBase, aip.AipImageClassify):
            for name, value in list(vars(owner).items()):
                if isinstance(value, str) and value.startswith("https://aip.baidubce.com"):
                    monkeypatch.setattr(owner, name, value.replace("https://aip.baidubce.com", emulator.url))

    return point


async def in_thread(client: Any, method: str, *arguments: object) -> Any:
    """One blocking call of the SDK; its connections are closed afterwards."""

    def call() -> Any:
        try:
            return getattr(client, method)(*arguments)
        finally:
            client.s.close()

    return await asyncio.to_thread(call)


@pytest.mark.parametrize(("service", "method"), URLS.items())
async def test_recognition(point_at: Callable[[Emulator], None], service: str, method: str) -> None:
    """The SDK fetches a token, sends the picture as it is, and gets the service's reply."""
    image = picture_where(service, nothing=False)
    async with serve() as emulator:
        point_at(emulator)
        reply = await in_thread(aip.AipImageClassify(*KEYS), method, image)
        assert "error_code" not in reply
        assert isinstance(reply["log_id"], int)
        assert reply["result"]
        assert emulator.counters.images == {service: {sha256(image): 1}}
        assert emulator.counters.tokens_issued == 1


async def test_options_are_honoured(point_at: Callable[[Emulator], None]) -> None:
    """``top_num`` and ``baike_num`` as the SDK sends them."""
    async with serve() as emulator:
        point_at(emulator)
        image = picture_where("animal", nothing=False)
        options = {"top_num": 3, "baike_num": 1}
        rows = (await in_thread(aip.AipImageClassify(*KEYS), "animalDetect", image, options))["result"]
        assert [type(row["score"]) for row in rows] == [str] * 3
        assert ["baike_info" in row for row in rows] == [True, False, False]


@pytest.mark.parametrize("kind", ["classification", "detection"])
async def test_easydl(point_at: Callable[[Emulator], None], kind: str) -> None:
    """A JSON body to the model's own address, ``results`` back."""
    service = f"easydl_{kind}"
    image = picture_where(service, nothing=False)
    async with serve() as emulator:
        point_at(emulator)
        url = emulator.url + path_of(service, "itcast_fruit")
        reply = await in_thread(aip.EasyDL(*KEYS), "predictImage", url, image, {"top_num": 2, "threshold": 0.1})
        assert reply["results"]
        assert ("location" in reply["results"][0]) == (kind == "detection")
        assert emulator.counters.outcomes[service] == {"ok": 1}


async def test_token_is_fetched_once_for_many_calls(point_at: Callable[[Emulator], None]) -> None:
    """The SDK keeps its token until half a minute before its end."""
    async with serve() as emulator:
        point_at(emulator)
        client = aip.AipImageClassify(*KEYS)
        for method in ("plantDetect", "animalDetect", "plantDetect"):
            assert "error_code" not in await in_thread(client, method, IMAGE)
        assert emulator.counters.tokens_issued == 1


async def test_wrong_keys_end_in_code_14(point_at: Callable[[Emulator], None]) -> None:
    """The SDK takes ``invalid_client`` for "no scope" and signs instead: a failed certification is seen."""
    async with serve(Settings(api_key="another")) as emulator:
        point_at(emulator)
        reply = await in_thread(aip.AipImageClassify(*KEYS), "dishDetect", IMAGE)
        assert reply == {"error_code": 14, "error_msg": "IAM Certification failed"}
        assert emulator.counters.outcomes["token"] == {"invalid_client": 1}


async def test_the_sdk_signs_where_its_key_gets_no_token(point_at: Callable[[Emulator], None]) -> None:
    """Its signatures are valid, with the host that it signs and a query of its own."""
    async with serve(Settings(api_key="another", access_key=KEYS[1], secret_access_key=KEYS[2])) as emulator:
        point_at(emulator)
        reply = await in_thread(aip.AipImageClassify(*KEYS), "dishDetect", IMAGE)
        assert "error_code" not in reply
        assert emulator.counters.tokens_issued == 0
        reply = await in_thread(aip.AipImageClassify(KEYS[0], KEYS[1], "wrong"), "dishDetect", IMAGE)
        assert reply["error_code"] == 14


async def test_wrong_keys_kill_easydl(point_at: Callable[[Emulator], None]) -> None:
    """EasyDL looks at no scope and trips over the missing token."""
    async with serve(Settings(secret_key="another")) as emulator:
        point_at(emulator)
        url = emulator.url + path_of("easydl_classification")
        with pytest.raises(KeyError, match="access_token"):
            await in_thread(aip.EasyDL(*KEYS), "predictImage", url, IMAGE)


async def test_unbound_easydl_model_is_code_6(point_at: Callable[[Emulator], None]) -> None:
    """A model of another account: no permission."""
    async with serve(Settings(models=frozenset({"mine"}))) as emulator:
        point_at(emulator)
        url = emulator.url + path_of("easydl_classification", "theirs")
        reply = await in_thread(aip.EasyDL(*KEYS), "predictImage", url, IMAGE)
        assert reply == {"error_code": 6, "error_msg": "No permission to access data"}


async def test_revoked_token_is_fetched_again(point_at: Callable[[Emulator], None]) -> None:
    """110 is the one error that the SDK heals: a new token, the call once more."""
    async with serve() as emulator:
        point_at(emulator)
        client = aip.AipImageClassify(*KEYS)
        await in_thread(client, "plantDetect", IMAGE)
        emulator.revoke_tokens()
        assert "error_code" not in await in_thread(client, "plantDetect", IMAGE)
        assert emulator.counters.outcomes["plant"] == {"ok": 2, "110": 1}
        assert emulator.counters.tokens_issued == 2


async def test_expired_token_is_the_callers_problem(point_at: Callable[[Emulator], None]) -> None:
    """111 is handed back as it came."""
    async with serve() as emulator:
        point_at(emulator)
        client = aip.AipImageClassify(*KEYS)
        await in_thread(client, "plantDetect", IMAGE)
        emulator.configure(clock_offset=3_000_000.0)
        reply = await in_thread(client, "plantDetect", IMAGE)
        assert reply == {"error_code": 111, "error_msg": "Access token expired"}


@pytest.mark.parametrize(
    ("settings", "image", "code"),
    [
        (Settings(), b"", 216200),
        (Settings(), b"no picture", 216201),
        (Settings(), picture(10, 10), 216202),
        (Settings(qps=0), IMAGE, 18),
        (Settings(daily=0), IMAGE, 17),
        (Settings(total=0), IMAGE, 19),
        (Settings(services=frozenset()), IMAGE, 6),
    ],
)
async def test_errors_are_dictionaries(
    point_at: Callable[[Emulator], None], settings: Settings, image: bytes, code: int
) -> None:
    """No exception: the caller has to look."""
    async with serve(settings) as emulator:
        point_at(emulator)
        reply = await in_thread(aip.AipImageClassify(*KEYS), "dishDetect", image)
        assert reply["error_code"] == code


async def test_address_instead_of_a_picture_is_not_fetched(point_at: Callable[[Emulator], None]) -> None:
    """A limit of the emulator: it answers as if the address had not answered in time."""
    async with serve() as emulator:
        point_at(emulator)
        client = aip.AipImageClassify(*KEYS)
        reply = await in_thread(client, "advancedGeneralUrl", "http://example.com/a.jpg")
        assert reply["error_code"] == 282112


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "html_502"}, ValueError),
        ({"kind": "not_json", "body": ""}, ValueError),
        ({"kind": "reset"}, requests.ConnectionError),
        ({"kind": "torn"}, requests.exceptions.ChunkedEncodingError),
    ],
)
async def test_accidents_are_exceptions(
    point_at: Callable[[Emulator], None], fault: dict[str, object], error: type[Exception]
) -> None:
    """Everything but a timeout and a code goes through to the caller."""
    async with serve(plan=FaultPlan.parse({"faults": [fault]})) as emulator:
        point_at(emulator)
        with pytest.raises(error):
            await in_thread(aip.AipImageClassify(*KEYS), "dishDetect", IMAGE)
        assert emulator.counters.faults["dish"] == {fault["kind"]: 1}


async def test_timeout_is_a_code_made_by_the_sdk(point_at: Callable[[Emulator], None]) -> None:
    """A call that hangs becomes SDK108, a text where every other code is a number."""
    async with serve(plan=FaultPlan.parse({"faults": [{"kind": "hang"}]})) as emulator:
        point_at(emulator)
        client = aip.AipImageClassify(*KEYS)
        client.setSocketTimeoutInMillis(200)
        reply = await in_thread(client, "dishDetect", IMAGE)
        assert reply["error_code"] == "SDK108"
