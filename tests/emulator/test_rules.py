"""The gateway's rules under an injected clock: tokens, credentials, limits, log ids."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.emulator import Settings
from batchrec.emulator.counters import busiest_second
from batchrec.emulator.rules import (
    MESSAGES,
    SNOWFLAKE_EPOCH_MS,
    Limits,
    LogIds,
    Tokens,
    authorize,
    client_error,
    error_body,
)
from batchrec.emulator.signatures import Received

NOON = 1_790_000_000.0
"""Some moment, Unix seconds; in Shanghai 2026-09-21, 22:13:20."""

ARRIVALS = st.lists(st.floats(0, 5, allow_nan=False), max_size=200).map(sorted)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(Random(1))


def issued(tokens: Tokens, settings: Settings, at: float) -> str:
    reply = tokens.issue(settings, at)
    assert isinstance(reply["access_token"], str)
    return reply["access_token"]


def test_token_has_the_documented_shape(tokens: Tokens) -> None:
    """Kind, 32 hex digits, life, the Unix second of its end, and an application, joined by dots."""
    kind, secret, life, end, app = issued(tokens, Settings(), NOON).split(".")
    assert (kind, len(secret), life, int(end)) == ("24", 32, "2592000", int(NOON) + 2_592_000)
    assert int(secret, 16) >= 0
    assert app.startswith("282335-")


def test_token_reply_carries_the_scope_that_the_official_sdk_looks_for(tokens: Tokens) -> None:
    """Without ``brain_all_scope`` the SDK would not send the token."""
    reply = tokens.issue(Settings(), NOON)
    assert "brain_all_scope" in str(reply["scope"]).split(" ")
    assert reply["expires_in"] == 2_592_000


def test_token_ends_at_its_second(tokens: Tokens) -> None:
    """Valid up to its end, 111 from then on."""
    token = issued(tokens, Settings(token_life=60), NOON)
    assert [tokens.check(token, NOON + late) for late in (0, 59.9, 60, 1e6)] == [0, 0, 111, 111]


def test_new_token_leaves_old_ones_valid(tokens: Tokens) -> None:
    """Every token is independent of the others."""
    first = issued(tokens, Settings(), NOON)
    second = issued(tokens, Settings(), NOON + 1)
    assert first != second
    assert [tokens.check(first, NOON + 2), tokens.check(second, NOON + 2)] == [0, 0]


def test_token_missing_unknown_and_revoked_have_their_codes(tokens: Tokens) -> None:
    """None is 100; one nobody issued, and one taken back, are 110."""
    token = issued(tokens, Settings(), NOON)
    tokens.revoke()
    assert [tokens.check(value, NOON) for value in ("", "24.made-up", token)] == [100, 110, 110]


@pytest.mark.parametrize(("opens", "code"), [(False, 110), (True, 0)])
def test_refresh_token_as_access_token_is_a_switch(tokens: Tokens, opens: bool, code: int) -> None:
    """Nobody could confirm whether the ten-year token opens the services."""
    reply = tokens.issue(Settings(refresh_token_opens=opens), NOON)
    assert tokens.check(str(reply["refresh_token"]), NOON) == code


@pytest.mark.parametrize(
    ("settings", "key", "secret", "error"),
    [
        (Settings(), "any", "thing", None),
        (Settings(), "", "thing", "unknown client id"),
        (Settings(), "any", "", "Client authentication failed"),
        (Settings(api_key="right", secret_key="too"), "right", "too", None),
        (Settings(api_key="right", secret_key="too"), "wrong", "too", "unknown client id"),
        (Settings(api_key="right", secret_key="too"), "right", "wrong", "Client authentication failed"),
    ],
)
def test_client_credentials(settings: Settings, key: str, secret: str, error: str | None) -> None:
    """The key is looked at before the secret; unset means any that is not empty."""
    assert client_error(settings, key, secret) == error


@pytest.mark.parametrize(
    ("settings", "authorization", "code"),
    [
        (Settings(), "Bearer bce-v3/ALTAK-1/abc", 0),
        (Settings(), "Bearer something", 23),
        (Settings(bearer="bce-v3/mine"), "Bearer bce-v3/mine", 0),
        (Settings(bearer="bce-v3/mine"), "Bearer bce-v3/other", 23),
        (Settings(), "bce-auth-v1/ak/2026-01-01T00:00:00Z/1800/host/0f", 14),
        (Settings(), "bce-auth-v2/ak", 14),
        (Settings(), "", 100),
    ],
)
def test_authorization_header(tokens: Tokens, settings: Settings, authorization: str, code: int) -> None:
    """An API key stands alone, a signature has to be whole, and without a header the token decides."""
    request = Received(headers={"authorization": authorization} if authorization else {})
    assert authorize(settings, tokens, request, NOON) == code


@settings(deadline=None)
@given(times=ARRIVALS, qps=st.integers(1, 8), refused_count=st.booleans())
def test_sliding_window_never_admits_more_than_qps_in_any_second(
    times: list[float], qps: int, refused_count: bool
) -> None:
    """No half-open second, wherever it begins, holds more admitted calls than the limit."""
    settings = Settings(qps=qps, window="sliding", refused_calls_take_qps=refused_count)
    limits = Limits()
    admitted = [at for at in times if limits.admit("dish", settings, at) == 0]
    assert busiest_second(admitted) <= qps
    assert bool(admitted) == bool(times)


@settings(deadline=None)
@given(times=ARRIVALS, qps=st.integers(1, 8))
def test_fixed_window_admits_the_first_calls_of_every_calendar_second(times: list[float], qps: int) -> None:
    """Exactly as many as arrived, up to the limit, in each second on its own."""
    limits = Limits()
    settings = Settings(qps=qps, window="fixed")
    admitted = [at for at in times if limits.admit("dish", settings, at) == 0]
    for second in range(6):
        arrived = sum(int(at) == second for at in times)
        assert sum(int(at) == second for at in admitted) == min(arrived, qps)


@settings(deadline=None)
@given(times=ARRIVALS, qps=st.integers(1, 8))
def test_sliding_window_refuses_only_when_it_is_full(times: list[float], qps: int) -> None:
    """A refused call finds exactly the limit's number of admitted calls in the second before."""
    limits = Limits()
    settings = Settings(qps=qps, window="sliding")
    admitted: list[float] = []
    for at in times:
        if limits.admit("dish", settings, at) == 0:
            admitted.append(at)
        else:
            assert sum(at - then < 1.0 for then in admitted) == qps


def test_windows_differ_at_the_turn_of_a_second() -> None:
    """Twice the limit within 0.2 s passes where seconds are fixed and does not where they slide."""
    times = [0.9, 0.95, 1.05, 1.1]
    codes = {}
    for window in ("fixed", "sliding"):
        limits = Limits()
        codes[window] = [limits.admit("dish", Settings(qps=2, window=window), at) for at in times]
    assert codes == {"fixed": [0, 0, 0, 0], "sliding": [0, 0, 18, 18]}


def test_refused_calls_may_keep_the_window_full() -> None:
    """With the switch, a caller that hammers is not let in again; without, after one second."""
    times = [0.0, 0.5, 1.2, 1.9, 2.6]
    codes = {}
    for switch in (False, True):
        limits = Limits()
        settings = Settings(qps=1, refused_calls_take_qps=switch)
        codes[switch] = [limits.admit("dish", settings, at) for at in times]
    assert codes == {False: [0, 18, 0, 18, 0], True: [0, 18, 18, 18, 18]}


def test_rates_below_one_and_zero() -> None:
    """Half a call a second is one in two seconds; zero, an unclaimed quota, is 18 for ever."""
    half, zero = Limits(), Limits()
    assert [half.admit("dish", Settings(qps=0.5), at) for at in (0, 1, 1.9, 2, 4)] == [0, 18, 18, 0, 0]
    assert [zero.admit("dish", Settings(qps=0), at) for at in (0, 1e6)] == [18, 18]


def test_every_service_counts_for_itself() -> None:
    """A limit that one service has used up leaves the others alone."""
    limits, settings = Limits(), Settings(qps=1, daily=1, total=1)
    assert [limits.admit(name, settings, 0) for name in ("dish", "car", "dish")] == [0, 0, 19]


@settings(deadline=None)
@given(
    calls=st.lists(st.tuples(st.floats(0, 3 * 86_400), st.booleans()), max_size=80).map(sorted),
    daily=st.integers(0, 10),
    total=st.integers(0, 25),
)
def test_daily_and_total_limits_are_never_exceeded(calls: list[tuple[float, bool]], daily: int, total: int) -> None:
    """A call is refused exactly when a limit is reached, and what stays counted never passes one."""
    limits, settings = Limits(), Settings(daily=daily, total=total)
    for at, given_back in calls:
        today, ever = limits.used("dish", settings, at)
        code = limits.admit("dish", settings, at)
        assert code == (19 if ever == total else 17 if today == daily else 0)
        if code == 0 and given_back:
            limits.give_back("dish", settings, at)
        counted = int(code == 0 and not given_back)
        assert limits.used("dish", settings, at) == (today + counted, ever + counted)


def test_day_begins_at_midnight_in_shanghai() -> None:
    """16:00 UTC opens the day's count again; the switch moves it."""
    limits, settings = Limits(), Settings(daily=1)
    midnight = 20_000 * 86_400 + 16 * 3600
    assert [limits.admit("dish", settings, midnight + late) for late in (-9, -1, 0, 1)] == [0, 17, 0, 17]
    other, utc = Limits(), Settings(daily=1, day_starts_at_utc=0)
    assert [other.admit("dish", utc, midnight + late) for late in (-9, -1, 0, 1)] == [0, 17, 17, 17]


def test_used_up_quota_is_named_before_the_rate() -> None:
    """Total before day before second."""
    limits = Limits()
    assert limits.admit("dish", Settings(), 0) == 0
    assert limits.admit("dish", Settings(qps=0, daily=1, total=1), 0) == 19
    assert limits.admit("dish", Settings(qps=0, daily=1), 0) == 17
    assert limits.admit("dish", Settings(qps=0), 0) == 18


def test_log_ids_are_snowflakes() -> None:
    """Nineteen digits, unique and rising, and the millisecond can be read back."""
    ids = LogIds(Random(3))
    minted = [ids.mint(NOON + step / 1e6) for step in range(10_000)]
    assert minted == sorted(set(minted))
    assert {len(str(log_id)) for log_id in minted} == {19}
    assert abs((minted[0] >> 22) + SNOWFLAKE_EPOCH_MS - NOON * 1000) <= 1


def test_log_ids_rise_although_the_clock_steps_back() -> None:
    """A clock that is set back repeats no id."""
    ids = LogIds(Random(3))
    assert ids.mint(NOON) < ids.mint(NOON - 3600)


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_only_the_gateways_errors_lack_a_log_id(code: int) -> None:
    """Codes up to 111 come without one, the recognizers' with one; both with number and text."""
    body = error_body(code, 7)
    assert ("log_id" in body) == (code > 111)
    assert (body["error_code"], body["error_msg"]) == (code, MESSAGES[code])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"qps": -1}, "qps"),
        ({"daily": -1}, "daily"),
        ({"token_life": 0}, "token_life"),
        ({"window": "leaky"}, "window"),
        ({"latency": -0.1}, "latency"),
    ],
)
def test_settings_refuse_nonsense(changes: dict[str, object], word: str) -> None:
    """The complaint names the setting."""
    with pytest.raises(ValueError, match=word):
        Settings(**changes)  # type: ignore[arg-type]
