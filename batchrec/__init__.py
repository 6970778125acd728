"""batchrec recognizes thousands to millions of images with Baidu AI Cloud, exactly once.

>>> import asyncio, batchrec
>>> job = batchrec.load_job("jobs/demo.toml")
>>> summary = asyncio.run(batchrec.run(job))

and, without a job file,

>>> async for row in batchrec.recognize(["cat.jpg"], service="animal"):
...     print(row["labels"])
"""

__version__ = "0.1.0"
__all__ = ["ImagesFailed", "load_job", "recognize", "run"]

_WHERE = {
    "load_job": "job.loading",
    "run": "engine.assembly",
    "recognize": "commands.recognize",
    "ImagesFailed": "commands.recognize",
}


def __getattr__(name: str) -> object:
    """The engine is imported when it is used: `batchrec --help` does without it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
