"""A process of its own for a picture whose decoder would hold the interpreter's lock from beginning to end.

One process a picture, so nothing is left over, and it is clear whose fault it was when one is killed. Not
multiprocessing: that imports the caller's main module once more, and runs it where it has no guard.
"""

import contextlib
import ctypes
import os
import pickle
import subprocess
import sys
from typing import BinaryIO, cast

from ..model import Failure, Prepared
from ..services import ImageLimits
from .judge import refuse

Work = tuple[bytes, ImageLimits, bool]
"""The picture's bytes, what the service takes, and whether the picture has to be upright."""

_PR_SET_PDEATHSIG = 1
_NICE = 10
_KILLED = -9  # by SIGKILL, for which Windows has no name


def mend_apart(work: Work) -> Prepared | Failure | None:
    """What the process makes of the picture, a Failure where it does not survive; None where none can be started."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
    try:
        ended = subprocess.run(
            # Out of reach of Ctrl-C, which goes to all of a terminal's group, and of modules in the current folder.
            [sys.executable, "-P", "-m", __package__],
            input=pickle.dumps(work),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError:
        return None
    if ended.returncode == 0:
        return cast("Prepared | Failure", pickle.loads(ended.stdout))
    if ended.returncode == _KILLED:
        return refuse("too_large", "the process that decoded it was killed: it may need more memory than there is")
    return refuse("torn", "the process that decoded it crashed")


def received(stream: BinaryIO) -> Work:
    """In the process: what is to be done. It comes after everything else on this machine, and dies with its parent."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, -_KILLED)
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    if hasattr(os, "nice"):
        os.nice(_NICE)
    return cast("Work", pickle.load(stream))
