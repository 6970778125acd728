"""Making what was written last through a power cut."""

import os
from pathlib import Path


def sync_file(handle: int) -> None:
    """Wait until what was written to an open file is on the disk. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(handle)  # macOS has no fdatasync


def sync_directory(directory: Path) -> None:
    """Make renames in a folder last. Raises OSError."""
    if os.name == "nt":  # folders have no handles there
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
