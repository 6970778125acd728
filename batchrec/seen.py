"""What was met before, in constant memory: whether a look into a database can be spared."""

import struct

_PLACES = struct.Struct("<II").unpack_from
_BYTES = 1 << 21
_LAST_BYTE = _BYTES - 1


class Seen:
    """A Bloom filter of digests (at least 8 bytes of a cryptographic hash), of 2 MB.

    What it says it has not seen was never added. Of what was never added it takes 1 in 80 for seen when it holds a
    million digests, and half when it holds ten million. More than two bits a digest would be right more often, but a
    job of a million images adds two millions before its first call.
    """

    def __init__(self) -> None:
        self._bits = bytearray(_BYTES)

    def add(self, digest: bytes) -> None:
        """From now on this digest counts as seen."""
        first, second = _PLACES(digest)
        self._bits[first >> 3 & _LAST_BYTE] |= 1 << (first & 7)
        self._bits[second >> 3 & _LAST_BYTE] |= 1 << (second & 7)

    def __contains__(self, digest: bytes) -> bool:
        first, second = _PLACES(digest)
        bits = self._bits
        return bool(bits[first >> 3 & _LAST_BYTE] >> (first & 7) & bits[second >> 3 & _LAST_BYTE] >> (second & 7) & 1)
