"""Requests that the emulator answers, and those it refuses: the rules alone, then on real sockets."""

import asyncio
import json
import socket
from io import BytesIO
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.emulator import Settings, serve
from batchrec.emulator.access import SERVICE_HOST, Hosts, Request, host_of, reachable, refusal
from tests.support.emulator import CREDENTIALS, body_of, calling, path_of, picture

MACHINE = {IPv4Address("192.168.7.5"), ip_address("fd00::5")}
"""The addresses of the machine in these tests, beside loopback."""

BOUND = {
    "loopback": Hosts.listening("127.0.0.1", ["127.0.0.1"]),
    "lan": Hosts.listening("192.168.7.5", ["192.168.7.5"]),
    "name": Hosts.listening("Box.lan", ["192.168.7.5"]),
    "link": Hosts.listening("fe80::5%eth0", ["fe80::5%eth0"]),
    "allowed": Hosts.listening("127.0.0.1", ["127.0.0.1"], ["Emulator.Test.", "10.0.0.9", "fd00::9", "[fd00::a]"]),
    "every": Hosts(frozenset(), True, MACHINE.__contains__),
}


def request(*host: str, **changes: Any) -> Request:
    """A request of curl: a POST of JSON to a control path."""
    usual: dict[str, Any] = {"method": "POST", "control": True, "target": "/_emulator/settings", "host": host}
    return Request(**{**usual, "content_type": ("application/json",), **changes})


@pytest.mark.parametrize(
    ("bound", "host", "answered"),
    [
        *((bound, "127.0.0.1:8087", True) for bound in BOUND),
        *((bound, "evil.example", False) for bound in BOUND),
        *((bound, SERVICE_HOST, False) for bound in BOUND),
        ("loopback", "127.0.0.1", True),
        ("loopback", "127.0.0.1.", True),
        ("loopback", "127.0.0.1:", True),
        ("loopback", "127.9.8.7:1", True),
        ("loopback", "localhost", True),
        ("loopback", "LocalHost.:8087", True),
        ("loopback", "[::1]", True),
        ("loopback", "[::1]:8087", True),
        ("loopback", "[0:0:0:0:0:0:0:1]", True),
        ("loopback", "[::ffff:127.0.0.1]", True),
        ("loopback", "[::FFFF:7f00:1]", True),
        ("loopback", "", False),
        ("loopback", ".", False),
        ("loopback", ":8087", False),
        ("loopback", "::1", False),
        ("loopback", "[127.0.0.1]", False),
        ("loopback", "[::1", False),
        ("loopback", "[::1%lo]", False),
        ("loopback", "[::127.0.0.1]", False),
        ("loopback", "localhost..", False),
        ("loopback", "localhost:port", False),
        ("loopback", "localhost:65536", False),
        ("loopback", "localhost:" + "1" * 5000, False),
        ("loopback", "localhost, evil.example", False),
        ("loopback", "evil.example:8087@localhost", False),
        ("loopback", "localhost.evil.example", False),
        ("loopback", "127.0.0.1.evil.example", False),
        ("loopback", "xlocalhost", False),
        ("loopback", "2130706433", False),
        ("loopback", "0x7f000001", False),
        ("loopback", "0x7f.0.0.1", False),
        ("loopback", "0177.0.0.1", False),
        ("loopback", "127.1", False),
        ("loopback", "127.0.0.01", False),
        ("loopback", "١٢٧.0.0.1", False),
        ("loopback", "localhost\udcff", False),
        ("loopback", "0.0.0.0", False),
        ("loopback", "192.168.7.5", False),
        ("lan", "192.168.7.5:8087", True),
        ("lan", "192.168.7.6", False),
        ("lan", "box.lan", False),
        ("name", "BOX.lan.:8087", True),
        ("name", "192.168.7.5", True),
        ("link", "[fe80::5]:8087", True),
        ("allowed", "emulator.test:9", True),
        ("allowed", "EMULATOR.TEST.", True),
        ("allowed", "an.emulator.test", False),
        ("allowed", "10.0.0.9", True),
        ("allowed", "[fd00::9]:1", True),
        ("allowed", "[fd00:0::A]", True),
        ("every", "192.168.7.5", True),
        ("every", "[fd00::5]:8087", True),
        ("every", "[::ffff:192.168.7.5]", True),
        ("every", "192.168.7.6", False),
        ("every", "box.lan", False),
        ("every", "3232237317", False),
        ("every", "0.0.0.0", False),
        ("every", "[::]", False),
    ],
)
def test_hosts(bound: str, host: str, answered: bool) -> None:
    """The Host header in its spellings, on a control path."""
    refused = refusal(request(host), BOUND[bound])
    assert (refused is None) == answered
    assert refused is None or ascii(host[:200]) in refused.reason


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, None),
        ({"host": ()}, 403),
        ({"host": ("localhost", "localhost")}, 403),
        ({"host": ("localhost", "evil.example")}, 403),
        ({"target": "http://localhost:8087/_emulator/settings"}, None),
        ({"target": "http://evil.example/_emulator/settings"}, 403),
        ({"target": "/_emulator/settings?to=http://evil.example/"}, None),
        ({"origin": ("http://evil.example",)}, 403),
        ({"origin": ("http://localhost:8087",)}, 403),
        ({"origin": ("null",)}, 403),
        ({"origin": ("",)}, 403),
        ({"site": ("none",)}, None),
        ({"site": ("same-origin",)}, 403),
        ({"site": ("same-site",)}, 403),
        ({"site": ("cross-site",)}, 403),
        ({"site": ("",)}, 403),
        ({"site": ("None",)}, 403),
        ({"site": ("none", "cross-site")}, 403),
        ({"content_type": ()}, 415),
        ({"content_type": ("text/plain",)}, 415),
        ({"content_type": ("application/jsonp",)}, 415),
        ({"content_type": ("text/plain;application/json",)}, 415),
        ({"content_type": ("application/json", "text/plain")}, 415),
        ({"content_type": ("Application/JSON ; charset=utf-8",)}, None),
        ({"content_type": (), "method": "GET"}, None),
        ({"content_type": (), "control": False}, None),
        ({"host": (SERVICE_HOST,), "control": False}, None),
        ({"host": (f"{SERVICE_HOST.upper()}.:443",), "control": False}, None),
        ({"host": (f"www.{SERVICE_HOST}",), "control": False}, 403),
        ({"host": ("evil.example",), "control": False}, 403),
        ({"origin": ("null",), "control": False}, 403),
        ({"site": ("cross-site",), "control": False}, 403),
    ],
)
def test_rules(changes: dict[str, Any], status: int | None) -> None:
    """A request of curl to a loopback emulator, changed in one point."""
    found = refusal(request("localhost:8087", **changes), BOUND["loopback"])
    assert (found and found.status) == status


def test_the_services_name_never_opens_a_control_path() -> None:
    """Not even where it is allowed by name."""
    hosts = Hosts.listening("127.0.0.1", ["127.0.0.1"], [SERVICE_HOST])
    assert refusal(request(SERVICE_HOST), hosts) is not None
    assert refusal(request(SERVICE_HOST, control=False), hosts) is None


HEADERS = st.lists(
    st.text(st.characters(exclude_categories=()), max_size=30)
    | st.sampled_from(["none", "null", "localhost", "[::1]:1"]),
    max_size=2,
)


@given(
    host=HEADERS.map(tuple),
    origin=HEADERS.map(tuple),
    site=HEADERS.map(tuple),
    content_type=HEADERS.map(tuple),
    control=st.booleans(),
    bound=st.sampled_from(sorted(BOUND)),
)
def test_an_answered_request_is_for_this_host_and_of_no_page(
    host: tuple[str, ...],
    origin: tuple[str, ...],
    site: tuple[str, ...],
    content_type: tuple[str, ...],
    control: bool,
    bound: str,
) -> None:
    """Any headers: no exception, and an answer only without Origin, other sites and foreign hosts."""
    asked = request(*host, origin=origin, site=site, content_type=content_type, control=control)
    refused = refusal(asked, BOUND[bound])
    if refused is None:
        assert not origin
        assert set(site) <= {"none"}
        assert BOUND[bound].include(*host, control=control)
    else:
        refused.reason.encode()


@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_are_read_as_they_are_written(address: Any, port: int) -> None:
    """With and without a port, in brackets where they are IPv6."""
    shown = f"[{address}]" if address.version == 6 else str(address)
    address = getattr(address, "ipv4_mapped", None) or address
    same = "localhost" if address.is_loopback else address
    assert host_of(shown) == host_of(f"{shown}:{port}") == host_of(shown.upper()) == same


@pytest.mark.parametrize("name", ["", "*", "emulator:8087", "http://emulator", "a b", "仿真器.test", "[::1", "::1::"])
def test_hosts_that_cannot_be_allowed(name: str) -> None:
    """The complaint names the entry."""
    with pytest.raises(ValueError, match="is no host"):
        Hosts.listening("127.0.0.1", ["127.0.0.1"], ["emulator", name])


@pytest.mark.parametrize(
    ("bound", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("10.0.0.1", "10.0.0.1")],
)
def test_a_wildcard_is_reached_by_loopback(bound: str, host: str) -> None:
    """The URL that is announced can be used as it is."""
    assert reachable(bound) == host


# -- over real sockets


async def sent(port: int, head: str, body: bytes = b"", host: str = "127.0.0.1") -> tuple[int, dict[str, str], Any]:
    """Status, headers (lower case) and JSON of the reply to a request as it is written here, line by line."""
    reader, writer = await asyncio.open_connection(host, port)
    lines = [*head.splitlines(), f"Content-Length: {len(body)}", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    reply = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    await writer.wait_closed()
    status, *headers = reply.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
    return int(status.split()[1]), named, json.loads(reply.partition(b"\r\n\r\n")[2])


CONTROL = ("GET /_emulator/counters", "POST /_emulator/revoke", "POST /_emulator/settings", "POST /_emulator/faults")
SERVICE = ("GET /oauth/2.0/token", f"POST {path_of('dish')}", "GET /nothing")


@pytest.mark.parametrize(
    "head",
    ["Host: evil.example", "Host: localhost\nOrigin: null", "Host: localhost\nSec-Fetch-Site: cross-site"],
)
@pytest.mark.parametrize("line", [*CONTROL, *SERVICE, "OPTIONS /_emulator/settings"])
async def test_pages_and_foreign_hosts_get_403_everywhere(line: str, head: str) -> None:
    """On every path; the refusal says why, is counted, and nothing else happens."""
    async with serve() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        status, headers, reply = await sent(port, f"{line} HTTP/1.1\n{head}\nContent-Type: application/json", b"{}")
        assert (status, headers["x-content-type-options"]) == (403, "nosniff")
        assert reply["error"]
        assert "access-control-allow-origin" not in headers
        assert (emulator.counters.refused, dict(emulator.counters.calls)) == (1, {})


@pytest.mark.parametrize(
    "path", ["/%5Femulator/counters", "/_emulator/%63ounters", "/_emulator/settings", "/_emulator"]
)
async def test_the_services_name_opens_no_control_path_however_it_is_spelt(path: str) -> None:
    """The route makes a path a control path, not its spelling."""
    async with serve() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        assert (await sent(port, f"GET {path} HTTP/1.1\nHost: {SERVICE_HOST}"))[0] == 403
        assert emulator.counters.calls == {}


async def test_official_clients_send_the_services_name() -> None:
    """A token and a recognition with `Host: aip.baidubce.com`."""
    async with calling() as caller:
        async with caller.http.get(
            f"{caller.emulator.url}/oauth/2.0/token", params=CREDENTIALS, headers={"Host": SERVICE_HOST}
        ) as response:
            assert response.status == 200
        assert await caller.code("dish", picture(), headers={"Host": f"{SERVICE_HOST}:443"}) == 0


@pytest.mark.parametrize("path", ["settings", "revoke", "faults"])
async def test_control_paths_take_json_alone(path: str) -> None:
    """Text gets 415, and the token is still good."""
    async with calling() as caller:
        headers = {"Content-Type": "text/plain"}
        async with caller.http.post(f"{caller.emulator.url}/_emulator/{path}", data="{}", headers=headers) as response:
            assert response.status == 415
            assert "application/json" in (await response.json())["error"]
        assert await caller.code("dish", picture()) == 0
        assert (await caller.post(f"/_emulator/{path}", {}))[0] == 200


async def test_every_reply_forbids_sniffing() -> None:
    """Success, errors, refusals, 404, 405 and 413 alike."""
    async with calling() as caller:
        url = caller.emulator.url
        for method, path, body in [
            ("GET", "/oauth/2.0/token", b""),
            ("POST", path_of("dish"), b""),
            ("POST", path_of("dish"), bytes(17 << 20)),
            ("GET", "/_emulator/counters", b""),
            ("GET", "/_emulator/settings", b""),
            ("GET", "/_emulator/nothing", b""),
            ("GET", "/nothing", b""),
        ]:
            async with caller.http.request(method, f"{url}{path}", data=BytesIO(body)) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff", (path, response.status)


async def test_control_paths_of_another_name_are_404() -> None:
    """They are no calls of the service, so they are not counted as such."""
    async with calling() as caller:
        for method, path in [("GET", "settings"), ("POST", "nothing"), ("DELETE", "counters")]:
            async with caller.http.request(method, f"{caller.emulator.url}/_emulator/{path}", json={}) as response:
                assert (response.status, "error" in await response.json()) == (404, True)
        assert caller.emulator.counters.calls == {"token": 1}


async def test_without_control_paths() -> None:
    """As the embedded emulator is served: 404 on each, and the access rules hold."""
    async with serve(control=False) as emulator:
        port = int(emulator.url.rpartition(":")[2])
        for line in CONTROL:
            head = f"{line} HTTP/1.1\nHost: localhost\nContent-Type: application/json"
            assert (await sent(port, head, b"{}"))[0] == 404
            assert (await sent(port, f"{head}\nOrigin: http://evil.example", b"{}"))[0] == 403
        assert (await sent(port, f"POST {path_of('dish')} HTTP/1.1\nHost: evil.example", b""))[0] == 403
        assert (await sent(port, f"POST {path_of('dish')} HTTP/1.1\nHost: localhost", b""))[2]["error_code"] == 100


async def test_a_wildcard_address_takes_the_addresses_of_this_machine_alone() -> None:
    """Those that it has now, found by asking the system; a name needs to be allowed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing: the system chooses the address that it would send from
            own = sock.getsockname()[0]
        except OSError:
            own = "127.0.0.1"
    async with serve(host="0.0.0.0", allowed=["Emulator.test"]) as emulator:
        assert emulator.url.startswith("http://127.0.0.1:")
        port = int(emulator.url.rpartition(":")[2])
        for host, status in [(own, 200), ("emulator.test", 200), ("192.0.2.1", 403), ("0.0.0.0", 403), ("box", 403)]:
            for to in ("127.0.0.1", own):
                assert (await sent(port, f"GET /_emulator/counters HTTP/1.1\nHost: {host}:{port}", host=to))[
                    0
                ] == status


async def test_http_1_0_without_a_host_is_refused() -> None:
    """A client without a Host cannot be told from a page."""
    async with serve() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        assert (await sent(port, "GET /_emulator/counters HTTP/1.0"))[0] == 403


async def test_secrets_are_in_no_reply() -> None:
    """Neither when settings are shown, nor when one is refused, nor in the token endpoint's refusal."""
    secrets = {"api_key": "key-5up3r", "secret_key": "secret-5up3r", "bearer": "bce-v3/5up3r"}
    async with calling(Settings(**secrets)) as caller:
        replies = [
            await caller.post("/_emulator/settings", {}),
            await caller.post("/_emulator/settings", {"qps": -1}),
            await caller.post("/_emulator/settings", {"api_key": ["5up3r"]}),
            await caller.post("/_emulator/settings", {"secret_key": 1, "bearer": "5up3r" * 1000}),
            await caller.post("/_emulator/settings", {"services": ["dish"], "secret_key": "another-5up3r"}),
            await caller.fetch_token(),
            await caller.call("dish", body=body_of("dish", picture()), query={"access_token": "wrong"}),
        ]
        assert [reply[0] for reply in replies[:5]] == [200, 400, 400, 400, 200]
        assert "5up3r" not in json.dumps(replies)
        assert "5up3r" not in repr(caller.emulator.settings)
        assert "secret_key" not in replies[0][1]
        assert caller.emulator.settings.secret_key == "another-5up3r"
