"""What was met before, in constant memory: whether a look into a database can be spared."""

import struct
from collections.abc import Sequence

_PLACES = struct.Struct("<II").unpack_from
_BYTES = 1 << 21
_LAST_BYTE = _BYTES - 1


class BloomFilter:
    """A Bloom filter of digests (at least 8 bytes of a cryptographic hash), of 2 MB.

    What it says it has not seen was never added. Of what was never added it takes 1 in 80 for seen when it holds a
    million digests, and half when it holds ten million: more than two bits a digest would be right more often, and
    take longer. Until it is `complete` it takes everything for seen. Two threads must not add at once.
    """

    def __init__(self) -> None:
        self.complete = False
        self._bits = bytearray(_BYTES)

    def learn(self, digests: Sequence[bytes]) -> None:
        """Add a part of what there was before; an empty one completes it. A million at once would hold up others."""
        for digest in digests:
            self.add(digest)
        self.complete = self.complete or not digests

    def add(self, digest: bytes) -> None:
        """From now on this digest counts as seen."""
        first, second = _PLACES(digest)
        self._bits[first >> 3 & _LAST_BYTE] |= 1 << (first & 7)
        self._bits[second >> 3 & _LAST_BYTE] |= 1 << (second & 7)

    def __contains__(self, digest: bytes) -> bool:
        first, second = _PLACES(digest)
        bits = self._bits
        seen = bits[first >> 3 & _LAST_BYTE] >> (first & 7) & bits[second >> 3 & _LAST_BYTE] >> (second & 7) & 1
        return bool(seen) or not self.complete
