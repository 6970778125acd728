"""The environment of all tests: none of the caller's network settings, keys or time zone reaches them."""

import asyncio
import os
import time

THEIRS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("TZ", "NO_COLOR", "FORCE_COLOR", "PYTEST_PLUGINS", "PYTHONWARNINGS"),
)
"""Variables that are taken away, in capitals and in small letters."""

PREFIXES = ("PIP_", "UV_", "BAIDU_", "BCE_", "BATCHREC_")
"""And those that begin so."""


def clean() -> None:
    """Take them out of the environment of this process."""
    for name in list(os.environ):
        if name.upper() in THEIRS or name.upper().startswith(PREFIXES):
            del os.environ[name]
    if hasattr(time, "tzset"):
        time.tzset()


clean()

# Else older versions of pytest-asyncio make an event loop that nobody closes, and the test that happens to run when it
# is collected fails.
asyncio.set_event_loop(None)
