"""Fake results made from the image's hash, worded so that nobody can take them for recognition."""

from collections.abc import Mapping, Sequence
from random import Random

from ..images import Picture
from . import Box, Guess

ROOTS = ("仿真器-替身", "仿真器-替身食物", "仿真器-替身动物", None)
"""Classes of a picture's rows; "食物" and "动物" are there for follow-up steps to match."""

ALWAYS_FOUND = frozenset({"advanced_general", "object_detect", "easydl_classification"})
"""Services that have an answer for every picture."""

ROWS = 20
"""Rows made for each picture; the service's row keeps as many as were asked for."""


class StandIn:
    """The same bytes get the same answer from the same service, in every process and for ever."""

    name = "stand-in"

    def may_call(self, service: str, model: str) -> bool | None:
        """Any name is that of a model."""
        return True

    async def answer(
        self, service: str, picture: Picture, options: Mapping[str, str], model: str | None = None
    ) -> Sequence[Guess]:
        """Twenty made-up rows with falling scores, or none where "nothing" is on the picture."""
        if finds_nothing(service, picture.sha256):
            return []
        random = Random(f"{service}/{picture.sha256}")
        score = random.uniform(0.4, 0.99)
        root = random.choice(ROOTS)
        guesses = []
        for rank in range(ROWS):
            guesses.append(_guess(random, picture, round(score, 6), root, nothing=rank == 2 and random.random() < 0.5))
            score *= random.uniform(0.3, 0.7)
        return guesses

    def close(self) -> None:
        """There is nothing to let go of."""


def finds_nothing(service: str, sha256: str) -> bool:
    """Whether the stand-in sees nothing there: one picture in eight, others for each service."""
    return service not in ALWAYS_FOUND and Random(f"nothing/{service}/{sha256}").random() < 1 / 8


def _guess(random: Random, picture: Picture, score: float, root: str | None, *, nothing: bool) -> Guess:
    return Guess(
        name=f"替身答案-{random.getrandbits(16):04x}（非识别）",
        score=score,
        root=root,
        calorie=random.choice(("119", "257.65", None)),
        year=random.choice(("2017", "2016-2018", None)),
        box=_box(random, picture),
        nothing=nothing,
        details={"color": "替身色", "brand": "替身品牌（非识别）"},
    )


def _box(random: Random, picture: Picture) -> Box:
    """A box that lies inside the picture, at least one pixel large."""
    left, top = random.randrange(picture.width), random.randrange(picture.height)
    return Box(left, top, random.randint(1, picture.width - left), random.randint(1, picture.height - top))
