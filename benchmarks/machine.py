"""The machine that a benchmark runs on."""

import contextlib
import os
import platform


def pin(core: int) -> None:
    """Keep this process to one core, where the machine lets it: server and client each have their own."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


def described() -> str:
    """What the figures were seen on, without a name."""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
