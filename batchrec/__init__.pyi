from .engine.assembly import run as run
from .job.loading import load_job as load_job
from .oneoff import ImagesFailed as ImagesFailed
from .oneoff import recognize as recognize

__version__: str
