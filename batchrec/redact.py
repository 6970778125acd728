"""Text that leaves batchrec: no keys, secrets or tokens, and no control of a terminal or a line.

Text is searched for every spelling of a remembered secret: as it is, percent-encoded and JSON-escaped, in whole or in
part, also twice over. Lines of results are searched on the hot path, so that they are looked at closely only where they
hold a secret as it is, or a `%` or `\\` that may spell one.
"""

import logging
import re
import textwrap
from functools import lru_cache
from types import TracebackType
from urllib.parse import quote

import orjson

_MASK = "[hidden]"
_IN_ADDRESSES = re.compile(r"((?:access_token|client_id|client_secret|Bearer)[=: ]+)[^\s&\"'\\]+")
_SHORTEST = 6  # characters: shorter secrets would mask ordinary words
_PERCENT_ASCII = re.compile(rb"%[2-7]")  # not of Chinese in an address, which begins with %E4 to %E9
_RARE = re.compile(rb"[A-SU-Y]")  # T and Z are in every line: in its time
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_STEERING = (
    *range(0x09),
    *range(0x0A, 0x20),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)
"""Control characters of both kinds but for the tab, ends of lines and paragraphs, and turns of writing direction."""
_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _STEERING}
_secrets: set[str] = set()
_in_lines: dict[bytes, bytes] = {}
"""The secrets as they stand in a line of JSON, each with the one of its bytes that few lines hold, or else itself."""


def remember(*secrets: str) -> None:
    """From now on these are masked wherever `redact` and `redact_json` look.

    What is shorter than the service's keys by far (24 characters) is some test's stand-in, and stands in many words.
    """
    long_enough = [secret for secret in secrets if len(secret) >= _SHORTEST]
    _secrets.update(long_enough)
    for secret in long_enough:
        for text in (secret, quote(secret, safe="")):
            spelt = orjson.dumps(text)[1:-1]
            rare = _RARE.search(spelt)
            _in_lines[spelt] = rare[0] if rare else spelt


def redact(text: str) -> str:
    """The text with every remembered secret, and whatever stands where one stands in an address, masked."""
    return _IN_ADDRESSES.sub(rf"\1{_MASK}", _without_secrets(text))


def may_hold_secret(line: bytes) -> bool:
    """Whether JSON may hold a secret in some spelling. 1.3 us for three secrets in a line of 1 KB."""
    for secret, rare in _in_lines.items():
        if rare in line and secret in line:  # one byte is found several times as fast as more
            return True
    return (b"\\" in line and b"\\\\" in line) or (b"%" in line and _PERCENT_ASCII.search(line) is not None)


def redact_json(text: bytes) -> bytes:
    """JSON with every remembered secret masked in its texts and keys.

    It stays JSON, and its numbers as they are.
    """
    return _STRING.sub(_redact_string, text)


def _redact_string(found: re.Match[bytes]) -> bytes:
    text = orjson.loads(found[0])
    masked = _without_secrets(text)
    return found[0] if masked == text else orjson.dumps(masked)


def _without_secrets(text: str) -> str:
    if _secrets and ("%" in text or "\\" in text or any(secret in text for secret in _secrets)):
        return _spellings(frozenset(_secrets)).sub(_MASK, text)
    return text


@lru_cache(maxsize=4)
def _spellings(secrets: frozenset[str]) -> re.Pattern[str]:
    """Pattern of all secrets, the longest first: one may begin with another."""
    spelt = ["".join(map(_spelt, secret)) for secret in sorted(secrets, key=len, reverse=True)]
    # Looked for first, since a hostile reply may begin a spelling a million times.
    begins = "|".join(sorted({_spelt(secret[0]) for secret in secrets}))
    return re.compile(f"(?={begins})(?:{'|'.join(spelt)})")


@lru_cache(maxsize=256)
def _spelt(character: str) -> str:
    r"""Pattern for a character as it is, as %2F or %252F, or as \u002f or \/ with one backslash or two.

    Repetition is bounded: a hostile reply of nothing but backslashes must not take its length squared.
    """
    plain = re.escape(character)
    percent = "".join(f"%(?:25){{0,2}}{byte:02x}" for byte in character.encode())
    escaped = f"u{ord(character):04x}" + (f"|{plain}" if character in '/"\\' else "")
    return rf"(?:{plain}|(?i:{percent})|\\{{1,4}}(?i:{escaped}))"


def visible(text: str) -> str:
    """Make one harmless line: line ends and control characters are escaped, as in `\\x1b`.

    Names of files and messages of servers would else write lines of their own into a log. Tabs stay.
    """
    return text.translate(_SHOWN)


class RedactingFormatter(logging.Formatter):
    """Formats a log record as one line, with its traceback indented below it, and masks secrets in both."""

    def format(self, record: logging.LogRecord) -> str:
        """The masked text."""
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line itself, which is always one."""
        return visible(super().formatMessage(record))

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The traceback, indented: a line of an exception's text is not taken for one of the log."""
        return textwrap.indent("\n".join(map(visible, super().formatException(ei).split("\n"))), "  ")
