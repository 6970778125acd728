"""`batchrec dataset upload`: a data set in EasyDL, through the data-set API."""

import asyncio
import os
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..api.accounts import open_account
from ..api.call import JsonClient
from ..api.credentials import Credentials, check_endpoint, load_credentials, real_endpoint
from ..api.http import open_transport
from ..console.output import log_to_stderr, printing
from ..console.text import say
from ..datasets.check import Checked, check
from ..datasets.rules import rules
from ..datasets.upload import Compared, Moved, Uploaded, Uploader
from ..engine.process import Stopper, run_loop
from ..errors import Interrupted, JobError, OutputFailed
from ..language import _, ngettext
from ..redact import remember, visible
from ..state.directory import state_directory
from ..state.uploads import UploadLog
from .dataset import Telling, refuse_errors

_CALL_SECONDS = 60.0  # an image of 4 MB on a slow uplink; an upload without progress is given up earlier
_PATIENCE_SECONDS = 60.0
_MOST_TOLD = 20  # images that are listed, of those that failed and of those that have another class


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """Options of an upload, as they are typed. `again`: send images that were confirmed earlier as well."""

    type: str | None = None
    force: bool = False
    again: bool = False
    profile: str = "default"
    endpoint: str | None = None
    qps: float = 2.0


def upload_data_set(directory: Path, name: str, options: UploadOptions) -> int:
    """Check a data set and send it; returns the exit code: 0, or 1 where images are missing there.

    Raises JobError before anything is sent, CredentialsRefused, ServiceUnavailable, Interrupted, OutputFailed.
    """
    log_to_stderr("warning")
    most = rules().set_characters
    if not 0 < len(name) <= most:
        raise JobError(_("--name {name!r}: expected 1 to {most} characters").format(name=name, most=most))
    endpoint, credentials = _reached(options)
    checked = check(directory, options.type, told=Telling())
    refuse_errors(checked, force=options.force)
    state = state_directory(os.environ)
    try:
        with closing(UploadLog(state, f"{endpoint} {credentials.identity}")) as log:
            done = run_loop(lambda: _upload(checked, name, options, endpoint, credentials, state, log))
    except (OSError, sqlite3.Error) as exc:
        raise OutputFailed(
            _("{path}: cannot be written: {reason}").format(path=state / "uploads.db", reason=exc)
        ) from exc
    return _tell(name, done, again=options.again)


def _reached(options: UploadOptions) -> tuple[str, Credentials]:
    """The endpoint and the credentials for it. Raises JobError where there are none for it."""
    variable = "BATCHREC_ENDPOINT"
    given, origin = (options.endpoint, "--endpoint") if options.endpoint else (os.environ.get(variable), variable)
    try:
        endpoint = real_endpoint(given) if given else ""
    except ValueError as exc:
        raise JobError(_("{origin}: {problem}").format(origin=origin, problem=exc)) from exc
    credentials = load_credentials(options.profile, os.environ)
    remember(*credentials.secrets)
    endpoint = endpoint or credentials.endpoint
    check_endpoint(credentials, options.profile, endpoint, by_hand=True, origin=origin)
    return endpoint, credentials


async def _upload(
    checked: Checked,
    name: str,
    options: UploadOptions,
    endpoint: str,
    credentials: Credentials,
    state: Path,
    log: UploadLog,
) -> Uploaded:
    stopper = Stopper()
    with stopper.listening():
        async with open_transport(endpoint, _CALL_SECONDS) as transport:
            account = open_account(
                endpoint, credentials, transport, cache=state, patience=_PATIENCE_SECONDS, now=time.time
            )
            loop = asyncio.get_running_loop()
            client = JsonClient(
                endpoint, account, transport, patience=_PATIENCE_SECONDS, time=loop.time, rng=random.Random()
            )

            def found(number: int) -> None:
                say(_("data set {name!r} ({number}) exists already; adding to it").format(name=name, number=number))

            uploader = Uploader(client, log, options.qps, told=Telling(), stop=stopper.came, found=found)
            done = await uploader.upload(checked, name, again=options.again)
    if done.stopped and stopper.signal is not None:
        error = Interrupted(
            _("{count:,} of {all:,} images are there; run again to go on").format(
                count=done.earlier + done.sent, all=done.images
            )
        )
        error.exit_code = 128 + stopper.signal
        raise error
    return done


def _tell(name: str, done: Uploaded, *, again: bool) -> int:
    """Print the labels, and say what is missing and what comes next; returns the exit code."""
    say(
        ngettext(
            "data set {name!r} ({number}): {sent:,} image sent, {earlier:,} sent earlier, {failed:,} failed",
            "data set {name!r} ({number}): {sent:,} images sent, {earlier:,} sent earlier, {failed:,} failed",
            done.sent,
        ).format(name=name, number=done.number, sent=done.sent, earlier=done.earlier, failed=len(done.failed))
    )
    for key, failure in done.failed[:_MOST_TOLD]:
        say(visible(f"{key}: {failure.code} {failure.message}"))
    _tell_moved(done.moved)
    short = [each for each in done.labels if each.short]
    _tell_labels(done, short, again=again)
    with printing():
        _print_labels(done.labels)
    if done.failed or done.moved or short:
        return 1
    say(
        _(
            "next, in EasyDL's console: train a model with this data set, publish it, and bind the application; then "
            "batchrec can call it"
        )
    )
    return 0


def _tell_moved(moved: list[Moved]) -> None:
    """Name images that are at the service under an old class, and what helps."""
    for each in moved[:_MOST_TOLD]:
        say(
            _("{file}: is {new} now, and was sent as {old} earlier, named {entity}").format(
                file=each.key, new=each.new, old=each.old, entity=each.entity
            )
        )
    if moved:
        say(
            ngettext(
                "{count:,} image is still under its old class at the service; delete it in the console, or the whole "
                "data set, and run again, or upload under a new --name",
                "{count:,} images are still under their old classes at the service; delete them in the console, or the "
                "whole data set, and run again, or upload under a new --name",
                len(moved),
            ).format(count=len(moved))
        )


def _tell_labels(done: Uploaded, short: list[Compared], *, again: bool) -> None:
    """Tell how many labels have fewer or more images at the service, moved images aside."""
    taken, given = Counter(each.old for each in done.moved), Counter(each.new for each in done.moved)
    few = sum(each.different - each.there > given[each.label] for each in short)
    many = sum(each.there - each.sent > taken[each.label] for each in done.labels)
    if few and again:
        say(
            ngettext(
                "{count:,} label has fewer images at the service than were sent, although all were sent just now; "
                "look at the data set in the console",
                "{count:,} labels have fewer images at the service than were sent, although all were sent just now; "
                "look at the data set in the console",
                few,
            ).format(count=few)
        )
    elif few:
        say(
            ngettext(
                "{count} label has fewer images at the service than were sent; run again with --again to send all",
                "{count} labels have fewer images at the service than were sent; run again with --again to send all",
                few,
            ).format(count=few)
        )
    if many:
        say(
            ngettext(
                "{count:,} label has more images at the service than this data set; delete in the console what should "
                "not be trained",
                "{count:,} labels have more images at the service than this data set; delete in the console what "
                "should not be trained",
                many,
            ).format(count=many)
        )


def _print_labels(labels: list[Compared]) -> None:
    print("label\tsent\tthere")
    for each in labels:
        print(f"{each.label}\t{each.sent}\t{each.there}")
