"""What the parts expect of each other: a handful of tiny protocols."""

from collections.abc import Iterator
from typing import Protocol

from .model import Failure, Found, Ignored, Notice, Row


class Source(Protocol):
    """One kind of input. Iterated in a thread; holds no more than a folder's handle in memory."""

    def __iter__(self) -> Iterator[Found | Ignored | Notice]:
        """Every input it names. Raises JobError where the user named something that is not there."""
        ...


class Output(Protocol):
    """One result file's format: pure, from a row to the bytes appended for it."""

    @property
    def filename(self) -> str:
        """The name of the file in the output directory."""
        ...

    @property
    def header(self) -> bytes:
        """What the file starts with; may be empty."""
        ...

    def encode(self, row: Row) -> bytes:
        """The lines of one row, each ended."""
        ...


class Transport(Protocol):
    """Sends one request; the network's errors come back as values."""

    async def post(
        self, url: str, body: bytes, content_type: str, headers: dict[str, str]
    ) -> "Reply | Failure":
        """The reply's status and body (at most `MAX_REPLY` bytes), or why there is none."""
        ...


class Reply(Protocol):
    """What came back over the wire."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The whole body."""
        ...
