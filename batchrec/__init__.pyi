from .commands.python import failures as failures
from .commands.python import results as results
from .commands.python import run as run
from .commands.recognize import ImagesFailed as ImagesFailed
from .commands.recognize import recognize as recognize
from .engine.assembly import Options as RunOptions
from .errors import DirectoryBusy as DirectoryBusy
from .errors import Interrupted as Interrupted
from .errors import JobError as JobError
from .job.loading import Job as Job
from .job.loading import load_job as load_job
from .values import FailureRow as Failure
from .values import LabelRow as Label
from .values import ResultRow as Row
from .values import Summary as Summary

__all__ = [
    "DirectoryBusy",
    "Failure",
    "ImagesFailed",
    "Interrupted",
    "Job",
    "JobError",
    "Label",
    "Row",
    "RunOptions",
    "Summary",
    "failures",
    "load_job",
    "recognize",
    "results",
    "run",
]
__version__: str
