"""Accounts: credentials from environment and file, the token and its whole life, the bearer key."""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import orjson
import pytest
from filelock import FileLock

from batchrec import redact
from batchrec.api.account import BearerAccount, TokenAccount
from batchrec.api.credentials import Credentials, load_credentials
from batchrec.errors import CredentialsRefused, JobError, ServiceUnavailable
from batchrec.values import Authorization, Failure, Kind, Reply
from tests.support.virtual_time import virtual

DAY = 86_400
MONTH = 30 * DAY
KEYS = Credentials("the-key", "the-secret")


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of these tests are not masked in the texts of others."""
    monkeypatch.setattr(redact, "_secrets", set())
    monkeypatch.setattr(redact, "_in_lines", {})


# -- credentials


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A function that writes credentials.toml and gives the environment that points there."""

    def write(content: str | bytes, mode: int = 0o600) -> dict[str, str]:
        path = tmp_path / "credentials.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return {"BATCHREC_CONFIG_DIR": str(tmp_path)}

    return write


Write = Callable[..., dict[str, str]]

PROFILES = """
[default]
api_key = "file-key"
secret_key = "file-secret"

[shop]
bearer = "bce-v3/shop/key"
account = "acme"

[branch]
access_key = "file-access"
secret_access_key = "file-signing"
"""


def test_profiles_of_the_file(write: Write) -> None:
    """Each table is a profile."""
    environ = write(PROFILES)
    assert load_credentials("default", environ) == Credentials("file-key", "file-secret")
    assert load_credentials("shop", environ) == Credentials(bearer="bce-v3/shop/key", account="acme")
    signing = Credentials(access_key="file-access", secret_access_key="file-signing")
    assert load_credentials("branch", environ) == signing


def test_environment_wins_for_the_default_profile(write: Write) -> None:
    """And says nothing about the others; with it the file need not be right, or there."""
    keys = {"BAIDU_API_KEY": "env-key", "BAIDU_SECRET_KEY": "env-secret"}
    environ = write(PROFILES) | keys
    assert load_credentials("default", environ) == Credentials("env-key", "env-secret")
    assert load_credentials("shop", environ).bearer == "bce-v3/shop/key"
    assert load_credentials("default", write("broken [", 0o644) | keys) == Credentials("env-key", "env-secret")
    assert load_credentials("default", {"BATCHREC_CONFIG_DIR": "/nowhere", **keys}).api_key == "env-key"


def test_access_keys_of_the_environment(write: Write) -> None:
    """They win over the file, and an API Key of the environment wins over them."""
    keys = {"BCE_ACCESS_KEY_ID": "env-access", "BCE_SECRET_ACCESS_KEY": "env-signing"}
    signing = Credentials(access_key="env-access", secret_access_key="env-signing")
    assert load_credentials("default", write(PROFILES) | keys) == signing
    both = keys | {"BAIDU_API_KEY": "env-key", "BAIDU_SECRET_KEY": "env-secret"}
    assert load_credentials("default", write(PROFILES) | both) == Credentials("env-key", "env-secret")


@pytest.mark.parametrize("name", ["BAIDU_API_KEY", "BAIDU_SECRET_KEY", "BCE_ACCESS_KEY_ID", "BCE_SECRET_ACCESS_KEY"])
def test_half_of_the_environment(write: Write, name: str) -> None:
    """One variable without the other is a mistake, not a fallback to the file."""
    with pytest.raises(JobError, match="set both"):
        load_credentials("default", write(PROFILES) | {name: "sensitive"})


def test_empty_environment_counts_as_none(write: Write) -> None:
    """As cron and CI leave it."""
    environ = write(PROFILES) | {"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}
    assert load_credentials("default", environ).api_key == "file-key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_file_that_others_can_read(write: Write, mode: int) -> None:
    """Refused, with the command that helps."""
    with pytest.raises(JobError, match="others can read it; run: chmod 600"):
        load_credentials("default", write(PROFILES, mode))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('[default]\napi_key = "sensitive', "is not TOML"),
        (b'[default]\napi_key = "sensitive\xff"', "is not TOML"),
        ('[default]\napi_key = "sensitive"\n', "needs api_key and secret_key, or bearer"),
        ('[default]\nsecret_key = "sensitive"\n', "needs api_key and secret_key, or bearer"),
        ("[default]\n", "needs api_key and secret_key, or bearer"),
        ('[default]\naccess_key = "sensitive"\n', "or access_key and secret_access_key"),
        ('[default]\napi_key = ["sensitive"]\nsecret_key = "sensitive"\n', "has api_key"),
        ('[default]\nkey = "sensitive"\nsecret_key = "sensitive"\n', "has key"),
        ('[shop]\nbearer = "sensitive"\n', r"no profile 'default' \(there are: shop\)"),
        ('api_key = "sensitive"\nsecret_key = "sensitive"\n', r"no profile 'default' \(there are: none yet\)"),
        ("", r"no profile 'default' \(there are: none yet\)"),
    ],
)
def test_file_that_is_wrong(write: Write, content: str | bytes, complaint: str) -> None:
    """The path and what is wrong, and nothing of the content."""
    with pytest.raises(JobError, match=complaint) as caught:
        load_credentials("default", write(content))
    assert "credentials.toml" in str(caught.value)
    assert "sensitive" not in str(caught.value)


def test_no_file_at_all(tmp_path: Path) -> None:
    """The message says the three ways out."""
    with pytest.raises(JobError) as caught:
        load_credentials("default", {"BATCHREC_CONFIG_DIR": str(tmp_path)})
    for way in ("batchrec login", "BAIDU_API_KEY", "embedded"):
        assert way in str(caught.value)


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    """The system's reason."""
    (tmp_path / "credentials.toml").mkdir(mode=0o700)
    with pytest.raises(JobError, match="directory"):
        load_credentials("default", {"BATCHREC_CONFIG_DIR": str(tmp_path)})


def test_nothing_secret_is_shown() -> None:
    """Not by repr, and not by the name that counts are kept under."""
    for credentials in (KEYS, Credentials(bearer="the-secret")):
        assert "the-" not in repr(credentials) + credentials.identity
    assert "the-" not in repr(Authorization("access_token=the-token", (("Authorization", "the-secret"),)))
    assert KEYS.secrets == ("the-key", "the-secret")


def test_profiles_of_one_account_share_its_name() -> None:
    """Else every key is an account of its own."""
    first, second = Credentials("a", "b", account="acme"), Credentials(bearer="c", account="acme")
    assert first.identity == second.identity == "acme"
    assert Credentials("a", "b").identity != Credentials("c", "b").identity


# -- the token


class Endpoint:
    """A token endpoint: replies in order, the last one for ever; by default a new token each time."""

    def __init__(self, *replies: Reply | Failure, life: float = MONTH, token: str = "24.{}") -> None:
        self.replies = list(replies)
        self.life = life
        self.token = token
        self.posts: list[tuple[str, bytes, dict[str, str]]] = []
        self.given = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Failure:
        self.posts.append((url, body, dict(headers)))
        await asyncio.sleep(0.1)
        if self.replies:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return self.new_token()

    def new_token(self) -> Reply:
        self.given += 1
        return Reply(200, orjson.dumps({"access_token": self.token.format(self.given), "expires_in": self.life}))


class Clock:
    """Unix time that runs with the loop's."""

    offset = 1_790_000_000.0

    def __call__(self) -> float:
        return self.offset + asyncio.get_running_loop().time()


def an_account(
    endpoint: Endpoint,
    cache: Path | None = None,
    *,
    credentials: Credentials = KEYS,
    patience: float = 60,
    clock: Callable[[], float] | None = None,
) -> TokenAccount:
    return TokenAccount(
        "https://host",
        credentials,
        endpoint,
        cache=cache,
        patience=patience,
        now=clock or Clock(),
        time=asyncio.get_running_loop().time,
        rng=random.Random(1),
    )


async def query(account: TokenAccount) -> str:
    return (await account.authorize()).query


@virtual
async def test_token_is_fetched_with_a_form() -> None:
    """Key and secret stand in the body of a POST, never in an address."""
    endpoint = Endpoint()
    assert await query(an_account(endpoint)) == "access_token=24.1"
    (url, body, headers) = endpoint.posts[0]
    assert url == "https://host/oauth/2.0/token"
    assert headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["the-key"],
        "client_secret": ["the-secret"],
    }


@virtual
async def test_one_fetch_for_two_hundred_callers() -> None:
    """Callers that come while it is fetched wait for it."""
    endpoint = Endpoint()
    account = an_account(endpoint)
    queries = await asyncio.gather(*(query(account) for _ in range(200)))
    assert (set(queries), len(endpoint.posts)) == ({"access_token=24.1"}, 1)


@virtual
async def test_cancelled_fetch_is_taken_over() -> None:
    """The caller who fetches goes away; the next one fetches, nobody waits for ever."""
    endpoint = Endpoint()
    account = an_account(endpoint)
    first = asyncio.ensure_future(query(account))
    second = asyncio.ensure_future(query(account))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second == "access_token=24.1"
    assert (first.cancelled(), len(endpoint.posts)) == (True, 2)


def test_token_is_kept_between_runs(tmp_path: Path) -> None:
    """The second run fetches none; the file is its owner's alone."""
    endpoint = Endpoint()

    @virtual
    async def a_run() -> None:
        assert await query(an_account(endpoint, tmp_path)) == "access_token=24.1"

    a_run()
    a_run()
    assert len(endpoint.posts) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert "the-" not in "".join(file.name + file.read_text() for file in files)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"access_token":"a","obtained":"x","expires":1}'])
def test_broken_cache_is_no_cache(tmp_path: Path, content: bytes) -> None:
    """A new token is fetched, and written over it."""

    @virtual
    async def a_run() -> None:
        await query(an_account(Endpoint(), tmp_path))

    a_run()
    (file,) = tmp_path.rglob("*.json")
    whole = file.read_bytes()
    file.write_bytes(content)
    a_run()
    assert whole == file.read_bytes()


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """The run goes on without it."""
    (tmp_path / "tokens").write_text("in the way")

    @virtual
    async def a_run() -> None:
        assert await query(an_account(Endpoint(), tmp_path)) == "access_token=24.1"

    a_run()
    assert (tmp_path / "tokens").read_text() == "in the way"


def test_accounts_do_not_share_tokens(tmp_path: Path) -> None:
    """Another key, another secret: another token in the same folder."""
    endpoint = Endpoint()

    @virtual
    async def a_run() -> None:
        others = [KEYS, Credentials("other", "the-secret"), Credentials("the-key", "other"), KEYS]
        queries = [await query(an_account(endpoint, tmp_path, credentials=other)) for other in others]
        assert queries == ["access_token=24.1", "access_token=24.2", "access_token=24.3", "access_token=24.1"]

    a_run()
    assert len(list((tmp_path / "tokens").glob("*.json"))) == 3


@pytest.mark.parametrize(("life", "early"), [(MONTH, DAY), (5 * DAY, DAY / 2), (600, 60)])
def test_token_is_renewed_early(life: float, early: float) -> None:
    """By a day or a tenth of its life, whichever is less."""

    @virtual
    async def live() -> None:
        endpoint = Endpoint(life=life)
        account = an_account(endpoint)
        await query(account)
        await asyncio.sleep(life - early - 1)
        assert (await query(account), account.refreshes) == ("access_token=24.1", 0)
        await asyncio.sleep(1)
        assert (await query(account), account.refreshes) == ("access_token=24.2", 1)

    live()


@virtual
async def test_old_token_serves_while_the_endpoint_is_down() -> None:
    """An early renewal that fails stops nobody; it is tried again each minute, and at the end in earnest."""
    endpoint = Endpoint()
    account = an_account(endpoint)
    await query(account)
    endpoint.replies = [Failure(Kind.TRANSIENT, "connection", "no connection")]
    await asyncio.sleep(MONTH - DAY)
    for _ in range(120):
        assert await query(account) == "access_token=24.1"
        await asyncio.sleep(1)
    assert len(endpoint.posts) in (3, 4)
    await asyncio.sleep(DAY)
    with pytest.raises(ServiceUnavailable, match="no connection"):
        await query(account)
    endpoint.replies = []
    assert await query(account) == "access_token=24.2"


def test_token_renewed_by_another_process_is_used(tmp_path: Path) -> None:
    """A token written by another process is good for this one too."""
    endpoint = Endpoint()

    @virtual
    async def live() -> None:
        first, second = an_account(endpoint, tmp_path), an_account(endpoint, tmp_path)
        assert await query(first) == await query(second) == "access_token=24.1"
        await asyncio.sleep(MONTH - DAY)
        assert await query(first) == await query(second) == "access_token=24.2"

    live()
    assert len(endpoint.posts) == 2


def test_processes_that_need_a_token_at_once_fetch_one(tmp_path: Path) -> None:
    """At the start, and after a refusal of the shared one: the others wait for the first one's token."""
    endpoint = Endpoint()

    @virtual
    async def live() -> None:
        accounts = [an_account(endpoint, tmp_path) for _ in range(5)]
        for number in (1, 2):
            given = await asyncio.gather(*(account.authorize() for account in accounts))
            assert {each.query for each in given} == {f"access_token=24.{number}"}
            assert [each.fresh for each in given].count(True) == 1
            for account, authorization in zip(accounts, given, strict=True):
                account.on_refused(authorization)
        assert sum(account.refreshes for account in accounts) == 1

    live()
    assert len(endpoint.posts) == 2


def test_turn_to_fetch_is_not_kept_between_tries(tmp_path: Path) -> None:
    """While one process waits to try a failing endpoint again, another fetches; both have its token."""
    endpoint = Endpoint()

    @virtual
    async def live() -> None:
        down = Endpoint(Failure(Kind.TRANSIENT, "connection", "no connection"))
        waiting = asyncio.ensure_future(query(an_account(down, tmp_path)))
        await asyncio.sleep(3)
        assert not waiting.done()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await query(an_account(endpoint, tmp_path)) == "access_token=24.1"
        assert loop.time() - began < 0.5
        assert await waiting == "access_token=24.1"

    live()
    assert len(endpoint.posts) == 1


def test_process_that_is_stuck_keeps_nobody_from_a_token(tmp_path: Path) -> None:
    """A process that holds the turn for more than ten seconds, say a stopped one, is not waited for."""
    endpoint = Endpoint()

    @virtual
    async def live() -> None:
        account = an_account(endpoint, tmp_path)
        account.on_refused(await account.authorize())
        loop = asyncio.get_running_loop()
        began = loop.time()
        (lock,) = tmp_path.rglob("*.lock")
        with FileLock(lock):
            assert await query(account) == "access_token=24.2"
        assert 10 <= loop.time() - began <= 11
        assert await query(an_account(endpoint, tmp_path)) == "access_token=24.2"

    live()


def test_cancelled_fetch_gives_the_turn_to_the_next_process(tmp_path: Path) -> None:
    """A run that is stopped while it fetches holds up no other."""
    endpoint = Endpoint()

    @virtual
    async def live() -> None:
        first = asyncio.ensure_future(query(an_account(endpoint, tmp_path)))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(query(an_account(endpoint, tmp_path)))
        await asyncio.sleep(0.01)
        first.cancel()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await second == "access_token=24.1"
        assert loop.time() - began < 0.5

    live()


@virtual
async def test_refused_token_is_replaced_once() -> None:
    """A hundred refusals of one token are one refusal; a late one of an old token is none."""
    endpoint = Endpoint()
    account = an_account(endpoint)
    first = await account.authorize()
    for _ in range(100):
        account.on_refused(first)
    second = await account.authorize()
    account.on_refused(first)
    assert await account.authorize() is second
    assert (second.query, account.refreshes, len(endpoint.posts)) == ("access_token=24.2", 1, 2)


@pytest.mark.parametrize("token", ["24.{}", "a+b/c={} d", "令牌{}"])
def test_cached_token_that_is_refused_is_not_used_again(tmp_path: Path, token: str) -> None:
    """With any characters in it: it is dropped, uncounted, and a new one fetched and kept."""
    endpoint = Endpoint(token=token)

    @virtual
    async def a_run(first: int) -> None:
        account = an_account(endpoint, tmp_path)
        old = await account.authorize()
        account.on_refused(old)
        assert parse_qs(await query(account)) == {"access_token": [token.format(first + 1)]}
        assert old.fresh is (first == 1)

    a_run(1)
    a_run(2)
    assert len(endpoint.posts) == 3


@virtual
async def test_endpoint_that_is_down_is_waited_for() -> None:
    """A token comes as soon as there is one; warnings say why it takes so long."""
    endpoint = Endpoint(
        Failure(Kind.TRANSIENT, "connection", "no connection", counted=False),
        Reply(500, b'{"error":"invalid_client"}'),
        Reply(502, b"<html>Bad Gateway</html>"),
        Reply(429, b'{"error":"slow_down"}'),
        Reply(200, b'{"access_token":"late","expires_in":60}'),
    )
    assert await query(an_account(endpoint)) == "access_token=late"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Failure(Kind.TRANSIENT, "tls", "the server's certificate was not accepted: expired"), "certificate.*expired"),
        (Reply(503, b""), "HTTP 503"),
        (Reply(200, b"<html>log in to the hotel's network</html>"), "HTTP 200"),
        (Reply(200, b'{"expires_in":60}'), "without a token"),
        (Reply(200, b'{"access_token":"a","expires_in":0}'), "without a token"),
        (Reply(200, b'{"access_token":"a","expires_in":"x"}'), "without a token"),
        (Reply(200, b'{"access_token":7,"expires_in":60}'), "without a token"),
        (Reply(200, b'{"access_token":"a","expires_in":true}'), "without a token"),
        (Reply(200, b'{"access_token":"a","expires_in":1e-9}'), "without a token"),
        (Reply(200, b'{"access_token":"%s","expires_in":60}' % (b"a" * 8001)), "without a token"),
    ],
)
def test_endpoint_that_stays_down(reply: Reply | Failure, told: str) -> None:
    """69 after patience, several tries, and the reason."""

    @virtual
    async def wait() -> None:
        endpoint = Endpoint(reply)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(ServiceUnavailable, match=told) as caught:
            await query(an_account(endpoint, patience=60))
        assert 60 <= loop.time() - began <= 75
        assert len(endpoint.posts) >= 5
        assert "the-" not in str(caught.value)

    wait()


@pytest.mark.parametrize("status", [200, 400, 401])
def test_wrong_key_or_secret(status: int) -> None:
    """77 at once, in the endpoint's words, without the secret it may repeat."""

    @virtual
    async def ask() -> None:
        body = {"error": "invalid_client", "error_description": "client_secret=the-secret is wrong"}
        endpoint = Endpoint(Reply(status, orjson.dumps(body)))
        with pytest.raises(CredentialsRefused, match="invalid_client") as caught:
            await query(an_account(endpoint))
        assert "the-secret" not in str(caught.value)
        assert len(endpoint.posts) == 1

    ask()


# -- the bearer key


@virtual
async def test_bearer_key_travels_as_a_header() -> None:
    """Nothing is fetched, and nothing stands in the address."""
    account = BearerAccount(Credentials(bearer="bce-v3/a/b"))
    authorization = await account.authorize()
    assert (authorization.query, dict(authorization.headers)) == ("", {"Authorization": "Bearer bce-v3/a/b"})
    assert (account.refreshes, account.secrets) == (0, ("bce-v3/a/b",))


@virtual
async def test_refused_bearer_key() -> None:
    """77 at once: there is no other."""
    account = BearerAccount(Credentials(bearer="bce-v3/a/b"))
    with pytest.raises(CredentialsRefused) as caught:
        account.on_refused(await account.authorize())
    assert "bce-v3" not in str(caught.value)
