"""Output directories to export, and the command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from batchrec.cli import app
from tests.support.synthetic import write


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The output directory of a job of 120 rows, with images, labels with boxes, and failures."""
    return write(tmp_path_factory.mktemp("synthetic"), 120, images=True)


def export(directory: Path, format: str, *options: object) -> Result:
    """`batchrec export DIRECTORY --to FORMAT OPTIONS`."""
    return CliRunner().invoke(app, ["export", str(directory), "--to", format, *map(str, options)])
