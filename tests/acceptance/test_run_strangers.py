"""Servers that are not the emulator: odd framing, odd JSON, odd statuses, TLS. What they say arrives untouched."""

import base64
import gzip
import json

import pytest
from harness import KEY, SECRET, Place, images_of, lines
from stranger import AUTHORITY, TOKEN, Said, Stranger, reply, strange

LOG_ID = 2**64 + 12345
PRETTY = json.dumps(json.loads(reply("漂亮")), indent=2, ensure_ascii=False).replace("\n", "\r\n").encode()
ODD = {
    "close": Said(reply("关"), framing="close"),
    "chunked": Said(reply("块"), framing="chunked"),
    "silently closed": Said(reply("默"), framing="silently_closed"),
    "gzip": Said(gzip.compress(reply("压")), headers={"Content-Encoding": "gzip"}),
    "pretty": Said(b"\r\n" + PRETTY + b"\r\n\r\n"),
    "plain text": Said(reply("文"), headers={"Content-Type": "text/plain", "Set-Cookie": "a=b; path=/"}),
    "huge log_id": Said(reply("大", log_id=LOG_ID)),
    "line separators": Said(json.dumps(json.loads(reply("行\u2028尾\u0085")), ensure_ascii=False).encode()),
    "formula": Said(reply("=HYPERLINK(1)", "+1", "\tx", "@y", "-z")),
    "quotes": Said(reply('a"b,c\nd')),
    "error_code 0": Said(reply("零", error_code=0, error_msg="")),
    "more keys": Said(reply("多", result_extra={"深": [1.0, 1e300, None, True]}, number=0.1)),
    "nothing": Said(b'{"log_id": 5, "result_num": 0, "result": []}'),
    "strings": Said(b'{"log_id": "77", "result": [{"keyword": "k", "score": "0.5"}]}'),
    "duplicate": Said(reply("双", "双")),
}
"""Replies that are right in substance, one for each picture."""


def run_against(place: Place, stranger: Stranger, **limits: object) -> int:
    """The exit code of a run against that server."""
    place.endpoint = stranger.url
    place.job(limits={"qps": 50, **limits})
    return place.run().code


def test_right_answers_in_odd_clothes_are_answers(apart: Place) -> None:
    """Framing, encoding, white space and unusual JSON change nothing: the reply is stored with its values untouched."""
    keys = apart.pictures(len(ODD))
    replies = list(ODD.values())
    with strange(Stranger(lambda number, form: replies[number])) as stranger:
        assert run_against(apart, stranger) == 0
    assert len(stranger.calls) == len(keys)
    rows = apart.rows()
    assert images_of(rows) == keys
    sent = [json.loads(gzip.decompress(x.body) if "Content-Encoding" in x.headers else x.body) for x in replies]
    assert sorted(json.dumps(row["response"]) for row in rows) == sorted(map(json.dumps, sent))
    assert LOG_ID in [row["response"]["log_id"] for row in rows]
    (label,) = next(row["labels"] for row in rows if row["response"]["log_id"] == "77")
    assert label["score"] == 0.5
    assert apart.run().code == 0
    assert apart.summary()["calls"] == 0


def test_cells_of_the_csv_are_no_formulas(apart: Place) -> None:
    """Text that a spreadsheet would calculate gets an apostrophe, whatever the label or the file is called."""
    (apart.root / "家居").mkdir()
    apart.pictures(1)
    names = ("=HYPERLINK(1)", "+1", "\tx", "@y", "-z", "\rr", "plain")
    with strange(Stranger(lambda number, form: Said(reply(*names)))) as stranger:
        assert run_against(apart, stranger) == 0
    assert [cells["name"] for cells in apart.csv()] == [*(f"'{name}" for name in names[:-1]), "plain"]


BAD = {
    "empty": Said(b""),
    "null": Said(b"null"),
    "list": Said(b"[]"),
    "number": Said(b"18"),
    "no result": Said(b'{"log_id": 1}'),
    "wrong result": Said(b'{"log_id": 1, "result": "none"}'),
    "string code": Said(b'{"error_code": "282000", "error_msg": "internal error"}'),
    "nan": Said(b'{"log_id": NaN, "result": []}'),
    "half a character": Said(rb'{"log_id": 3, "result": [{"keyword": "a\ud83db", "score": 0.5}]}'),
    "two objects": Said(reply("a") + reply("b")),
    "redirect": Said(b"", 302, {"Location": "http://127.0.0.1:1/elsewhere"}),
    "error beside a status": Said(b'{"error_code": 18, "error_msg": "qps"}', 500),
    "throttled": Said(b"<html>slow down</html>", 429),
    "gateway": Said(b"<html>bad</html>", 502),
    "latin": Said('{"error_msg": "\xe9", "result": []}'.encode("latin-1")),
    "gzip that is none": Said(b"not gzip", headers={"Content-Encoding": "gzip"}),
    "deep": Said(b'{"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}
"""Replies that are no answer; the same picture asked again gets one."""


def test_wrong_answers_are_asked_again(apart: Place) -> None:
    """Whatever it is that came back: if it is not the service's result, the image is asked again and answered."""
    keys = apart.pictures(2 * len(BAD))
    bad = list(BAD.values())
    waiting, seen = list(bad), set()

    def answer(number: int, form: dict[str, str]) -> Said:
        new = form["image"] not in seen
        seen.add(form["image"])
        # Every other picture, so that the service does not look as if it failed for everybody.
        return waiting.pop() if new and waiting and len(seen) % 2 == 0 else Said(reply("好"))

    with strange(Stranger(answer)) as stranger:
        assert run_against(apart, stranger, concurrency=4) == 0
    assert images_of(apart.rows()) == keys
    assert len(stranger.calls) == len(keys) + len(bad)
    assert {label["name"] for row in apart.rows() for label in row["labels"]} == {"好"}


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (Said(b'{"error_code": 216201, "error_msg": "image format error"}'), "image", 216201),
        (Said(b'{"error_code": 216103, "error_msg": "param too long"}', 400), "request", 216103),
        (Said(b"too large", 413), "image", "http_413"),
        (Said(b"not here", 404), "request", "http_404"),
        (Said(b'{"error_code": 777777, "error_msg": "never seen"}'), "unknown", 777777),
    ],
    ids=lambda value: str(value) if isinstance(value, str | int) else "",
)
def test_a_failure_is_told_as_the_service_told_it(apart: Place, said: Said, kind: str, code: int | str) -> None:
    """The first picture is refused, the others answered: one row in failures.jsonl, of the right kind."""
    apart.pictures(12)
    refused: set[str] = set()

    def answer(number: int, form: dict[str, str]) -> Said:
        if number == 0:
            refused.add(form["image"])
        return said if form["image"] in refused else Said(reply("好"))

    with strange(Stranger(answer)) as stranger:
        assert run_against(apart, stranger, attempts=2) == 1
    (failure,) = apart.failures()
    assert (failure["kind"], failure["code"]) == (kind, code)
    assert failure["attempts"] == (2 if kind == "unknown" else 1)
    assert len(apart.rows()) == 11


def test_what_is_sent_is_what_the_service_documents(apart: Place) -> None:
    """POST with a form body, base64 of the file's bytes, the token in the query; key and secret in the token call."""
    (key,) = apart.pictures(1)
    with strange(Stranger(lambda number, form: Said(reply("好")))) as stranger:
        apart.endpoint = stranger.url
        apart.job(steps=[{"service": "advanced_general", "options": {"baike_num": 2}}])
        assert apart.run().code == 0
    ((path, headers),) = stranger.requests
    assert path == f"/rest/2.0/image-classify/v2/advanced_general?access_token={TOKEN['access_token']}"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(stranger.calls[0]["image"]) == (apart.root / key).read_bytes()
    assert stranger.calls[0]["baike_num"] == "2"
    assert stranger.tokens == [{"grant_type": "client_credentials", "client_id": KEY, "client_secret": SECRET}]


def test_a_reply_that_never_ends_is_cut(apart: Place) -> None:
    """A body beyond any reason is not read into memory: the image is asked again."""
    keys = apart.pictures(2)
    large = Said(b'{"result": "' + b"x" * (20 << 20) + b'"}')
    with strange(Stranger(lambda number, form: large if number == 0 else Said(reply("好")))) as stranger:
        assert run_against(apart, stranger) == 0
    assert images_of(apart.rows()) == keys


def test_a_slow_server_is_timed_out_and_asked_again(apart: Place) -> None:
    """No answer within limits.timeout: a transient failure, and the next attempt succeeds."""
    keys = apart.pictures(3)
    with strange(Stranger(lambda number, form: Said(reply("好"), after=0 if number else 1.5))) as stranger:
        assert run_against(apart, stranger, timeout=0.5) == 0
    assert images_of(apart.rows()) == keys
    assert len(stranger.calls) == 4


def test_69_a_certificate_that_nobody_trusts_is_named(apart: Place) -> None:
    """TLS is verified: a certificate nobody vouches for ends with 69 and says so; SSL_CERT_FILE makes it trusted."""
    keys = apart.pictures(2)
    with strange(Stranger(lambda number, form: Said(reply("好"))), tls=True) as stranger:
        apart.endpoint = stranger.url
        apart.job(limits={"patience": 0.5})
        done = apart.run()
        assert done.code == 69
        assert "certificate" in done.err
        assert (stranger.tokens, stranger.calls) == ([], [])
        AUTHORITY.cert_pem.write_to_path(apart.root / "authority.pem")
        assert apart.run(env={"SSL_CERT_FILE": str(apart.root / "authority.pem")}).code == 0
    assert images_of(apart.rows()) == keys


def test_names_that_are_hard_to_write(apart: Place) -> None:
    """Line breaks, quotes, spaces, no UTF-8: every file has its row or its failure, and every line is whole."""
    (apart.root / "家居").mkdir()
    apart.pictures(1)
    data = (apart.root / "家居" / "家居_0000.png").read_bytes()
    names = ["a\nb.png", 'q"uote.png', " 空 格 .png", "\u202egnp.png", "percent%20.png", "=cmd.png"]
    for number, name in enumerate(names):
        (apart.root / "家居" / name).write_bytes(data + bytes([number]))
    with open(bytes(apart.root / "家居") + b"/gbk-\xb2\xcb.png", "wb") as file:
        file.write(data)
    with strange(Stranger(lambda number, form: Said(reply("好")))) as stranger:
        assert run_against(apart, stranger) == 1
    assert images_of(apart.rows()) == sorted(["家居/家居_0000.png", *(f"家居/{name}" for name in names)])
    (failure,) = lines(apart.output / "failures.jsonl")
    assert failure["code"] == "unreadable"
    assert "gbk" in failure["image"]
    assert len({cells["image"] for cells in apart.csv()}) == len(names) + 2
