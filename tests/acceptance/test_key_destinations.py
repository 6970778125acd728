"""Keys go where their owner sends them: a job file, which others may have written, does not decide it."""

import os
import re
import signal
import socketserver
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import KEY, SECRET, Done, Place, Running, dead_endpoint, until
from rogue import listening
from stranger import Said, Stranger, reply, strange
from terminal import on_terminal

from batchrec.api.credentials import read_profiles

LIVE = "https://aip.baidubce.com"
FOREIGN = "https://collector.example"
REMEDY = "batchrec login --endpoint {} "


def gateway(seen: list[str]) -> type[socketserver.BaseRequestHandler]:
    """A proxy that notes whom it is to connect to, and connects to nobody."""

    class Gateway(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            seen.append(self.rfile.readline().decode().split()[1])
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    return Gateway


@dataclass
class World:
    """A server on loopback, and a proxy in the way of everything else: who was sent what."""

    place: Place
    server: Stranger
    connected: list[str]

    def sent(self) -> set[str]:
        """Where something was sent: `here` (the server) with the right key, or a host and port."""
        assert all(form["client_id"] == KEY and form["client_secret"] == SECRET for form in self.server.tokens)
        return set(self.connected) | ({"here"} if self.server.tokens or self.server.calls else set())


@pytest.fixture
def world(apart: Place) -> Iterator[World]:
    """A place with one picture, whose environment holds no endpoint yet."""
    apart.pictures(1)
    connected: list[str] = []
    with strange(Stranger(lambda number, form: Said(reply("x")))) as server, listening(gateway(connected)) as port:
        apart.endpoint = server.url
        apart.env |= {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "NO_PROXY": ""}
        yield World(apart, server, connected)


def credentials(place: Place, whose: str, url: str) -> None:
    """Keys in variables, or in a profile that belongs to the server (`mine`), to the service (`live`), to another."""
    if whose == "variables":
        return
    keys = {"api_key": KEY, "secret_key": SECRET}
    endpoint = {"mine": url, "spelt": url.upper() + "/", "other": FOREIGN}.get(whose)
    path = place.credentials(default=keys | ({"endpoint": endpoint} if endpoint else {}))
    if whose == "live":
        path.write_text(f'[default]\napi_key = "{KEY}"\nsecret_key = "{SECRET}"\n')


def named(place: Place, how: str, url: str) -> tuple[str, ...]:
    """Name the endpoint that way; the options of the command that this takes."""
    in_file = {
        "nothing": LIVE,
        "live spelt": "https://AIP.BaiduBCE.com.:443/",
        "job": url,
        "job foreign": FOREIGN,
        "embedded": "embedded",
    }
    place.job(account={"endpoint": in_file.get(how, FOREIGN)}, limits={"patience": 0.2})
    place.env["BATCHREC_ENDPOINT"] = url if how == "BATCHREC_ENDPOINT" else ""
    return {"--endpoint": ("--endpoint", url), "--set": ("--set", f'account.endpoint="{url}"')}.get(how, ())


HERE, TO_LIVE, REFUSED, NOWHERE = {"here"}, {"aip.baidubce.com:443"}, None, set[str]()

CASES = [
    ("run", "variables", "nothing", TO_LIVE),
    ("run", "variables", "live spelt", TO_LIVE),
    ("run", "variables", "BATCHREC_ENDPOINT", HERE),
    ("run", "variables", "--set", HERE),
    ("run", "variables", "job", REFUSED),
    ("run", "variables", "job foreign", REFUSED),
    ("run", "variables", "embedded", NOWHERE),
    ("run", "live", "nothing", TO_LIVE),
    ("run", "live", "BATCHREC_ENDPOINT", REFUSED),
    ("run", "live", "--set", REFUSED),
    ("run", "live", "job", REFUSED),
    ("run", "live", "job foreign", REFUSED),
    ("run", "live", "embedded", NOWHERE),
    ("run", "mine", "nothing", REFUSED),
    ("run", "mine", "BATCHREC_ENDPOINT", HERE),
    ("run", "mine", "--set", HERE),
    ("run", "mine", "job", HERE),
    ("run", "mine", "job foreign", REFUSED),
    ("run", "spelt", "job", HERE),
    ("run", "other", "job", REFUSED),
    ("plan", "variables", "nothing", NOWHERE),
    ("plan", "variables", "BATCHREC_ENDPOINT", NOWHERE),
    ("plan", "variables", "--set", NOWHERE),
    ("plan", "variables", "job", REFUSED),
    ("plan", "variables", "embedded", NOWHERE),
    ("plan", "live", "nothing", NOWHERE),
    ("plan", "live", "BATCHREC_ENDPOINT", REFUSED),
    ("plan", "live", "--set", REFUSED),
    ("plan", "live", "job foreign", REFUSED),
    ("plan", "mine", "nothing", REFUSED),
    ("plan", "mine", "job", NOWHERE),
    ("plan", "mine", "BATCHREC_ENDPOINT", NOWHERE),
    ("recognize", "variables", "nothing", TO_LIVE),
    ("recognize", "variables", "BATCHREC_ENDPOINT", HERE),
    ("recognize", "variables", "--endpoint", HERE),
    ("recognize", "live", "nothing", TO_LIVE),
    ("recognize", "live", "BATCHREC_ENDPOINT", REFUSED),
    ("recognize", "live", "--endpoint", REFUSED),
    ("recognize", "mine", "nothing", REFUSED),
    ("recognize", "mine", "BATCHREC_ENDPOINT", HERE),
    ("recognize", "mine", "--endpoint", HERE),
]


def ended(world: World, running: Running) -> Done:
    """Wait for the end of a command; one that waits for the service, whom the proxy keeps away, is interrupted."""
    until(lambda: world.connected or running.process.poll() is not None)
    if world.connected:
        running.send(signal.SIGINT)
    return running.wait()


@pytest.mark.parametrize(("command", "whose", "how", "expected"), CASES)
def test_where_keys_go(world: World, command: str, whose: str, how: str, expected: set[str] | None) -> None:
    """Variables: the service or where the user's hand says. A profile: its own endpoint. Else 2, with the remedy."""
    place = world.place
    url = {"nothing": LIVE, "live spelt": LIVE, "job foreign": FOREIGN, "embedded": "embedded"}.get(
        how, world.server.url
    )
    credentials(place, whose, world.server.url)
    options = named(place, how, url)
    what = "家居" if command == "recognize" else "furniture.toml"
    done = ended(world, place.start(command, what, *options))
    assert world.sent() == (expected or set())
    if expected is REFUSED:
        assert (done.code, done.out) == (2, "")
        assert url in done.err
        assert REMEDY.format(url) in done.err
        assert not place.output.exists()
        assert not place.state.exists()
    elif expected is HERE or command == "plan":
        assert done.code == 0
    if expected is not REFUSED and command == "run":
        assert url in done.err.splitlines()[0]
    if expected is not REFUSED and command == "plan":
        assert f"endpoint: {url}" in done.out


@pytest.mark.parametrize("how", ["--endpoint", "BATCHREC_ENDPOINT", "nothing"])
def test_where_login_tries_keys(world: World, how: str) -> None:
    """The host is named before anything is typed, and the profile belongs to it."""
    place, url = world.place, LIVE if how == "nothing" else world.server.url
    place.env |= {"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}
    options = named(place, how, url)
    argv = [sys.executable, "-m", "batchrec", "login", *options]
    code, shown = on_terminal(argv, place.root, place.env, [("API Key", KEY + "\n"), ("Secret Key", SECRET + "\n")])
    assert world.sent() == (TO_LIVE if how == "nothing" else HERE)
    assert shown.index(url) < shown.index("API Key")
    if how == "nothing":
        assert code == 69
    else:
        assert code == 0
        assert read_profiles(place.config / "credentials.toml")["default"]["endpoint"] == url
        assert ended(world, place.start("recognize", "家居", *options)).code == 0


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://collector.example",
        f"https://user:{SECRET}@aip.baidubce.com",
        f"https:/user:{SECRET}@aip.baidubce.com",
        f"{LIVE}/path?key={SECRET}",
        "embedded",
        "collector.example",
    ],
)
@pytest.mark.parametrize("by", ["--endpoint", "BATCHREC_ENDPOINT"])
def test_login_judges_its_endpoint_as_a_job_does(apart: Place, endpoint: str, by: str) -> None:
    """Exit 2 before anything is typed, and the value, which may hold a password, is not shown."""
    options = ("--endpoint", endpoint) if by == "--endpoint" else ()
    done = apart.batchrec("login", *options, env={"BATCHREC_ENDPOINT": "" if options else endpoint})
    assert (done.code, done.out) == (2, "")
    assert by in done.err
    assert SECRET not in done.err
    assert "API Key" not in done.err


def test_a_password_in_an_endpoint_is_not_shown(apart: Place) -> None:
    """Whatever form the address has."""
    for endpoint in (f"https://user:{SECRET}@a", f"https:/user:{SECRET}@a", f"user:{SECRET}@a"):
        apart.job(account={"endpoint": endpoint})
        done = apart.run(env={"BATCHREC_ENDPOINT": ""})
        assert done.code == 2
        assert "account.endpoint" in done.err
        assert SECRET not in done.err


@pytest.mark.parametrize("endpoint", ["embedded", "http://collector.example", "https://a/b", "https://u:p@a"])
def test_an_endpoint_in_the_credentials_is_judged_too(apart: Place, endpoint: str) -> None:
    """Exit 2 naming file and profile."""
    apart.pictures(1)
    apart.endpoint = dead_endpoint()
    apart.credentials(default={"api_key": KEY, "secret_key": SECRET, "endpoint": endpoint})
    apart.job()
    done = apart.run()
    assert done.code == 2
    assert "credentials.toml: [default] endpoint: " in done.err
    assert "u:p" not in done.err


def test_a_profile_of_recognize(world: World) -> None:
    """`--profile` says whose key; it goes to its own endpoint only."""
    keys = {"api_key": KEY, "secret_key": SECRET}
    world.place.credentials(default={**keys, "endpoint": LIVE}, shop=keys)
    arguments = ("recognize", "家居", "--endpoint", world.server.url)
    assert world.place.batchrec(*arguments).code == 2
    assert world.sent() == set()
    assert world.place.batchrec(*arguments, "--profile", "shop").code == 0
    assert world.sent() == HERE


# -- the credentials file


def test_a_pipe_for_credentials_is_refused_at_once(apart: Place) -> None:
    """Nobody writes into it: a command that read it would wait for ever."""
    apart.pictures(1)
    apart.endpoint = dead_endpoint()
    path = apart.credentials()
    path.unlink()
    os.mkfifo(path, 0o600)
    apart.job()
    done = apart.run()
    assert (done.code, "credentials.toml: is not a regular file" in done.err) == (2, True)


def test_credentials_of_another_user_are_refused(apart: Place) -> None:
    """Whoever owns the file decides where the keys in it go; the remedy is named."""
    apart.pictures(1)
    apart.endpoint = dead_endpoint()
    path = apart.credentials(default={"api_key": KEY, "secret_key": SECRET})
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:  # a file of root's
        path.unlink()
        path.symlink_to("/etc/hostname")
    apart.job()
    done = apart.run()
    assert done.code == 2
    assert re.search(r"credentials\.toml: belongs to another user \(uid \d+\); run: chown \d+ ", done.err)


@contextmanager
def logins(place: Place, names: list[str], url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Logins that run at once, their keys typed ahead."""
    typed = f"{KEY}\n{SECRET}\n".encode()
    running = []
    for name in names:
        argv = [sys.executable, "-m", "batchrec", "login", "--profile", name, "--endpoint", url]
        process = subprocess.Popen(argv, cwd=place.root, env=place.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(typed)
        process.stdin.close()
        running.append(process)
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def together(server: Stranger, count: int) -> threading.Barrier:
    """Let the server's token endpoint answer when so many have asked."""
    gate, answer = threading.Barrier(count, timeout=30), server.token

    def token() -> Said:
        gate.wait()
        return answer()

    server.token = token
    return gate


def test_logins_at_once_are_all_kept(apart: Place) -> None:
    """They wait for each other at the server and answer together; no profile is lost."""
    names = [f"shop{number}" for number in range(4)]
    apart.credentials(old={"api_key": "old-key", "secret_key": "old-secret", "endpoint": LIVE})
    with strange(Stranger(lambda number, form: Said(reply("x")))) as server:
        gate = together(server, len(names))
        with logins(apart, names, server.url) as running:
            assert [process.wait(60) for process in running] == [0] * len(names)
        assert gate.n_waiting == 0
    path: Path = apart.config / "credentials.toml"
    assert sorted(read_profiles(path)) == ["old", *names]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
