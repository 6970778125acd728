"""Keys and addresses as people paste them, without what editors and chat programs put around."""

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
"""Soft hyphen, zero-width characters, turns of writing direction and the byte order mark: part of no key."""

_QUOTES = "\"'`\u00b4\u2032\u2033\uff02\uff07\u300c\u300d\u300e\u300f\u301d\u301e\u301f"
"""Quotes that Unicode does not call so: straight, accents and primes, full-width, Chinese corners."""

_API_KEY = "bce-v3/"
"""Beginning of an API Key, which is sent as it is, without a secret."""


def pasted(text: str) -> str:
    """The text without invisible characters, and without blanks, line ends and quotes around it."""
    text = _INVISIBLE.sub("", text)
    start, end = 0, len(text)
    while start < end and _around(text[start]):
        start += 1
    while start < end and _around(text[end - 1]):
        end -= 1
    return text[start:end]


def pasted_key(text: str) -> str:
    """The same of a key; an API Key may have the scheme of its header before it."""
    key = pasted(text)
    scheme = re.match(rf"(?i:(authorization\s*:\s*)?bearer\s+)(?={_API_KEY})", key)
    return key[scheme.end() :] if scheme else key


def is_api_key(key: str) -> bool:
    """Whether it is an API Key (`bce-v3/...`), wherever it was put."""
    return key.startswith(_API_KEY)


def plain(text: str) -> str:
    """The text of a file with straight quotes, equals signs and blanks in place of a word processor's."""
    text = _INVISIBLE.sub("", text).replace("\uff1d", "=").replace("\u3000", " ").replace("\u00a0", " ")
    return "".join('"' if _quotes(character) and not character.isascii() else character for character in text)


def _around(character: str) -> bool:
    return character.isspace() or not character.isprintable() or _quotes(character)


def _quotes(character: str) -> bool:
    return character in _QUOTES or unicodedata.category(character) in ("Pi", "Pf")
