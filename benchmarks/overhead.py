"""What an image costs the engine, stage by stage, beside the bare loop.

Both run as they are against a service on another core, once as usual and once with their functions measured from
outside (`stages.py`): microseconds of processor time an image, all threads. What a run over one picture takes is
taken off. The measuring itself costs what the note under the table says; it is not in a stage's own figure but for a
call of the clock.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .fast_service import Service, serving
from .jobs import job
from .pictures import made
from .process import module, run
from .stages import BARE, OURS
from .tables import Effort, Table, spread

_SIZE = 100_000
_SLOTS = 64
_PLANS = {Effort.QUICK: (64, 1), Effort.USUAL: (4000, 3), Effort.FULL: (20_000, 9)}
"""Images and rounds."""

_TOGETHER = (
    *("journal: claim", "journal: note", "journal: commit", "journal: sync"),
    *("outputs: encode", "outputs: append", "outputs: sync", "outputs: writes in threads"),
)


@dataclass(frozen=True, slots=True)
class Split:
    """One run: CPU seconds of all and by stage, what was called how often, and functions that were not found."""

    cpu: float
    stages: dict[str, float]
    calls: dict[str, int]
    missing: list[str]

    def less(self, other: "Split", images: int) -> "Split":
        """Microseconds an image, without what the other run took."""
        stages = {name: (spent - other.stages.get(name, 0.0)) / images * 1e6 for name, spent in self.stages.items()}
        return Split((self.cpu - other.cpu) / images * 1e6, stages, self.calls, self.missing)


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """One table."""
    images, rounds = _PLANS[effort]
    with serving() as service:
        bench = Bench(service, made(cache, _SIZE, images), made(cache, _SIZE, 1), images)
        seen = [bench.round() for _ in range(rounds)]
    yield _table(seen, images)


@dataclass(frozen=True, slots=True)
class Round:
    """batchrec and the bare loop, each measured by stage and as it is, in microseconds an image."""

    ours: Split
    bare: Split
    ours_alone: float
    bare_alone: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The two against a service, over many pictures and over one."""

    service: Service
    pictures: Path
    one: Path
    images: int

    def round(self) -> Round:
        """Each once, as it is and by stage."""
        alone = [(self._ours(pictures, split=False)) for pictures in (self.pictures, self.one)]
        bare_alone = [self._bare(pictures, split=False) for pictures in (self.pictures, self.one)]
        ours = [self._ours(pictures, split=True) for pictures in (self.pictures, self.one)]
        bare = [self._bare(pictures, split=True) for pictures in (self.pictures, self.one)]
        return Round(
            ours[0].less(ours[1], self.images),
            bare[0].less(bare[1], self.images),
            alone[0].less(alone[1], self.images).cpu,
            bare_alone[0].less(bare_alone[1], self.images).cpu,
        )

    def _ours(self, pictures: Path, *, split: bool) -> Split:
        with job(self.service.url, pictures, "form", _SLOTS) as ours:
            out = ours.folder / "stages.json"
            program = module("benchmarks.stages", out, "batchrec") if split else module("batchrec")
            return _split(ours.run(program=program).cpu, out)

    def _bare(self, pictures: Path, *, split: bool) -> Split:
        out = pictures.parent / "stages.json"
        out.unlink(missing_ok=True)
        program = module("benchmarks.stages", out, "clients") if split else module("benchmarks.clients")
        used = run([*program, "bare-uvloop", self.service.url, str(pictures), "--concurrency", str(_SLOTS)])
        return _split(used.cpu, out)


def _split(cpu: float, out: Path) -> Split:
    told = json.loads(out.read_text()) if out.exists() else {"seconds": {}, "calls": {}, "missing": []}
    return Split(cpu, told["seconds"], told["calls"], told["missing"])


def _table(rounds: list[Round], images: int) -> Table:
    table = Table(
        f"CPU us an image of {_SIZE // 1000} KB, form body, {_SLOTS} calls in flight",
        ("stage", "batchrec", "bare loop", "calls of batchrec's an image"),
    )
    for stage in OURS:
        calls = rounds[0].ours.calls.get(stage, 0) / images
        table.add(stage, *_both(rounds, stage), f"{calls:.2f}")
    table.add("**sum of the stages**", *_sums(rounds), "")
    table.add("event loop, sockets, engine and all else", *_rests(rounds), "")
    table.add("**all, measured by stage**", *(spread((s.cpu for s in side), 1) for side in _sides(rounds)), "")
    table.add(
        "**all, as it runs**",
        spread((each.ours_alone for each in rounds), 1),
        spread((each.bare_alone for each in rounds), 1),
        "",
    )
    table.add("engine over the bare loop", spread((r.ours_alone - r.bare_alone for r in rounds), 1), "", "")
    together = (sum(each.ours.stages.get(stage, 0.0) for stage in _TOGETHER) for each in rounds)
    table.add("journal and outputs together", spread(together, 1), "", "")
    table.notes = _notes(rounds, images)
    return table


def _notes(rounds: list[Round], images: int) -> str:
    by_measuring = median(each.ours.cpu - each.ours_alone for each in rounds)
    notes = (
        f"{images:,} images, {len(rounds)} rounds. Measuring batchrec by stage costs {by_measuring:.0f} us an image, "
        "nearly all of it in `all else`. `together` is the claims, notes of calls, commits and syncs of the journal, "
        "and the rows as text, appends, syncs and writes of the result files."
    )
    if missing := sorted({*rounds[0].ours.missing, *rounds[0].bare.missing}):
        notes += f" Not found, so in `all else`: {', '.join(missing)}."
    return notes


def _sides(rounds: list[Round]) -> tuple[list[Split], list[Split]]:
    return [each.ours for each in rounds], [each.bare for each in rounds]


def _both(rounds: list[Round], stage: str) -> Iterator[str]:
    for side, known in zip(_sides(rounds), (OURS, BARE), strict=True):
        yield spread((each.stages.get(stage, 0.0) for each in side), 1) if stage in known else ""


def _sums(rounds: list[Round]) -> Iterator[str]:
    for side in _sides(rounds):
        yield spread((sum(each.stages.values()) for each in side), 1)


def _rests(rounds: list[Round]) -> Iterator[str]:
    for side in _sides(rounds):
        yield spread((each.cpu - sum(each.stages.values()) for each in side), 1)
