"""Keys, secrets and tokens are written to the credentials file and the token cache, and nowhere else."""

import base64
import json
import stat
import sys
from urllib.parse import quote

import pytest
from harness import Place, calls_of, dead_endpoint, picture, until
from stranger import Said, Stranger, reply, strange
from terminal import on_terminal

from batchrec.emulator import Emulator, FaultPlan

KEY, SECRET = "Ak3yOf24Characters/With+", "S3cretOf32Characters=With/Signs&"
BEARER = "bce-v3/ALTAK-9f8e7d6c5b4a/0123456789abcdef0123456789abcdef"
TOKEN = "24.0f1e2d3c4b5a69788796a5b4c3d2e1f0.2592000.1798284651.282335-1234567"
LOUD = ("--log-level", "debug")

CRASHING = """
import sys
from batchrec.__main__ import main
async def post(self, url, body, headers, upload=None):
    raise RuntimeError(f"cannot post to {url} with {headers}")
from batchrec.api.direct import DirectTransport
from batchrec.api.http import SessionTransport
def first_the_token(real):
    async def either(self, url, body, headers, upload=None):
        return await (real if "/oauth/" in url else post)(self, url, body, headers, upload)
    return either
for transport in (DirectTransport, SessionTransport):
    transport.post = first_the_token(transport.post)
main()
"""
"""A defect whose message holds the address, and with it the token."""


SPELLINGS = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "all of it percent-encoded": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent-encoded in lower case": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent-encoded twice": lambda text: "".join(f"%25{byte:02X}" for byte in text.encode()),
    "JSON-escaped": lambda text: "".join(f"\\u{byte:04x}" for byte in text.encode()),
    "JSON-escaped within JSON": lambda text: "".join(f"\\\\u{byte:04X}" for byte in text.encode()),
    "with its slashes escaped": lambda text: text.replace("/", "\\/"),
    "with its slashes escaped within JSON": lambda text: text.replace("/", "\\\\/"),
    "in part": lambda text: "".join(each if number % 3 else f"%{ord(each):02x}" for number, each in enumerate(text)),
}
"""How a server may write a secret within a text of its JSON."""


def forms(secret: str) -> set[bytes]:
    """How a secret may stand in a file."""
    plain = secret.encode()
    return {
        plain,
        quote(secret, safe="").encode(),
        quote(secret).encode(),
        json.dumps(secret).encode()[1:-1],
        plain.hex().encode(),
        base64.b64encode(plain).rstrip(b"="),
        *(spell(secret).encode() for spell in SPELLINGS.values()),
    }


def found(place: Place, *secrets: str) -> dict[str, set[str]]:
    """The files below the place that hold one of these, in any form: their names, and what they hold."""
    hits: dict[str, set[str]] = {}
    for path in sorted(path for path in place.root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        held = {secret for secret in secrets if any(form in data for form in forms(secret))}
        if held:
            hits[str(path.relative_to(place.root))] = held
    return hits


def nothing_leaks(place: Place, *secrets: str) -> None:
    """The secrets stand in the token's file at most; what is shown on a terminal is in a file as well."""
    hits = found(place, *secrets)
    assert [name for name in hits if not name.startswith("state/tokens/")] == []


@pytest.fixture(autouse=True)
def hidden(place: Place, apart: Place) -> None:
    """Places whose secrets are like the real ones, and whose every byte lands below them."""
    for each in (place, apart):
        (each.root / "tmp").mkdir(exist_ok=True)
        each.env |= {"BAIDU_API_KEY": KEY, "BAIDU_SECRET_KEY": SECRET, "TMPDIR": str(each.root / "tmp")}
        each.env |= {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}


def tokens_of(emulator: Emulator) -> list[str]:
    """Every token that the emulator has issued and not revoked."""
    return list(emulator._desk.tokens._ends)


def test_runs_of_every_kind(place: Place, emulator: Emulator) -> None:
    """Faults, a revocation, a kill, a resumption, a finished job, every other command: all at their loudest."""
    place.pictures(30)
    place.put("家居/page.jpg", b"<html>404</html>")
    place.job(limits={"qps": 60, "timeout": 1, "attempts": 9}, steps=[{"service": "animal"}, {"service": "dish"}])
    kinds = ("reset", "html_502", "torn", "not_json", "no_result", "hang")
    faults = [{"kind": kind, "share": 0.04} for kind in kinds]
    emulator.plan = FaultPlan.parse({"faults": [*faults, {"kind": "code", "code": 111, "share": 0.05}]})
    running = place.start_run(*LOUD)
    until(lambda: calls_of(emulator) >= 12)
    tokens = tokens_of(emulator)
    emulator.revoke_tokens()
    until(lambda: calls_of(emulator) >= 30)
    running.kill()
    emulator.plan = FaultPlan()
    assert place.run(*LOUD).code in (0, 1)  # 0 where the page had failed before the kill
    assert place.run(*LOUD, "--retry-failed").code == 1
    for command in ("services", "errors", "quota", "init --out more.toml", f"verify {place.output}"):
        assert place.batchrec(*command.split()).code == 0
    image = ("家居/家居_0000.png", "--endpoint", emulator.url)
    assert place.batchrec("recognize", *image, "--no-reuse", *LOUD).code == 0
    secrets = (KEY, SECRET, *tokens, *tokens_of(emulator))
    assert len(secrets) >= 4
    nothing_leaks(place, *secrets)
    kept = found(place, *secrets)
    (name,) = kept
    assert kept[name] <= {*tokens, *tokens_of(emulator)}
    assert stat.S_IMODE((place.root / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o700


def test_login(place: Place, emulator: Emulator) -> None:
    """The key and secret that are typed are kept in credentials.toml, which the search does find, and are not shown."""
    argv = [sys.executable, "-m", "batchrec", "login", "--profile", "shop", "--endpoint", emulator.url]
    typed = [("API Key", KEY + "\n"), ("Secret Key", SECRET + "\n")]
    env = {**place.env, "BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}
    code, shown = on_terminal(argv, place.root, env, typed)
    place.put("shown", shown.encode())
    assert code == 0
    assert found(place, KEY, SECRET, *tokens_of(emulator)) == {"config/credentials.toml": {KEY, SECRET}}
    assert stat.S_IMODE((place.config / "credentials.toml").stat().st_mode) == 0o600


def test_login_makes_private_folders_whatever_the_umask(place: Place, emulator: Emulator) -> None:
    """Each folder that is missing on the way: who can write to one of them could put a file in the key's place."""
    login = [sys.executable, "-m", "batchrec", "login", "--profile", "shop", "--endpoint", emulator.url]
    argv = ["sh", "-c", 'umask 0; exec "$@"', "sh", *login]
    config = place.root / "new" / "config"
    env = {**place.env, "BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": "", "BATCHREC_CONFIG_DIR": str(config)}
    code, shown = on_terminal(argv, place.root, env, [("API Key", KEY + "\n"), ("Secret Key", SECRET + "\n")])
    assert code == 0, shown
    assert {stat.S_IMODE(path.stat().st_mode) for path in (config, config.parent)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in config.iterdir()} == {0o600}


ECHO = f"access_token={TOKEN}&client_id={quote(KEY, safe='')} {TOKEN} {KEY} {SECRET} {quote(SECRET, safe='')} {BEARER}"
ECHOES = {
    "in an error's message": Said(json.dumps({"error_code": 282000, "error_msg": ECHO}).encode()),
    "in an unknown error's message": Said(json.dumps({"error_code": 987654, "error_msg": ECHO}).encode()),
    "in a refusal": Said(json.dumps({"error_code": 14, "error_msg": ECHO}).encode()),
    "in a page": Said(f"<html>{ECHO}</html>".encode(), 502),
    "in a header": Said(b"{}", 500, {"X-Request": ECHO}),
    "in a redirect": Said(b"", 302, {"Location": f"http://127.0.0.1:1/?{ECHO.replace(' ', '&x=')}"}),
    "in what is no JSON": Said(ECHO.encode()),
    "in a torn reply": Said(ECHO.encode(), framing="silently_closed", headers={"X-Torn": ECHO}),
}


@pytest.mark.parametrize("where", ECHOES)
def test_a_server_that_echoes_what_it_was_sent(apart: Place, where: str) -> None:
    """However a server throws key, secret and token back: they do not come through."""
    apart.pictures(2)
    told = json.dumps({"access_token": TOKEN, "expires_in": 2592000}).encode()
    with strange(Stranger(lambda number, form: ECHOES[where], token=lambda: Said(told))) as stranger:
        apart.endpoint = stranger.url
        apart.job(limits={"patience": 0.5, "qps": 50, "attempts": 1})
        assert apart.run(*LOUD).code in (1, 69, 77)
        assert stranger.calls
    nothing_leaks(apart, KEY, SECRET, TOKEN)
    assert TOKEN in next(iter(found(apart, TOKEN).values()))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_answer_that_echoes_what_it_was_sent(apart: Place, spelling: str) -> None:
    """In labels, in keys, deep in the response: masked in every file, in the result cache and on standard output.

    What is beside it stays as it was, and every line stays JSON.
    """
    apart.pictures(3)
    spell = SPELLINGS[spelling]
    number = 2**63 + 1
    marked = reply("SECRETS", "猫 100%", log_id="SECRETS", deep=[{"SECRETS": "a SECRETS b", "number": number}])
    body = marked.replace(b"SECRETS", " ".join(map(spell, (TOKEN, KEY, SECRET))).encode())
    told = json.dumps({"access_token": TOKEN, "expires_in": 2592000}).encode()
    with strange(Stranger(lambda number, form: Said(body), token=lambda: Said(told))) as stranger:
        apart.endpoint = stranger.url
        apart.job()
        assert apart.run(*LOUD, "--limit", "2").code == 0
        calls = len(stranger.calls)
        assert apart.batchrec("recognize", "家居", *LOUD).code == 0  # takes two from the cache, and puts one there
        assert apart.run(*LOUD).code == 0
        assert (calls, len(stranger.calls)) == (2, 3)
    rows = apart.rows()
    assert [row["reused"] is None for row in rows] == [True, True, False]
    hidden = "[hidden] [hidden] [hidden]"
    for row in rows:
        assert [label["name"] for label in row["labels"]] == [hidden, "猫 100%"]
        assert row["response"]["deep"] == [{hidden: f"a {hidden} b", "number": number}]
        assert row["response"]["log_id"] == hidden
    assert [(line["name"], line["log_id"]) for line in apart.csv()] == [(hidden, hidden), ("猫 100%", hidden)] * 3
    assert apart.batchrec("verify", str(apart.output)).code == 0
    nothing_leaks(apart, KEY, SECRET, TOKEN)


def test_a_secret_in_numbers_and_names_breaks_no_line(apart: Place) -> None:
    """A key of digits, and one that an image is called by: numbers and names stay, and every line is JSON."""
    keys = [apart.put("家居/emulator-key.png", picture(1))]
    apart.env |= {"BAIDU_API_KEY": "emulator-key", "BAIDU_SECRET_KEY": "123456789"}
    with strange(Stranger(lambda number, form: Said(reply("x 123456789", log_id=1234567890123456789)))) as stranger:
        apart.endpoint = stranger.url
        apart.job()
        assert apart.run().code == 0
    (row,) = apart.rows()
    assert ([row["image"]], row["response"]["log_id"]) == (keys, 1234567890123456789)
    assert row["labels"][0]["name"] == "x [hidden]"
    assert apart.csv()[0]["image"] == keys[0]


def test_a_token_endpoint_that_echoes(apart: Place) -> None:
    """What is wrong with a key is said without the key."""
    apart.pictures(1)
    said = json.dumps({"error": "invalid_client", "error_description": f"unknown {KEY} with {SECRET}: {ECHO}"})
    with strange(Stranger(lambda number, form: Said(reply("x")), token=lambda: Said(said.encode(), 401))) as stranger:
        apart.endpoint = stranger.url
        apart.job()
        done = apart.run(*LOUD)
        assert (done.code, "unknown [hidden] with [hidden]" in done.err) == (77, True)
    assert found(apart, KEY, SECRET) == {}


def test_a_bearer_key(apart: Place) -> None:
    """An API Key stands in its file alone, also where the service throws it back."""
    apart.pictures(2)
    said = Said(
        json.dumps({"error_code": 23, "error_msg": f"no such key: {BEARER}, {quote(BEARER, safe='')}"}).encode()
    )
    with strange(Stranger(lambda number, form: said)) as stranger:
        apart.endpoint = stranger.url
        apart.credentials(default={"bearer": BEARER})
        apart.job()
        assert apart.run(*LOUD).code == 77
        assert stranger.requests[0][1]["Authorization"] == f"Bearer {BEARER}"
    assert list(found(apart, BEARER)) == ["config/credentials.toml"]


def test_connections_that_fail(apart: Place) -> None:
    """Nobody there, a proxy that is not there, a certificate that nobody trusts: the errors name no secret."""
    apart.pictures(1)
    apart.endpoint = dead_endpoint()
    apart.job(limits={"patience": 0.3})
    assert apart.run(*LOUD).code == 69
    with strange(Stranger(lambda number, form: Said(reply("x"))), tls=True) as stranger:
        apart.endpoint = stranger.url
        apart.job(limits={"patience": 0.3}, output={"directory": "results/tls"})
        assert apart.run(*LOUD).code == 69
        proxy = dead_endpoint().replace("http://", f"http://user:{quote(SECRET, safe='')}@")
        assert apart.run(*LOUD, env={"HTTPS_PROXY": proxy, "NO_PROXY": ""}).code == 69
    assert found(apart, KEY, SECRET) == {}


def test_a_defect(place: Place, emulator: Emulator) -> None:
    """Exit 70 with a traceback, through which the token's address went: masked."""
    place.pictures(1)
    place.put("crash.py", CRASHING.encode())
    place.job()
    done = place.start("run", "furniture.toml", launcher=["crash.py"]).wait()
    assert done.code == 70
    assert "cannot post to" in done.err
    assert "access_token=[hidden]" in done.err
    nothing_leaks(place, KEY, SECRET, *tokens_of(emulator))
