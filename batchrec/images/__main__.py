"""The process that `apart` starts for one picture: work on standard input, what came of it on standard output."""

import pickle
import sys

from . import mended_here
from .apart import received

if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(mended_here(*received(sys.stdin.buffer))))
