"""Counters of the emulator for tests: an object in this process, JSON for others."""

from collections import Counter, deque
from collections.abc import Iterable

REMEMBERED = 200_000
"""Arrivals and different pictures kept for each service; beyond that the oldest arrivals and new pictures go
unlisted."""


class Counters:
    """Counts since the start. Services are named as in the table; the token endpoint counts apart."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Calls that arrived, by service; `token` and `unknown` (no such path) are among them."""
        self.outcomes: dict[str, Counter[str]] = {}
        """Ends of the calls: `ok`, an error code as text, or the kind of the fault."""
        self.faults: dict[str, Counter[str]] = {}
        """Planned faults that happened, by service and kind, `latency` included."""
        self.images: dict[str, Counter[str]] = {}
        """Recognitions of each picture, by service and SHA-256 in hex; lost answers count too."""
        self.arrivals: dict[str, deque[float]] = {}
        """Times at which calls reached the limits, Unix seconds, refused ones included."""
        self.admitted: dict[str, deque[float]] = {}
        """The same of those that were let through."""
        self.refused = 0
        """Requests that the access rules refused; they are in no other count."""
        self.tokens_issued = 0
        self.in_flight = 0
        """Recognition calls being answered right now."""
        self.max_in_flight = 0

    def arrived(self, service: str) -> int:
        """One more call; its number, from 1."""
        self.calls[service] += 1
        return self.calls[service]

    def entered(self) -> None:
        """A recognition call is being answered."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def left(self) -> None:
        """It is answered, or its client went away."""
        self.in_flight -= 1

    def judged(self, service: str, at: float, *, admitted: bool) -> None:
        """A call met the limits at this moment."""
        self.arrivals.setdefault(service, deque(maxlen=REMEMBERED)).append(at)
        if admitted:
            self.admitted.setdefault(service, deque(maxlen=REMEMBERED)).append(at)

    def ended(self, service: str, outcome: str) -> None:
        """A call has its outcome."""
        self.outcomes.setdefault(service, Counter())[outcome] += 1

    def met(self, service: str, kind: str) -> None:
        """A planned fault happened."""
        self.faults.setdefault(service, Counter())[kind] += 1

    def recognized(self, service: str, sha256: str) -> None:
        """A picture was answered."""
        seen = self.images.setdefault(service, Counter())
        if sha256 in seen or len(seen) < REMEMBERED:
            seen[sha256] += 1

    def snapshot(self) -> dict[str, object]:
        """Everything as JSON, the arrivals condensed to calls per calendar second and the busiest second."""
        return {
            "calls": dict(self.calls),
            "outcomes": _plain(self.outcomes),
            "faults": _plain(self.faults),
            "images": _plain(self.images),
            "per_second": {service: _per_second(times) for service, times in self.arrivals.items()},
            "busiest_second": {service: busiest_second(times) for service, times in self.arrivals.items()},
            "busiest_second_admitted": {service: busiest_second(times) for service, times in self.admitted.items()},
            "refused": self.refused,
            "tokens_issued": self.tokens_issued,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
        }


def busiest_second(times: Iterable[float]) -> int:
    """The most calls in any 1.0 s, half open, wherever it begins."""
    window: deque[float] = deque()
    most = 0
    for time in times:
        window.append(time)
        while time - window[0] >= 1.0:
            window.popleft()
        most = max(most, len(window))
    return most


def _plain(counts: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {service: dict(counter) for service, counter in counts.items()}


def _per_second(times: Iterable[float]) -> dict[str, int]:
    return {str(second): count for second, count in Counter(int(time) for time in times).items()}
