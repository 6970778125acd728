"""Servers, proxies, pictures, manifests and names that mean harm: bounded memory, no leak, and the run goes on."""

import io
import json
import os
import re
import ssl
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from harness import KEY, SECRET, Place, dead_endpoint, images_of, picture
from PIL import Image
from rogue import GOOD, Proxy, drips, floods, http, listening, metered, peak_mib, proxy_that_says, rogue, says, swollen
from stranger import AUTHORITY, TOKEN, Said, Stranger, certified, reply, strange
from terminal import on_terminal

MIB = 1 << 20

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What a terminal obeys, but for tab and line end."""

# -- replies

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
KEPT = GOOD.replace(b"Connection: close\r\n", b"")
PACKED = swollen(b'{"log_id":1,"result":[],"more":"', gzip=True)

WITHOUT_END = {
    "plain": floods(OK + b"Content-Length: 1073741824\r\n\r\n", b"x" * MIB),
    "chunked": floods(CHUNKED, b"100000\r\n" + b"x" * MIB + b"\r\n"),
    "till closed": floods(OK + b"\r\n", b"x" * MIB),
    "gzip": says(OK + b"Content-Encoding: gzip\r\n\r\n" + PACKED),
    "deflate": says(OK + b"Content-Encoding: deflate\r\n\r\n" + swollen(b"{")),
    "one header": floods(OK + b"X: ", b"x" * MIB),
    "headers": floods(OK, b"X: y\r\n" * 10_000),
    "long headers": floods(OK, b"X: " + b"y" * 8_000 + b"\r\n"),
    "a header of 10 MB": says(OK + b"X: " + b"y" * (10 * MIB) + b"\r\nContent-Length: 0\r\n\r\n"),
    "reason": floods(b"HTTP/1.1 200 ", b"x" * MIB),
    "chunk extension": floods(CHUNKED + b"5;", b"x" * MIB),
    "trailers": floods(CHUNKED + b"0\r\n", b"X: y\r\n" * 10_000),
    "line ends": floods(b"", b"\r\n" * 100_000),
    "upgrade": floods(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"x" * MIB),
    "no content": floods(b"HTTP/1.1 204 No Content\r\n\r\n", b"x" * MIB),
    "junk behind it": floods(KEPT, b"x" * MIB),
}
"""Replies of a gigabyte, in every part of HTTP that has no end of its own."""

WHOLE = {"junk behind it"}
"""Of these, what may be taken for the answer that it begins with."""

THROWN_AWAY = {"line ends", "chunk extension"}
"""Of these, what is read and forgotten for as long as limits.timeout allows."""


def test_replies_without_end_are_cut(apart: Place) -> None:
    """Whichever part of a reply never ends: little of it is taken, memory is bounded, the image is asked again."""
    keys = apart.pictures(2 * len(WITHOUT_END))
    # Every other call, so that the service does not look as if it failed for everybody.
    kinds = dict(zip(range(1, 2 * len(WITHOUT_END), 2), WITHOUT_END, strict=True))
    with rogue(lambda number: WITHOUT_END[kinds[number]] if number in kinds else says(GOOD)) as server:
        apart.endpoint = server.url
        apart.job(limits={"concurrency": 4, "attempts": 20, "timeout": 20})
        assert apart.run(under=metered(apart.root / "peak")).code == 0
    assert images_of(apart.rows()) == keys
    assert 0 <= len(keys) + len(WITHOUT_END) - server.calls <= len(WHOLE)
    assert {label["name"] for row in apart.rows() for label in row["labels"]} == {"好"}
    greedy = {kinds[call] for call, sent in server.sent.items() if sent > 40 * MIB}
    assert greedy <= THROWN_AWAY
    assert peak_mib(apart.root / "peak") < 250


def test_replies_that_swell_when_read_are_small(apart: Place) -> None:
    """JSON of empty objects takes 25 times its bytes as values: what is allowed is answered, the rest asked again."""
    keys = apart.pictures(8)
    allowed, beyond = (http(b'{"log_id":1,"result":[' + b"{}," * n + b"{}]}") for n in (600_000, 5_000_000))
    with rogue(lambda number: says(beyond if number in (1, 3) else allowed if number < 6 else GOOD)) as server:
        apart.endpoint = server.url
        apart.job(limits={"concurrency": 4, "timeout": 20})
        done = apart.run("--log-level", "info", under=metered(apart.root / "peak"))
    assert done.code == 0
    assert done.err.count("the reply is larger than 2 MB") == 2
    assert images_of(apart.rows()) == keys
    assert peak_mib(apart.root / "peak") < 500


def test_a_reply_of_too_many_labels_is_asked_again(apart: Place) -> None:
    """More than 1,000 labels are no result of the service: none of them is written, and the image is asked again."""
    keys = apart.pictures(2)
    many = http(json.dumps({"result": [{"keyword": "x", "score": 0.5, "root": ""}] * 1_001}).encode())
    with rogue(lambda number: says(many if number == 1 else GOOD)) as server:
        apart.endpoint = server.url
        apart.job(limits={"concurrency": 1})
        done = apart.run("--log-level", "info")
    assert done.code == 0
    assert "1,001 labels; at most 1,000 are taken (no_result)" in done.err
    assert images_of(apart.rows()) == keys
    assert [len(row["labels"]) for row in apart.rows()] == [1, 1]
    assert server.calls == 3


def test_2_a_pattern_that_would_not_end(apart: Place) -> None:
    """A pattern of a strange job file that takes 2**n steps for n letters is refused before anything is sent."""
    apart.pictures(1)
    with rogue(lambda number: says(GOOD)) as server:
        apart.endpoint = server.url
        steps = [
            {"service": "advanced_general"},
            {"service": "dish", "when": {"step": "advanced_general", "label": "(好+)+x"}},
        ]
        apart.job(steps=steps)
        done = apart.run()
    assert done.code == 2
    assert "recognize[1].when.label" in done.err
    assert server.calls == 0


def test_interim_replies_without_end_time_out(apart: Place) -> None:
    """A server that says "100 Continue" for ever holds the run up for limits.timeout, and fills no memory."""
    keys = apart.pictures(2)
    endless = floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)
    with rogue(lambda number: says(GOOD) if number else endless) as server:
        apart.endpoint = server.url
        apart.job(limits={"concurrency": 1, "timeout": 1})
        assert apart.run(under=metered(apart.root / "peak")).code == 0
    assert images_of(apart.rows()) == keys
    assert peak_mib(apart.root / "peak") < 400


@pytest.mark.parametrize("start", [OK + b"X: ", OK + b"Content-Length: 1000\r\n\r\n{"], ids=["headers", "body"])
def test_a_reply_that_drips_times_out(apart: Place, start: bytes) -> None:
    """A byte now and then does not extend limits.timeout, which is for the whole call."""
    keys = apart.pictures(3)
    over = threading.Event()
    with rogue(lambda number: drips(start, over, 0.05) if number == 1 else says(GOOD)) as server:
        apart.endpoint = server.url
        apart.job(limits={"timeout": 0.5})
        done = apart.run("--log-level", "info")
        over.set()
    assert done.code == 0
    assert "no reply within limits.timeout" in done.err
    assert images_of(apart.rows()) == keys
    assert server.calls == len(keys) + 1


TYPES = (
    *(
        "text/html",
        "image/png",
        "application/octet-stream",
        "application/json; charset=gbk",
        "text/plain; charset=utf-16",
    ),
    *("multipart/form-data", "nonsense", "", ";;;", "x" * 8_000, "application/x-www-form-urlencoded", "\xff\xfe"),
)


def test_a_wrong_content_type_changes_nothing(apart: Place) -> None:
    """What counts is the body: whatever type or charset is claimed, the answer is read as the JSON it is."""
    keys = apart.pictures(len(TYPES))
    replies = [http(reply("文"), f"Content-Type: {kind}") for kind in TYPES]
    with rogue(lambda number: says(replies[number])) as server:
        apart.endpoint = server.url
        apart.job()
        assert apart.run().code == 0
    assert images_of(apart.rows()) == keys
    assert server.calls == len(keys)


# -- redirects


def redirects(url: str) -> Iterator[bytes]:
    """Every kind of redirect, to another server."""
    for status in (301, 302, 303, 307, 308):
        yield http(b"", f"Location: {url}/elsewhere", f"Refresh: 0; url={url}", status=f"{status} Elsewhere")
    yield http(reply("好"), f"Location: {url}/elsewhere", f"Content-Location: {url}", status="201 Created")


def test_a_redirect_of_a_call_is_not_followed(apart: Place) -> None:
    """The other server sees neither a request nor the token; the image is asked again where it was."""
    keys = apart.pictures(12)
    with rogue(lambda number: says(GOOD)) as other:
        there = list(redirects(other.url))
        with rogue(lambda number: says(there.pop() if number % 2 and there else GOOD)) as server:
            apart.endpoint = server.url
            apart.job(limits={"concurrency": 1})
            assert apart.run().code == 0
    assert images_of(apart.rows()) == keys
    assert other.heads == []


def test_69_a_redirect_of_the_token_call_is_not_followed(apart: Place) -> None:
    """Key and secret go to the endpoint and nowhere else; without a token nothing is asked."""
    apart.pictures(1)
    with rogue(lambda number: says(GOOD)) as other:
        there = list(redirects(other.url))
        with rogue(lambda number: says(GOOD), token=says(there[3])) as server:
            apart.endpoint = server.url
            apart.job(limits={"patience": 0.3})
            done = apart.run()
    assert done.code == 69
    assert "HTTP 307" in done.err
    assert SECRET not in done.err
    assert (server.calls, other.heads) == (0, [])


# -- proxies


@contextmanager
def proxied(seen: list[str], passed: bytearray) -> Iterator[str]:
    """A proxy that works, with a name and a password; its address."""
    with listening(type("Seeing", (Proxy,), {"seen": seen, "passed": passed})) as port:
        yield f"http://me:its-password@127.0.0.1:{port}"


def trusting(place: Place) -> dict[str, str]:
    """The environment in which the authority of the tests is trusted."""
    AUTHORITY.cert_pem.write_to_path(place.root / "authority.pem")
    return {"SSL_CERT_FILE": str(place.root / "authority.pem")}


def test_a_proxy_sees_only_where_calls_go(apart: Place) -> None:
    """Through a proxy TLS is verified end to end: it sees the host, and neither key, secret nor token."""
    keys = apart.pictures(3)
    seen: list[str] = []
    passed = bytearray()
    with strange(Stranger(lambda number, form: Said(reply("好"))), tls=True) as stranger, proxied(seen, passed) as url:
        apart.endpoint = stranger.url
        apart.job(limits={"patience": 0.3})
        done = apart.run(env={"HTTPS_PROXY": url})
        assert done.code == 69
        assert "certificate" in done.err
        assert (stranger.tokens, stranger.calls) == ([], [])
        assert apart.run(env={"HTTPS_PROXY": url, **trusting(apart)}).code == 0
    assert images_of(apart.rows()) == keys
    assert len(stranger.calls) == len(keys)
    assert {head.splitlines()[0] for head in seen} == {f"CONNECT {stranger.url.removeprefix('https://')} HTTP/1.1"}
    assert len(passed) > 1000
    everything = "".join(seen).encode() + passed
    assert not [
        word for word in (KEY, SECRET, TOKEN["access_token"], "image-classify") if str(word).encode() in everything
    ]


BROKEN = {
    "407": http(b"", status="407 Proxy Authentication Required"),
    "502": http(b"x" * 1000, status="502 Bad Gateway"),
    "nothing": b"",
    "ssh": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a page": http(b"<html>log in to the hotel's network</html>"),
    "no tls": b"HTTP/1.1 200 OK\r\n\r\nhello",
}
"""What a proxy says to CONNECT, if it does not connect."""


def test_69_a_proxy_that_does_not_connect_costs_no_call(apart: Place) -> None:
    """Refusing, talking nonsense or dead: 69, the line names the proxy and not its password, no call is counted."""
    apart.pictures(2)
    with strange(Stranger(lambda number, form: Said(reply("好"))), tls=True) as stranger:
        apart.endpoint = stranger.url
        apart.job(limits={"patience": 0.2})
        env = trusting(apart)
        assert apart.run("--limit", "1", env=env).code == 0  # from here on there is a token
        assert apart.counted() == 1
        for name, said in BROKEN.items():
            with listening(proxy_that_says(said)) as port:
                done = apart.run(env={**env, "HTTPS_PROXY": f"http://me:its-password@127.0.0.1:{port}"})
            assert_no_proxy(done.code, done.err, name)
        done = apart.run(env={**env, "HTTPS_PROXY": dead_endpoint().replace("//", "//me:its-password@")})
        assert_no_proxy(done.code, done.err, "dead")
        assert len(stranger.calls) == 1
    assert apart.counted() == 1


def assert_no_proxy(code: int, err: str, name: str) -> None:
    """How a run without a proxy ends."""
    assert code == 69, (name, err)
    assert "proxy" in err or "TLS" in err, (name, err)
    assert "its-password" not in err


def test_2_a_proxy_that_is_none_is_not_passed_by(apart: Place) -> None:
    """HTTPS_PROXY with another kind of address is refused before anything is sent."""
    apart.pictures(1)
    with strange(Stranger(lambda number, form: Said(reply("好"))), tls=True) as stranger:
        apart.endpoint = stranger.url
        apart.job()
        done = apart.run(env={**trusting(apart), "HTTPS_PROXY": "socks5://me:its-password@127.0.0.1:1080"})
    assert done.code == 2
    assert "HTTPS_PROXY: expected http://host:port" in done.err
    assert "its-password" not in done.err
    assert (stranger.tokens, stranger.calls) == ([], [])


# -- TLS


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    began = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "self-signed.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def contexts(folder: Path) -> dict[str, ssl.SSLContext]:
    """TLS that must be refused, by a word of the reason."""
    return {
        "expired": certified(not_after=datetime(2020, 1, 1, tzinfo=UTC)),
        "self-signed": self_signed(folder),
        "mismatch": certified("elsewhere.example"),
    }


@pytest.mark.parametrize("reason", ["expired", "self-signed", "mismatch"])
def test_69_a_certificate_that_is_wrong_is_named(apart: Place, reason: str) -> None:
    """Expired, self-signed or another host's: nothing is sent, not even the key, and the line says what is wrong."""
    apart.pictures(2)
    stranger = Stranger(lambda number, form: Said(reply("好")))
    with strange(stranger, tls=contexts(apart.root)[reason]):
        apart.endpoint = stranger.url
        apart.job(limits={"patience": 0.3})
        done = apart.run(env=trusting(apart))
    assert done.code == 69
    assert "certificate" in done.err
    assert reason in done.err
    assert (stranger.tokens, stranger.calls) == ([], [])


# -- pictures


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG, with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def png(width: int, height: int, *extra: bytes, alpha: bool = False) -> bytes:
    """A real PNG, black all over; a large one unpacks to a thousand times its bytes."""
    packer = zlib.compressobj(1)
    line = bytes(1 + width * (4 if alpha else 1))
    pixels = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 6 if alpha else 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def icon(entry: bytes) -> bytes:
    """An icon of that one entry, which its list says has 256 pixels a side."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(entry), 22) + entry


def scans(number: int) -> bytes:
    """A progressive JPEG whose last scan is repeated, so that it has so many."""
    data = saved(Image.radial_gradient("L").resize((2_000, 1_500)), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * number + data[-2:]


def saved(image: Image.Image, **options: Any) -> bytes:
    """The picture as a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def test_decompression_bombs_stay_closed(apart: Place) -> None:
    """Too many bytes of pixels are refused by the header, texts that swell are dropped; large pictures go one by one.

    An icon has the size of its entry, whatever its list says.
    """
    keys = apart.pictures(2)
    apart.put("家居/pixels.png", png(12_000, 12_000, alpha=True))
    apart.put("家居/icon.png", icon(png(12_000, 12_000, alpha=True)))
    apart.put("家居/scans.jpg", scans(1_000))
    heads = {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0"}
    keys += [
        apart.put(f"家居/{name}.png", png(32, 32, chunk(name.encode(), head + swollen(b"", blocks=64))))
        for name, head in heads.items()
    ]
    large = [
        apart.put(f"家居/large{n}.png", wrap(png(6_000, 6_000, chunk(b"tEXt", b"n\0%d" % n), alpha=True)))
        for n, wrap in enumerate((bytes, bytes, icon, icon))
    ]
    with rogue(lambda number: says(GOOD)) as server:
        apart.endpoint = server.url
        apart.job()
        done = apart.run(under=metered(apart.root / "peak"))
    assert done.code == 1
    assert images_of(apart.rows()) == sorted(keys + large)
    codes = {failure["image"]: failure["code"] for failure in apart.failures()}
    assert codes == {
        "家居/pixels.png": "too_large",
        "家居/icon.png": "too_large",
        "家居/scans.jpg": "unsupported",
    }
    assert peak_mib(apart.root / "peak") < 800


def test_files_of_a_hundred_megabytes(apart: Place) -> None:
    """What is no picture is refused; what hangs on behind one, and a text of 100 MB in one, are left out."""
    (good,) = apart.pictures(1)
    apart.put("家居/none.jpg", b"\1")
    os.truncate(apart.root / "家居/none.jpg", 100 * MIB)
    junk = apart.put("家居/junk.jpg", picture(2, "JPEG"))
    os.truncate(apart.root / junk, 100 * MIB)
    text = apart.put("家居/text.png", png(32, 32, chunk(b"tEXt", b"k\0" + bytes(100 * MIB))))
    sent: list[bytes] = []
    with strange(Stranger(lambda number, form: sent.append(form["image"].encode()) or Said(reply("好")))) as stranger:
        apart.endpoint = stranger.url
        apart.job()
        done = apart.run(under=metered(apart.root / "peak"))
    assert done.code == 1
    assert images_of(apart.rows()) == sorted([good, junk, text])
    assert {failure["image"]: failure["code"] for failure in apart.failures()} == {"家居/none.jpg": "not_an_image"}
    assert max(map(len, sent)) < 100_000
    assert peak_mib(apart.root / "peak") < 900


# -- manifests


def test_a_manifest_names_files_and_nothing_else(apart: Place) -> None:
    """Ways up, absolute ways, addresses, `~`, NUL, pipes, devices: what is a picture is sent, nothing else ever is."""
    job = Place(apart.root / "a/b")
    job.root.mkdir(parents=True)
    (job.root / "~").mkdir()
    outside = apart.put("outside.png", picture(1))
    (apart.root / "secret.txt").write_text("hunter2 " * 99)
    job.put("two\nlines.png", picture(2))
    job.put("~/home.png", picture(3))
    os.mkfifo(job.root / "pipe.jpg")
    (job.root / "zero.jpg").symlink_to("/dev/zero")
    (job.root / "loop.jpg").symlink_to("loop.jpg")
    (job.root / "secret.jpg").symlink_to(apart.root / "secret.txt")
    good = ["../../outside.png", "two\nlines.png", "~/home.png", str(apart.root / outside)]
    bad = ["../../secret.txt", str(apart.root / "secret.txt"), "secret.jpg", "/etc/passwd", "~root/x.png", "nul\0.png"]
    bad += ["pipe.jpg", "zero.jpg", "loop.jpg", "http://169.254.169.254/a.png", "file:///etc/passwd", ".", "|id", "-rf"]
    bad += ["../" * 40 + "etc/shadow", "x" * 5_000, "$(id).png", "C:\\x.png", "/proc/self/mem", "/dev/stdin"]
    bad.append("d/" * 30_000 + "x.png")
    lines = [json.dumps(path) for path in (*good, *bad)]
    (job.root / "m.jsonl").write_text("".join(f'{{"path": {line}}}\n' for line in lines), encoding="utf-8")
    (job.root / "m.csv").write_bytes(b"path\r\n" + "".join(f'"{path}"\r\n' for path in (*good, *bad)).encode())
    with strange(Stranger(lambda number, form: Said(reply("好")))) as stranger:
        job.endpoint = stranger.url
        for name in ("m.csv", "m.jsonl"):
            job.job(input={"paths": [], "manifest": name})
            assert job.run().code == 1
            assert images_of(job.rows()) == sorted(good)
            codes = {failure["image"]: failure["code"] for failure in job.failures()}
            assert len(codes) == len(bad) - 1  # file:///etc/passwd is /etc/passwd
            assert {codes["../../secret.txt"], codes["secret.jpg"]} == {"not_an_image"}
            assert codes["nul\\x00.png"] == "unreadable"
            assert codes["x" * 5_000] == codes["d/" * 30_000 + "x.png"] == "unreadable"
    assert len(stranger.calls) == 3  # the picture outside has two names, and all are known the second time


@pytest.mark.parametrize("name", ["pipe.txt", "zero.csv", "gigabyte.jsonl", "binary.csv"])
def test_2_a_manifest_that_is_none(apart: Place, name: str) -> None:
    """A pipe, a device, a line without end or bytes without meaning: refused with a line, and nothing hangs."""
    match name:
        case "pipe.txt":
            os.mkfifo(apart.root / name)
        case "zero.csv":
            (apart.root / name).symlink_to("/dev/zero")
        case "gigabyte.jsonl":
            (apart.root / name).touch()
            os.truncate(apart.root / name, 1 << 30)
        case _:
            apart.put(name, picture(1))
    apart.endpoint = dead_endpoint()
    apart.job(input={"paths": [], "manifest": name})
    done = apart.run(under=metered(apart.root / "peak"))
    assert done.code == 2
    assert f'input.manifest: "{name}"' in done.err
    assert not STEERING.search(done.err)
    assert peak_mib(apart.root / "peak") < 150


# -- names and words

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x9d0;x\x9c\u202egnp.\r\x08\x7f"
NAMES = (
    *("=HYPERLINK(1).png", "+1.png", "-1.png", "@SUM(1).png", "\tx.png", "\rx.png", "=cmd|' 'A0.png"),
    *("＝1.png", "＠x.png", "a;=1;b.png", "a\t+1.png", "a;b.png"),
    *(f"a{EVIL}.png", "\u202egnp.exe.png", "a\nb.png", "[red]x.png", ":cat:.png", "%s%n.png", "\u2066x.png"),
)


def named(place: Place) -> list[str]:
    """A picture under each name, in the job file's own folder, and one under a name that is not UTF-8."""
    for number, name in enumerate(NAMES):
        place.put(name, picture(number))
    with open(os.fsencode(place.root) + b"/gbk-\xb2\xcb\x1b[2J.png", "wb") as file:
        file.write(picture(99))
    return sorted(NAMES)


def test_no_name_and_no_word_steers_a_terminal(apart: Place) -> None:
    """Whatever files are called and the service says: lines and rows show it in letters, files hold it as it is."""
    keys = named(apart)
    told = json.dumps({"error_code": 424242, "error_msg": f"new {EVIL}"}, ensure_ascii=False).encode()
    labels = reply(EVIL, "=1+1")
    with rogue(lambda number: says(http(told if number == 1 else labels))) as server:
        apart.endpoint = server.url
        apart.job(input={"paths": ["*.png"]}, limits={"concurrency": 1})
        assert apart.run("--log-level", "debug").code == 1
        said = [(apart.root / f"log-1.{end}").read_bytes().decode() for end in ("out", "err")]
        assert apart.batchrec("recognize", "a*.png", "g*.png", "--endpoint", server.url).code == 1
        said += [(apart.root / f"log-2.{end}").read_bytes().decode() for end in ("out", "err")]
    assert [STEERING.findall(text) for text in (said[0], said[1], said[3])] == [[], [], []]
    assert r"new \x1b]0;owned\x07" in said[1]
    # Rows stay JSON: a turn of direction stands in them as it is, which moves no cursor.
    assert set(STEERING.findall(said[2])) <= set("\u202e\u2066")
    shown = [json.loads(line) for line in said[2].splitlines()]
    assert images_of(shown) == [key for key in keys if key.startswith("a")]
    assert images_of(apart.rows()) == keys
    assert {label["name"] for row in shown + apart.rows() for label in row["labels"]} == {EVIL, "=1+1"}
    (failure,) = apart.failures()
    assert failure["image"] == "gbk-\\xb2\\xcb\x1b[2J.png"


ENDS = ("\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[1G")


def test_no_name_and_no_word_forges_a_line(apart: Place) -> None:
    """However lines end in a name or in what the service says: no line of log, progress or end begins with it."""
    for number, end in enumerate(ENDS):
        apart.put(f"{number}{end}ERROR forged by a name", picture(number))
    apart.put("bad\nERROR forged by a name", b"no picture")
    evil = "new" + "ERROR forged by a word".join(("", *ENDS, ""))
    codes = {1: 424242, 2: 216201, 3: 216630}
    told = {number: json.dumps({"error_code": code, "error_msg": evil}) for number, code in codes.items()}
    with rogue(lambda number: says(http(told[number].encode()) if number in told else GOOD)) as server:
        apart.endpoint = server.url
        apart.job(input={"paths": ["[0-9]*"]}, limits={"concurrency": 1})
        assert apart.run("--log-level", "debug").code == 1
        assert apart.batchrec("recognize", "bad*", "--endpoint", server.url).code == 1
    said = [(apart.root / f"log-{number}.err").read_bytes().decode() for number in (1, 2)]
    assert "forged by a word" in said[0]
    assert "forged by a name" in said[0]
    forged = [line for text in said for line in text.splitlines() if line.startswith("ERROR forged")]
    assert (forged, [STEERING.findall(text) for text in said]) == ([], [[], []])


def test_no_name_is_a_formula(apart: Place) -> None:
    """In the CSV a file name that a spreadsheet would calculate has an apostrophe, and no other is changed.

    Neither is there a formula where a spreadsheet separates at semicolons or tabs.
    """
    keys = named(apart)
    with rogue(lambda number: says(GOOD)) as server:
        apart.endpoint = server.url
        apart.job(input={"paths": ["*.png"]})
        assert apart.run().code == 1
    found = {cells["image"] for cells in apart.csv()}
    inside = {"a;=1;b.png": "'a;'=1;b.png", "a\t+1.png": "'a\t'+1.png"}
    failed = {"gbk-\\xb2\\xcb\x1b[2J.png"}
    assert found - failed == {inside.get(key, f"'{key}" if key[0] in "=+-@＝＠\t\r" else key) for key in keys}
    assert failed < found


def test_a_table_on_a_terminal_is_not_steered(apart: Place) -> None:
    """On a terminal too, with a live bar and a table of answers: names stand there in letters."""
    named(apart)
    apart.job(input={"paths": ["a*.png", ":*.png", "[[]*.png"]})  # few enough for the table to have them all
    argv = [sys.executable, "-m", "batchrec", "run", "furniture.toml"]
    code, shown = on_terminal(argv, apart.root, apart.env, seconds=40)
    assert code == 0
    assert r"\x0d\x08\x7f.png" in shown  # long names are cut at the front
    assert ":cat:.png" in shown
    assert "[red]x.png" in shown
    assert not re.search(r"\x1b\]|\x07|[\x80-\x9f]|[\u202a-\u202e\u2066-\u2069]", shown)
