"""The machine that a benchmark runs on."""

import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

SERVICE_CORE, CLIENT_CORE = 0, 1
"""Where the service runs, and where what is measured does: neither takes the other's time."""


def pin(core: int) -> None:
    """Keep this process to one core, where the machine lets it: server and client each have their own."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


def described() -> str:
    """What the figures were seen on, without a name."""
    system = f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_processor()}, {os.cpu_count()} cores, {system}, {python}"


def versions(packages: Sequence[str]) -> str:
    """The installed versions of some packages; those that are missing are said to be."""
    return ", ".join(f"{package} {_version(package)}" for package in packages)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or "unknown processor"


def resident_bytes(max_rss: int) -> int:
    """What the system's `ru_maxrss` means in bytes: it counts kilobytes on Linux, bytes on macOS."""
    return max_rss if sys.platform == "darwin" else max_rss * 1024
