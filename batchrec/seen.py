"""What was met before, in constant memory: whether a look into a database can be spared."""

import struct

_PLACES = struct.Struct("<IIII")
_BYTES = 1 << 21
_LAST_BYTE = _BYTES - 1


class Seen:
    """A Bloom filter of digests (at least 16 bytes of a cryptographic hash), of 2 MB.

    What it says it has not seen was never added. Of what was never added it takes 2 in 1,000 for seen when it holds a
    million digests, and most when it holds ten million.
    """

    def __init__(self) -> None:
        self._bits = bytearray(_BYTES)

    def add(self, digest: bytes) -> None:
        """From now on this digest counts as seen."""
        bits = self._bits
        for place in _PLACES.unpack_from(digest):
            bits[place >> 3 & _LAST_BYTE] |= 1 << (place & 7)

    def __contains__(self, digest: bytes) -> bool:
        bits = self._bits
        first, second, third, fourth = _PLACES.unpack_from(digest)
        return bool(
            bits[first >> 3 & _LAST_BYTE] >> (first & 7)
            & bits[second >> 3 & _LAST_BYTE] >> (second & 7)
            & bits[third >> 3 & _LAST_BYTE] >> (third & 7)
            & bits[fourth >> 3 & _LAST_BYTE] >> (fourth & 7)
            & 1
        )
