"""The environment of all tests: no key, language, proxy, time zone or ignored signal of the caller."""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from batchrec import language
from batchrec.console import text

THEIRS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"),
    *("TZ", "NO_COLOR", "FORCE_COLOR", "PYTEST_PLUGINS", "PYTHONWARNINGS"),
    "PYTHONDONTWRITEBYTECODE",  # each of some thousand commands would compile the whole package again, for a second
)
"""Variables that are taken away, in capitals and in small letters."""

PREFIXES = ("PIP_", "UV_", "BAIDU_", "BCE_", "BATCHREC_")
"""And those that begin so."""


def clean() -> None:
    """Take them out of the environment of this process."""
    for name in list(os.environ):
        if name.upper() in THEIRS or name.upper().startswith(PREFIXES):
            del os.environ[name]
    if hasattr(signal, "SIGHUP"):  # ignored under nohup, and so by every command that a test starts
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if hasattr(time, "tzset"):
        time.tzset()


clean()

# Else older versions of pytest-asyncio make an event loop that nobody closes, and the test that happens to run when it
# is collected fails.
asyncio.set_event_loop(None)

# A busy machine is no reason to fail.
settings.register_profile("batchrec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("batchrec")


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    """Undo what a command has set up in this process: its log and the garbage collector's settings.

    Later tests would see its time stamps. Before a test too: fixtures of its module may have run one.
    """
    _forget()
    yield
    _forget()


_THRESHOLDS = gc.get_threshold()


def _forget() -> None:
    gc.unfreeze()
    gc.set_threshold(*_THRESHOLDS)
    del text._writer[1:]
    if language._english:
        language._english.clear()
        language._catalogue.cache_clear()
