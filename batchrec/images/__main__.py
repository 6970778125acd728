"""Process for one picture: the work on standard input, the result on standard output."""

import sys

from . import repaired_here
from .subprocess import received, told

if __name__ == "__main__":
    data, work = received(sys.stdin.buffer)
    sys.stdout.buffer.write(told(repaired_here(data, work.limits, work.treatment)))
