"""Images that are sent in tiles: a call for each that has no answer yet, merged into one."""

from collections.abc import Sequence
from dataclasses import replace

from ..api.labels import merge_labels, read_labels
from ..api.services import Reading
from ..journal.tiles import TileAnswer, Tiles
from ..limits.gate import Gate
from ..values import Answer, Failure, Label, Prepared, Task
from .attempts import Caller
from .lane import Postponed, Step
from .preparation import Ready
from .workers import Workers


class TileCaller:
    """Calls the service for an image in tiles, as `Caller` does for others.

    Each answer is noted in the journal at once.
    """

    def __init__(self, caller: Caller, workers: Workers, tiles: Tiles) -> None:
        self._caller = caller
        self._workers = workers
        self._tiles = tiles

    async def ask(self, gate: Gate, step: Step, task: Task, ready: Ready) -> tuple[Answer | Failure, int] | Postponed:
        """Call for each tile in turn; returns the merged answer, or the first failure, and all attempts.

        As `Caller.ask`. Where that postpones a tile, so is the image, and what is answered is kept.
        """
        answers: list[TileAnswer] = []
        attempts, tries = 0, self._caller.tries(step, task)
        for number, tile in enumerate(ready.tiles):
            answer = self._tiles.answer(task, number, tile.digest)
            if answer is None:
                # Not before the next tile is to leave: after the last one the row is recorded without a pause.
                self._workers.release()
                reply = await self._caller.ask(gate, step, task, ready._replace(body=tile.body), tries)
                if isinstance(reply, Postponed):
                    return reply
                result, spent = reply
                if isinstance(result, Failure):
                    told = f"tile {number + 1} of {len(ready.tiles)}: {result.message}"
                    return replace(result, message=told), attempts + spent
                answer = TileAnswer(result.reply, spent, result.latency_ms)
                tries.next_tile()
                self._tiles.put(task, number, tile.digest, answer)
            answers.append(answer)
            attempts += answer.attempts
        return merged(step.request.reading, ready.image.tiles, answers), attempts


def merged(reading: Reading, tiles: Sequence[Prepared], answers: Sequence[TileAnswer]) -> Answer:
    """The answers of all tiles as one of their image, with boxes in its pixels and the tiles' replies."""
    replies, labels = [], []
    for tile, answer in zip(tiles, answers, strict=True):
        assert tile.area is not None
        replies.append({"box": tile.area.sides, "response": answer.reply})
        found = read_labels(reading, answer.reply) or ()
        labels.append((tile.area, [_displayed(label, tile) for label in found]))
    latency_ms = sum(answer.latency_ms for answer in answers)
    return Answer({"tiles": replies}, merge_labels(reading, labels), latency_ms)


def _displayed(label: Label, tile: Prepared) -> Label:
    return label if label.box is None else label._replace(box=tile.displayed(label.box))
