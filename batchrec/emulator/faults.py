"""The fault plan: which call meets which accident. JSON in, a pure decision out.

The draw for a call depends on the plan's seed, the fault's place in the plan, the service and the call's
number there, and on nothing else: concurrency cannot change which calls are hit.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .complaints import complaint
from .data_sets import CALLS
from .services import SERVICES

Kind = Literal[
    "code", "latency", "reset", "html_502", "torn", "hang", "not_json", "no_result", "http", "invalid_client"
]

KEYS: dict[Kind, tuple[set[str], set[str]]] = {
    "code": ({"code"}, {"message"}),
    "latency": ({"seconds"}, set()),
    "reset": (set(), set()),
    "html_502": (set(), set()),
    "torn": (set(), set()),
    "hang": (set(), set()),
    "not_json": (set(), {"body"}),
    "no_result": (set(), set()),
    "http": ({"status"}, set()),
    "invalid_client": (set(), set()),
}
"""For each kind the keys of its own that it needs and those that it may have."""

LATE = frozenset({"latency", "torn"})
"""Kinds that by default happen to the answer; the others happen instead of the work."""


Number = Annotated[int, Field(ge=1, le=10**12)]
"""The number of a call, from 1."""
Text = Annotated[str, Field(max_length=1_000_000)]


class FaultPlanError(ValueError):
    """A fault plan cannot be used. The message names the file, each key, what is wrong and what was given."""


class Fault(BaseModel):
    """One kind of accident and the calls it happens to.

    A call is hit when its number is among `calls` (if given), lies in `from` .. `to`, and the draw
    falls under `share`. Without `service` every recognition service is meant; the token endpoint and the calls of the
    data-set API only by name.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    kind: Kind
    service: str | None = None
    share: float = Field(1.0, gt=0, le=1)
    calls: Annotated[Sequence[Number], Field(max_length=10_000)] | None = None
    first: Number = Field(1, alias="from")
    last: Number | None = Field(None, alias="to")
    before: bool | None = None
    code: Annotated[int, Field(ge=0, le=10**9)] | None = None
    message: Text | None = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    body: Text | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        needed, allowed = KEYS[self.kind]
        own = {"code", "message", "seconds", "status", "body"} & self.model_fields_set
        if missing := sorted(needed - own):
            raise ValueError(f"kind {self.kind!r} needs the key {missing[0]!r}")
        if foreign := sorted(own - needed - allowed):
            raise ValueError(f"kind {self.kind!r} has no key {foreign[0]!r}")
        if self.service not in (None, "token", *SERVICES, *CALLS.values()):
            names = ", ".join((*SERVICES, *CALLS.values()))
            raise ValueError(f"unknown service {self.service!r}; right would be 'token' or one of {names}")
        if self.kind == "invalid_client" and self.service != "token":
            raise ValueError("kind 'invalid_client' belongs to service 'token'")
        if self.kind == "torn" and self.before:
            raise ValueError("kind 'torn' needs an answer to tear, so 'before' cannot be true")
        if self.last is not None and self.last < self.first:
            raise ValueError("'to' lies before 'from', so no call is meant")
        return self

    @property
    def early(self) -> bool:
        """Whether it happens before the call is counted and worked on, or only to its answer."""
        return self.kind not in LATE if self.before is None else self.before

    def concerns(self, service: str, number: int) -> bool:
        """Whether the `number`-th call of `service` (from 1) is one this fault may happen to."""
        if self.service != service and (self.service is not None or service not in SERVICES):
            return False
        if self.calls is not None and number not in self.calls:
            return False
        return self.first <= number and (self.last is None or number <= self.last)


class FaultPlan(BaseModel):
    """Faults in order of precedence: the first that hits a call is the one it meets."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    faults: Annotated[Sequence[Fault], Field(max_length=1000)] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """The plan in a JSON file; `FaultPlanError` when it cannot be read or used."""
        try:
            text = path.read_bytes()
        except OSError as exc:
            raise FaultPlanError(f"{path}: cannot be read: {exc.strerror}") from exc
        return cls.parse(text, origin=str(path))

    @classmethod
    def parse(cls, plan: bytes | Mapping[str, object], *, origin: str = "fault plan") -> Self:
        """The plan in JSON text or in its parsed form; complaints name `origin`."""
        text = plan if isinstance(plan, bytes) else orjson.dumps(dict(plan))
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            raise FaultPlanError("\n".join(f"{origin}: {complaint(error)}" for error in exc.errors())) from exc

    def pick(self, service: str, number: int) -> Fault | None:
        """Pick the fault of the `number`-th call of `service`, counted from 1; None where there is none."""
        return next((fault for place, fault in enumerate(self.faults) if self._hits(place, service, number)), None)

    def _hits(self, place: int, service: str, number: int) -> bool:
        fault = self.faults[place]
        if not fault.concerns(service, number):
            return False
        return fault.share == 1 or Random(f"{self.seed}/{place}/{service}/{number}").random() < fault.share
