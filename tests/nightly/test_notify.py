"""Notifiers that do not end: given up after their time, with all that they started."""

import logging
import socket
from pathlib import Path

import pytest

from batchrec.nightly import notify
from batchrec.nightly.notify import Message, Notifier, send
from batchrec.values import Summary

MESSAGE = Message("attention", "nothing works", Summary(job="j", version="1"), "results", "/70")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notify._LIMIT_SECONDS == 10  # as the documentation says; the test has less time
    monkeypatch.setattr(notify, "_LIMIT_SECONDS", 0.3)


def test_a_command_that_goes_on_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With its children, so that nothing is left of it; that is one line."""
    fifo = tmp_path / "fifo"
    words = ("sh", "-c", f"mkfifo {fifo}; sh -c 'echo begun; cat {fifo}' & wait")
    with caplog.at_level(logging.WARNING):
        assert not send(Notifier("ops", command=words), MESSAGE)
    assert len(caplog.records) == 1
    assert "notify.toml [ops]: attention is not told: the command took more than" in caplog.text


def test_a_server_that_never_replies_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """It takes the connection and says nothing; the address is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as server, caplog.at_level(logging.WARNING):
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a-secret-4711"
        assert not send(Notifier("ops", url=url), MESSAGE)
    assert len(caplog.records) == 1
    assert "is not told: " in caplog.text
    assert "4711" not in caplog.text
