"""JSON by orjson, except integers of over 64 bits, which orjson reads as floats and does not write."""

import json
import re
from typing import Any

import orjson

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_OBEYED = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def loads(text: bytes) -> Any:
    """JSON as Python values.

    Raises ValueError, also for NaN and half characters: orjson judges either way.
    """
    value = orjson.loads(text)
    try:
        return json.loads(text) if _beyond_64_bits(text) else value
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def _beyond_64_bits(text: bytes) -> bool:
    """Whether it may hold such an integer: 20 digits, or 19 behind a minus.

    A regex would take twenty times as long.
    """
    digits = text.translate(_ZEROS)
    return b"0" * 20 in digits or b"-" + b"0" * 19 in digits


def dumps(value: Any) -> bytes:
    """Python values as JSON in UTF-8, on one line whatever a reader takes for the end of a line.

    Control characters are escaped, those of the second kind (C1) too: a terminal obeys U+009B like ESC [.
    """
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    # What the pattern finds begins so; to look for one byte is quicker by far, and few texts hold one of these.
    if b"\x7f" in text or b"\xc2" in text or b"\xe2" in text:
        text = _OBEYED.sub(_escape, text)
    return text


def _escape(found: re.Match[bytes]) -> bytes:
    return f"\\u{ord(found[0].decode()):04x}".encode()
