"""Protocols between the parts of the program."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from .values import Authorization, Failure, Ignored, InputEntry, Notice, QuotaKey, Reply, Row


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
        """The bytes, or the failure of the image. Never raises for what a disk or a network does."""
        ...


class Output(Protocol):
    """One result file's format: pure, from a row to the bytes appended for it."""

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


class Transport(Protocol):
    """Sends one request; the network's errors come back as values."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply | Failure:
        """The reply, or why there is none. Never raises for what a network or a server does."""
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


class Account(Protocol):
    """Account that pays for the calls, and its authorization."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets, which are never written anywhere."""
        ...

    async def authorize(self) -> Authorization:
        """Authorization of the next call. Raises CredentialsRefused or ServiceUnavailable."""
        ...

    def on_refused(self, authorization: Authorization) -> None:
        """The service did not take it. Raises CredentialsRefused where there is no other to try."""
        ...
