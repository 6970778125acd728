"""Statistics of round trips."""

from dataclasses import dataclass

FAR = 1e12
"""As good as infinite, but a number that JSON has."""


@dataclass(slots=True)
class Observed:
    """Round trips of answered calls over a while, in seconds."""

    since: float = -FAR
    answers: int = 0
    fastest: float = FAR
    slowest: float = 0.0
    total: float = 0.0
