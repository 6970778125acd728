"""Limits of an account for a service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caps:
    """What an account allows for a service: calls per second (infinite: to be found), per Beijing day, and in all."""

    qps: float
    daily: int | None = None
    total: int | None = None
