"""Services that take no more calls, as the shards of a run tell; those of other services go on.

A closure by the limits that were set is in doubt at first: shards give back what they have leased and do not use. So
one more shard is tried when all others have ended.
"""

from collections.abc import Collection, Mapping

from ..values import Closure


class Closures:
    """Closures of a run. `services`: by a step's number, what its limits are counted for."""

    def __init__(self, services: Mapping[int, str]) -> None:
        self._services = services
        self._closed: dict[str, Closure | None] = {}
        self._doubtful: dict[str, Closure] = {}
        self._answered = -1

    @property
    def all(self) -> dict[str, Closure | None]:
        """Services that are closed, also those in doubt. None: the account lacks the permission."""
        return self._doubtful | self._closed

    def note(self, closed: Mapping[str, Closure | None], done: Collection[int]) -> None:
        """Take in the end of a shard, which has no image left at the steps `done`."""
        for service in {self._services[step] for step in done} - closed.keys():
            self._doubtful.pop(service, None)
        for service, closure in closed.items():
            if closure is None or closure.reported:
                self._closed[service] = closure
            elif service not in self._closed:
                self._doubtful[service] = closure

    def open(self) -> list[int]:
        """Steps of which calls may leave."""
        return [step for step, service in self._services.items() if service not in self.all]

    def doubtful(self) -> list[int]:
        """Steps of closures in doubt."""
        return [step for step, service in self._services.items() if service in self._doubtful]

    def settle(self, answered: int) -> None:
        """Let the closures in doubt stand where no image was answered since the last call: nothing came back."""
        if answered == self._answered:
            self._closed |= self._doubtful
            self._doubtful.clear()
        self._answered = answered
