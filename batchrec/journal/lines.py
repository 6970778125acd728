"""Lines of results.jsonl, read in part: the top label, or all labels.

To parse a whole line takes several times as long. The functions know the order of the keys as batchrec writes them:
labels come before the response, which may have anything. They return None for what has another form, which the caller
parses as a whole.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
"""Pattern of a text in JSON."""

_BEGINNING = re.compile(
    rb'\{"image":(%b),"sha256":(?:"[0-9a-f]*"|null),"step":(%b),"service":"[^"]*","model":(?:null|%b),"labels":\['
    rb'(?:\{"name":(null|%b),"score":([^,}]*)|\])' % (TEXT, TEXT, TEXT, TEXT)
)
_TOP_SCORE = re.compile(rb'\{"name":(?:null|%b),"score":([^,}]*)|\]' % TEXT)
_LABELS, _RESPONSE = b'"labels":[', b',"response":'
"""Bytes that no text holds as they stand, since JSON escapes the quotation mark."""

_MOST_TEXTS = 1 << 16
"""Labels whose verdict is kept: services have some 100,000 names, a job has a part of them."""

beginning_of = _BEGINNING.match
"""Function from a line to a match: image, step, and name and score of the top label, as JSON.

The last two are None where there is no label.
"""


def top_score_of(block: bytes, start: int, end: int) -> re.Match[bytes] | None:
    """The score of the top label as JSON, group 1 of a match; None there where the row has no label.

    The line is `block[start:end]`; to cut it out would take longer than this.
    """
    place = block.find(_LABELS, start, end)
    return None if place < 0 else _TOP_SCORE.match(block, place + len(_LABELS), end)


def labels_of(block: bytes, start: int, end: int) -> list[dict[str, Any]] | None:
    """The labels of the row at `block[start:end]`, best first, parsed without the rest of the line."""
    first = block.find(_LABELS, start, end)
    last = block.find(_RESPONSE, first, end)
    if first < 0 or last < 0:
        return None
    try:
        found = orjson.loads(block[first + len(_LABELS) - 1 : last])
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def remembered(judge: Callable[[dict[str, Any]], bool]) -> Callable[[str | None, str | None], bool]:
    """A verdict about labels as one about their name and root, each taken once."""

    @lru_cache(_MOST_TEXTS)
    def verdict(name: str | None, root: str | None) -> bool:
        return judge({"name": name, "root": root})

    return verdict
