"""Secrets are masked wherever text leaves batchrec."""

import logging
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec import redact
from batchrec.exact_json import dumps, loads
from batchrec.redact import RedactingFormatter


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without secrets, and leaves none behind."""
    monkeypatch.setattr(redact, "_secrets", set())
    monkeypatch.setattr(redact, "_in_lines", {})


def test_remembered_secrets_are_masked_everywhere() -> None:
    """At any number of places, also within a word."""
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


# How a character of a secret may be written: plain, percent-encoded once to three times, JSON-escaped.
WAYS = (
    lambda each: each,
    lambda each: f"%{ord(each):02x}",
    lambda each: f"%{ord(each):02X}",
    lambda each: f"%25{ord(each):02x}",
    lambda each: f"%2525{ord(each):02X}",
    lambda each: f"\\u{ord(each):04x}",
    lambda each: f"\\\\u{ord(each):04X}",
    lambda each: f"\\{each}" if each in '/"' else each,
)
# No key or token has a backslash or percent sign; what spells one of these is a matter of opinion.
characters = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\%")
printable = st.text(characters, min_size=6, max_size=80)


@settings(deadline=None)  # a pattern is made for each secret
@given(secret=printable, ways=st.lists(st.sampled_from(WAYS), min_size=80, max_size=80))
def test_every_spelling_is_masked(secret: str, ways: list[Callable[[str], str]]) -> None:
    """Any mixture of them, in texts and keys of JSON; what is around it stays, numbers too."""
    text = "".join(way(each) for way, each in zip(ways, secret, strict=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redact, "_secrets", set())
        patch.setattr(redact, "_in_lines", {})
        redact.remember(secret)
        assert redact.redact(f"<{text}>") == "<[hidden]>"
        line = dumps({f"<{text}>": [f"<{text}> 猫", 2**63, 1.5, None]})
        assert redact.may_hold_secret(line)
        assert loads(redact.redact_json(line)) == {"<[hidden]>": ["<[hidden]> 猫", 2**63, 1.5, None]}


Values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@settings(deadline=None)
@given(value=Values)
def test_json_without_a_secret_stays_as_it_is(value: object) -> None:
    """Byte for byte, whatever stands in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redact, "_secrets", {"s3cret-of-nobody", "1234567890-of-nobody"})
        assert redact.redact_json(dumps(value)) == dumps(value)


@pytest.mark.parametrize("piece", ["\\", "%2", "%32", "%25", "2", "24.0f1e2d3c4b5a6978", '"'])
def test_long_texts_take_time_in_proportion(piece: str) -> None:
    """A hostile 2 MB reply may begin a spelling a million times: twice the text, not four times the time."""
    redact.remember("24.0f1e2d3c4b5a69788796a5b4c3d2e1f0.2592000", "2" * 24)

    def seconds(count: int) -> float:
        line = dumps(piece * (count // len(piece)) + "%20")
        start = time.process_time()
        redact.redact_json(line)
        return time.process_time() - start

    assert min(seconds(400_000) for _ in range(3)) < 10 * min(seconds(100_000) for _ in range(3)) + 0.05


def test_log_lines_are_not_forged() -> None:
    """A record with any arguments is one line; the traceback of any exception is indented."""
    forged = "a\nERROR b\rERROR c\vERROR d\x85ERROR e\u2028ERROR f\u2029ERROR g\x1b[1GERROR h"
    try:
        raise ValueError(forged)
    except ValueError:
        record = logging.LogRecord("name", logging.ERROR, __file__, 1, "x: %s", (forged,), sys.exc_info())
    first, *others = RedactingFormatter("%(levelname)s %(message)s").format(record).splitlines()
    escaped = r"\x0dERROR c\x0bERROR d\x85ERROR e\u2028ERROR f\u2029ERROR g\x1b[1GERROR h"
    assert first == rf"ERROR x: a\x0aERROR b{escaped}"
    assert others[-2:] == ["  ValueError: a", f"  ERROR b{escaped}"]
    assert all(line.startswith("  ") for line in others)


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
