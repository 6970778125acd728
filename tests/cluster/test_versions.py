"""Versions of the nodes of a cluster: the ones that must be equal."""

import pytest

from batchrec.cluster.versions import Versions, mismatch

HERE = Versions("3.11.7", "2.60.0", "0.1.0")


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (HERE, ""),
        (Versions("3.11.9", "2.60.0", "0.1.0"), ""),
        (
            Versions("3.12.4", "2.60.0", "0.1.0"),
            "has Python 3.12.4, and the run has Python 3.11.7; every node needs the same versions",
        ),
        (
            Versions("3.11.7", "2.61.1", "0.2.0"),
            "has Ray 2.61.1, and the run has Ray 2.60.0, has batchrec 0.2.0, and the run has batchrec 0.1.0; "
            "every node needs the same versions",
        ),
    ],
)
def test_versions_that_differ_are_named(there: Versions, told: str) -> None:
    """Of Python the patch does not count: Ray itself decides about it."""
    assert mismatch(there, HERE) == told
