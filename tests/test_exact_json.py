"""JSON that keeps every integer, and lines that stay lines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.exact_json import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_there_and_back(value):
    """Any JSON value is read as it was written, on one line for every kind of reader."""
    text = dumps(value)
    assert loads(text) == value
    assert len(text.decode().splitlines()) == 1


@pytest.mark.parametrize(
    "number",
    [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**19, 10**20 + 1, -(2**63), -(2**63) - 1, -(10**19) + 1, 7**99],
)
def test_integers_are_exact(number):
    """An integer of any length is neither rounded nor refused, alone or beside others."""
    text = f'{{"log_id":{number},"result":[1.5]}}'.encode()
    assert loads(text) == {"log_id": number, "result": [1.5]}
    assert dumps(loads(text)) == text


@pytest.mark.parametrize("beside", ["1", "123456789012345678901"])
@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "1e999", '"\\ud800"', "[" * 2000 + "]" * 2000, "{", "tru", ""])
def test_what_is_no_json(wrong, beside):
    """Both readers refuse the same texts: a line that was read can always be written."""
    with pytest.raises(ValueError):  # noqa: PT011 - it has many texts
        loads(f"[{beside},{wrong}]".encode())


@pytest.mark.parametrize("mark", "\u2028\u2029\x85\n\r\x0b\x0c\x1c\x1d\x1e\"\\'\0")
def test_line_ends_and_quotes(mark):
    """Characters that some reader takes for the end of a line are escaped, in keys as well."""
    text = dumps({f"key{mark}": f"value{mark}", "number": 10**30})
    assert len(text.decode().splitlines()) == 1
    assert json.loads(text) == {f"key{mark}": f"value{mark}", "number": 10**30}


@pytest.mark.parametrize("beside", [1, 10**30])
def test_nothing_that_a_terminal_obeys(beside):
    """Control characters of both kinds are escaped, whoever writes; what is beside them stays as it is."""
    controls = "".join(map(chr, [*range(32), *range(127, 160)]))
    text = dumps({"name": f"·é{controls}“猫”", "number": beside})
    assert not set(controls) & set(text.decode())
    assert "“猫”" in text.decode()
    assert json.loads(text) == {"name": f"·é{controls}“猫”", "number": beside}


def test_half_characters():
    """Half a surrogate pair cannot stand in UTF-8; it becomes a question mark, and the line stays whole."""
    assert dumps({"name": "a\ud800b"}) == b'{"name":"a?b"}'
