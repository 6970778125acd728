"""Readers give a value for any file, reply or manifest: many mutations of real ones, always the same.

BATCHREC_FUZZ multiplies the number of cases (default 1); each further one is another case, not the same again.
"""

import csv
import io
import json
import os
import random
import re
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from batchrec import images
from batchrec.api.account import read_token
from batchrec.api.client import parse_reply
from batchrec.api.codes import WORDS
from batchrec.api.services import LIMITS_2024, SERVICES, Service
from batchrec.engine.rows import Asked, answered
from batchrec.errors import CredentialsRefused, JobError
from batchrec.exact_json import loads
from batchrec.images.judge import FORMATS
from batchrec.outputs.csv import COLUMNS, CsvOutput
from batchrec.outputs.jsonl import JsonlOutput
from batchrec.sources import open_sources
from batchrec.sources.keys import normal, printable
from batchrec.sources.rows import READERS, Lines
from batchrec.values import Answer, Failure, ImageLimits, InputEntry, Kind, Notice, Prepared, Reply, Task, Treatment

SCALE = float(os.environ.get("BATCHREC_FUZZ", "1"))

PHOTOS = Path(__file__).parent.parent / "jobs" / "photos"

drawn = settings(max_examples=max(10, round(300 * SCALE)), deadline=None, derandomize=True, database=None)
"""For what hypothesis makes up."""


def cases(count: int) -> Iterator[random.Random]:
    """A generator of random numbers for each case; the n-th is the same in every run."""
    for number in range(round(count * SCALE)):
        yield random.Random(number)


# -- mutations


def flip(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """A few bits, mostly near the beginning, where the headers are."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[spot(data, rng)] ^= 1 << rng.randrange(8)


def length(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """A number of 1, 2 or 4 bytes that lies about a length, a size or a place."""
    size, at = rng.choice((1, 2, 4)), spot(data, rng)
    top = 1 << 8 * size
    value = rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, len(data) % top, rng.randrange(top)))
    data[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))


def cut(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """The end is missing, or a piece of the middle."""
    at = rng.randrange(len(data))
    del data[at : rng.choice((len(data), at + rng.randint(1, 64)))]


def double(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """A piece stands there again, here or elsewhere."""
    at = spot(data, rng)
    piece = data[at : at + rng.choice((1, 4, 16, 200))] * rng.choice((1, 1, 2, 40))
    data[(where := spot(data, rng)) : where] = piece


def splice(data: bytearray, rng: random.Random, corpus: list[bytes]) -> None:
    """It goes on as another sample does."""
    other = rng.choice(corpus)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def noise(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """Bytes that were never there."""
    at = spot(data, rng)
    data[at : at + rng.choice((0, 8))] = rng.randbytes(rng.choice((1, 8, 60)))


def spot(data: bytearray, rng: random.Random) -> int:
    """A place in it, every other time among the first hundred bytes."""
    return rng.randrange(min(len(data), 100) if rng.random() < 0.5 else len(data))


Mutation = Callable[[bytearray, random.Random, list[bytes]], None]
MUTATIONS: tuple[Mutation, ...] = (flip, flip, length, length, cut, double, splice, noise)


def mutated(corpus: list[bytes], rng: random.Random, more: tuple[Mutation, ...] = ()) -> bytes:
    """A sample after one to four mutations."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(MUTATIONS + more)(data, rng, corpus)
    return bytes(data)


# -- pictures

SMALL = ImageLimits(base64_bytes=4_000, min_side=15, max_side=40)
"""Limits that the samples run into, so that every way of repair is gone."""

LONGEST = 10.0
"""Seconds of the processor's time for one case; the slowest that is known takes 1.5."""

CORRECTIONS = {"bytes after the image removed", "end restored", "damaged or oversized metadata removed"}
"""Changes that keep every pixel and are made without `input.repair` too."""

MOST_MIB = 1600
"""Memory that MAX_DECODED_BYTES keeps the process under, whatever a header claims."""


def samples() -> list[bytes]:
    """Pictures in every format that Pillow writes; in every mode and many ways for known formats."""
    Image.init()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    ways: list[tuple[str, dict[str, Any]]] = [(form, {}) for form in sorted(Image.SAVE)]
    ways += [("JPEG", {"progressive": True, "exif": exif, "comment": b"words"}), ("JPEG", {"dpi": (72, 72)})]
    ways += [("PNG", {"exif": exif, "dpi": (72, 72)}), ("WEBP", {"lossless": True, "exif": exif})]
    ways += [("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")]
    ways += [(form, {"save_all": True}) for form in ("GIF", "PNG", "WEBP", "TIFF", "AVIF")]
    modes = ("RGB", "L", "P", "1", "RGBA", "CMYK", "I;16", "LA", "F")
    known = {form.name for form in FORMATS}
    found = [data for form, way in ways if form in known for mode in modes if (data := sample(form, mode, way))]
    found += [data for form, way in ways if form not in known if (data := sample(form, "RGB", way))]
    photos = sorted(PHOTOS.rglob("*.jpg"), key=lambda path: path.stat().st_size)[:3]
    return found + [path.read_bytes() for path in photos]


def sample(form: str, mode: str, way: dict[str, Any]) -> bytes | None:
    """A small picture with something in it; None where the format has no such mode."""
    grey = Image.linear_gradient("L").resize((52, 36))
    colours = Image.merge("RGB", (grey, grey.rotate(180), Image.radial_gradient("L").resize(grey.size)))
    image = colours.convert("L").convert(mode) if mode in {"I;16", "F", "LA"} else colours.convert(mode)
    options = {"append_images": [image.rotate(90)], **way} if "save_all" in way else way
    file = io.BytesIO()
    try:
        image.save(file, form, **options)
    except (OSError, ValueError, KeyError, NotImplementedError, AttributeError, RuntimeError, Warning):
        return None
    return file.getvalue()


def chunks(data: bytearray, rng: random.Random, _: list[bytes]) -> None:
    """A PNG whose chunks are doubled, left out, swapped or altered, with checksums that agree."""
    if not data.startswith(b"\x89PNG"):
        return
    parts, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        parts.append(bytes(data[at + 4 : at + 8 + min(size, len(data))]))
        at += 12 + size
    place = rng.randrange(len(parts)) if parts else 0
    match rng.randrange(4):
        case 0:
            parts[place:place] = parts[place : place + 1] * rng.choice((1, 2, 30))
        case 1:
            del parts[place : place + 1]
        case 2:
            rng.shuffle(parts)
        case _:
            parts[place : place + 1] = [altered(part, rng) for part in parts[place : place + 1]]
    data[8:] = b"".join(struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)


def altered(chunk: bytes, rng: random.Random) -> bytes:
    """The chunk with its payload or its kind changed."""
    if rng.random() < 0.2:
        kind = rng.choice((b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iTXt", b"gAMA"))
        return kind + chunk[4:]
    data = bytearray(chunk[4:] or b"\0")
    rng.choice((flip, length, cut, double))(data, rng, [])
    return chunk[:4] + data


def test_pictures_of_every_kind_and_damage() -> None:
    """The judge and the repair give what the service takes, or say why not; in bounded time and memory."""
    corpus = samples()
    assert len(corpus) > 60
    for number, rng in enumerate(cases(20_000)):
        data = mutated(corpus, rng, (chunks,) * 2)
        limits, repair, upright = rng.choice((LIMITS_2024, SMALL)), rng.random() < 0.8, rng.random() < 0.5
        began = time.process_time()
        outcome = images.prepare(data, limits, Treatment(repair=repair, upright=upright))
        glance = images.as_it_is(data, limits, Treatment(upright=upright))
        assert time.process_time() - began < LONGEST, number
        assert glance is None or glance == outcome, number
        assert_sound(outcome, data, limits, repair, upright, number)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MOST_MIB << (20 if sys.platform == "darwin" else 10)


def assert_sound(
    outcome: Prepared | Failure, data: bytes, limits: ImageLimits, repair: bool, upright: bool, number: int
) -> None:
    """A failure of the image with a known word, or bytes that come back as they are when judged again."""
    if isinstance(outcome, Failure):
        assert (outcome.kind, outcome.counted) == (Kind.IMAGE, False), number
        assert outcome.code in WORDS, number
        assert len(outcome.message) < 300, number
        return
    assert outcome.repaired or outcome.data == data, number
    assert repair or CORRECTIONS.issuperset(outcome.repaired) or (upright and images.TURNED in outcome.repaired), number
    assert images.prepare(outcome.data, limits, Treatment(repair=repair, upright=upright)) == Prepared(outcome.data), (
        number
    )


# -- replies

REPLIES = {
    "advanced_general": '{"log_id":1859031846213379741,"result_num":2,"result":[{"score":0.87,"root":"商品-家具",'
    '"keyword":"餐桌","baike_info":{"baike_url":"http://baike.baidu.com/item/x","description":"桌·子"}},'
    '{"score":0.19,"root":"Logo","keyword":"椅子"}]}',
    "object_detect": '{"log_id":895582300,"result":{"width":486,"top":76,"left":134,"height":394}}',
    "dish": '{"log_id":7357081719365269362,"result_num":2,"result":[{"calorie":"119","has_calorie":true,"name":"酸汤鱼"'
    ',"probability":"0.396031"},{"has_calorie":false,"name":"=非菜","probability":"0.1"}]}',
    "car": '{"log_id":4086212218842203806,"location_result":{"width":288,"top":35.5,"height":224,"left":164},'
    '"color_result":"黑色","result":[{"score":0.55,"name":"宾利飞驰","year":"2017"},{"score":6.4e-05,"name":"奥迪TT",'
    '"year":"无年份信息"}]}',
    "logo": '{"log_id":843411868,"result_num":1,"result":[{"type":0,"name":"科颜氏","probability":0.99998807907104,'
    '"location":{"width":296,"top":20,"height":128,"left":23}}]}',
    "animal": '{"log_id":7392482912853822863,"result":[{"score":"0.993811","name":"叉角羚","baike_info":{}},'
    '{"score":"0.000289439","name":"印度羚"}]}',
    "plant": '{"log_id":1705495792822072357,"result":[{"score":0.9999765,"name":"蒲公英"}]}',
    "easydl_classification": '{"log_id":363737653,"results":[{"name":"猫","score":0.95},{"name":"[default]",'
    '"score":0.05}]}',
    "easydl_detection": '{"log_id":1,"results":[{"location":{"height":61,"left":3,"top":2.5,"width":40},"name":"猫",'
    '"score":0.9}]}',
    "multi_object_detect": '{"log_id":5,"result":[{"name":"人","score":0.97,"location":{"left":164,"top":35,"width":288'
    ',"height":224}}]}',
    "ingredient": '{"log_id":4834194841,"result_num":1,"result":[{"name":"黄秋葵","score":0.65}]}',
    "landmark": '{"log_id":3450013539,"result":{"landmark":"狮身人面像"}}',
    "currency": '{"log_id":4247844653395235754,"result":{"currencyName":"新加坡元","hasdetail":1,"currencyCode":"SGD",'
    '"year":"2004年","currencyDenomination":"50元"}}',
    "redwine": '{"log_id":2471272194,"result":{"wineNameCn":"波斯塔瓦经典赤霞珠品丽珠半甜红葡萄酒","hasdetail":1}}',
}
"""A reply of every service as its pages print it."""

ERRORS = (
    b'{"error_code":18,"error_msg":"Open api qps request limit reached","log_id":7}',
    b'{"error_code":"216201","error_msg":"image format error"}',
    b'{"error":"invalid_client","error_description":"unknown client id"}',
    b"<html><body>502 Bad Gateway</body></html>",
)
ODD = (None, True, 0, -1, 2**63, 10**30, 1e308, 5e-324, "", "0", "\0\x9b\u2028", "=1+1", "\r\n", [], {}, [[]], [{}])
"""Values of unexpected types and sizes."""


def test_the_replies_are_all_there() -> None:
    """Every service has one, and it is read as an answer with a label."""
    assert set(REPLIES) == set(SERVICES)
    for name, text in REPLIES.items():
        verdict = parse_reply(Reply(200, text.encode()), SERVICES[name].reading)
        assert isinstance(verdict, Answer)
        assert verdict.labels


def rearranged(value: Any, rng: random.Random) -> Any:
    """JSON with something in it left out, doubled, or replaced by what nobody expects."""
    if rng.random() < 0.15:
        return rng.choice(ODD)
    if isinstance(value, dict):
        pairs = [(key, rearranged(entry, rng)) for key, entry in value.items() if rng.random() > 0.05]
        return dict(pairs) | ({str(rng.choice(ODD)): rng.choice(ODD)} if rng.random() < 0.05 else {})
    if isinstance(value, list):
        return [rearranged(entry, rng) for entry in value for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))]
    return value


def test_replies_of_every_service_and_damage() -> None:
    """A reply is a failure that the catalogue knows, or an answer that every output writes and gives back."""
    texts = [text.encode() for text in REPLIES.values()]
    for number, rng in enumerate(cases(40_000)):
        service = SERVICES[rng.choice(list(REPLIES))]
        if rng.random() < 0.5:
            body = mutated([REPLIES[service.name].encode(), *ERRORS], rng)
        else:
            value = rearranged(json.loads(rng.choice((REPLIES[service.name].encode(), rng.choice(texts)))), rng)
            body = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()
        status = rng.choice((200, 200, 200, 200, 302, 400, 413, 429, 500))
        assert_told(parse_reply(Reply(status, body), service.reading), service, rng, number)


def assert_told(verdict: Answer | Failure, service: Service, rng: random.Random, number: object) -> None:
    """A failure with a code that means something, or an answer that can be written and read."""
    if isinstance(verdict, Failure):
        assert verdict.counted, number
        assert isinstance(verdict.code, int) or verdict.code in WORDS or re.fullmatch(r"http_\d{3}", verdict.code), (
            number
        )
        assert len(verdict.message) <= 500, number
        return
    sent = Prepared(b"", (), rng.choice((1.0, 1.7)), rng.choice((1.0, 3.25)))
    asked = Asked("a step", service, "m" if service.custom else None)
    row = answered(asked, Task(1, 1, "家居/=1.jpg", 0, 1), b"\0" * 32, sent, verdict, 1, "2026-11-01T00:00:00Z").row
    assert row is not None
    line = JsonlOutput().encode(row)
    assert loads(line) == row, number
    assert len(line.decode().splitlines()) == 1, number
    assert_table(CsvOutput().encode(row), row, number)


def assert_table(data: bytes, row: dict[str, Any], number: object) -> None:
    """A spreadsheet finds a line for each label, in it the names as they are or behind an apostrophe."""
    lines = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    assert [len(cells) for cells in lines] == [len(COLUMNS)] * max(1, len(row["labels"])), number
    for label, cells in zip(row["labels"], lines, strict=False):
        name, shown = label.get("name") or "", cells[COLUMNS.index("name")]
        inner = re.sub("(?<=[;\t])(?=[=+@＝＋－＠-])", "'", name)
        assert shown == ("'" if inner != name or name[:1] in {*"=+-@＝＋－＠\t\r\n\0"} else "") + inner, number
    pieces = [piece for cells in lines for cell in cells for piece in re.split("[;\t]", cell)]
    assert not any(piece.startswith(("=", "@", "＝", "＋", "－", "＠", "\r")) for piece in pieces), number


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([1, "0.5", "非菜"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=10,
)
ENTRIES = st.dictionaries(
    st.sampled_from(["name", "keyword", "score", "probability", "root", "calorie", "year", "location", "landmark"]),
    JSON,
)
BODIES = st.dictionaries(
    st.sampled_from(["result", "results", "log_id", "error_code", "error_msg", "error", "location_result"]),
    JSON | ENTRIES | st.lists(ENTRIES, max_size=3),
)


@drawn
@given(st.sampled_from(sorted(SERVICES)), BODIES, st.sampled_from([200, 200, 200, 500]))
def test_replies_of_any_json(name: str, body: dict[str, Any], status: int) -> None:
    """The same for whatever JSON somebody may think of, numbers that JSON has not among it."""
    text = json.dumps(body).encode()
    assert_told(parse_reply(Reply(status, text), SERVICES[name].reading), SERVICES[name], random.Random(0), text)


# -- tokens

TOKENS = [
    b'{"refresh_token":"25.b55fe1d287227ca97aab219bb249b8ab.315360000.1798284651.282335-8574074","expires_in":2592000,'
    b'"scope":"public wise_adapt","session_key":"9mzdDZXu3dENdFZQurfg0Vz8slgSgvvOAUebNFzyzcpQ5EnbxbF+hfG9DQkpUVQdh4p6H'
    b'bQcAiz5RmuBAja1JJGgIdJI","access_token":"24.6c5e1ff107f0e8bcef8c46d3424a0e78.2592000.1485516651.282335-8574074",'
    b'"session_secret":"dfac94a3489fe9fca7c3221cbf7525ff"}',
    b'{"error":"invalid_client","error_description":"unknown client id"}',
    b"<html>log in to the hotel's network</html>",
]


def test_tokens_of_every_damage() -> None:
    """A token that lasts, a failure that may pass, or a refusal of the key in few words."""
    for number, rng in enumerate(cases(20_000)):
        body = mutated(TOKENS, rng)
        if rng.random() < 0.3:
            body = json.dumps(rearranged(json.loads(TOKENS[rng.randrange(2)]), rng)).encode()
        assert_token(Reply(rng.choice((200, 200, 401, 429, 503)), body), number)


@drawn
@given(
    st.dictionaries(st.sampled_from(["access_token", "expires_in", "error", "error_description"]), JSON),
    st.sampled_from([200, 401]),
)
def test_tokens_of_any_json(body: dict[str, Any], status: int) -> None:
    """The same for whatever JSON somebody may think of."""
    assert_token(Reply(status, json.dumps(body).encode()), body)


def assert_token(reply: Reply, number: object) -> None:
    """Check that a token is one that the account can use."""
    try:
        outcome = read_token(reply, 1.7e9)
    except CredentialsRefused as error:
        refusal = str(error)
    else:
        assert_lasting(outcome, number)
        return
    assert len(refusal) < 700, number


def assert_lasting(outcome: Any, number: object) -> None:
    """A token that can be used for a while, or a failure that may pass."""
    if isinstance(outcome, Failure):
        assert outcome.kind is Kind.TRANSIENT, number
        return
    assert outcome.text, number
    assert 1.7e9 < outcome.renew_at <= outcome.expires, number


# -- manifests

MANIFESTS = {
    ".txt": ["家居/家居_05.jpg\r\n\r\n../x/./a.jpg\n /abs//b.jpg\n.\nlast".encode(), "\ufeffa.jpg\n".encode()],
    ".csv": [
        'n,path,"the ""label"""\r\n1,"a,""b"".jpg",x\r\n"x\ny","two\nlines.jpg",\r\n,,\r\n3,家居.jpg,猫\r\n'.encode(),
        "\ufeffpath\n家居/家居_05.jpg\n\nb.jpg\n".encode(),
    ],
    ".jsonl": [
        '{"path": "家居.jpg"}\n\n{"n": [1, {"a": null}], "path": "\\ud83d\\ude00"}\r\n{"path":"\\u0000"}\n'.encode(),
        b'{"path": "\\udcff.jpg"}\n{"path": "x/\\ud83d.jpg", "path": "b"}\n',
    ],
    ".tsv": ['n\tpath\r1\t家居.jpg\r\r2\t"D:\\图片\\b.jpg"\r\x1a'.encode(), b"sep=;\r\npath;n\r\n~/a.jpg;\r\n;1\r\n"],
}


def assert_listed(suffix: str, data: bytes, number: object) -> None:
    """Paths, or a one-line message for a terminal that names the manifest and one of its lines."""
    complaints: tuple[str, ...] = ()
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
        for path in READERS[suffix](Lines(text, "m" + suffix), "path"):
            printable(normal(path))[0].encode()
    except JobError as error:
        complaints = error.complaints
    for complaint in complaints:
        found = re.match(rf'input\.manifest: "m{suffix}", line (\d+): ', complaint)
        assert found, number
        assert 1 <= int(found[1]) <= len(re.findall(b"[\n\r]", data)) + 1, number
        assert complaint.isprintable(), number
        assert len(complaint) < 3000, number


@pytest.mark.parametrize("suffix", MANIFESTS)
def test_manifests_of_every_damage(suffix: str) -> None:
    """Real ones, mutated: paths or a complaint, never anything else."""
    for number, rng in enumerate(cases(20_000)):
        assert_listed(suffix, mutated(MANIFESTS[suffix], rng), number)


ROWS = st.lists(
    st.text(max_size=12)
    | st.sampled_from(["path", '"', ",", "\n", "\r", "\0", "\ufeff", "a.jpg", "\x85", "\u2028", "{", '{"path":', "}"]),
    max_size=14,
).map("".join)


@drawn
@given(st.sampled_from(sorted(MANIFESTS)), ROWS | st.builds("path\n{}".format, ROWS), st.sampled_from(["utf-8", "gbk"]))
def test_manifests_of_any_text(suffix: str, text: str, encoding: str) -> None:
    """The same for whatever text somebody may think of, in the right encoding and in a wrong one."""
    data = text.encode(encoding, "ignore")
    assert_listed(suffix, data, data)


@pytest.mark.parametrize("suffix", MANIFESTS)
def test_manifests_lead_to_inputs(suffix: str, tmp_path: Path) -> None:
    """The same from the disk to the inputs: a name in UTF-8 for every row, whatever is there under it."""
    path = tmp_path / f"m{suffix}"
    for name in ("last", "a.jpg", "b.jpg", "家居.jpg", "b", "\U0001f600"):
        (tmp_path / name).write_bytes(b"image")
    samples = [
        data.decode().encode(encoding) for data in MANIFESTS[suffix] for encoding in ("utf-8", "gb18030", "utf-16")
    ]
    complaints: list[str] = []
    for number, rng in enumerate(cases(3_000)):
        path.write_bytes(mutated(samples, rng))
        try:
            for found in open_sources([], path.name, "path", ["**/x/**"], tmp_path, tmp_path / "results"):
                assert isinstance(found, InputEntry | Notice), number
                assert found.text.isprintable() if isinstance(found, Notice) else found.key.encode(), number
        except JobError as error:
            complaints += error.complaints
    assert [complaint for complaint in complaints if not complaint.isprintable()] == []
