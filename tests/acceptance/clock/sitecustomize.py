"""Shift of the wall clock of a Python process that a test starts, by TESTS_CLOCK_SHIFT seconds.

Python imports this module at its start, since the folder is on the PYTHONPATH of `Place`; batchrec has no such setting.
"""

import os
import time


def _shifted(shift: float) -> None:
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + shift
    time.time_ns = lambda: nanoseconds() + round(shift * 1e9)


if "TESTS_CLOCK_SHIFT" in os.environ:
    _shifted(float(os.environ["TESTS_CLOCK_SHIFT"]))
