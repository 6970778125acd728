"""JSON by orjson, but for integers of more than 64 bits: orjson reads them as floats and refuses to write them."""

import json
import re
from typing import Any

import orjson

_BEYOND_64_BITS = re.compile(rb"\d{20}")


def loads(text: bytes) -> Any:
    """JSON as Python values. Raises ValueError."""
    return json.loads(text) if _BEYOND_64_BITS.search(text) else orjson.loads(text)


def dumps(value: Any) -> bytes:
    """Python values as JSON on one line, in UTF-8."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
