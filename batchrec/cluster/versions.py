"""Versions that all nodes of a cluster must share: objects of one are not read by another."""

import platform
from typing import NamedTuple

from .. import __version__
from ..language import _


class Versions(NamedTuple):
    """Versions of Python, Ray and batchrec of a process."""

    python: str
    ray: str
    batchrec: str

    @classmethod
    def here(cls, ray: str) -> "Versions":
        """Those of this process; `ray` is told: nothing of Ray is imported here."""
        return cls(platform.python_version(), ray, __version__)


def mismatch(there: Versions, here: Versions) -> str:
    """The versions in which two processes differ; empty where they fit.

    Of Python the first two numbers count.
    """
    differing = []
    if there.python.split(".")[:2] != here.python.split(".")[:2]:
        differing.append(("Python", there.python, here.python))
    if there.ray != here.ray:
        differing.append(("Ray", there.ray, here.ray))
    if there.batchrec != here.batchrec:
        differing.append(("batchrec", there.batchrec, here.batchrec))
    text = _("has {name} {there}, and the run has {name} {here}")
    told = [text.format(name=name, there=theirs, here=ours) for name, theirs, ours in differing]
    return _("{differences}; every node needs the same versions").format(differences=", ".join(told)) if told else ""
