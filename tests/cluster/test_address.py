"""Results at an address: a job on nodes of this process, with its parts and files in an S3 of another server."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import fsspec
import pytest
import requests
from moto.server import ThreadedMotoServer

from batchrec.api.credentials import Credentials
from batchrec.cluster.hold import GONE_SECONDS, Hold
from batchrec.cluster.job import copy_to, run_on
from batchrec.cluster.parts import Parts
from batchrec.cluster.published import Published
from batchrec.cluster.storage import Storage
from batchrec.commands.verify import verify
from batchrec.emulator import Emulator, Settings, serve
from batchrec.engine.assembly import Options
from batchrec.errors import BatchrecError, DirectoryBusy, JobError, OutputFailed
from batchrec.job.loading import load_job
from batchrec.job.spec import Job
from batchrec.values import Summary
from tests.acceptance.harness import KEY, SECRET, picture

from .fleet import LocalFleet, local_fleet

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="s3fs is installed with Ray, on Linux")

IMAGES = 12
S3_SECRET = "SecretOfTheBucketThatNobodyMaySee1234567"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server in this process, to which the environment leads."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "bucket"
    server.stop()


class Machines:
    """A job file, and machines that each have a state folder of their own."""

    def __init__(self, path: Path, emulator: Emulator, bucket: str) -> None:
        self.path, self.emulator, self.url = path, emulator, f"s3://{bucket}/{path.name}/out"
        (path / "photos").mkdir()
        (path / "keeper").mkdir()
        self.add(*range(IMAGES))

    def add(self, *numbers: int) -> None:
        for number in numbers:
            (self.path / "photos" / f"{number:03}.png").write_bytes(picture(number))

    def job(self, url: str | None = None) -> Job:
        text = '[input]\npaths = ["photos"]\n[[recognize]]\nservice = "dish"\n[limits]\nqps = 100\n'
        text += f'[output]\ndirectory = "{url or self.url}"\n[account]\nendpoint = "{self.emulator.url}"\n'
        (self.path / "job.toml").write_text(text)
        return load_job(self.path / "job.toml")

    def environ(self, machine: str) -> dict[str, str]:
        names = {"BAIDU_API_KEY": KEY, "BAIDU_SECRET_KEY": SECRET, "BATCHREC_ENDPOINT": self.emulator.url}
        return names | {f"BATCHREC_{name}_DIR": str(self.path / machine / name) for name in ("STATE", "CONFIG")}

    async def run(self, machine: str, job: Job | None = None, nodes: int = 2) -> Summary:
        @asynccontextmanager
        async def opened(job: Job, credentials: Credentials, output: str, known: bytes) -> AsyncIterator[LocalFleet]:
            async with local_fleet(job, credentials, output, known, self.path / "keeper", nodes) as fleet:
                yield fleet

        return await run_on(job or self.job(), Options(), opened if nodes else None, 4, self.environ(machine))

    @property
    def calls(self) -> int:
        return self.emulator.counters.calls["dish"]

    def read(self, name: str, url: str | None = None) -> bytes:
        return Storage(url or self.url).read(name)

    def rows(self) -> list[bytes]:
        return self.read("results.jsonl").splitlines()

    def images(self) -> Counter[str]:
        return Counter(json.loads(row)["image"] for row in self.rows())


@pytest.fixture
async def machines(tmp_path: Path, bucket: str) -> AsyncIterator[Machines]:
    async with serve(Settings(qps=200, api_key=KEY, secret_key=SECRET)) as emulator:
        yield Machines(tmp_path, emulator, bucket)


def expected(count: int) -> Counter[str]:
    return Counter({f"photos/{number:03}.png": 1 for number in range(count)})


async def test_results_are_published(machines: Machines, tmp_path: Path) -> None:
    """The files of one machine, no part is left, nothing is wrong; a copy in a folder is an output directory."""
    summary = await machines.run("a")
    assert (summary.exit_code, summary.answered, summary.calls) == (0, IMAGES, IMAGES)
    assert machines.images() == expected(IMAGES)
    assert json.loads(machines.read("summary.json"))["answered"] == IMAGES
    assert machines.read("results.csv").count(b"\r\n") >= IMAGES
    published = Published(machines.url)
    assert list(published.problems(quick=False)) == []
    assert published.parts.shards() == []
    assert "HELD.json" not in published.storage.listed()
    state = tmp_path / "a" / "STATE"
    # The lock holds nothing, and filelock before 4 gives it the mode of other files.
    assert {path.stat().st_mode & 0o077 for path in state.rglob("*") if path.name != ".lock"} == {0}

    copy = tmp_path / "copy"
    assert await copy_to(copy, machines.url, None, Options(), machines.environ("b")) is None
    assert verify(copy, lambda key: IMAGES, running=False).told == []
    strange = tmp_path / "photos" / "results.jsonl"
    strange.write_text("mine")
    with pytest.raises(JobError, match="something else than a copy"):
        await copy_to(tmp_path / "photos", machines.url, None, Options(), machines.environ("b"))


async def test_another_machine_goes_on(machines: Machines) -> None:
    """Each takes what the other has published; only a new image is called for."""
    await machines.run("a")
    machines.add(IMAGES)
    assert (await machines.run("b")).calls == 1
    again = await machines.run("a")
    assert (again.calls, again.answered) == (0, IMAGES + 1)
    assert machines.images() == expected(IMAGES + 1)
    assert list(Published(machines.url).problems(quick=True)) == []


WRITER = """
import sys
from batchrec.cluster.parts import Parts, PartWriter
writer = PartWriter(Parts(sys.argv[1]), "000001-dead", 1)
writer.add([line.rstrip(b"\\n") + b"\\n" for line in sys.stdin.buffer])
writer.flush()
print("written", flush=True)
sys.stdout.close()
import time
time.sleep(600)
"""


def write_and_die(url: str, rows: list[bytes]) -> None:
    """Write a part of these rows, and die before the note."""
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        node.stdin.writelines(b'{"variant":"","row":' + row + b"}\n" for row in rows)
        node.stdin.close()
        assert node.stdout.readline() == b"written\n"
        node.kill()


async def test_a_shared_folder_by_its_address(machines: Machines, tmp_path: Path) -> None:
    """file:// is an address as the others are: another machine goes on with what is there."""
    url = (tmp_path / "shared" / "out").as_uri()
    await machines.run("one", machines.job(url))
    machines.add(IMAGES)
    await machines.run("two", machines.job(url))
    assert machines.calls == IMAGES + 1
    rows = machines.read("results.jsonl", url).splitlines()
    assert Counter(json.loads(row)["image"] for row in rows) == expected(IMAGES + 1)


async def test_a_run_whose_machines_are_lost_is_resumed_by_another(machines: Machines, tmp_path: Path) -> None:
    """A node that is killed between part and note: what its part holds is not called for again, or merged twice."""
    await machines.run("a")
    calls, rows = machines.calls, machines.rows()
    url = machines.url + "-2"
    await asyncio.to_thread(write_and_die, url, rows[:8])
    assert list(Published(url).problems(quick=False)) == [
        "the parts of 1 shard are not merged; run again, or batchrec merge"
    ]
    with pytest.raises(JobError, match="give the job file"):
        await copy_to(tmp_path / "copy", url, None, Options(), machines.environ("b"))
    job = machines.job(url)
    copied = await copy_to(tmp_path / "copy", url, job, Options(), machines.environ("b"))
    assert copied is not None
    assert (copied.answered, copied.left, copied.calls) == (8, IMAGES - 8, 0)
    assert Parts(url).shards() == ["000001-dead"]
    merged = await machines.run("b", job, nodes=0)
    assert (merged.answered, merged.left) == (8, IMAGES - 8)
    assert Parts(url).shards() == []
    done = await machines.run("c", job)
    assert (done.exit_code, done.calls, machines.calls - calls) == (0, IMAGES - 8, IMAGES - 8)
    assert list(Published(url).problems(quick=False)) == []


async def test_what_is_damaged_is_named(machines: Machines) -> None:
    """A file that is not the published one; a damaged copy of the journal ends the run of a new machine."""
    await machines.run("a")
    published = Published(machines.url)
    merged = published.merged()
    assert merged is not None
    published.storage.write("results.csv", b"cut short")
    published.storage.write(merged.state, published.storage.read(merged.state)[:-1] + b"!")
    problems = list(published.problems(quick=False))
    assert [problem.partition(":")[0] for problem in problems] == [merged.state, "results.csv"]
    with pytest.raises(OutputFailed, match="holds other bytes"):
        await machines.run("b")
    assert (await machines.run("a")).calls == 0
    assert list(published.problems(quick=False)) == []


async def test_a_list_of_files_that_is_missing_alone_is_named(machines: Machines, tmp_path: Path) -> None:
    """The run ends before any call, and the results on this machine stay."""
    await machines.run("a")
    calls, content = machines.calls, machines.read("MERGED.json")
    rows = [path.read_bytes() for path in (tmp_path / "a").rglob("results.jsonl")]
    Published(machines.url).storage.remove(["MERGED.json"])
    with pytest.raises(OutputFailed, match=r"MERGED\.json: is missing"):
        await machines.run("a")
    assert machines.calls == calls
    assert [path.read_bytes() for path in (tmp_path / "a").rglob("results.jsonl")] == rows
    Published(machines.url).storage.write("MERGED.json", content)
    assert (await machines.run("a")).exit_code == 0


def test_one_run_holds_an_address(bucket: str, tmp_path: Path) -> None:
    """Another machine waits for a minute without a sign of life; whoever has lost the hold learns of it."""
    now = [1000.0]
    storage = Storage(f"s3://{bucket}/{tmp_path.name}")
    first, second = (Hold(storage, name, lambda: now[0], lambda _seconds: None) for name in ("first", "second"))
    first.take()
    now[0] += GONE_SECONDS - 1
    with pytest.raises(DirectoryBusy, match="59 s ago"):
        second.take()
    first.take()  # the same machine, after a kill
    now[0] += GONE_SECONDS
    second.take()
    assert not first.beat()
    with pytest.raises(DirectoryBusy, match="taken it over"):
        first.check()
    first.release()
    assert "HELD.json" in storage.listed()
    second.release()
    assert "HELD.json" not in storage.listed()


def require_keys(required: bool) -> None:
    """Have the server look at keys: it knows none."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    requests.post(address, data=b"0" if required else b"inf", timeout=10)


async def refused(machines: Machines, url: str) -> BatchrecError:
    """The error that a run with results at an address ends with; no call was made, and no secret is in it."""
    with pytest.raises(BatchrecError) as caught:
        await machines.run("a", machines.job(url))
    assert machines.calls == 0
    assert S3_SECRET not in str(caught.value)
    return caught.value


async def test_storage_that_cannot_be_written_ends_a_run(machines: Machines) -> None:
    """No bucket: 2; keys that are refused: 74. Nothing is sent, and s3fs makes no bucket."""
    error = await refused(machines, "s3://nobodys/out")
    assert (error.exit_code, str(error)) == (2, "s3://nobodys/out: there is no such bucket; make it first")
    require_keys(True)
    try:
        error = await refused(machines, machines.url)
    finally:
        require_keys(False)
    assert error.exit_code == 74
    assert f"{machines.url}: cannot be read or written: " in str(error)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("memory://x", "expected a folder, or s3://, oss://, gs:// or file://"),
        ("s3://key:secret@bucket/x", "holds a user or a password"),
        ("s3://", "names no bucket"),
        ("s3://bucket/a*", "holds a character"),
    ],
)
def test_an_address_that_cannot_hold_results(tmp_path: Path, address: str, told: str) -> None:
    """Exit code 2 with the key, and without a password."""
    job = tmp_path / "job.toml"
    job.write_text(f'[input]\npaths = ["."]\n[[recognize]]\nservice = "dish"\n[output]\ndirectory = "{address}"\n')
    with pytest.raises(JobError, match=f"output.directory: .*{told}") as caught:
        load_job(job)
    assert "secret" not in str(caught.value)
