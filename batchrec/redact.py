"""Keys, secrets and tokens never reach a log, a file or an error: whoever holds one remembers it here."""

import logging
import re
from urllib.parse import quote

_MASK = "[hidden]"
_IN_ADDRESSES = re.compile(r"((?:access_token|client_id|client_secret|Bearer)[=: ]+)[^\s&\"'\\]+")
_SHORTEST = 6
_secrets: set[str] = set()


def remember(*secrets: str) -> None:
    """From now on these are masked wherever `redact` looks.

    What is shorter than the service's keys by far (24 characters) is some test's stand-in, and stands in many words.
    """
    long_enough = [secret for secret in secrets if len(secret) >= _SHORTEST]
    _secrets.update(long_enough, (quote(secret, safe="") for secret in long_enough))


def redact(text: str) -> str:
    """The text with every remembered secret, and whatever stands where one stands in an address, masked."""
    for secret in sorted(_secrets, key=len, reverse=True):  # one may begin with another
        text = text.replace(secret, _MASK)
    return _IN_ADDRESSES.sub(rf"\1{_MASK}", text)


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks too, and masks secrets in the result."""

    def format(self, record: logging.LogRecord) -> str:
        """The masked line."""
        return redact(super().format(record))
