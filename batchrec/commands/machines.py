"""Machines for the calls of a job, as `plan --on` tells them."""

import math
from dataclasses import dataclass

from ..language import _, ngettext
from .estimate import Plan

_CALL = 0.002
"""CPU seconds of an image that is sent as it is, with its call (docs/dev/performance.md)."""
_REPAIR = 0.065
"""CPU seconds beside that of an image of 12 megapixels that is decoded, shrunk and encoded."""


@dataclass(frozen=True, slots=True)
class Machines:
    """Cores that the calls of all services need, those here, and machines like this one that have them.

    `gain`: whether more machines would make the job faster. `limited_by` is that of the plan.
    """

    cores: int
    cores_here: int
    machines: int
    gain: bool
    limited_by: str | None


def machines_of(plan: Plan, cores_here: int) -> Machines | None:
    """Machines for the calls of a plan; None where it has none, or their rate is not known."""
    if not plan.calls or plan.seconds is None:
        return None
    # Each service, and each model of EasyDL, has a quota of its own, and their calls leave beside each other.
    rate = sum({(step.service, step.model): step.qps or 0.0 for step in plan.steps if step.calls}.values())
    share = min(1.0, plan.to_repair / max(1, plan.images))
    needed = rate * (_CALL + share * _REPAIR)
    gain = needed > cores_here and plan.limited_by != "uplink"
    return Machines(math.ceil(needed), cores_here, max(1, math.ceil(needed / cores_here)), gain, plan.limited_by)


def machines_text(found: Machines | None) -> str:
    """The line of `plan --on`."""
    if found is None:
        return _("machines: nothing to say while no calls are left, or their rate is not known")
    need = ngettext("{count:,} core", "{count:,} cores", found.cores).format(count=found.cores)
    if found.limited_by == "uplink":
        text = _("machines: the calls need about {cores}, but the uplink is the limit: input.max_side helps more")
    elif found.gain:
        text = _("machines: the calls need about {cores}: {machines:,} machines like this one, which has {here:,}")
    else:
        text = _("machines: the calls need about {cores}, and this one has {here:,}: more machines gain nothing")
    return text.format(cores=need, machines=found.machines, here=found.cores_here)
