"""The table of outputs: what is checked against it, and what loops over it."""

import asyncio
import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from batchrec.commands.verify import verify
from batchrec.job.loading import build_job
from batchrec.job.spec import Job
from batchrec.journal import Finished, Journal, StepRecord
from batchrec.outputs import OUTPUTS
from batchrec.outputs.directory import NAMES, NEW
from batchrec.outputs.files import ResultFiles
from batchrec.outputs.summary import write_failures, write_summary
from batchrec.values import InputEntry, Summary
from tests.extended import Names

JOB = {"input": {"paths": ["photos"]}, "recognize": [{"service": "dish"}]}
CONTENT = b"the bytes of a photograph"


def test_the_job_file_takes_what_the_table_has(tmp_path: Path) -> None:
    """Each output may be named, jsonl comes first and always; the schema lists the same names."""
    for name in OUTPUTS:
        job = build_job({**JOB, "output": {"formats": [name]}}, tmp_path / "job.toml")
        assert job.output.formats == tuple(dict.fromkeys(("jsonl", name)))
    formats = Job.model_json_schema()["$defs"]["OutputSpec"]["properties"]["formats"]
    assert formats["items"]["enum"] == list(OUTPUTS)


def test_files_of_the_table_are_ours() -> None:
    """Every output's file, old and new, is among the names that are checked before a directory is opened."""
    files = {output.filename for output in OUTPUTS.values()}
    assert files | {name + NEW for name in files} <= set(NAMES)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output directory with one answer, and a third output beside the others."""
    monkeypatch.setitem(OUTPUTS, "names", Names())
    directory = tmp_path / "results"
    directory.mkdir()
    (tmp_path / "a.jpg").write_bytes(CONTENT)
    asyncio.run(_answer(directory))
    return directory


async def _answer(directory: Path) -> None:
    sha256 = hashlib.sha256(CONTENT).digest()
    row = {"image": "a.jpg", "step": "dish", "service": "dish", "sha256": sha256.hex(), "answered_at": "now"}
    files = ResultFiles(directory, list(OUTPUTS.values()), {})
    with closing(Journal(directory)) as journal:
        journal.put_note("base", "..")
        steps = journal.opening.take_steps([StepRecord("dish", "dish", "", "")])
        list(journal.opening.take_inputs([InputEntry("a.jpg", 0, 0, len(CONTENT), 1)]))
        journal.queue.fill(steps.values())
        (task,) = journal.queue.claim([1], 1, 1)
        files.places = files.rewrite(files.outputs, lambda row, start, length: True)
        for output in files.outputs:
            (directory / f"{output.filename}.new").rename(directory / output.filename)
        async with files:
            ((start, line),) = await files.append([files.encode({**row, "labels": [], "response": {}})])
        journal.answers.commit([Finished(task, sha256, 1, "now", start=start, length=len(line))], files.places)
        write_failures(directory, journal.reader.failures())
    write_summary(directory, Summary(images=1, answered=1, failed=0, duplicates=0, ignored=0))


def problems(directory: Path) -> list[str]:
    """Problems that verify finds."""
    return verify(directory, lambda charge: 0, running=False).told


def test_verify_reads_every_output(directory: Path) -> None:
    """An output is compared with what its format makes of the rows, whichever it is."""
    assert (directory / "results.names").read_bytes() == b"# names\na.jpg\n"
    assert problems(directory) == []
    (directory / "results.names").write_bytes(b"# names\nb.jpg\n")
    (problem,) = problems(directory)
    assert problem == "results.names: differs from what results.jsonl makes of it, from byte 8 on"


def test_verify_leaves_out_what_a_job_does_not_write(directory: Path) -> None:
    """An output that the journal has no length of is no output of this job."""
    with closing(Journal(directory)) as journal:
        journal.answers.put_outputs({}, ["results.names"], None)
    (directory / "results.names").write_bytes(b"something else")
    assert problems(directory) == []
