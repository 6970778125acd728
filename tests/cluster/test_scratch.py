"""Folders of workers that Ray has killed: the next worker removes them, and no others."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Ray's clusters are of Linux machines", allow_module_level=True)

from batchrec.cluster.scratch import Scratch
from batchrec.cluster.worker_actor import WorkerActor

WORKER = """
import sys, time
from pathlib import Path
from batchrec.cluster.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "answers.db").write_bytes(b"x")
print(scratch.path, flush=True)
time.sleep(600)
"""


def grow_old(folder: Path) -> None:
    """Set the time of a folder back by ten minutes."""
    at = time.time() - 600
    os.utime(folder, (at, at))


def test_folders_of_killed_workers_are_removed(tmp_path: Path) -> None:
    """Not while the worker lives, nor right after its start, when its lock may not be there yet."""
    with subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        folder = Path(worker.stdout.readline().strip())
        grow_old(folder)
        first = Scratch(tmp_path)
        assert (folder / "answers.db").exists()
        worker.send_signal(signal.SIGKILL)
    unlocked = tmp_path / "batchrec-worker-new"
    unlocked.mkdir()
    second = Scratch(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([first.path, second.path, unlocked])


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    """A link, whatever it is called, and what has another name."""
    other, link = tmp_path / "other", tmp_path / "batchrec-worker-link"
    other.mkdir()
    link.symlink_to(other)
    grow_old(other)
    os.utime(link, (0, 0), follow_symlinks=False)
    Scratch(tmp_path)
    assert list(other.iterdir()) == []
    assert link.is_symlink()


def test_all_that_a_worker_leaves_is_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached results, and what its shards put into temporary folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    WorkerActor("keeper", b"results")
    (folder,) = tmp_path.iterdir()
    assert (folder / "answers.db").read_bytes() == b"results"
    assert tempfile.gettempdir() == str(folder)
