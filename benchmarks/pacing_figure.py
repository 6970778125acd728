"""The figure of docs/dev/pacing.md, from the rate controller itself: `python -m benchmarks.pacing_figure FILE.svg`."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from batchrec.limits.ceiling import Ceiling
from batchrec.limits.round_trips import RoundTrips
from tests.support.simulation import Service, simulate

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 720, 220, 60, 36, 64
"""Pixels: of a panel's plot, its margins, and the space below it."""
_NOW = 1_000.0
"""Monotonic seconds at which the first panel begins."""
_TAKEN, _REFUSED = "#1f5fa8", "#c0392b"

Points = Sequence[tuple[float, float]]


def recovery(rate: float, refusals: Sequence[float], seconds: float) -> Points:
    """The rate (calls/s) over time (s) of a job that has set it, refused once at each of the times."""
    ceiling, points, ahead = Ceiling(), [], list(refusals)
    ceiling.wish(_NOW, rate)
    for tick in range(int(seconds * 10)):
        now = _NOW + tick / 10
        ceiling.on_answer(now)
        ceiling.wish(now, rate)
        ceiling.grow(now, 0, 0, RoundTrips())
        if ahead and now >= _NOW + ahead[0]:
            del ahead[0]
            ceiling.lower(now, None, 0.1)
        points.append((tick / 10, ceiling.rate))
    return points


def searched(limit: int, seconds: int) -> tuple[Points, Points]:
    """Calls taken and refused in each second by a service whose limit nobody told; half goes to others for a minute."""
    other = (seconds / 3, seconds * 2 / 3, limit / 2)
    outcome = simulate(Service(limit), math.inf, seconds, other=other)
    return _each_second(outcome.taken, seconds), _each_second(outcome.refused, seconds)


def _each_second(times: Sequence[float], seconds: int) -> Points:
    counts = [0] * seconds
    for time in times:
        counts[min(int(time), seconds - 1)] += 1
    return [(second + 0.5, float(count)) for second, count in enumerate(counts)]


class Panel:
    """One plot: its title, the number of the panel from above, and the ranges of its axes."""

    def __init__(self, title: str, number: int, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self._xs, self._ys = xs, ys
        self._top = _TOP + number * (_HEIGHT + _GAP)
        self.parts = [f'<text x="{_LEFT}" y="{self._top - 12}" font-weight="bold">{escape(title)}</text>']

    def axes(self, ticks_x: Sequence[float], ticks_y: Sequence[float]) -> None:
        """Lines and numbers of the axes: seconds below, calls/s at the side."""
        for tick in ticks_y:
            y = self._y(tick)
            self.parts.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDTH}" stroke="#ddd"/>')
            self.parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        below = self._top + _HEIGHT + 18
        for tick in ticks_x:
            self.parts.append(f'<text x="{self._x(tick):.1f}" y="{below}" text-anchor="middle">{tick:g} s</text>')

    def line(self, points: Points, colour: str, width: float = 1.5) -> None:
        """A line through points."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def note(self, x: float, y: float, text: str, colour: str = "#333") -> None:
        """Words at a point."""
        self.parts.append(f'<text x="{self._x(x):.1f}" y="{self._y(y):.1f}" fill="{colour}">{escape(text)}</text>')

    def _scaled(self, value: float, ends: tuple[float, float]) -> float:
        return (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])

    def _x(self, value: float) -> float:
        return _LEFT + _WIDTH * self._scaled(value, self._xs)

    def _y(self, value: float) -> float:
        return self._top + _HEIGHT * (1 - self._scaled(value, self._ys))


def _cuts() -> Panel:
    panel = Panel("A set rate of 100 calls/s, refused at 5, 25, 45 and 65 s", 0, (0, 90), (99.4, 100.1))
    panel.axes(range(0, 91, 15), (99.4, 99.6, 99.8, 100))
    panel.line(recovery(100, (5, 25, 45, 65), 90), _TAKEN, 2)
    panel.note(8, 99.45, "a cut of 0.5 %, then a cubic curve, flatter with each refusal at the same rate")
    return panel


def _search() -> Panel:
    panel = Panel("qps = auto, limit 80 calls/s; from 60 to 120 s others take 40 of them", 1, (0, 180), (0, 90))
    panel.axes(range(0, 181, 30), (0, 20, 40, 60, 80))
    taken, refused = searched(80, 180)
    panel.line(taken, _TAKEN)
    panel.line(refused, _REFUSED)
    panel.note(125, 25, "taken in each second", _TAKEN)
    panel.note(125, 14, "refused in each second", _REFUSED)
    return panel


def figure() -> str:
    """The SVG document."""
    panels: list[Callable[[], Panel]] = [_cuts, _search]
    width, height = _LEFT + _WIDTH + 30, _TOP + len(panels) * (_HEIGHT + _GAP) - 20
    body = "\n".join(part for panel in panels for part in panel().parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13">\n<rect width="{width}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(figure(), encoding="utf-8")
