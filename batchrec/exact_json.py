"""JSON by orjson, but for integers of more than 64 bits: orjson reads them as floats and refuses to write them."""

import json
import re
from typing import Any

import orjson

_BEYOND_64_BITS = re.compile(rb"-\d{19}|\d{20}")
_LINE_ENDS = tuple((mark.encode(), f"\\u{ord(mark):04x}".encode()) for mark in "\x85\u2028\u2029")


def loads(text: bytes) -> Any:
    """JSON as Python values. Raises ValueError, also for NaN and half characters: orjson judges either way."""
    value = orjson.loads(text)
    try:
        return json.loads(text) if _BEYOND_64_BITS.search(text) else value
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def dumps(value: Any) -> bytes:
    """Python values as JSON in UTF-8, on one line whatever a reader takes for the end of a line."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    for mark, escape in _LINE_ENDS:
        if mark in text:
            text = text.replace(mark, escape)
    return text
