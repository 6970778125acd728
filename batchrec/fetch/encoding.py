"""Content encodings: gzip and deflate are decoded, though the requests accept none."""

import zlib
from collections.abc import Callable, Iterable, Iterator

_DECODED = frozenset(("gzip", "x-gzip", "deflate"))
_PIECE_BYTES = 65_536  # of what a few bytes may swell to, at once


def decoder(encoding: str) -> Callable[[bytes], Iterable[bytes]]:
    """Function that decodes a body, chunk by chunk; an encoding that is not known changes nothing.

    Servers label plain images with all kinds of words. The function raises zlib.error where the body is none of its
    encoding.
    """
    if encoding not in _DECODED:
        return lambda data: (data,)
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the head of zlib or of gzip

    def decode(data: bytes) -> Iterator[bytes]:
        while data and not stream.eof:
            yield stream.decompress(data, _PIECE_BYTES)
            data = stream.unconsumed_tail

    return decode


def is_foreign(encoding: str) -> bool:
    """Whether a body may be encoded in a way that `decoder` does not know."""
    return encoding not in _DECODED and encoding not in ("", "identity")
