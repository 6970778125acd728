"""Tables of the quota."""

import re

import pytest

from batchrec.commands.state_tables import show_quota
from batchrec.limits.quota import Usage
from batchrec.values import Closure


def test_quota_shows_counts_and_closures(capsys: pytest.CaptureFixture[str]) -> None:
    """Calls of today and in all, and which quota is exhausted, until when."""
    show_quota(
        [
            Usage("shop", "dish", (500, 12345), (0, 7655), Closure(17, 1795449600.0)),
            Usage("shop", "animal", (0, 7), (None, None), Closure(19, None)),
            Usage("shop", "logo", (1, 1), (None, None), None),
        ]
    )
    header, dish, animal, logo = capsys.readouterr().out.splitlines()
    headings = ["account", "service", "today", "remaining today", "total", "remaining", "exhausted"]
    assert re.split(r"  +", header.strip()) == headings
    assert dish.split()[:6] == ["shop", "dish", "500", "0", "12,345", "7,655"]
    assert "+08:00" in dish
    assert "batchrec quota open" in animal
    assert logo.split() == ["shop", "logo", "1", "1"]
