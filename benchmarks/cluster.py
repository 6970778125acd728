"""A job on a cluster: three nodes beside one process, deaths on the way, and a hundred nodes in virtual time."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.acceptance.harness import picture

from . import nodes
from .deaths import Death, Place, Seen, freeze_node, kill_driver, kill_keeper, kill_node, opened, played
from .tables import Effort, Table, spread

QPS = 50
ROUNDS = {Effort.QUICK: 1, Effort.USUAL: 3, Effort.FULL: 3}
SECONDS = {Effort.QUICK: 10, Effort.USUAL: 60, Effort.FULL: 300}
"""Seconds of calls of a run without a death."""
SHARD = 500
"""Images of a shard without a death: so many that its beginning and end count for little, as with the default."""
DEATH_SECONDS = {Effort.QUICK: 8, Effort.USUAL: 24, Effort.FULL: 24}
VIRTUAL_SECONDS = {Effort.QUICK: 10.0, Effort.USUAL: 40.0, Effort.FULL: 60.0}

_DEATHS: dict[str, Death] = {
    "SIGKILL of a node": kill_node,
    "SIGKILL of the keeper": kill_keeper,
    "SIGKILL of the run, started again": kill_driver,
    "SIGSTOP of a node": freeze_node,
}
_BY_EPOCH = (kill_node, freeze_node)
"""Deaths from which a run has recovered when the lost shards are worked on again; else when calls leave again."""


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """The tables of a cluster."""
    pictures = cache / "pictures"
    pictures.mkdir()
    for number in range(QPS * max(SECONDS[effort], DEATH_SECONDS[effort])):
        (pictures / f"{number:06}.png").write_bytes(picture(number))
    with opened(cache / "cluster", pictures) as place:
        yield _rates(place, effort)
        yield _deaths(place, effort)
    yield nodes.table(VIRTUAL_SECONDS[effort])


def _rates(place: Place, effort: Effort) -> Table:
    seconds, runs = SECONDS[effort], defaultdict[str, list[Seen]](list)
    load = os.getloadavg()[0]
    for _round in range(ROUNDS[effort]):
        for who, shard in (("one process", None), ("three nodes", SHARD)):
            runs[who].append(played(place, QPS * seconds, QPS, shard=shard))
    table = Table(
        f"Three nodes beside one process: {QPS} calls/s for {seconds} s",
        ("who", "runs", "share used", "of one process", "refused", "CPU of the engine, ms a call", "of the keeper"),
        notes=f"In turns, in shards of {SHARD} images; ratios are of two runs of one round. {_loaded(load)}",
    )
    for who, seen in runs.items():
        ratios = [mine.used(QPS) / one.used(QPS) for mine, one in zip(seen, runs["one process"], strict=True)]
        refused = sum(each.refused for each in seen) / sum(each.refused + len(each.taken) for each in seen)
        table.add(
            who,
            str(len(seen)),
            spread((each.used(QPS) for each in seen), 3),
            spread(ratios, 3),
            f"{refused:.2%}",
            spread((1e3 * each.cpu.get("worker", each.cpu.get("process", 0.0)) for each in seen), 2),
            spread((1e3 * each.cpu["keeper"] for each in seen if "keeper" in each.cpu), 2),
        )
    return table


def _deaths(place: Place, effort: Effort) -> Table:
    seconds, load = DEATH_SECONDS[effort], os.getloadavg()[0]
    table = Table(
        f"A death after a third of the calls: {QPS} calls/s for {seconds} s, answers after 0.1 s",
        (
            "what",
            "runs",
            "rows lost",
            "rows doubled",
            "paid twice",
            "in flight",
            "seconds to recovery",
            "longest gap in calls, s",
        ),
        notes="In flight: calls of all nodes that the service had not answered when the death came; a node had about "
        "a third of them. Recovery: lost shards are worked on again (nodes), or calls leave again (keeper, run). A "
        f"frozen node goes on after the run's end, and what it still writes is merged. {_loaded(load)}",
    )
    for what, death in _DEATHS.items():
        seen = [played(place, QPS * seconds, QPS, death) for _round in range(ROUNDS[effort])]
        recovered = [each.handed_over if death in _BY_EPOCH else each.gap[1] for each in seen]
        table.add(
            what,
            str(len(seen)),
            str(sum(each.images - each.different for each in seen)),
            str(sum(each.rows - each.different for each in seen)),
            spread(each.twice for each in seen),
            spread(each.in_flight for each in seen),
            recovery(recovered),
            spread((each.gap[0] for each in seen), 2),
        )
    return table


def recovery(seconds: Sequence[float | None]) -> str:
    """Seconds to recovery as they are shown, with the number of runs in which none was seen (None)."""
    known = [each for each in seconds if each is not None]
    missed = len(seconds) - len(known)
    return spread(known, 1) + (f", not seen in {missed}" if missed else "")


def _loaded(before: float) -> str:
    return f"Load of the machine by its own count: {before:.1f} at the beginning, {os.getloadavg()[0]:.1f} at the end."
