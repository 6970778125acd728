"""Answers from a real model: EfficientNet-lite0 on the CPU, which knows the 1,000 classes of ImageNet.

It says what the network sees and nothing else. There are no persons, brands, landmarks, wines or banknotes among
the classes, so the services for those find nothing; scores are the network's probabilities as they are, not
rescaled to the classes that a service may name. Importing this needs the extra `local`: ImportError without it.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import Picture
from . import Box, Guess, Undecodable, activation, classes, crops, weights
from .classes import Class
from .network import Array, Head, Network, seen, times
from .own_models import OwnModels, Published


class Scope(NamedTuple):
    """Task of a service: the classes of a group (None: all), the most results, and whether with boxes.

    With less than `least` of the probability in its group it finds nothing.
    """

    group: str | None = None
    least: float = 0.0
    rows: int = 20
    boxed: bool = False


DETECTION = "easydl_detection"
"""The service whose models find objects; those of the other one classify."""

SCOPES = {
    "advanced_general": Scope(rows=5),
    "object_detect": Scope(rows=1, boxed=True),
    "animal": Scope("animal", least=0.4),
    "plant": Scope("plant", least=0.2),
    "dish": Scope("dish", least=0.2),
    "ingredient": Scope("food", least=0.2),
    "car": Scope("vehicle", least=0.2, boxed=True),
}
"""The services with an answer; every other one finds nothing.

The network leaves a little probability on every class, so a group's share of nothing grows with its size. The 398
animals had at least 0.50 on 34 photographs of animals and at most 0.35 on 78 others; the other groups, of 23 to 37
classes, had at most 0.07 where there was nothing of theirs.
"""


class EmbeddedModel:
    """The model behind the services; nothing is loaded before the first question.

    One session serves all threads, since each call runs on the thread that makes it; a session for each thread
    was no faster and took more memory.
    """

    name = "model"

    def __init__(self, threads: int | None = None, own: OwnModels | None = None) -> None:
        """`threads`: pictures looked at at a time, None for one per core.

        `own`: the user's models, None for none. ImportError without the weights.
        """
        self._own = own
        self._heads: dict[str, Head] = {}
        self._file = weights.find()
        self._classes = classes.load()
        self._members = {service: _members(self._classes, scope.group) for service, scope in SCOPES.items()}
        self._threads = ThreadPoolExecutor(threads or _cores(), "embedded-model")
        self._loading = Lock()
        self._network: Network | None = None

    def may_call(self, service: str, model: str) -> bool | None:
        """Whether an application is bound to the user's model; None where no version of it is published."""
        found = self._published(service, model)
        return None if found is None else found.bound

    async def answer(
        self, service: str, picture: Picture, options: Mapping[str, str], model: str | None = None
    ) -> Sequence[Guess]:
        """Recognize an image with the network, best first. Raises Undecodable where it cannot be decoded."""
        in_thread = asyncio.get_running_loop().run_in_executor
        if model is not None:
            published = self._published(service, model)
            work = self._detect if service == DETECTION else self._classify
            return await in_thread(self._threads, work, published, picture) if published else []
        if service not in SCOPES:
            return []
        return await in_thread(self._threads, self._look, service, picture)

    def close(self) -> None:
        """Finish what is being looked at, and let go of threads and memory. There are no answers after it."""
        self._threads.shutdown(cancel_futures=True)
        self._network = None

    def _look(self, service: str, picture: Picture) -> list[Guess]:
        pixels = squashed(picture)
        network, scope, members = self._loaded(), SCOPES[service], self._members[service]
        scores, cells = network.see(pixels)
        if scores[members].sum() < scope.least:
            return []
        box = None
        if scope.boxed:
            mixture = np.zeros_like(scores)  # of the classes looked for: breeds of dog share a box
            mixture[members] = scores[members]
            box = activation.locate(cells, times(network.linear, mixture), *picture.displayed)
        best = members[np.argsort(-scores[members], kind="stable")[: scope.rows]]
        return merged([_guess(self._classes[index], float(scores[index]), service, box) for index in best])

    def _published(self, service: str, model: str) -> Published | None:
        return None if self._own is None else self._own.find(service, model)

    def _classify(self, published: Published, picture: Picture) -> list[Guess]:
        """The classes of the user's model, best first."""
        pixels = squashed(picture)
        network, head = self._loaded(), self._head(published)
        scores = head.probabilities(network.features(pixels))
        return [
            Guess(head.classes[index], round(float(scores[index]), 6)) for index in np.argsort(-scores, kind="stable")
        ]

    def _detect(self, published: Published, picture: Picture) -> list[Guess]:
        """The objects that the user's model finds, best first."""
        network = self._loaded()
        with _opened(picture) as image:
            found = crops.look(network, image)
        return crops.detections(self._head(published), found, *picture.displayed)

    def _head(self, published: Published) -> Head:
        head = self._heads.get(published.digest)
        if head is None:
            head = self._heads[published.digest] = Head.load(published.head)
        return head

    def _loaded(self) -> Network:
        with self._loading:
            if self._network is None:
                self._network = Network.load(self._file)
            return self._network


def squashed(picture: Picture) -> Array:
    """The whole picture as the network takes it, 224 x 224 RGB, sides out of proportion.

    Raises Undecodable.

    Nothing is cropped, so that things at the edge are seen too. It is seen upright, as EXIF says.
    """
    with _opened(picture) as image:
        return seen(image)


@contextmanager
def _opened(picture: Picture) -> Iterator[Image.Image]:
    """The image of a picture. Raises Undecodable for what its decoding raises in the block."""
    try:
        with Image.open(BytesIO(picture.data), formats=[picture.format]) as image:
            yield image
    except (OSError, SyntaxError, ValueError, OverflowError, Image.DecompressionBombError) as exc:
        raise Undecodable(str(exc)) from exc


def merged(guesses: Sequence[Guess]) -> list[Guess]:
    """One row for each name, best first.

    Mopeds and scooters are one kind of vehicle; their probabilities add up.
    """
    rows: dict[str, Guess] = {}
    for guess in guesses:
        same = rows.get(guess.name)
        rows[guess.name] = replace(same, score=same.score + guess.score) if same else guess
    return sorted(rows.values(), key=lambda guess: guess.score, reverse=True)


def _guess(known: Class, score: float, service: str, box: Box | None) -> Guess:
    name = known.vehicle if service == "car" and known.vehicle else known.name
    return Guess(name, round(score, 6), root=known.root or None, calorie=known.calorie or None, box=box)


def _members(table: Sequence[Class], group: str | None) -> NDArray[np.intp]:
    return np.array([index for index, row in enumerate(table) if group is None or group in row.groups], dtype=np.intp)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
