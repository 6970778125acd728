"""Secrets are masked wherever text leaves batchrec."""

import logging
import sys

import pytest

from batchrec import redact
from batchrec.redact import RedactingFormatter


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without secrets, and leaves none behind."""
    monkeypatch.setattr(redact, "_secrets", set())


def test_remembered_secrets_are_masked_everywhere() -> None:
    """However often and wherever they stand."""
    redact.remember("s3cret", "")
    assert redact.redact("s3cret, then xs3crety") == "[hidden], then x[hidden]y"


def test_nothing_remembered_changes_nothing() -> None:
    """Plain text stays as it is."""
    assert redact.redact("HTTP 502 from the gateway") == "HTTP 502 from the gateway"


def test_secret_that_begins_with_another_is_masked_whole() -> None:
    """No tail of the longer one remains."""
    keys = [f"key-{number}" for number in range(10, 40)]
    longer = [f"{key}-and-more" for key in keys]
    redact.remember(*keys, *longer)
    assert redact.redact(" ".join(longer)) == " ".join(["[hidden]"] * 30)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://h/p?access_token=24.abc.def&x=1", "https://h/p?access_token=[hidden]&x=1"),
        ("client_id=abc&client_secret=def", "client_id=[hidden]&client_secret=[hidden]"),
        ("Authorization: Bearer bce-v3/ALTAK-x/y", "Authorization: Bearer [hidden]"),
        ("URL('http://h/?access_token=24.abc')", "URL('http://h/?access_token=[hidden]')"),
    ],
)
def test_places_where_secrets_stand_are_masked_unremembered(text: str, masked: str) -> None:
    """A token that nobody remembered is known by its place in an address."""
    assert redact.redact(text) == masked


def test_log_lines_and_tracebacks_are_masked() -> None:
    """Arguments and exceptions too."""
    redact.remember("s3cret")
    try:
        raise ValueError("s3cret in an exception")
    except ValueError:
        record = logging.LogRecord("name", logging.ERROR, __file__, 1, "with %s", ("s3cret",), sys.exc_info())
    line = RedactingFormatter("%(message)s").format(record)
    assert "s3cret" not in line
    assert line.startswith("with [hidden]\n")
    assert line.endswith("ValueError: [hidden] in an exception")
