"""batchrec as a user runs it: `batchrec run JOB.toml` in a process of its own, with folders of its own."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fast_service import MODEL
from .process import Running, Used, module

BATCHREC = tuple(module("batchrec"))
"""The command line."""

_ENDLESS_QPS = 1_000_000
"""No limit at all: what remains is what the engine costs."""

_STEPS = {
    "form": 'service = "advanced_general"',
    "json": f'service = "easydl_classification"\nmodel = "{MODEL}"',
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job file in a folder that also holds its results and batchrec's state; nothing of the user's is used."""

    folder: Path
    url: str

    @property
    def results(self) -> Path:
        """The output directory."""
        return self.folder / "results"

    @property
    def state(self) -> Path:
        """batchrec's state folder."""
        return self.folder / "state"

    @property
    def summary(self) -> dict[str, Any]:
        """What the last run said of itself."""
        told: dict[str, Any] = json.loads((self.results / "summary.json").read_text())
        return told

    @property
    def file(self) -> Path:
        """The job file."""
        return self.folder / "job.toml"

    def start(self, *options: str, program: Sequence[str] = BATCHREC) -> Running:
        """Begin to run it; `program` is what does."""
        return self._started("run", str(self.file), "--progress", "none", *options, program=program)

    def run(self, *options: str, program: Sequence[str] = BATCHREC) -> Used:
        """Run it to its end. Raises RuntimeError unless every picture that was asked about has its answer."""
        return _ended("run", self.start(*options, program=program))

    def done(self, name: str, *arguments: str, program: Sequence[str] = BATCHREC) -> Used:
        """What another command took, with this job's folders. Raises RuntimeError where it fails."""
        return _ended(name, self._started(name, *arguments, program=program))

    def _started(self, *arguments: str, program: Sequence[str]) -> Running:
        environ = {
            "BATCHREC_STATE_DIR": str(self.state),
            "BATCHREC_CONFIG_DIR": str(self.folder / "config"),
            "BAIDU_API_KEY": "key",
            "BAIDU_SECRET_KEY": "secret",
            "BATCHREC_ENDPOINT": self.url,
        }
        return Running([*program, *arguments], environ)


def _ended(name: str, running: Running) -> Used:
    used = running.wait()
    if used.code:
        raise RuntimeError(f"batchrec {name} ended with {used.code}:\n{used.complaints}{used.output}")
    return used


@contextmanager
def job(url: str, pictures: Path, body: str, concurrency: int, *, qps: float = _ENDLESS_QPS) -> Iterator[Job]:
    """A new job over a folder of pictures, all result formats on; its folder is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="batchrec-bench-") as name:
        made = Job(Path(name), url)
        (made.folder / "job.toml").write_text(_text(url, pictures, body, concurrency, qps), encoding="utf-8")
        yield made


def _text(url: str, pictures: Path, body: str, concurrency: int, qps: float) -> str:
    return f"""name = "bench"

[input]
paths = [{json.dumps(str(pictures))}]

[[recognize]]
{_STEPS[body]}

[account]
endpoint = "{url}"

[limits]
qps = {qps}
concurrency = {concurrency}

[output]
directory = "results"
formats = ["jsonl", "csv"]
"""
