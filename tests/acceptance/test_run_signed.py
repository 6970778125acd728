"""Jobs whose account has an access key and nothing else: each call is signed (BCE v1), and no token is asked for."""

from collections.abc import Callable

import pytest
from harness import Place

from batchrec.emulator import Emulator

KEY, SECRET = "an-access-key-51d0", "a-signing-secret-88ce"
VARIABLES = {"BCE_ACCESS_KEY_ID": KEY, "BCE_SECRET_ACCESS_KEY": SECRET, "BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}


def by_variables(place: Place) -> None:
    """The key in the environment."""
    place.env |= VARIABLES


def by_profile(place: Place) -> None:
    """The key in credentials.toml."""
    place.credentials(default={"access_key": KEY, "secret_access_key": SECRET})


@pytest.fixture
def signing(emulator: Emulator) -> Emulator:
    """An emulator that takes signatures by this key, and issues no token."""
    emulator.configure(api_key="another", access_key=KEY, secret_access_key=SECRET)
    return emulator


@pytest.mark.parametrize("given", [by_variables, by_profile])
def test_every_call_is_signed(place: Place, signing: Emulator, given: Callable[[Place], None]) -> None:
    """Form and JSON calls of a job are all accepted; neither key stands in any file but the credentials."""
    keys = place.pictures(6)
    place.job(steps=[{"service": "dish"}, {"service": "easydl_classification", "model": "fruit"}])
    given(place)
    done = place.run("--log-level", "debug", "--progress", "plain")
    assert done.code == 0, done.err
    assert sorted(row["image"] for row in place.rows()) == sorted(2 * keys)
    assert signing.counters.tokens_issued == 0
    assert "token" not in signing.counters.outcomes
    assert place.summary()["token_refreshes"] == 0
    for path in (path for path in place.root.rglob("*") if path.is_file() and path.name != "credentials.toml"):
        assert SECRET.encode() not in path.read_bytes(), path
        assert KEY.encode() not in path.read_bytes(), path


def test_a_wrong_secret_ends_with_77(place: Place, signing: Emulator) -> None:
    """Error code 14 stops the run at once; nothing is counted."""
    place.pictures(6)
    place.job(limits={"daily": 6})
    place.env |= VARIABLES | {"BCE_SECRET_ACCESS_KEY": "wrong"}
    done = place.run()
    assert done.code == 77
    assert "IAM Certification failed" in done.err
    assert "clock" in place.batchrec("errors", "14").out
    assert place.counted() == 0


def test_half_a_pair_is_a_mistake(place: Place, signing: Emulator) -> None:
    """Both variables or neither, as for the API Key."""
    place.pictures(1)
    place.job()
    place.env |= VARIABLES | {"BCE_SECRET_ACCESS_KEY": ""}
    done = place.run()
    assert done.code == 2
    assert "BCE_ACCESS_KEY_ID and BCE_SECRET_ACCESS_KEY: set both, or neither" in done.err
    assert not signing.counters.outcomes


def test_keys_of_the_environment_go_nowhere_that_only_a_job_file_names(place: Place, signing: Emulator) -> None:
    """As for the API Key."""
    place.pictures(1)
    place.job()
    place.env |= VARIABLES
    del place.env["BATCHREC_ENDPOINT"]
    done = place.run()
    assert done.code == 2
    assert "BCE_ACCESS_KEY_ID and BCE_SECRET_ACCESS_KEY are not sent there" in done.err
    assert not signing.counters.outcomes
