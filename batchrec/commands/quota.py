"""`batchrec quota`: the counts of each account, and their correction."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ..api.services import SERVICES
from ..errors import JobError
from ..language import _
from ..limits.quota import Quota
from ..state.directory import state_directory


@contextmanager
def open_counts() -> Iterator[Quota]:
    """Open the counts of all accounts on this machine; they are closed at the end of the block."""
    with closing(Quota(state_directory(os.environ), time.time)) as counts:
        yield counts


def set_counts(service: str, account: str | None, *, today: int | None, total: int | None) -> None:
    """Correct the calls of the Beijing day, of all days, or both. Raises JobError where neither is given."""
    with open_counts() as counts:
        if today is None and total is None:
            raise JobError(_("nothing to set: give --today, --total or both"))
        counts.correct(resolve_account(counts, account), resolve_service(counts, service), today=today, total=total)


def reopen_service(service: str, account: str | None) -> None:
    """Forget that a service was used up. Raises JobError where it is not."""
    with open_counts() as counts:
        if not counts.reopen(resolve_account(counts, account), service):
            raise JobError(_("{service} is not paused").format(service=service))


def resolve_account(counts: Quota, account: str | None) -> str:
    """Resolve the account: the one named, or the only one.

    Raises JobError where there are several or none.
    """
    if account is not None:
        return account
    known = sorted({usage.account for usage in counts.usage()})
    if len(known) != 1:
        raise JobError(_("--account: name one of {known}").format(known=", ".join(known) or _("none yet")))
    return known[0]


def resolve_service(counts: Quota, service: str) -> str:
    """Check a service as counts name it: EasyDL with its model, as in `easydl_detection/itcast_fruit`."""
    name, _slash, model = service.partition("/")
    if name not in SERVICES or SERVICES[name].custom != bool(model):
        known = ", ".join(sorted({usage.service for usage in counts.usage()}))
        raise JobError(
            _("{service!r} is not counted; there are: {known}").format(service=service, known=known or _("none yet"))
        )
    return service
