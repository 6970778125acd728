"""Bloom filter: a set of digests in constant memory, to spare most queries for unknown ones."""

import struct
from collections.abc import Sequence

_PLACES = struct.Struct("<II").unpack_from
_BYTES = 1 << 21  # 16 million bits
_LAST_BYTE = _BYTES - 1  # as a mask: the size is a power of two


class BloomFilter:
    """A Bloom filter of 2 MB for digests: at least 8 bytes each, of a cryptographic hash.

    No false negatives. False positives: 1 in 80 with a million digests, half with ten million. More than two bits a
    digest would lower that, and take longer. Until it is `complete` it contains everything. Two threads must not add
    at once.
    """

    def __init__(self) -> None:
        self.complete = False
        self._bits = bytearray(_BYTES)

    def learn(self, digests: Sequence[bytes]) -> None:
        """Add a batch of the stored digests; an empty one completes the filter.

        A million at once would hold up others.
        """
        for digest in digests:
            self.add(digest)
        self.complete = self.complete or not digests

    def add(self, digest: bytes) -> None:
        """Add one digest."""
        first, second = _PLACES(digest)
        self._bits[first >> 3 & _LAST_BYTE] |= 1 << (first & 7)
        self._bits[second >> 3 & _LAST_BYTE] |= 1 << (second & 7)

    def __contains__(self, digest: bytes) -> bool:
        first, second = _PLACES(digest)
        bits = self._bits
        seen = bits[first >> 3 & _LAST_BYTE] >> (first & 7) & bits[second >> 3 & _LAST_BYTE] >> (second & 7) & 1
        return bool(seen) or not self.complete
