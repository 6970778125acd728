"""Images by URL: fetched once, cached, checked against private addresses, with every fault a row and its reason."""

import shutil
import signal
import ssl
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Place, emulating, picture, until
from rogue import listening
from stranger import AUTHORITY, certified
from webserver import BODY_BYTES, Web, serving, tunnel

from batchrec.emulator import Emulator, FaultPlan, Settings

LOGIN = "henry:s3cret-pass-77"
FAULTS = {
    "missing/1.jpg": ("fetch_404", "HTTP 404 Not Found"),
    "brotli/15.jpg": ("fetch_encoding", "the server sent Content-Encoding: br,"),
    "unpacked/16.jpg": ("fetch_encoding", "the body is not encoded as its Content-Encoding says (gzip)"),
    "reset/3.jpg": ("fetch_disconnected", "the connection broke"),
    "slow/4.jpg": ("fetch_timeout", "not fetched within input.fetch.timeout (1 s)"),
    "html/5.jpg": ("fetch_not_an_image", "the server sent no image (HTML)"),
    "loop/6.jpg": ("fetch_redirects", "more than 5 redirects"),
    "away/9?file:///etc/hosts": ("fetch_redirects", "a redirect leads to what is no URL of http or https"),
    "big/7.jpg": ("fetch_too_large", "more than input.fetch.max_bytes (2,000,000 bytes)"),
    "long/8.jpg": ("fetch_too_large", "more than input.fetch.max_bytes (2,000,000 bytes)"),
}
"""By path: code and beginning of the message of the failed row."""
GOOD = (
    *("ok/10.png", "webp/11.jpg", "busy/12.jpg", "shaky/13.jpg", "moved/14.jpg"),
    *("packed/17.png", "labelled/18.png"),
)
"""Paths that give an image, at the latest when they are asked again."""


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on loopback."""
    with serving() as running:
        yield running


def listed(place: Place, urls: list[str], *, private: bool = True, send: str = "bytes", **fetch: object) -> None:
    """A job with a manifest of these URLs."""
    place.put("list.txt", "\n".join(urls).encode())
    place.job(
        input={"paths": [], "manifest": "list.txt", "fetch": {"timeout": 20, "private": private, **fetch}},
        steps=[{"service": "advanced_general", "send": send}],
    )


def written(place: Place) -> bytes:
    """All bytes of all files below a place, and all names."""
    files = [path for path in place.root.rglob("*") if path.is_file() and path.name != "list.txt"]
    return b"\n".join(str(path).encode() + path.read_bytes() for path in files)


def test_every_fault_is_a_row_with_its_reason(place: Place, web: Web) -> None:
    """Each URL is one result or one failure of the kind `fetch`; the next run tries the failures again, and is no 1."""
    urls = [f"{web.url}/{path}" for path in (*FAULTS, *GOOD)]
    listed(place, urls, timeout=1, max_bytes="2 MB", per_host=8)
    done = place.run("--allow-private")
    assert done.code == 1, done.err
    assert ("every run tries them again" in done.err, "this may pass" in done.err) == (True, False)
    assert sorted(row["image"] for row in place.rows()) == sorted(urls[len(FAULTS) :])
    failures = {row["image"].removeprefix(f"{web.url}/"): row for row in place.failures()}
    assert set(failures) == set(FAULTS)
    for path, (code, message) in FAULTS.items():
        assert (failures[path]["kind"], failures[path]["code"]) == ("fetch", code)
        assert failures[path]["message"].startswith(message)
    assert web.big_sent < BODY_BYTES / 2
    [waited] = [later - first for first, later in [web.times["/busy/12.jpg"]]]
    assert waited >= 0.9
    assert next(row["repaired"] for row in place.rows() if "webp" in row["image"])
    assert place.batchrec("verify", "results/furniture").code == 0

    calls, before = place.summary()["calls"], web.requests.copy()
    assert calls == len(GOOD)
    again = place.run("--allow-private")
    assert (again.code, place.summary()["calls"]) == (0, 0), again.err
    assert {path for path in web.requests if web.requests[path] > before[path]} == {f"/{path}" for path in FAULTS}

    web.repaired = True
    last = place.run("--allow-private")
    assert (last.code, place.failures(), len(place.rows())) == (0, [], len(urls)), last.err


def test_a_slow_host_holds_nobody_else(place: Place, web: Web) -> None:
    """Forty images of a host that never answers come first; the files and the other host's images are done."""
    place.pictures(10)
    with serving() as slow:
        urls = [f"{slow.url.replace('127.0.0.1', 'localhost')}/slow/{n}.jpg" for n in range(40)]
        urls += [f"{web.url}/ok/{n}.png" for n in range(20)]
        listed(place, [*urls, *(f"家居/家居_{n:04d}.{'jpg' if n % 2 else 'png'}" for n in range(10))], timeout=300)
        running = place.start_run("--allow-private")
        until(lambda: place.row_count() == 30)
        assert slow.most_at_once == 4
        running.send(signal.SIGTERM)
        assert running.wait().code == 143


def test_logins_are_sent_and_never_written(place: Place, web: Web) -> None:
    """User and password of a URL reach its host alone, and stand in no file, name or message."""
    address = web.url.replace("http://", f"http://{LOGIN}@")
    with serving() as other:
        urls = [f"{address}/ok/1.png", f"{address}/missing/2.png", f"{address}/away/3?{other.url}/ok/3.png"]
        listed(place, urls)
        done = place.run("--allow-private", "--log-level", "debug")
        assert sorted(row["image"] for row in place.rows()) == [
            web.url.replace("http://", "http://***@") + path for path in (f"/away/3?{other.url}/ok/3.png", "/ok/1.png")
        ]
        assert set(web.logins) == {"/ok/1.png", "/missing/2.png", f"/away/3?{other.url}/ok/3.png"}
        assert other.logins == {}
    plan = place.batchrec("plan", "furniture.toml")
    status = place.batchrec("status", "results/furniture")
    place.put("list.csv", "\n".join(urls).encode())
    place.job(input={"paths": [], "manifest": "list.csv", "fetch": {"private": True}})
    wrong = place.run("--allow-private")
    assert wrong.code == 2
    (place.root / "list.csv").unlink()
    said = "".join(text.out + text.err for text in (done, plan, status, wrong)).encode() + written(place)
    for secret in ("henry", "s3cret"):
        assert secret.encode() not in said


def test_another_login_gets_no_cached_image(place: Place, web: Web) -> None:
    """The cache is by URL and login: what one user was given is fetched again for another."""
    for number, user in enumerate(("anna", "berta", "anna"), start=1):
        listed(place, [web.url.replace("http://", f"http://{user}:pass-word@") + "/ok/1.png"])
        assert place.run("--allow-private", "--set", f'output.directory="out{number}"').code == 0
    assert web.requests["/ok/1.png"] == 2


def test_one_url_with_two_logins_is_refused(place: Place, web: Web) -> None:
    """Their rows could not be told apart, since logins are never written."""
    listed(place, [web.url.replace("http://", f"http://{user}:pw@") + "/ok/1.png" for user in "ab"])
    done = place.run("--allow-private")
    assert (done.code, web.requests) == (2, {})
    assert "different users or passwords" in done.err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_private_addresses_are_refused(place: Place, web: Web, host: str) -> None:
    """However it is spelt; no connection is made, not even to look."""
    listed(place, [web.url.replace("127.0.0.1", host) + "/ok/1.png"], private=False)
    done = place.run("--allow-private")
    [failure] = place.failures()
    assert (done.code, failure["kind"], web.requests) == (1, "fetch", {})
    assert failure["code"] in ("fetch_private", "fetch_connection" if host == "[::1]" else "fetch_private")


def test_private_needs_the_flag_too(place: Place, web: Web) -> None:
    """A job file alone cannot have this machine's network fetched from: exit code 2, which names the flag."""
    listed(place, [f"{web.url}/ok/1.png"])
    done = place.run()
    assert (done.code, web.requests, place.output.exists()) == (2, {}, False)
    assert "--allow-private" in done.err


def test_private_images_do_not_come_out_of_the_cache(place: Place, web: Web) -> None:
    """An image that a run was allowed to fetch is refused to a job that may not fetch it."""
    listed(place, [f"{web.url}/ok/1.png"])
    assert place.run("--allow-private").code == 0
    listed(place, [f"{web.url}/ok/1.png"], private=False)
    assert place.run("--set", 'output.directory="other"').code == 1
    assert "fetch_private" in (place.root / "other" / "failures.jsonl").read_text(encoding="utf-8")


PUBLIC_NAME = """
import asyncio, sys
from collections.abc import Callable
import batchrec.fetch.address as address
real = address.is_private
address.is_private = lambda ip: False if ip == {let!r} else real(ip)
from batchrec.__main__ import main
main()
"""
"""Runs the command line with one address of loopback taken for a public one."""


def test_each_redirect_is_checked(place: Place, web: Web) -> None:
    """A public server cannot lead the fetcher into the private network."""
    with serving() as inner:
        listed(place, [f"{web.url}/away/1?{inner.url.replace('127.0.0.1', '127.0.0.2')}/ok/1.png"], private=False)
        place.run(launcher=("-c", PUBLIC_NAME.format(let="127.0.0.1")))
        [failure] = place.failures()
        assert (failure["code"], web.requests.total(), inner.requests.total()) == ("fetch_private", 1, 0)


PROXY_LOGIN = "me:its-password"


def proxied(place: Place, port: int, tmp_path: Path) -> None:
    """Put a proxy in the way of everything but the emulator's port."""
    authority = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(authority))
    proxy = f"http://{PROXY_LOGIN}@127.0.0.1:{port}"
    place.env |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "", "SSL_CERT_FILE": str(authority)}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_fetch_through_a_proxy(place: Place, tmp_path: Path, scheme: str) -> None:
    """The proxy is asked for the address that was checked; the server for the name, and not with the proxy's login."""
    context: ssl.SSLContext | None = certified("localhost") if scheme == "https" else None
    seen: list[str] = []
    with serving(tls=context) as web:
        port = int(web.url.rpartition(":")[2])
        with listening(tunnel(seen, lambda where: ("127.0.0.1", port))) as proxy:
            proxied(place, proxy, tmp_path)
            listed(place, [f"{scheme}://localhost:{port}/{path}" for path in ("ok/1.png", "ok/2.png", "moved/3.png")])
            done = place.run("--allow-private")
            assert (done.code, len(place.rows())) == (0, 3), done.err
            assert {line.rpartition(":")[0] for line in seen} <= {"CONNECT 127.0.0.1", "CONNECT [::1]"}
            assert len(seen) <= 3  # the redirect is asked for in a tunnel that is there
            assert web.hosts == {f"localhost:{port}"}
            assert "proxy-authorization" not in web.headers


@pytest.mark.parametrize(
    ("status", "remedy"), [("403 Forbidden", "NO_PROXY"), ("407 Proxy", "check user and password")]
)
def test_a_proxy_that_refuses_the_tunnel_is_named(place: Place, tmp_path: Path, status: str, remedy: str) -> None:
    """Many refuse CONNECT to other ports than 443: a failure that says what helps; no other way is tried."""
    seen: list[str] = []
    with listening(tunnel(seen, lambda where: ("127.0.0.1", 9), status)) as proxy:
        proxied(place, proxy, tmp_path)
        listed(place, ["http://localhost:8080/a.png"])
        done = place.run("--allow-private")
        [failure] = place.failures()
        assert (done.code, failure["kind"], failure["code"], len(seen)) == (1, "fetch", "fetch_proxy", 1)
        assert failure["message"].startswith(f"the proxy refused a tunnel (CONNECT) to port 8080: HTTP {status[:3]}")
        assert remedy in failure["message"]
        assert "must allow CONNECT" in done.err
        assert "its-password" not in done.err + failure["message"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_not_asked_for_private_addresses(place: Place, tmp_path: Path, scheme: str) -> None:
    """The address is resolved and checked here before the proxy hears of it."""
    seen: list[str] = []
    with listening(tunnel(seen, lambda where: ("127.0.0.1", 9))) as proxy:
        proxied(place, proxy, tmp_path)
        listed(place, [f"{scheme}://localhost/a.png", f"{scheme}://169.254.169.254/latest/meta-data"], private=False)
        place.run()
        assert ([row["code"] for row in place.failures()], seen) == (["fetch_private"] * 2, [])


SMALL_CACHE = """
import batchrec.fetch.cache as cache
cache.MOST_BYTES = {most}
from batchrec.__main__ import main
main()
"""


def test_the_cache_keeps_to_its_bound(place: Place, web: Web) -> None:
    """What was used longest ago makes way; every image has its result all the same."""
    urls = [f"{web.url}/ok/{number}.png" for number in range(60)]
    listed(place, urls)
    most = 20 * len(picture(1))
    done = place.run("--allow-private", launcher=("-c", SMALL_CACHE.format(most=most)))
    assert (done.code, len(place.rows())) == (0, 60), done.err
    kept = [path for path in (place.state / "fetched").rglob("*") if path.is_file()]
    assert len(kept) >= 5
    assert sum(path.stat().st_size for path in kept) <= most
    modes = {path.stat().st_mode & 0o077 for path in [*place.state.rglob("*"), place.state]}
    assert modes == {0}


def test_cached_images_are_not_fetched_again(place: Place, web: Web) -> None:
    """Another job takes them from the cache; after a day the server is asked by ETag whether they have changed."""
    listed(place, [f"{web.url}/ok/{number}.png" for number in range(5)])
    for number in range(2):
        assert place.run("--allow-private", "--set", f'output.directory="out{number}"', "--no-reuse").code == 0
    assert web.requests.total() == 5
    place.set_clock(time.time() + float(place.env["TESTS_CLOCK_SHIFT"]) + 2 * 86_400)
    assert place.run("--allow-private", "--set", 'output.directory="later"', "--no-reuse").code == 0
    assert web.statuses.total() == 10
    assert sum(count for (_, status), count in web.statuses.items() if status == 304) == 5


def test_plan_says_what_it_cannot_know(place: Place, web: Web) -> None:
    """A plan fetches nothing; bytes and copies of URLs are unknown until a run has fetched them."""
    listed(place, [f"{web.url}/ok/{number}.png" for number in range(3)])
    plan = place.batchrec("plan", "furniture.toml")
    assert plan.code == 0, plan.err
    assert "3 URLs are not fetched yet" in plan.out
    assert "3 calls" in plan.out
    assert (web.requests, "outside the job's folder" in plan.out) == ({}, False)
    assert place.run("--allow-private").code == 0
    plan = place.batchrec("plan", "furniture.toml", "--set", 'output.directory="other"', "--no-reuse")
    assert "URLs are not fetched" not in plan.out
    assert "3 calls" in plan.out


def test_url_is_passed_to_the_service(tmp_path: Path, web: Web) -> None:
    """`send = "url"`: sha256 is null, copies are found by URL, no limit is checked, nothing enters the result cache."""
    with emulating(Settings(fetch_hosts=frozenset({"127.0.0.1"}))) as emulator:
        place = Place(tmp_path, emulator.url)
        urls = [f"{web.url}/ok/1.png", f"{web.url}/ok/1.png#again", f"{web.url}/ok/2.png", f"{web.url}/missing/3.png"]
        urls += [f"{web.url}/html/4.png", f"{web.url}/ok/5.png?{'x' * 1100}", "http://elsewhere.invalid/6.png"]
        listed(place, urls, private=False, send="url")
        plan = place.batchrec("plan", "furniture.toml")
        assert (f"{len(urls) - 1} calls" in plan.out, web.requests) == (True, {}), plan.out
        place.env["PYTHONWARNINGS"] = "error"
        done = place.run("--set", "limits.attempts=2")
        assert done.code == 1, done.err
        rows = {row["image"]: row for row in place.rows()}
        assert {row["sha256"] for row in rows.values()} == {None}
        assert [rows[url]["same_as"] for url in urls[:3]] == [None, urls[0], None]
        failures = {row["image"]: (row["kind"], row["code"]) for row in place.failures()}
        assert failures == {
            urls[3]: ("image", 282110),
            urls[4]: ("image", 216201),
            urls[5]: ("image", 282114),
            urls[6]: ("transient", 282112),
        }
        calls = place.summary()["calls"]
        assert place.batchrec("verify", "results/furniture").out.strip().endswith("all agrees")
        assert (place.run().code, place.summary()["calls"]) == (0, 0)
        assert place.run("--set", 'output.directory="other"', "--set", "limits.attempts=2").code == 1
        assert emulator.counters.calls["advanced_general"] == 2 * calls
        assert not (place.state / "fetched").exists()


def test_two_hundred_urls_through_two_kills(place: Place, web: Web, emulator: Emulator) -> None:
    """Each is a result or a failure once; nothing cached is fetched twice, and no image called twice but in flight."""
    bad = {number: list(FAULTS)[number // 20 % len(FAULTS)].split("/")[0] for number in range(0, 200, 20)}
    urls = [f"{web.url}/{bad.get(number, 'ok')}/{number}.png" for number in range(200)]
    listed(place, urls, timeout=1, max_bytes="2 MB", per_host=8)
    emulator.plan = FaultPlan()
    for rows in (30, 100):
        running = place.start_run("--allow-private", "--set", "limits.qps=100")
        until(lambda least=rows: place.row_count() >= least, 40)
        running.kill()
    done = place.run("--allow-private")
    assert done.code == 1, done.err
    assert sorted(row["image"] for row in [*place.rows(), *place.failures()]) == sorted(urls)
    assert {row["image"] for row in place.failures()} == {urls[number] for number in bad}
    fetched = [count for (path, status), count in web.statuses.items() if path.startswith("/ok/") and status == 200]
    assert sum(fetched) - len(fetched) <= 2 * 8  # those under way when a kill came
    calls = emulator.counters.calls["advanced_general"]
    assert calls <= 200 - len(bad) + 2 * 256
    assert emulator.counters.outcomes["advanced_general"]["ok"] == calls


def test_exports_and_report_use_the_cached_bytes(place: Place, web: Web) -> None:
    """Folders hold the images, xlsx and the report their thumbnails; what has left the cache is counted."""
    urls = [f"{web.url}/ok/1.png?sign=a/b", f"{web.url}/webp/2.jpg", f"{web.url}/ok/%E5%9B%BE3"]
    listed(place, urls)
    assert place.run("--allow-private").code == 0
    served = web.requests.total()
    bodies = {picture(1), picture(2, "WEBP"), picture(593)}
    for way in ((), ("--symlink",), ("--copy",)):
        out = place.root / "-".join(("folders", *way))
        done = place.batchrec("export", "furniture.toml", "--to", "folders", "--out", str(out), *way)
        assert done.code == 0, done.err
        files = [path for path in out.rglob("*") if path.is_file()]
        assert sorted(path.name for path in files) == ["1.png", "2.webp", "图3.png"]
        assert {path.read_bytes() for path in files} == bodies
        assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in files)
    xlsx, folder = place.root / "xlsx", place.root / "imagefolder"
    assert place.batchrec("export", "furniture.toml", "--to", "xlsx", "--out", str(xlsx)).code == 0
    with zipfile.ZipFile(xlsx / "results.xlsx") as book:
        assert sum("media/" in name for name in book.namelist()) == 3
    assert place.batchrec("export", "furniture.toml", "--to", "imagefolder", "--out", str(folder)).code == 0
    assert {path.read_bytes() for path in (folder / "images").iterdir()} == bodies
    report = place.batchrec("report", "furniture.toml")
    assert "3 thumbnails made" in report.err
    assert b"base64" in b"".join(path.read_bytes() for path in (place.output / "report").rglob("*.js"))

    shutil.rmtree(place.state / "fetched")
    gone = place.batchrec("export", "furniture.toml", "--to", "folders", "--out", str(place.root / "gone"))
    assert (gone.code, "bytes are not kept in the cache: 3" in gone.err) == (0, True), gone.err
    report = place.batchrec("report", "furniture.toml", "--out", str(place.root / "other"))
    assert (report.code, "0 thumbnails made" in report.err, "moved" in report.err) == (0, True, False)
    assert web.requests.total() == served


def test_a_cut_body_in_the_cache_is_fetched_again(place: Place, web: Web) -> None:
    """A power loss may cut files that were never synced: the run fetches such an image again, whole."""
    listed(place, [f"{web.url}/ok/1.png"])
    assert place.run("--allow-private").code == 0
    [body] = [path for path in (place.state / "fetched").rglob("*") if path.is_file()]
    body.write_bytes(body.read_bytes()[:100])
    done = place.run("--allow-private", "--no-reuse", "--set", 'output.directory="other"')
    assert (done.code, web.statuses["/ok/1.png", 200], body.read_bytes()) == (0, 2, picture(1)), done.err


def test_a_torn_image_is_fetched_anew_by_a_retry(place: Place, web: Web) -> None:
    """Bytes that were refused as an image are fetched once more, and whole, by a retry of such failures alone."""
    urls = [f"{web.url}/torn/{number}.jpg" for number in (1, 2)] + [f"{web.url}/ok/3.png"]
    listed(place, urls)
    assert place.run("--allow-private").code == 1
    assert [row["code"] for row in place.failures()] == ["torn", "torn"]
    for options in ((), ("--retry-kind", "transient")):
        assert place.run("--allow-private", *options).code == 0
        assert web.requests.total() == 3
    done = place.run("--allow-private", "--retry-failed")
    assert (done.code, place.failures(), len(place.rows())) == (0, [], 3), done.err
    assert web.requests == {"/torn/1.jpg": 2, "/torn/2.jpg": 2, "/ok/3.png": 1}
    assert place.batchrec("verify", "results/furniture").code == 0


def test_a_long_pause_holds_its_host_alone(place: Place, web: Web) -> None:
    """Retry-After of an hour: no other image is fetched from the host in this run, and those of another host are."""
    refusing = [f"{web.url.replace('127.0.0.1', 'localhost')}/refusing/{number}.jpg" for number in range(20)]
    moved = f"{web.url}/away/1?{refusing[0]}"
    listed(place, [*refusing, moved, *(f"{web.url}/ok/{number}.png" for number in range(5))], per_host=2)
    assert place.run("--allow-private").code == 1
    assert (len(place.rows()), len(place.failures())) == (5, 21)
    assert {row["code"] for row in place.failures()} == {"fetch_429"}
    [told] = {row["message"] for row in place.failures()}
    assert told.startswith("HTTP 429 Too Many Requests; Retry-After is more than 120 s")
    assert sum(count for path, count in web.requests.items() if path.startswith("/refusing/")) <= 3
    assert place.run("--allow-private").code == 0


def test_urls_that_cannot_be_fetched_say_so(place: Place, web: Web) -> None:
    """Another scheme, and too many characters: a row each, with what is expected; no login is written."""
    long = f"{web.url}/ok/{'x' * 9000}"
    listed(place, [f"ftp://{LOGIN}@files.example/1.jpg", f"{long}1", f"{long}2", f"{web.url}/ok/1.png"])
    done = place.run("--allow-private")
    assert (done.code, len(place.rows()), web.requests.total()) == (1, 1, 1)
    failures = {row["image"]: row["message"] for row in place.failures()}
    assert len(failures) == 3
    assert failures.pop("ftp://***@files.example/1.jpg").startswith("ftp:// URLs are not fetched; expected http://")
    assert [text for text in failures.values() if "servers refuse more than 8,192: shorten it" not in text] == []
    listed(place, [f"s3://{LOGIN}@bucket/1.jpg"])
    alone = place.run("--allow-private", "--set", 'output.directory="alone"')
    named = place.run(
        "--allow-private", "--set", f'input.paths=["ftp://{LOGIN}@files.example"]', "--set", 'output.directory="named"'
    )
    assert (alone.code, named.code) == (2, 2)
    assert "s3:// URLs are not fetched" in alone.err
    assert "ftp:// URLs are not fetched" in named.err
    assert b"s3cret" not in (done.err + alone.err + named.err).encode() + written(place)
