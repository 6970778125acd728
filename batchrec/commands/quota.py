"""`batchrec quota`: the counts of an account, and how the command line names them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def open_counts() -> Iterator[Any]:
    """The counts of all accounts on this machine, closed at the end of the block."""
    import os
    import time
    from contextlib import closing

    from ..limits.quota import Quota
    from ..state.directory import state_directory

    with closing(Quota(state_directory(os.environ), time.time)) as counts:
        yield counts


def resolve_account(counts: Any, account: str | None) -> str:
    """The account named, or the only one that is counted. Raises JobError where there are several or none."""
    from ..errors import JobError

    known = sorted({usage.account for usage in counts.usage()})
    if account is not None:
        return account
    if len(known) != 1:
        raise JobError(f"--account: name one of {', '.join(known) or 'none yet'}")
    return str(known[0])


def resolve_service(counts: Any, service: str) -> str:
    """`service` as counts name it: an EasyDL service goes with its model, as in `easydl_detection/itcast_fruit`."""
    from ..api.services import SERVICES
    from ..errors import JobError

    name, _, model = service.partition("/")
    if name not in SERVICES or SERVICES[name].custom != bool(model):
        known = ", ".join(sorted({usage.service for usage in counts.usage()}))
        raise JobError(f"{service!r} is not counted; there are: {known or 'none yet'}")
    return service
