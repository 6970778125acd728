from .commands.recognize import ImagesFailed as ImagesFailed
from .commands.recognize import recognize as recognize
from .engine.assembly import run as run
from .job.loading import load_job as load_job

__version__: str
