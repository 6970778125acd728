"""Closures of services, as a driver learns of them from its shards."""

from batchrec.cluster.closures import Closures
from batchrec.values import Closure

OWN, REPORTED = Closure(17, 1000.0, reported=False), Closure(17, 1000.0)
SERVICES = {1: "dish", 2: "logo", 3: "dish"}


def test_a_closure_that_the_service_reports_stands() -> None:
    """The steps of other services stay open."""
    closures = Closures(SERVICES)
    closures.note({"dish": REPORTED}, done=())
    closures.note({"dish": OWN}, done={1, 2})
    assert (closures.open(), closures.doubtful(), closures.all) == ([2], [], {"dish": REPORTED})


def test_a_missing_permission_stands() -> None:
    """It has no closure."""
    closures = Closures(SERVICES)
    closures.note({"logo": None}, done={1})
    assert (closures.open(), closures.all) == ([1, 3], {"logo": None})


def test_a_closure_by_the_limits_that_were_set_is_in_doubt() -> None:
    """Until a shard has no image left there, or two trials in a row have brought no answer."""
    closures = Closures(SERVICES)
    closures.note({"dish": OWN}, done={2})
    assert (closures.open(), closures.doubtful()) == ([2], [1, 3])
    closures.settle(answered=10)
    assert closures.doubtful() == [1, 3]
    closures.note({}, done={3})
    assert (closures.open(), closures.all) == ([1, 2, 3], {})
    closures.note({"dish": OWN}, done=())
    closures.settle(answered=10)
    assert (closures.open(), closures.doubtful(), closures.all) == ([2], [], {"dish": OWN})
