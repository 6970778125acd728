"""Protocols between the parts of the program."""

from asyncio import Timeout, WriteTransport
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from .values import (
    Allowance,
    Authorization,
    Closure,
    Event,
    Failure,
    Ignored,
    InputEntry,
    Notice,
    Permit,
    Permits,
    QuotaKey,
    Reply,
    Row,
    Target,
)


class Source(Protocol):
    """One kind of input. Iterated in a thread; holds no more than a folder's handle in memory."""

    def __iter__(self) -> Iterator[InputEntry | Ignored | Notice]:
        """Every input it names. Raises JobError where the user named something that is not there."""
        ...


class ImageStore(Protocol):
    """The only way to the bytes of an input.

    Methods may block, so that large or slow inputs belong in a thread.
    """

    def locate(self, key: str) -> str:
        """The input's name outside of the job, such as a path: caches that several jobs share know it by that."""
        ...

    def stat(self, key: str) -> tuple[int, int] | None:
        """Size in bytes and time of the last change in nanoseconds; None where there is no such input."""
        ...

    def read(self, key: str) -> bytes | Failure:
        """The bytes, or the failure of the image. Never raises for what a disk or a network does.

        The kind of a failure is `read` where the machine or the network is at fault, and not the input.
        """
        ...

    def loss(self, key: str) -> str:
        """Description of what is gone, where that keeps an input from being read; else empty."""
        ...

    def forget(self, key: str) -> None:
        """Drop what is kept of an input that is elsewhere, so that it is brought anew and whole."""
        ...


class Fetcher(Protocol):
    """Fetches images by URL, so that the store can read them. `key` is an image's."""

    @property
    def per_host(self) -> int:
        """Fetches from one host at once."""
        ...

    @property
    def ahead_bytes(self) -> int:
        """Bytes that may be fetched ahead of their use."""
        ...

    def has(self, key: str) -> int | None:
        """Size in bytes of an image that need not be fetched; None where it has to be."""
        ...

    def host(self, key: str) -> str:
        """Host of an image."""
        ...

    def address(self, key: str) -> str:
        """The URL of an image with its login, as the service is to fetch it."""
        ...

    async def fetch(self, key: str) -> Failure | None:
        """Fetch an image; the failure, of the kind `fetch`, where that cannot be done."""
        ...


class Output(Protocol):
    """One result file's format: pure, from a row to the bytes appended for it."""

    @property
    def name(self) -> str:
        """The name of the format in `output.formats`."""
        ...

    @property
    def dialect(self) -> int:
        """Version of the way in which rows are written, 1 at first; a file of another one is made anew."""
        ...

    @property
    def filename(self) -> str:
        """The name of the file in the output directory."""
        ...

    @property
    def header(self) -> bytes:
        """Beginning of the file; may be empty."""
        ...

    def encode(self, row: Row) -> bytes:
        """The lines of one row, each ended."""
        ...

    def encode_failure(self, failure: Row) -> bytes:
        """The lines of one failure, which stand behind all results while no run goes on; may be empty."""
        ...


class Upload(Protocol):
    """One body on its way through the uplink."""

    @property
    def stalled(self) -> bool:
        """Whether it was given up, since nothing moved."""
        ...

    async def admit(self, *, first: bool = False) -> None:
        """Wait until the body may be sent. `first` goes before all others that wait."""
        ...

    def pieces(
        self, body: bytes, transport: WriteTransport | None, deadline: Timeout, seconds: float
    ) -> Iterator[bytes | memoryview]:
        """The body in the pieces in which it is to be written; after each the connection may take its time.

        `deadline` is set to `seconds` after the last byte has left, or to now where nothing moves any more.
        """
        ...

    def replied(self) -> None:
        """A reply to the whole body has come, so that all of it has left."""
        ...

    def end(self) -> None:
        """The call is over: what the body took is given back. May be called at any time."""
        ...


class Transport(Protocol):
    """Sends one request; the network's errors come back as values."""

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], upload: Upload | None = None
    ) -> Reply | Failure:
        """The reply, or why there is none. Never raises for what a network or a server does.

        `upload` is told how far the body has got.
        """
        ...


class CallLog(Protocol):
    """Log of the calls under way, so that a kill does not hide that they were made."""

    def sent(self, charges: Sequence[QuotaKey]) -> None:
        """Calls that are counted on these leave now. Raises OutputFailed."""
        ...

    def settled(self, charge: QuotaKey, *, counted: bool) -> None:
        """A call ended without an answer, or never left. `counted`: the service may have counted it.

        Raises OutputFailed.
        """
        ...


class Keeper(Protocol):
    """Rate and quota of accounts and services, for all processes that share them.

    `lease` is the only method that waits. A permit is used within 50 ms of its time, or reported as unused. What a
    report says holds for every later lease and charge, of other processes too, as soon as the implementation can.
    All raise OutputFailed where the state cannot be kept.
    """

    def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """Register a job's limits; returns the first rate and the closure that was reported last."""
        ...

    async def lease(self, target: Target, most: int) -> Permits | Closure:
        """Wait until calls may leave soon. Returns 1 to `most` permits, or the reason why there will be none."""
        ...

    def charge(self, target: Target, permits: Sequence[Permit]) -> Sequence[QuotaKey | Closure]:
        """Count calls with these permits before they leave.

        Returns for each its key, or why it must not leave.

        A kill after it leaves at most these calls counted and not made.
        """
        ...

    def report(self, target: Target, events: Sequence[Event]) -> Allowance:
        """Take events in, in order. Returns the rate as far as it is known here."""
        ...


class Account(Protocol):
    """Account that pays for the calls, and its authorization."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets, which are never written anywhere."""
        ...

    @property
    def refreshes(self) -> int:
        """Number of tokens that this run replaced by a new one."""
        ...

    async def authorize(self) -> Authorization:
        """Authorization of the next call. Raises CredentialsRefused or ServiceUnavailable."""
        ...

    def on_refused(self, authorization: Authorization) -> None:
        """The service did not take it. Raises CredentialsRefused where there is no other to try."""
        ...
