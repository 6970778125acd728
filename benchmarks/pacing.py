"""How evenly calls leave, and how much of the rate is used: `python -m benchmarks.pacing [SECONDS]`.

Three paces side by side in one process, no network: what one would write first with aiolimiter, what avoids its burst,
and batchrec's. Prints a table; asserts nothing.
"""

import asyncio
import bisect
import sys
from collections.abc import Awaitable, Callable

from aiolimiter import AsyncLimiter
from rich.console import Console
from rich.table import Table

from batchrec.pacing import Pacer

RATES = (2, 10, 50, 200)


async def main(seconds: float) -> None:
    """Run every pace at every rate for so many seconds, all at once, and print what was seen."""
    loop = asyncio.get_running_loop()
    paces: dict[str, Callable[[float], Callable[[], Awaitable[None]]]] = {
        "AsyncLimiter(Q, 1)": lambda rate: AsyncLimiter(rate, 1).acquire,
        "AsyncLimiter(1, 1/Q)": lambda rate: AsyncLimiter(1, 1 / rate).acquire,
        "batchrec": lambda rate: Pacer(rate, loop.time).turn,
    }
    cells = [(name, rate) for name in paces for rate in RATES]
    times = await asyncio.gather(*(_leave(paces[name](rate), seconds) for name, rate in cells))
    table = Table("pace", "calls/s", "of the rate", "most in any second")
    for (name, rate), left in zip(cells, times, strict=True):
        steady = [moment for moment in left if moment >= left[0] + 1]
        share = len(steady) / (seconds - 1) / rate
        table.add_row(name, str(rate), f"{share:.1%}", str(busiest(left)))
    Console().print(table)


async def _leave(turn: Callable[[], Awaitable[None]], seconds: float) -> list[float]:
    time = asyncio.get_running_loop().time
    end = time() + seconds
    left: list[float] = []
    while time() < end:
        await turn()
        left.append(time())
    return left


def busiest(moments: list[float]) -> int:
    """The most moments that fall into any window of one second."""
    return max(bisect.bisect_left(moments, moment + 1) - index for index, moment in enumerate(moments))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10))
