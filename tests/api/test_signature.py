"""BCE v1 signatures, beside the official signer and as the emulator verifies them."""

import asyncio
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.api.credentials import Credentials
from batchrec.api.signature import SignatureAccount, authorization_header
from batchrec.emulator.settings import Settings
from batchrec.emulator.signatures import Received, signed
from batchrec.errors import CredentialsRefused

with warnings.catch_warnings(action="ignore"):  # it was written before Python minded its escapes
    from baidubce.auth import bce_v1_signer
    from baidubce.auth.bce_credentials import BceCredentials

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
PATH = "/rest/2.0/image-classify/v2/advanced_general"
PAIR = Credentials(access_key="an-access-key", secret_access_key="a-signing-secret")
ASKED = Settings(access_key=PAIR.access_key, secret_access_key=PAIR.secret_access_key)

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).filter(lambda name: name != "authorization")
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
values = texts.filter(lambda text: text.strip() == text)


@given(
    query=st.dictionaries(names, texts, max_size=4),
    headers=st.dictionaries(names, values.filter(bool), max_size=4),
    host=st.sampled_from(["aip.baidubce.com", "127.0.0.1:8080", "[::1]:80"]),
    at=st.integers(1, 4_000_000_000),
)
def test_the_official_signer_signs_alike(query: Any, headers: Any, host: str, at: int) -> None:
    """Every byte of the header is that of bce-python-sdk, for the same request at the same time."""
    headers = {**headers, "host": host}
    listed = sorted(name.encode() for name in headers)
    official = bce_v1_signer.sign(
        BceCredentials(PAIR.access_key, PAIR.secret_access_key),
        b"POST",
        PATH.encode(),
        {name.encode(): value.encode() for name, value in headers.items()},
        {name.encode(): value.encode() for name, value in query.items()},
        at,
        headers_to_sign=listed,
    )
    assert authorization_header(PAIR, "POST", PATH, query, headers, at) == official.decode()


def called(path: str = PATH, at: float = NOON, **changes: str) -> Received:
    """A call as an account signs it, with some of its headers changed."""
    account = SignatureAccount("http://127.0.0.1:8080", PAIR, lambda: at)
    authorization = asyncio.run(account.authorize())
    assert authorization.sign is not None
    headers = {"host": "127.0.0.1:8080", **authorization.sign(path)}
    return Received(path, "", {name.lower(): value for name, value in headers.items()} | changes)


@pytest.mark.parametrize(
    ("request_", "settings", "after", "verified"),
    [
        (called(), ASKED, 0, True),
        (called("/rpc/2.0/ai_custom/v1/classification/a_b"), ASKED, 0, True),
        (called(), Settings(), 0, True),
        (called(), Settings(access_key="another"), 0, False),
        (called(), Settings(access_key=PAIR.access_key, secret_access_key="another"), 0, False),
        (called(), Settings(api_key=PAIR.access_key, secret_key=PAIR.secret_access_key), 0, True),
        (called()._replace(path="/rest/2.0/image-classify/v2/dish"), ASKED, 0, False),
        (called()._replace(query="a=1"), ASKED, 0, False),
        (called()._replace(query="authorization=1"), ASKED, 0, True),
        (called(host="another"), ASKED, 0, False),
        (called(**{"x-bce-date": "2026-11-29T12:00:01Z"}), ASKED, 0, False),
        (called(), ASKED, 1800, True),
        (called(), ASKED, 1801, False),
        (called(), ASKED, -900, True),
        (called(), ASKED, -901, False),
        (called(authorization="bce-auth-v1/a/2026-13-29T12:00:00Z/1800/host/" + "0" * 64), Settings(), 0, False),
        (called(authorization="bce-auth-v1/a/2026-11-29T12:00:00Z/1800/x-bce-date/" + "0" * 64), Settings(), 0, False),
    ],
)
def test_verification(request_: Received, settings: Settings, after: float, verified: bool) -> None:
    """Key, secret, path, query, signed headers and time are compared; an open server skips the secret."""
    assert signed(request_, settings, NOON + after) == verified


async def test_the_official_signer_is_verified_with_its_own_headers() -> None:
    """An empty list stands for the default headers, a set for any order."""
    headers = {b"Host": b"aip.baidubce.com", b"x-bce-date": b"2026-11-29T12:00:00Z", b"Content-Type": b"text/plain"}
    for listed in (None, {b"host", b"x-bce-date"}):
        made = bce_v1_signer.sign(
            BceCredentials(PAIR.access_key, PAIR.secret_access_key),
            b"POST",
            PATH.encode(),
            headers,
            {b"b": b"\xe5\x9b\xbe", b"a": b""},
            int(NOON),
            headers_to_sign=listed,
        )
        received = {name.decode().lower(): value.decode() for name, value in headers.items()}
        request = Received(PATH, "b=%E5%9B%BE&a", {**received, "authorization": made.decode(), "accept": "*/*"})
        assert signed(request, ASKED, NOON)
        assert not signed(request._replace(query="b=%E5%9B%BE"), ASKED, NOON)


async def test_a_refused_signature_ends_the_run() -> None:
    """There is no other key to try, and the message holds none."""
    account = SignatureAccount("https://aip.baidubce.com", PAIR, lambda: NOON)
    authorization = await account.authorize()
    assert (authorization.query, authorization.headers, account.refreshes) == ("", (), 0)
    assert PAIR.secret_access_key not in repr(authorization)
    with pytest.raises(CredentialsRefused) as caught:
        account.on_refused(authorization)
    assert PAIR.access_key not in str(caught.value)
