"""Default source of results: the model where the extra `local` is installed, else fake results."""

from typing import Protocol

from . import Answers
from .own_models import OwnModels
from .stand_in import StandIn

ADVICE = "the results are fake (mock), computed from a hash of the file"
"""Line for a user who gets fake results without having asked for them; the caller knows how to install the model."""


class BuiltIn(Answers, Protocol):
    """Answers that come with batchrec, and what their owner has to know of them."""

    name: str
    """Tells one kind from the other: the results of a job must not be a mixture."""

    def close(self) -> None:
        """Let go of threads and memory; there are no answers after it."""
        ...


def best(own: OwnModels | None = None) -> BuiltIn:
    """The best there is here. It takes no memory before its first question, and is to be closed.

    `own`: the user's models, which the embedded model serves.
    """
    try:
        from .model import EmbeddedModel

        return EmbeddedModel(own=own)
    except ImportError:
        return StandIn()


def advice(answers: BuiltIn) -> str | None:
    """A line for the user, where the results are fake."""
    return ADVICE if isinstance(answers, StandIn) else None
