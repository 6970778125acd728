"""The figure of docs/dev/pacing.md."""

from pathlib import Path

from benchmarks.pacing_figure import figure, recovery, searched

FIGURE = Path(__file__).parents[2] / "docs" / "dev" / "pacing.svg"


def test_the_figure_shows_the_code() -> None:
    """The committed figure is the script's: `python -m benchmarks.pacing_figure docs/dev/pacing.svg`."""
    assert FIGURE.read_text(encoding="utf-8") == figure()


def test_the_curves_are_those_of_the_text() -> None:
    """Half a percent down and back within seconds; a limit of 80 found within ten, 40 used beside others."""
    rates = dict(recovery(100, (5,), 20))
    assert rates[4.9] == 100 > rates[5.5] > 99.5
    assert rates[12.0] == 100
    taken, refused = searched(80, 180)
    assert max(count for _, count in taken[8:60]) == 80
    assert 35 < sum(count for _, count in taken[80:120]) / 40 <= 40
    assert sum(count for _, count in refused) < 0.01 * sum(count for _, count in taken)
