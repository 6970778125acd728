"""One call: its body byte for byte, its address and headers, and what each reply means."""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec import redact
from batchrec.api.client import Client, make_request, parse_reply
from batchrec.api.services import SERVICES
from batchrec.values import Answer, Authorization, Failure, Kind, Reply

GENERAL = SERVICES["advanced_general"].reading

Option = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
Options = st.dictionaries(st.text("abc_", min_size=1).filter(lambda name: name != "image"), Option, max_size=4)


@settings(deadline=None)
@given(image=st.binary(max_size=2000), options=Options)
def test_form_body_is_urllibs_byte_for_byte(image: bytes, options: dict[str, Any]) -> None:
    """Quicker, and the same."""
    body = make_request(SERVICES["dish"], None, options).body(image)
    assert body == urlencode({"image": base64.b64encode(image).decode(), **options}).encode()


@settings(deadline=None)
@given(image=st.binary(max_size=2000), options=Options)
def test_json_body_holds_image_and_options(image: bytes, options: dict[str, Any]) -> None:
    """Any JSON parser reads the image and every option back, however large a number is."""
    body = make_request(SERVICES["easydl_detection"], "m", options).body(image)
    assert json.loads(body) == {"image": base64.b64encode(image).decode(), **options}


def test_json_body_without_options() -> None:
    """The image alone."""
    assert make_request(SERVICES["easydl_classification"], "m", {}).body(b"\xff") == b'{"image":"/w=="}'


def test_truth_is_written_in_words() -> None:
    """In a form as true and false, in JSON as what they are."""
    form = make_request(SERVICES["car"], None, {"output_brand": True, "other": False}).body(b"")
    assert form == b"image=&output_brand=true&other=false"
    assert make_request(SERVICES["easydl_detection"], "m", {"x": True}).body(b"") == b'{"image":"","x":true}'


def test_model_stands_in_the_path_escaped() -> None:
    """A model's name cannot leave its place in the address."""
    request = make_request(SERVICES["easydl_classification"], "a/../b?c", {})
    assert request.path == "/rpc/2.0/ai_custom/v1/classification/a%2F..%2Fb%3Fc"


class Recording:
    """A transport that notes what is posted and gives the same reply."""

    def __init__(self, reply: Reply | Failure) -> None:
        self.reply = reply
        self.posts: list[tuple[str, bytes, dict[str, str]]] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], upload: object = None) -> Reply | Failure:
        self.posts.append((url, body, dict(headers)))
        return self.reply


class Ticking:
    """A clock that is a quarter of a second later at every look."""

    at = 0.0

    def __call__(self) -> float:
        self.at += 0.25
        return self.at


async def test_call_goes_to_the_services_address_with_its_token() -> None:
    """Endpoint, path, query and content type; the latency is that of the call."""
    transport = Recording(Reply(200, b'{"log_id":1,"result":[{"keyword":"cat","score":0.5}]}'))
    client = Client("https://host", transport, Ticking())
    request = make_request(SERVICES["advanced_general"], None, {"baike_num": 1})
    answer = await client.call(request, request.body(b"\xfb"), Authorization(query="access_token=t"))
    assert isinstance(answer, Answer)
    assert answer.latency_ms == 250
    assert transport.posts == [
        (
            "https://host/rest/2.0/image-classify/v2/advanced_general?access_token=t",
            b"image=%2Bw%3D%3D&baike_num=1",
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
    ]


async def test_bearer_key_travels_as_a_header() -> None:
    """And the address has no query."""
    failure = Failure(Kind.TRANSIENT, "timeout", "")
    transport = Recording(failure)
    request = make_request(SERVICES["easydl_detection"], "m", {})
    bearer = Authorization(headers=(("Authorization", "Bearer k"),))
    assert await Client("https://host", transport, Ticking()).call(request, b"", bearer) is failure
    url, _, headers = transport.posts[0]
    assert url == "https://host/rpc/2.0/ai_custom/v1/detection/m"
    assert headers == {"Authorization": "Bearer k", "Content-Type": "application/json"}


ANSWER = b'{"log_id":1,"result":[]}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        # The code is read before the status.
        (200, b'{"error_code":18,"error_msg":"qps"}', Kind.THROTTLED, 18),
        (500, b'{"error_code":216201}', Kind.IMAGE, 216201),
        (429, b'{"error_code":17}', Kind.EXHAUSTED, 17),
        (401, b'{"error_code":110}', Kind.TOKEN, 110),
        (200, b'{"error_code":"110"}', Kind.TOKEN, 110),
        (200, b'{"error_code":6,"result":[]}', Kind.REFUSED, 6),
        (200, b'{"error_code":424242,"error_msg":"new"}', Kind.UNKNOWN, 424242),
        (200, b'{"error_code":-1}', Kind.UNKNOWN, -1),
        # Without a code the status speaks.
        (413, b"<html>too large</html>", Kind.IMAGE, "http_413"),
        (413, ANSWER, Kind.IMAGE, "http_413"),
        (429, b"", Kind.THROTTLED, "http_429"),
        (429, b'{"error_code":0}', Kind.THROTTLED, "http_429"),
        (403, b'{"code":"AccessDenied","message":"no"}', Kind.REQUEST, "http_403"),
        (404, b"<html/>", Kind.REQUEST, "http_404"),
        (500, b"", Kind.TRANSIENT, "http_500"),
        (502, b"<html>Bad Gateway</html>", Kind.TRANSIENT, "http_502"),
        (503, ANSWER, Kind.TRANSIENT, "http_503"),
        (302, b"", Kind.TRANSIENT, "http_302"),
        (301, ANSWER, Kind.TRANSIENT, "http_301"),
        # A body that is not the service's.
        (200, b"", Kind.TRANSIENT, "not_json"),
        (200, b"<html/>", Kind.TRANSIENT, "not_json"),
        (200, b"null", Kind.TRANSIENT, "not_json"),
        (200, b"[]", Kind.TRANSIENT, "not_json"),
        (200, b'"error_code"', Kind.TRANSIENT, "not_json"),
        (200, b'{"log_id":1,"result":[', Kind.TRANSIENT, "not_json"),
        (200, b'{"result":[{"keyword":"\xb5\xe7"}]}', Kind.TRANSIENT, "not_json"),
        (200, b"[" * 100_000, Kind.TRANSIENT, "not_json"),
        (200, b"[" * 100_000 + b"1" * 20, Kind.TRANSIENT, "not_json"),
        # JSON without the service's result, or with one of another type.
        (200, b"{}", Kind.TRANSIENT, "no_result"),
        (200, b'{"log_id":1}', Kind.TRANSIENT, "no_result"),
        (200, b'{"result":null}', Kind.TRANSIENT, "no_result"),
        (200, b'{"result":"cat"}', Kind.TRANSIENT, "no_result"),
        (200, b'{"result":{"keyword":"cat"}}', Kind.TRANSIENT, "no_result"),
        (200, b'{"result":["cat"]}', Kind.TRANSIENT, "no_result"),
        (200, b'{"error_code":"SDK108","error_msg":"timeout"}', Kind.TRANSIENT, "no_result"),
        (200, b'{"error_code":"' + b"9" * 5000 + b'"}', Kind.TRANSIENT, "no_result"),
        (200, b'{"error_code":true}', Kind.TRANSIENT, "no_result"),
    ],
)
def test_reply_that_is_no_answer(status: int, body: bytes, kind: Kind, code: int | str) -> None:
    """Kind and code of everything that may come back."""
    verdict = parse_reply(Reply(status, body), GENERAL)
    assert isinstance(verdict, Failure)
    assert (kind, code, True) == (verdict.kind, verdict.code, verdict.counted)


@pytest.mark.parametrize("number", [1_000, 1_001])
def test_more_than_a_thousand_labels_are_no_result(number: int) -> None:
    """A thousand labels are an answer; one more, and the call counts as one without a result."""
    body = b'{"result":[' + b",".join([b'{"keyword":"cat","score":0.5}'] * number) + b"]}"
    verdict = parse_reply(Reply(200, body), GENERAL)
    if number == 1_000:
        assert isinstance(verdict, Answer)
        assert len(verdict.labels) == number
    else:
        told = "the reply has 1,001 labels; at most 1,000 are taken"
        assert verdict == Failure(Kind.TRANSIENT, "no_result", told)


@pytest.mark.parametrize("body", [ANSWER, b'{"result":[],"error_code":0}', b'{"error_code":"0","result":[]}'])
def test_code_nought_is_no_error(body: bytes) -> None:
    """An answer is one without a code, or with 0."""
    verdict = parse_reply(Reply(200, body), GENERAL, 1.5)
    assert verdict == Answer(json.loads(body), (), 1.5)


@pytest.mark.parametrize("log_id", [1859031846213379741, 2**64 - 1, 2**64, 10**40])
def test_log_id_stays_exact(log_id: int) -> None:
    """With any number of digits."""
    verdict = parse_reply(Reply(200, b'{"log_id":%d,"result":[]}' % log_id), GENERAL)
    assert isinstance(verdict, Answer)
    assert verdict.reply["log_id"] == log_id


def test_message_is_short_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of the service go into files and logs: masked, and cut to 500 characters."""
    monkeypatch.setattr(redact, "_secrets", {"s3cret"})
    told = "token s3cret " + "x" * 1000
    for content in ({"error_code": 100, "error_msg": told}, {"error": "invalid_client", "error_description": told}):
        verdict = parse_reply(Reply(200, json.dumps(content).encode()), GENERAL)
        assert isinstance(verdict, Failure)
        assert verdict.message == ("token [hidden] " + "x" * 1000)[:500]


def test_undocumented_code_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody should look it up."""
    parse_reply(Reply(200, b'{"error_code":424242,"error_msg":"brand new"}'), GENERAL)
    assert ["424242" in message and "brand new" in message for message in caplog.messages] == [True]
