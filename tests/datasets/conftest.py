"""Fixtures of data sets and models, made once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.datasets.pictures import data_set
from tests.datasets.typed import typed


@pytest.fixture(scope="session")
def plain_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound data set of three classes; not to be changed."""
    return data_set(tmp_path_factory.mktemp("sets") / "things")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of trained models of this module's tests, empty at first."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCHREC_DATA_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def trained(plain_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with `things`, V1 of three classes and V2 of two, and `two`, V1; not to be changed.

    All processes of a test run share it: the first one that needs it trains.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, halves = shared / "trained", shared / "halves"
    with FileLock(shared / "trained.lock"):
        if folder.exists():
            return folder
        halves.mkdir(exist_ok=True)
        for label in ("animals", "tools"):
            (halves / label).symlink_to(plain_set / label)
        making = shared / "training"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BATCHREC_DATA_DIR", str(making))
            for root, name in ((plain_set, "things"), (halves, "things"), (halves, "two")):
                assert typed("dataset", "train", str(root), "--name", name).exit_code == 0
        making.rename(folder)
    return folder
