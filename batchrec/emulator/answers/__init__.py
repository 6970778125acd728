"""Interface between the emulator and the sources of its results.

An implementation is one file beside this one. It says what it sees; how a service words that (string scores,
`非菜`, `result` as an object) is `batchrec.emulator.services`' business and not its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..images import Picture


@dataclass(frozen=True, slots=True)
class Box:
    """Box of an object, in pixels of the image as submitted, origin top left."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Guess:
    """One thing that may be on a picture; fields a service has no room for are left out of its reply."""

    name: str
    score: float
    """0 to 1."""
    root: str | None = None
    """The class above the name, `大类-小类`; some tags of the service have none."""
    calorie: str | None = None
    """Of a dish, kcal per 100 g, in the service's spelling; None: it knows none."""
    year: str | None = None
    """Of a car model."""
    box: Box | None = None
    nothing: bool = False
    """The service's own word for "nothing of my kind" (`非植物`) stands at this rank, whatever the name."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Further keys of redwine and currency as the service names them; `color` and `brand` of a car."""


class Undecodable(Exception):
    """A picture whose content is not what its header promises; the service answers with error code 216201."""


class Answers(Protocol):
    """Source of results in place of the service."""

    def may_call(self, service: str, model: str) -> bool | None:
        """Whether the account's application may call an EasyDL model; None where there is none."""
        ...

    async def answer(
        self, service: str, picture: Picture, options: Mapping[str, str], model: str | None = None
    ) -> Sequence[Guess]:
        """Recognize an image: objects, best first; empty where the service would say that nothing was found.

        `model` is the name of an EasyDL model. `options` are the request's other parameters as text. `top_num`,
        `threshold` and `baike_num` are applied afterwards by the service's row, so returning more than was asked for is
        right. May raise `Undecodable`.
        """
        ...
