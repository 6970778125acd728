"""Syncs that make writes survive a power cut, and the kernel's boot id."""

import ctypes
import ctypes.util
import os
import sys
from functools import cache
from pathlib import Path


def sync_file(handle: int) -> None:
    """Wait until what was written to an open file is on the disk. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(handle)  # macOS has no fdatasync


def sync_directory(directory: Path) -> None:
    """Wait until renames in a folder are on the disk. Raises OSError."""
    if os.name == "nt":  # folders have no handles there
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def boot_id() -> str:
    """The kernel's boot id; empty where there is none.

    Writes without a sync survive the end of a process. After another boot they may be missing.
    """
    if sys.platform == "darwin":
        return _sysctl(b"kern.bootsessionuuid")
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _sysctl(name: bytes) -> str:
    buffer = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(buffer))
    library = ctypes.CDLL(ctypes.util.find_library("c"))
    failed = library.sysctlbyname(name, buffer, ctypes.byref(size), None, ctypes.c_size_t(0))
    return "" if failed else buffer.value.decode()
