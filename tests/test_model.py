"""The values that travel: frozen, secret where they must be, boxes to the nearest pixel."""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from batchrec import values as model
from batchrec.values import Authorization, Box, Failure, Kind


def test_boxes():
    """A box is scaled to the nearest pixel; unscaled it is what the service said."""
    assert Box(10.4, 20, 30, 41).scaled(1, 1) == Box(10.4, 20, 30, 41)
    assert Box(10.4, 20, 30, 41).scaled(2, 0.5) == Box(21, 10, 60, 20)


def test_secrets_are_not_shown():
    """The repr, from where it could reach a log, holds nothing that pays for a call."""
    assert "hidden" not in repr(Authorization("access_token=hidden", (("Authorization", "Bearer hidden"),)))


@pytest.mark.parametrize("kind", Kind)
def test_kinds_are_words(kind):
    """A kind is the word that failures.jsonl and --retry-kind use."""
    assert (f"{kind}", Kind(kind.value)) == (kind.name.lower(), kind)


def test_values_are_frozen():
    """A value that was handed on does not change."""
    values = [value for value in vars(model).values() if is_dataclass(value)]
    assert {value.__name__ for value in values if not value.__dataclass_params__.frozen} == set()
    assert all(fields(value) is not None for value in values)
    with pytest.raises(FrozenInstanceError):
        Failure(Kind.IMAGE, "torn", "").code = 1  # type: ignore[misc]
