"""batchrec recognizes thousands to millions of images with Baidu AI Cloud, exactly once.

>>> import asyncio, batchrec
>>> job = batchrec.load_job("jobs/demo.toml")
>>> summary = asyncio.run(batchrec.run(job))

and, without a job file,

>>> async for row in batchrec.recognize(["cat.jpg"], service="animal"):
...     print(row["labels"])

Results are read, also while a run goes on, with

>>> for row in batchrec.results("jobs/results/demo"):
...     print(row["image"])
"""

__version__ = "0.1.0"
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

_WHERE = {
    "DirectoryBusy": ("errors", "DirectoryBusy"),
    "Failure": ("values", "FailureRow"),
    "ImagesFailed": ("commands.recognize", "ImagesFailed"),
    "Interrupted": ("errors", "Interrupted"),
    "Job": ("job.loading", "Job"),
    "JobError": ("errors", "JobError"),
    "Label": ("values", "LabelRow"),
    "Row": ("values", "ResultRow"),
    "RunOptions": ("engine.assembly", "Options"),
    "Summary": ("values", "Summary"),
    "failures": ("commands.python", "failures"),
    "load_job": ("job.loading", "load_job"),
    "recognize": ("commands.recognize", "recognize"),
    "results": ("commands.python", "results"),
    "run": ("commands.python", "run"),
}
"""Module and name of each public name."""


def __getattr__(name: str) -> object:
    """The engine is imported when it is used: `batchrec --help` does without it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _WHERE[name]
    return getattr(import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    """The public names, which are there before they are imported."""
    return sorted({*globals(), *__all__})
