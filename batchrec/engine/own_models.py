"""Models of the user's own on the embedded endpoint: their digests, and what keeps calls from them.

Importing this imports the emulator; a job that calls no such model need not.
"""

from pathlib import Path

from ..emulator import Damaged, OwnModels
from ..emulator.answers.own_models import check_head
from ..errors import JobError
from ..job.spec import Job
from ..language import _


def digests_of(job: Job, own: OwnModels) -> dict[str, str]:
    """Digests of the models that a job calls, by the names of its steps.

    Raises JobError where one is damaged.
    """
    try:
        found = {step.name: own.digest(step.service, step.model) for step in job.recognize if step.model}
    except Damaged as damaged:
        raise JobError(damage_text(damaged)) from damaged
    return {name: each for name, each in found.items() if each}


def barriers(job: Job, own: OwnModels) -> dict[str, str]:
    """Reasons why models of a job may not be called, by the names of its steps, with commands that help.

    Raises JobError where a model is damaged.
    """
    try:
        found = {step.name: _barrier(own, step.service, step.model) for step in job.recognize if step.model}
    except Damaged as damaged:
        raise JobError(damage_text(damaged)) from damaged
    return {
        step: _("step {step!r}: {reason}").format(step=step, reason=reason) for step, reason in found.items() if reason
    }


def damage_text(damaged: Damaged) -> str:
    """Sentence about a file of a model that cannot be used."""
    return _(
        "{file}: is damaged ({reason}); restore it, or publish another version with `batchrec dataset publish`, or "
        "remove the folder {folder} and train again"
    ).format(file=damaged.file, reason=damaged.reason, folder=damaged.folder)


def head_damage(path: Path) -> str:
    """Reason why a head cannot be used, with its path; empty where it can."""
    try:
        check_head(path)
    except Damaged as damaged:
        return f"{damaged.file}: {damaged.reason}"
    return ""


def _barrier(own: OwnModels, service: str, name: str) -> str:
    """Reason why a model may not be called; empty where it may."""
    found = own.condition(name)
    if found is None:
        return _("there is no model {name}; train one: batchrec dataset train DIR --name {name}").format(name=name)
    if found.service != service:
        return _("{name} is a model of {found}, and this step is of {service}; change recognize.service").format(
            name=name, found=found.service, service=service
        )
    versions = own.versions(name)
    if not found.published:
        return _(
            "no version of {name} is published, of {versions}; publish one: batchrec dataset publish {name} {newest}"
        ).format(name=name, versions=", ".join(versions), newest=versions[-1] if versions else "V1")
    if not found.bound:
        return _(
            "{name} {version} is published, and no application may call it; bind one: batchrec dataset bind {name} "
            "--app APPID"
        ).format(name=name, version=found.published)
    return ""
