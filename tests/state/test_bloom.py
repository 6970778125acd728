"""A filter that never forgets, and seldom remembers what was not."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from batchrec.state.bloom import BloomFilter

DIGESTS = st.lists(st.binary(min_size=16, max_size=32), max_size=50)


@given(DIGESTS)
def test_what_was_added_is_seen(digests: list[bytes]) -> None:
    """Always, however few bytes differ."""
    seen = BloomFilter()
    for digest in digests:
        seen.add(digest)
    assert all(digest in seen for digest in digests)


def test_what_was_not_added_is_hardly_ever_seen() -> None:
    """At 200,000 digests, one in 1,000 at most."""
    seen = BloomFilter()
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(220_000)]
    seen.learn(digests[:200_000])
    seen.learn([])
    assert sum(digest in seen for digest in digests[200_000:]) <= 20


def test_before_it_has_learnt_all_it_takes_everything_for_seen() -> None:
    """Anything not told yet may have been there."""
    seen = BloomFilter()
    seen.learn([b"a" * 16])
    assert b"b" * 16 in seen
    seen.learn([])
    assert b"a" * 16 in seen
    assert b"b" * 16 not in seen
