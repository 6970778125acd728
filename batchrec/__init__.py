"""batchrec recognizes thousands to millions of images with Baidu AI Cloud, exactly once.

>>> import asyncio, batchrec
>>> job = batchrec.load_job("jobs/demo.toml")
>>> summary = asyncio.run(batchrec.run(job))

and, without a job file,

>>> async for row in batchrec.recognize(["cat.jpg"], service="animal"):
...     print(row["labels"])
"""

__version__ = "0.1.0"
