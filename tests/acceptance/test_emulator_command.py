"""`batchrec emulator` as it is typed: who may connect, whose keys it takes, and what it warns of; the embedded one."""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Place, Running, until

KEY, SECRET = "a-key-5up3r", "a-secret-5up3r"
IN_ENVIRONMENT = {"BATCHREC_EMULATOR_KEY": KEY, "BATCHREC_EMULATOR_SECRET": SECRET}


@contextmanager
def serving(place: Place, *options: str, env: Mapping[str, str] | None = None) -> Iterator[tuple[str, Running]]:
    """`batchrec emulator --port 0 OPTIONS`: its URL and its process."""
    running = place.start("emulator", "--port", "0", *options, env=env)
    try:
        until(lambda: running.said()[0].endswith("\n") or running.process.poll() is not None)
        yield running.said()[0].strip(), running
    finally:
        running.kill()


def asked(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a GET or, with a body, of a POST of JSON."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **named})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def token_status(url: str, key: str, secret: str) -> int:
    """The status of a request for a token."""
    query = {"grant_type": "client_credentials", "client_id": key, "client_secret": secret}
    return asked(f"{url}/oauth/2.0/token?{urllib.parse.urlencode(query)}")[0]


@pytest.mark.parametrize(
    ("options", "env", "warned"),
    [
        (("--key", KEY, "--secret", SECRET), {}, "--key and --secret"),
        (("--secret", SECRET), {"BATCHREC_EMULATOR_KEY": KEY}, "--secret"),
        ((), IN_ENVIRONMENT, None),
    ],
)
def test_a_key_and_a_secret(apart: Place, options: tuple[str, ...], env: dict[str, str], warned: str | None) -> None:
    """By option, with a warning that arguments can be seen, or by variable, without one; they are shown nowhere."""
    with serving(apart, *options, env=env) as (url, running):
        assert [token_status(url, KEY, SECRET), token_status(url, KEY, "x"), token_status(url, "x", SECRET)] == [
            200,
            401,
            401,
        ]
        replies = [asked(f"{url}/_emulator/counters"), asked(f"{url}/_emulator/settings", {})]
        assert [status for status, _ in replies] == [200, 200]
        assert "5up3r" not in json.dumps(replies)
        out, err = running.said()
        assert "5up3r" not in out + err
        assert ("process list" in err) == bool(warned)
        assert warned is None or f"warning: {warned}: " in err
        assert warned is None or "BATCHREC_EMULATOR_SECRET" in err


def test_variables_that_are_empty_are_none(apart: Place) -> None:
    """Then any key is taken."""
    with serving(apart, env=dict.fromkeys(IN_ENVIRONMENT, "")) as (url, _):
        assert token_status(url, "any", "thing") == 200


def test_hosts_that_are_allowed(apart: Place) -> None:
    """Loopback, the service's own name on its own paths, and each --allow-host."""
    with serving(apart, "--allow-host", "emulator.test", "--allow-host", "10.9.8.7") as (url, running):
        hosts = ["localhost", "emulator.test:80", "10.9.8.7", "evil.example", "aip.baidubce.com"]
        counters, service = f"{url}/_emulator/counters", f"{url}/rest/2.0/image-classify/v2/dish"
        assert [asked(counters, Host=host)[0] for host in hosts] == [200, 200, 200, 403, 403]
        assert [asked(service, {}, Host=host)[0] for host in hosts] == [200, 200, 200, 403, 200]
        assert "--allow-host" in asked(counters, Host="evil.example")[1]["error"]
        assert "warning" not in running.said()[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback(apart: Place, host: str) -> None:
    """A warning; the URL can be used on this machine; foreign names are refused."""
    with serving(apart, "--host", host) as (url, running):
        assert re.fullmatch(r"http://(127\.0\.0\.1|\[::1\]):\d+", url)
        assert asked(f"{url}/_emulator/counters")[0] == 200
        assert asked(f"{url}/_emulator/counters", Host="evil.example")[0] == 403
        until(lambda: f"warning: --host {host} is beyond loopback" in running.said()[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--allow-host", "emulator:8087"), ("--allow-host", "'emulator:8087'", "without a port")),
        (("--allow-host", "*"), ("--allow-host", "'*'")),
        (("--qps", "nan"), ("--qps",)),
        (("--qps", "inf"), ("--qps", "number", "inf")),
        (("--latency", "1e6"), ("latency", "86400", "1000000")),
        (("--token-life", "99999999999"), ("token_life", "99999999999")),
        (("--secret", "5up3r" * 300), ("secret_key", "1000 characters")),
        (("--key", ""), ("api_key", "at least 1 character")),
    ],
)
def test_options_out_of_bounds(apart: Place, options: tuple[str, ...], said: tuple[str, ...]) -> None:
    """Exit 2, naming the setting, what is right and, but for secrets, what was given."""
    done = apart.batchrec("emulator", "--port", "0", *options)
    assert (done.code, done.out) == (2, "")
    assert all(word in done.err for word in said), done.err
    assert "5up3r" not in done.err
    assert "Traceback" not in done.err


def test_the_embedded_emulator_has_no_control_paths(apart: Place) -> None:
    """While a job runs: 404 on every one of them, 403 for web pages and foreign hosts, and the job ends well."""
    apart.pictures(8)
    apart.job(limits={"qps": 2})
    running = apart.start_run()
    until(lambda: apart.row_count() >= 1)
    (port,) = listening(running.process.pid)
    url = f"http://127.0.0.1:{port}"
    paths = {"counters": None, "settings": {"qps": 0}, "revoke": {}, "faults": {"faults": [{"kind": "hang"}]}}
    for path, body in paths.items():
        assert asked(f"{url}/_emulator/{path}", body)[0] == 404
        assert asked(f"{url}/_emulator/{path}", body, Origin="http://evil.example")[0] == 403
    for headers in ({"Host": "evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        assert asked(f"{url}/oauth/2.0/token", **headers)[0] == 403
    done = running.wait()
    assert (done.code, len(apart.rows())) == (0, 8)


def listening(pid: int) -> set[int]:
    """The IPv4 ports on which a process listens, from /proc."""
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(descriptor))
        except FileNotFoundError:  # closed meanwhile
            continue
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links}
