"""`batchrec login`: a key that works is kept for its owner, one that does not is not."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec import redact
from batchrec.api.credentials import load_credentials
from batchrec.commands.login import _toml, try_and_keep
from batchrec.emulator import FaultPlan, Settings, serve
from batchrec.errors import CredentialsRefused, JobError, OutputFailed, ServiceUnavailable

ACCOUNT = Settings(api_key="right-key", secret_key="right-secret")


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of these tests are not masked in the texts of others."""
    monkeypatch.setattr(redact, "_secrets", set())
    monkeypatch.setattr(redact, "_in_lines", {})


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config folder, not there yet."""
    monkeypatch.setenv("BATCHREC_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


async def test_working_key_is_kept_for_its_owner(config: Path) -> None:
    """One token call, then a profile that loads, 0600."""
    async with serve(ACCOUNT) as emulator:
        path = await try_and_keep("shop", "right-key", "right-secret", "acme", emulator.url)
        assert emulator.counters.calls == {"token": 1}
    assert (config / "credentials.toml", 0o600) == (path, path.stat().st_mode & 0o777)
    kept = load_credentials("shop", {"BATCHREC_CONFIG_DIR": str(config)})
    assert (kept.api_key, kept.secret_key, kept.account) == ("right-key", "right-secret", "acme")


async def test_wrong_secret_is_refused_and_nothing_written(config: Path) -> None:
    """77, and not even the folder."""
    async with serve(ACCOUNT) as emulator:
        with pytest.raises(CredentialsRefused, match="invalid_client") as caught:
            await try_and_keep("default", "right-key", "wrong-secret", "", emulator.url)
    assert "wrong-secret" not in str(caught.value)
    assert caught.value.exit_code == 77
    assert not config.exists()


async def test_unreachable_service_is_not_waited_for(config: Path) -> None:
    """69 at once: somebody sits before the screen."""
    async with serve() as emulator:
        url = emulator.url
    with pytest.raises(ServiceUnavailable):
        await try_and_keep("default", "key", "secret", "", url)
    assert not config.exists()


async def test_failing_token_endpoint_writes_nothing(config: Path) -> None:
    """A gateway's error page says nothing about the key."""
    plan = FaultPlan.parse({"faults": [{"kind": "html_502", "service": "token"}]})
    async with serve(plan=plan) as emulator:
        with pytest.raises(ServiceUnavailable, match="HTTP 502"):
            await try_and_keep("default", "key", "secret", "", emulator.url)
    assert not config.exists()


@pytest.mark.parametrize(("key", "secret"), [("", "secret"), ("key", "")])
async def test_empty_key_or_secret(config: Path, key: str, secret: str) -> None:
    """Refused before anything is sent."""
    with pytest.raises(JobError, match="both"):
        await try_and_keep("default", key, secret, "", "http://127.0.0.1:9")
    assert not config.exists()


async def test_other_profiles_stay(config: Path) -> None:
    """Only the named profile is replaced; a bearer key beside it is kept."""
    config.mkdir()
    path = config / "credentials.toml"
    path.write_text('[default]\nbearer = "bce-v3/a/b"\n\n["my shop"]\napi_key = "old"\nsecret_key = "old"\n')
    path.chmod(0o600)
    async with serve() as emulator:
        await try_and_keep("my shop", "new", "newer", "", emulator.url)
    kept = {"api_key": "new", "secret_key": "newer", "endpoint": emulator.url}
    assert tomllib.loads(path.read_text()) == {
        "default": {"bearer": "bce-v3/a/b"},
        "my shop": kept,
    }


async def test_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """74, naming the file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BATCHREC_CONFIG_DIR", str(tmp_path / "file"))
    async with serve() as emulator:
        with pytest.raises((OutputFailed, JobError), match=r"credentials\.toml"):
            await try_and_keep("default", "key", "secret", "", emulator.url)


Text = st.text(st.characters(exclude_categories=["Cs"]))


@given(profiles=st.dictionaries(Text, st.dictionaries(st.sampled_from(["api_key", "account"]), Text)))
def test_every_text_survives_the_file(profiles: dict[str, dict[str, str]]) -> None:
    """Quotes, control characters and characters beyond the first plane are read back as they were."""
    assert tomllib.loads(_toml(profiles)) == profiles
