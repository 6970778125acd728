"""The emulator on real sockets: credentials, services, limits, accidents, its own doors, its end."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from batchrec.emulator import Emulator, FaultPlan, Guess, Picture, Settings, SettingsError, serve, serve_forever
from batchrec.emulator.services import SERVICES
from batchrec.emulator.settings import MIB, SECRET
from tests.support.emulator import CREDENTIALS, body_of, calling, path_of, picture, picture_where, sha256, until

IMAGE = picture()
SCHEMA = {
    "advanced_general": {"result_num": int, "result": list},
    "object_detect": {"result": dict},
    "multi_object_detect": {"result": list},
    "dish": {"result_num": int, "result": list},
    "car": {"result": list, "location_result": dict, "color_result": str},
    "logo": {"result_num": int, "result": list},
    "animal": {"result": list},
    "plant": {"result": list},
    "ingredient": {"result_num": int, "result": list},
    "landmark": {"result": dict},
    "currency": {"result": dict},
    "redwine": {"result": dict},
    "easydl_classification": {"results": list},
    "easydl_detection": {"results": list},
}


class Clock:
    """A clock that stands still until told otherwise."""

    def __init__(self, at: float = 1_790_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def faults(*entries: dict[str, object]) -> FaultPlan:
    return FaultPlan.parse({"faults": list(entries)})


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_answers_in_its_shape(service: str) -> None:
    """The right keys with the right types, a 19-digit log id, and no error."""
    async with calling() as caller:
        reply = await caller.call(service, picture_where(service, nothing=False))
        log_id = reply.pop("log_id")
        assert {key: type(value) for key, value in reply.items()} == SCHEMA[service]
        assert len(str(log_id)) == 19
        assert caller.emulator.counters.outcomes[service] == {"ok": 1}


async def test_nothing_found_comes_with_status_200() -> None:
    """A picture without food is 非菜 and no error."""
    async with calling() as caller:
        reply = await caller.call("dish", picture_where("dish", nothing=True))
        assert [row["name"] for row in reply["result"]] == ["非菜"]


async def test_log_id_stands_first_or_last() -> None:
    """The order of keys is nothing to rely on."""
    async with calling() as caller:
        places = {list(await caller.call("plant", IMAGE)).index("log_id") for _ in range(4)}
        assert places == {0, 1}


@pytest.mark.parametrize("how", ["get query", "post query", "post form"])
async def test_token_by_every_documented_way(how: str) -> None:
    """Query by GET and POST, form by POST: each token opens the services."""
    method, place = how.split()
    async with calling() as caller:
        argument = {"params" if place == "query" else "data": CREDENTIALS}
        async with caller.http.request(method, f"{caller.emulator.url}/oauth/2.0/token", **argument) as response:
            reply = await response.json()
            assert response.status == 200
        caller.token = reply["access_token"]
        assert await caller.code("dish", IMAGE) == 0
        assert caller.emulator.counters.tokens_issued == 2


@pytest.mark.parametrize(
    ("changes", "status", "error", "description"),
    [
        ({"client_id": "other"}, 401, "invalid_client", "unknown client id"),
        ({"client_secret": "other"}, 401, "invalid_client", "Client authentication failed"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", None),
    ],
)
async def test_token_refusals(changes: dict[str, str], status: int, error: str, description: str | None) -> None:
    """401 and ``invalid_client`` for wrong keys, never an ``error_code``."""
    async with serve(Settings(api_key="a-key", secret_key="a-secret")) as emulator, aiohttp.ClientSession() as http:
        url = f"{emulator.url}/oauth/2.0/token"
        async with http.post(url, params=CREDENTIALS | changes) as response:
            reply = await response.json()
            assert (response.status, reply["error"]) == (status, error)
            assert description in (None, reply["error_description"])
            assert "error_code" not in reply
        assert emulator.counters.outcomes["token"] == {error: 1}


async def test_token_expires_and_a_new_one_helps() -> None:
    """111 from the second it ends, 0 again with a fresh one."""
    clock = Clock()
    async with calling(Settings(token_life=60), now=clock) as caller:
        assert await caller.code("dish", IMAGE) == 0
        clock.at += 60
        assert await caller.code("dish", IMAGE) == 111
        caller.token = (await caller.fetch_token())["access_token"]
        assert await caller.code("dish", IMAGE) == 0


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ({}, {}, 100),
        ({"access_Token": "x"}, {}, 100),
        ({"access_token": "24.never.issued"}, {}, 110),
        ({"access_token": "ALTAK-123"}, {}, 110),
        ({}, {"Authorization": "Bearer bce-v3/ALTAK-1/2"}, 0),
        ({}, {"Authorization": "Bearer wrong"}, 23),
        ({}, {"Authorization": "bce-auth-v1/ak/2026-01-01T00:00:00Z/1800/host/00"}, 14),
    ],
)
async def test_credentials_of_a_call(query: dict[str, str], headers: dict[str, str], code: int) -> None:
    """The gateway's refusals have status 200, a code and no log id."""
    async with calling() as caller:
        reply = await caller.call("dish", IMAGE, query=query, headers=headers)
        assert reply.get("error_code", 0) == code
        assert ("log_id" in reply) == (code == 0)


async def test_gateway_status_is_a_switch() -> None:
    """Other statuses than 200 can be tried out; errors of the picture keep 200."""
    async with calling(Settings(gateway_status=403)) as caller:
        url = f"{caller.emulator.url}{path_of('dish')}"
        async with caller.http.post(url, data=b"") as response:
            assert response.status == 403
        async with caller.http.post(url, params={"access_token": caller.token}, data=b"image=") as response:
            assert response.status == 200


async def test_unknown_query_arguments_are_ignored() -> None:
    """The official SDK adds some of its own."""
    async with calling() as caller:
        query = {"access_token": caller.token, "aipSdk": "python", "aipVersion": "4.15.13"}
        assert await caller.code("dish", IMAGE, query=query) == 0


@pytest.mark.parametrize(("method", "path"), [("POST", "/rest/2.0/image-classify/v9/dish"), ("GET", path_of("dish"))])
async def test_wrong_path_or_method_is_code_3(method: str, path: str) -> None:
    """Nothing but POST on a known path is a method of the service."""
    async with calling() as caller, caller.http.request(method, f"{caller.emulator.url}{path}") as response:
        assert await response.json() == {"error_code": 3, "error_msg": "Unsupported openapi method"}
        assert caller.emulator.counters.outcomes["unknown"] == {"3": 1}


async def test_services_and_models_that_the_account_lacks() -> None:
    """Code 6 for a service not ticked and for a model not bound."""
    settings = Settings(services=frozenset({"dish", "easydl_detection"}), models=frozenset({"fruit"}))
    async with calling(settings) as caller:
        calls = [("dish", "-"), ("car", "-"), ("easydl_detection", "fruit"), ("easydl_detection", "cars")]
        assert [await caller.code(service, IMAGE, model=model) for service, model in calls] == [0, 6, 0, 6]


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", 216101), (b"image=", 216200), (b"image=%21%21", 216203), (b"image=QUJD", 216201),
     (b"url=http%3A%2F%2Fexample.com%2Fa.jpg", 282112), (body_of("dish", picture(10, 10)), 216202),
     (body_of("dish", IMAGE, url="http://example.com/a.jpg"), 0)],
)  # fmt: skip
async def test_bad_bodies_have_codes_and_log_ids(body: bytes, code: int) -> None:
    """A picture wins over an address, an address is never fetched; the recognizers' errors have log ids."""
    async with calling() as caller:
        reply = await caller.call("dish", body=body)
        assert reply.get("error_code", 0) == code
        assert "log_id" in reply


async def test_easydl_wants_json_in_whatever_wrapping() -> None:
    """The body counts and not its Content-Type; a form is refused."""
    async with calling() as caller:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        service = "easydl_classification"
        assert await caller.code(service, IMAGE, headers=form, top_num="2") == 0
        assert await caller.code(service, body=body_of("dish", IMAGE)) == 336001
        assert await caller.code(service, body=b"{") == 336002
        assert await caller.code(service, body=b"{}") == 336006


async def test_body_limits_of_the_http_layer() -> None:
    """The largest picture the service could judge gets its verdict; beyond 16 MiB it is HTTP 413."""
    async with calling() as caller:
        url, query = f"{caller.emulator.url}{path_of('dish')}", {"access_token": caller.token}
        async with caller.http.post(url, params=query, data=BytesIO(b"image=".ljust(15 * MIB, b"A"))) as response:
            assert (await response.json())["error_code"] == 216202
        async with caller.http.post(url, params=query, data=BytesIO(b"A" * (16 * MIB + 1))) as response:
            assert response.status == 413


async def test_rate_is_refused_at_once_and_opens_again() -> None:
    """Of a burst exactly the rate passes, the rest gets 18 without waiting, a second later it goes on."""
    clock = Clock()
    async with calling(Settings(qps=5), now=clock) as caller:
        codes = await asyncio.gather(*(caller.code("dish", IMAGE) for _ in range(20)))
        assert Counter(codes) == {0: 5, 18: 15}
        clock.at += 1
        assert await caller.code("dish", IMAGE) == 0
        shown = caller.emulator.counters.snapshot()
        assert shown["busiest_second"] == {"dish": 20}
        assert shown["busiest_second_admitted"] == {"dish": 5}
        assert shown["per_second"] == {"dish": {str(int(clock.at) - 1): 20, str(int(clock.at)): 1}}


async def test_day_is_over_with_17_and_the_whole_with_19() -> None:
    """The daily count opens on the next day, the total never."""
    clock = Clock()
    async with calling(Settings(daily=2, total=3), now=clock) as caller:
        assert [await caller.code("dish", IMAGE) for _ in range(3)] == [0, 0, 17]
        clock.at += 86_400
        assert [await caller.code("dish", IMAGE) for _ in range(2)] == [0, 19]


@pytest.mark.parametrize(("counts", "codes"), [(True, [216200, 17]), (False, [216200, 0])])
async def test_whether_failed_calls_use_up_the_day_is_a_switch(counts: bool, codes: list[int]) -> None:
    """Unconfirmed on the live service, so both can be had."""
    async with calling(Settings(daily=1, failed_calls_take_quota=counts)) as caller:
        assert [await caller.code("dish", body=body) for body in (b"image=", body_of("dish", IMAGE))] == codes


async def test_counters_tell_what_arrived() -> None:
    """Calls, outcomes and how often each picture was recognized; a refused call is no recognition."""
    other = picture(shade=10)
    async with calling() as caller:
        for image in (IMAGE, IMAGE, other):
            await caller.code("dish", image)
        await caller.code("dish", other, query={})
        counters = caller.emulator.counters
        assert counters.calls == {"token": 1, "dish": 4}
        assert counters.outcomes["dish"] == {"ok": 3, "100": 1}
        assert counters.images["dish"] == {sha256(IMAGE): 2, sha256(other): 1}


async def test_latency_and_calls_in_flight() -> None:
    """Calls wait side by side, each for the latency, and the most at one time are counted."""
    async with calling(Settings(latency=0.2)) as caller:
        began = time.monotonic()
        await asyncio.gather(*(caller.code("dish", IMAGE) for _ in range(8)))
        assert time.monotonic() - began >= 0.2
        assert caller.emulator.counters.max_in_flight == 8
        assert caller.emulator.counters.in_flight == 0


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ({"kind": "html_502"}, 502, "<html>"),
        ({"kind": "http", "status": 503}, 503, '"message"'),
        ({"kind": "not_json"}, 200, "upstream"),
        ({"kind": "not_json", "body": ""}, 200, ""),
        ({"kind": "no_result"}, 200, '{"log_id":'),
        ({"kind": "code", "code": 18}, 200, '{"error_code":18,"error_msg":"Open api qps request limit reached"}'),
        ({"kind": "code", "code": 282000, "message": "odd"}, 200, '"error_code":282000,"error_msg":"odd"'),
    ],
)
@pytest.mark.parametrize("before", [True, False])
async def test_answers_that_a_plan_replaces(fault: dict[str, Any], status: int, text: str, before: bool) -> None:
    """The reply is planned, and also whether the picture was recognized all the same."""
    async with calling(plan=faults({**fault, "before": before, "calls": [1]})) as caller:
        url, query = f"{caller.emulator.url}{path_of('dish')}", {"access_token": caller.token}
        async with caller.http.post(url, params=query, data=body_of("dish", IMAGE)) as response:
            assert response.status == status
            assert text in await response.text()
        counters = caller.emulator.counters
        assert counters.faults["dish"] == {fault["kind"]: 1}
        assert ("dish" in counters.images) == (not before)
        assert await caller.code("dish", IMAGE) == 0


@pytest.mark.parametrize(
    ("fault", "error", "recognized"),
    [
        ({"kind": "reset"}, aiohttp.ClientOSError, False),
        ({"kind": "reset", "before": False}, aiohttp.ClientOSError, True),
        ({"kind": "torn"}, aiohttp.ClientPayloadError, True),
    ],
)
async def test_connections_that_a_plan_breaks(
    fault: dict[str, Any], error: type[Exception], recognized: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A reset ends the connection without an answer, a torn one in its middle; the next call is well."""
    async with calling(plan=faults({**fault, "calls": [1]})) as caller:
        with pytest.raises(error):
            await caller.call("dish", IMAGE)
        assert caller.emulator.counters.outcomes["dish"] == {fault["kind"]: 1}
        assert ("dish" in caller.emulator.counters.images) == recognized
        assert await caller.code("dish", IMAGE) == 0
    assert caplog.records == []


async def test_planned_latency_delays_one_call() -> None:
    """Before or after the work, the call ends well."""
    late, early = ({"kind": "latency", "seconds": 0.2, "calls": [call], "before": call == 2} for call in (1, 2))
    async with calling(plan=faults(late, early)) as caller:
        for _ in range(2):
            began = time.monotonic()
            assert await caller.code("dish", IMAGE) == 0
            assert time.monotonic() - began >= 0.2
        assert caller.emulator.counters.faults["dish"] == {"latency": 2}


async def test_hanging_call_is_left_by_its_client() -> None:
    """It never answers; when the client goes, it is no longer in flight."""
    async with calling(plan=faults({"kind": "hang", "calls": [1]})) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await caller.call("dish", IMAGE)
        await until(lambda: caller.emulator.counters.in_flight == 0)
        assert await caller.code("dish", IMAGE) == 0


async def test_hanging_call_does_not_hold_up_the_end() -> None:
    """Closing takes no longer than a moment, and the hanging client is told by a broken connection."""
    async with aiohttp.ClientSession() as http:
        async with serve(plan=faults({"kind": "hang"})) as emulator:
            hanging = asyncio.create_task(http.post(f"{emulator.url}{path_of('dish')}", data=b"image="))
            await until(lambda: emulator.counters.in_flight == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 30
        with pytest.raises(aiohttp.ClientError):
            await hanging


async def test_slow_call_does_not_hold_up_the_end() -> None:
    """A call that still waits for its latency is given up after half a second."""
    async with aiohttp.ClientSession() as http:
        async with serve(Settings(latency=60)) as emulator:
            slow = asyncio.create_task(http.post(f"{emulator.url}{path_of('dish')}", data=b"image="))
            await until(lambda: emulator.counters.in_flight == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 30
        with pytest.raises(aiohttp.ClientError):
            await slow


async def test_token_endpoint_has_accidents_of_its_own() -> None:
    """HTTP 500, then a refusal that is not true, then a token; recognitions are spared."""
    plan = faults(
        {"kind": "http", "status": 500, "service": "token", "calls": [1]},
        {"kind": "invalid_client", "service": "token", "calls": [2]},
    )
    async with calling(plan=plan) as caller:
        replies = [await caller.fetch_token() for _ in range(3)]
        assert [reply.get("code", reply.get("error", "token")) for reply in replies] == [
            "Unavailable",
            "invalid_client",
            "token",
        ]
        assert caller.emulator.counters.tokens_issued == 1


async def test_faults_hit_the_same_calls_whatever_the_concurrency() -> None:
    """A share of code 2 is the plan's own number of calls."""
    plan = FaultPlan.parse({"seed": 5, "faults": [{"kind": "code", "code": 2, "share": 0.3}]})
    planned = sum(plan.pick("dish", number) is not None for number in range(1, 41))
    async with calling(plan=plan) as caller:
        codes = await asyncio.gather(*(caller.code("dish", IMAGE) for _ in range(40)))
        assert Counter(codes) == {0: 40 - planned, 2: planned}


async def test_doors_for_other_processes() -> None:
    """Counters can be read, tokens revoked, settings and faults changed over HTTP."""
    async with calling() as caller:
        assert await caller.code("dish", IMAGE) == 0
        async with caller.http.get(f"{caller.emulator.url}/_emulator/counters") as response:
            shown = await response.json()
        assert shown["images"] == {"dish": {sha256(IMAGE): 1}}
        status, changed = await caller.post("/_emulator/settings", {"daily": 1, "services": ["dish"]})
        assert (status, changed["daily"], changed["services"]) == (200, 1, ["dish"])
        assert [await caller.code("dish", IMAGE), await caller.code("car", IMAGE)] == [17, 6]
        await caller.post("/_emulator/settings", {"clock_offset": 86_400})
        assert await caller.code("dish", IMAGE) == 0
        await caller.post("/_emulator/faults", {"faults": [{"kind": "code", "code": 4}]})
        assert await caller.code("dish", IMAGE) == 4
        await caller.post("/_emulator/faults", {})
        assert await caller.post("/_emulator/revoke", {}) == (200, {})
        assert await caller.code("dish", IMAGE) == 110


NONSENSE: dict[str, tuple[object, ...]] = {
    "api_key": ("", 7, "k" * 1001),
    "secret_key": ("", 7, "k" * 1001),
    "bearer": ("", 7, "k" * 1001),
    "access_key": ("", 7, "k" * 1001),
    "secret_access_key": ("", 7, "k" * 1001),
    "token_ends_at_question_mark": ("yes", 1, None),
    "qps": (-1, 1e9, "10", True, 10**18),
    "window": ("leaky", None, 1),
    "daily": (-1, 1.5, "many", 10**13),
    "total": (-1, 1.5, "many", 10**13),
    "latency": (-0.1, 86_401, None),
    "token_life": (0, 60.5, 10**12, None),
    "services": (["soup"], "dish", [1]),
    "models": ([""], ["m" * 201], "fruit"),
    "unknown_model_code": (4, "6", None),
    "fetch_hosts": ([""], ["h" * 201], "example.org"),
    "seed": (0.5, None, "x"),
    "clock_offset": (1e12, -1e12, None),
    "refused_calls_take_qps": (1, "yes", None),
    "failed_calls_take_quota": (1, "yes", None),
    "day_starts_at_utc": (-1, 24),
    "gateway_status": (100, 600, "200"),
    "error_content_type": ("", "text", "text/html\r\nX: y", "text/html; charset=ü"),
    "refresh_token_opens": (1, "yes", None),
    "max_base64": (0, 17 * MIB, 1.5),
    "min_side": (0, 100_001),
    "max_side": (0, 100_001),
    "max_ratio": (0, 0.9, 1e9),
    "general_2024": (1, "yes", None),
    "gif": (1, "yes", None),
    "lenient_base64": (1, "yes", None),
    "entities_by_name": (1, "yes", None),
    "equal_images_dropped": (1, "yes", None),
}
"""For each setting values that no emulator can have."""


def test_every_setting_has_bounds() -> None:
    """The table of nonsense has them all."""
    assert NONSENSE.keys() == {field.name for field in fields(Settings)}


@pytest.mark.parametrize("key", NONSENSE)
async def test_settings_out_of_bounds_are_refused(key: str) -> None:
    """400 with the key, what is right and, but for secrets, what was given; nothing changes."""
    async with calling() as caller:
        before = caller.emulator.settings
        for value in NONSENSE[key]:
            status, reply = await caller.post("/_emulator/settings", {key: value, "daily_": 5})
            assert (status, caller.emulator.settings) == (400, before), value
            complaint = next(line for line in reply["error"].splitlines() if re.match(rf"{key}\b", line))
            assert re.search("should|must|right would be", complaint), complaint
            shown = repr(value).strip("[]")[:40] if key not in SECRET else "given"
            assert (shown in complaint) == (shown != "given"), complaint
            assert "daily_: unknown" in reply["error"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308])
@pytest.mark.parametrize("key", ["qps", "latency", "clock_offset", "day_starts_at_utc", "max_ratio"])
async def test_numbers_are_finite(key: str, value: float) -> None:
    """Also for those who change settings in Python."""
    async with calling() as caller:
        with pytest.raises(SettingsError, match=key):
            caller.emulator.configure(**{key: value})
    with pytest.raises(ValueError, match=key):
        Settings(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("door", "body", "word"),
    [
        ("settings", b"[1]", "object"),
        ("settings", b"null", "object"),
        ("settings", b"{", "not JSON"),
        ("settings", b"", "not JSON"),
        ("settings", b'{"qps": NaN}', "not JSON"),
        ("settings", b'{"qps": 1e999}', "not JSON"),
        ("settings", b'{"speed": 3}', "speed: unknown; right would be one of api_key"),
        ("faults", b'{"faults": [{"kind": "x"}]}', "faults[0].kind"),
        ("faults", b'{"faults": [{"kind": "latency", "seconds": Infinity}]}', "faults[0].seconds"),
        ("faults", b'{"faults": [{"kind": "latency", "seconds": 1e9}]}', "faults[0].seconds"),
        ("faults", b'{"faults": [{"kind": "latency", "seconds": NaN}]}', "faults[0].seconds"),
        ("faults", b'{"faults": [{"kind": "reset", "share": NaN}]}', "faults[0].share"),
        ("faults", b'{"faults": [{"kind": "code", "code": 1000000000000000000000000000000}]}', "faults[0].code"),
        ("faults", b'{"seed": 1000000000000000000000000000000}', "seed"),
        ("faults", b"[]", "object"),
    ],
)
async def test_control_paths_refuse_nonsense(door: str, body: bytes, word: str) -> None:
    """400 with the reason, and nothing changes."""
    async with calling() as caller:
        settings, plan = caller.emulator.settings, caller.emulator.plan
        url, headers = f"{caller.emulator.url}/_emulator/{door}", {"Content-Type": "application/json"}
        async with caller.http.post(url, data=body, headers=headers) as response:
            assert response.status == 400
            assert word in (await response.json())["error"]
        assert caller.emulator.settings == settings
        assert caller.emulator.plan is plan


async def test_a_long_value_is_not_repeated_whole() -> None:
    """A complaint stays readable."""
    async with calling() as caller:
        status, reply = await caller.post("/_emulator/settings", {"window": "x" * 100_000, "y" * 100_000: 1})
        assert (status, len(reply["error"]) < 2000) == (400, True)


async def test_own_answers_take_the_place_of_the_stand_in() -> None:
    """A caller's own recognizer gets the sides of a picture and the request's parameters."""
    asked: list[tuple[str, int, int, dict[str, str]]] = []

    class Echo:
        def may_call(self, service: str, model: str) -> bool | None:
            return True

        async def answer(
            self, service: str, picture: Picture, options: Mapping[str, str], model: str | None = None
        ) -> Sequence[Guess]:
            asked.append((service, picture.width, picture.height, dict(options)))
            return [Guess("回声", 0.5)]

    async with calling(answers=Echo()) as caller:
        reply = await caller.call("plant", picture(40, 30), baike_num=1)
        assert [row["name"] for row in reply["result"]] == ["回声"]
    assert asked == [("plant", 40, 30, {"baike_num": "1"})]


async def test_serve_forever_announces_itself_and_ends_when_cancelled() -> None:
    """The address is told once it listens; after cancellation nobody listens there."""
    announced: asyncio.Queue[Emulator] = asyncio.Queue()
    task = asyncio.create_task(serve_forever(Settings(), "127.0.0.1", 0, None, announced.put_nowait))
    url = (await asyncio.wait_for(announced.get(), 60)).url
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/_emulator/counters") as response:
            assert response.status == 200
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(f"{url}/_emulator/counters")


async def test_address_in_use_is_an_error_of_its_own_kind() -> None:
    """A second emulator on the same port fails with OSError, and the first one goes on."""
    async with calling() as caller:
        port = int(caller.emulator.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with serve(port=port):
                pass
        assert await caller.code("dish", IMAGE) == 0


async def test_ipv6_address_is_a_usable_url() -> None:
    """The address stands in brackets."""
    async with calling(host="::1") as caller:
        assert caller.emulator.url.startswith("http://[::1]:")
        assert await caller.code("dish", IMAGE) == 0
