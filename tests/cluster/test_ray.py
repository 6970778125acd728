"""A job on a real Ray cluster of two nodes, with deaths: `batchrec run --on`, as it is typed."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from batchrec.emulator import Settings
from batchrec.errors import BatchrecError, JobError
from tests.acceptance.harness import KEY, SECRET, Running, dead_endpoint, emulating, picture, until
from tests.support import gcs
from tests.support.raylets import Raylets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray's clusters are of Linux machines")

IMAGES, QPS = 300, 50
NODES = 2
S3_KEY, S3_SECRET = "AKIAIOSFODNN7EXAMPLE", "SecretOfTheBucketThatNobodyMaySee1234567"

PATIENCE = 240
"""Seconds for what takes ten on a machine that does nothing else: a node is ten processes."""


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """Address of a server of S3."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory, storage: str) -> dict[str, str]:
    """Variables of the nodes, and of the command."""
    folder = tmp_path_factory.mktemp("ray")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BAIDU_", "BATCHREC_"))}
    ours = {"BATCHREC_STATE_DIR": str(folder / "state"), "BATCHREC_CONFIG_DIR": str(folder / "config")}
    keys = {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    return clean | ours | keys | {"AWS_ENDPOINT_URL": storage}


@pytest.fixture(scope="module")
def cluster(env: dict[str, str]) -> Iterator[Raylets]:
    running = Raylets(env)
    for _node in range(NODES):
        running.add()
    yield running
    running.close()


def start(folder: Path, env: dict[str, str], endpoint: str, on: str, output: str = "results/job") -> Running:
    text = f'[input]\npaths = ["photos"]\n[[recognize]]\nservice = "dish"\n[limits]\nqps = {QPS}\n'
    (folder / "job.toml").write_text(f'{text}[account]\nendpoint = "{endpoint}"\n[output]\ndirectory = "{output}"\n')
    env = env | {"BAIDU_API_KEY": KEY, "BAIDU_SECRET_KEY": SECRET, "BATCHREC_ENDPOINT": endpoint}
    argv = [sys.executable, "-m", "batchrec", "run", "job.toml", "--on", on, "--shard-size", "40"]
    return Running(argv, folder, env, folder / "said")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results/job/results.jsonl").read_text().splitlines()]


def said(cluster: Raylets) -> bytes:
    """All that is in Ray's own logs."""
    return b"".join(path.read_bytes() for path in cluster.logs.rglob("*") if path.is_file())


def shown(cluster: Raylets, env: dict[str, str]) -> set[str]:
    """Secrets of the account and of the bucket that Ray's logs, or the records behind its State API, show."""
    kept = [path.read_bytes() for path in (Path(env["BATCHREC_STATE_DIR"]) / "tokens").glob("*.json")]
    assert kept, "the keeper keeps the account's token in the state folder of the head"
    secrets = {KEY, SECRET, S3_SECRET, *(json.loads(token)["access_token"] for token in kept)}
    records = gcs.records(cluster.address, env)
    for table, word in {"actors": "WorkerActor", "tasks": "WorkerActor", "jobs": "batchrec", "workers": ""}.items():
        assert any(word in record for record in records[table]), f"Ray says nothing of its {table}"
    texts = [said(cluster), *(record.encode("latin-1") for table in records.values() for record in table)]
    return {secret for secret in secrets if any(secret.encode() in text for text in texts)}


def test_results_on_object_storage(cluster: Raylets, env: dict[str, str], storage: str, tmp_path: Path) -> None:
    """Nodes take the keys from their environment; results and checksums are at the address; Ray shows no secret."""
    (tmp_path / "photos").mkdir()
    for number in range(8):
        (tmp_path / "photos" / f"{number:03}.png").write_bytes(picture(number))
    keys: Any = {"endpoint_url": storage, "aws_access_key_id": S3_KEY, "aws_secret_access_key": S3_SECRET}
    s3 = boto3.client("s3", region_name="us-east-1", **keys)
    with emulating(Settings(qps=QPS)) as emulator:
        missing = start(tmp_path, env, emulator.url, cluster.address, "s3://nobodys/out").wait(PATIENCE)
        assert (missing.code, emulator.counters.calls["dish"]) == (2, 0)
        s3.create_bucket(Bucket="bucket")
        done = start(tmp_path, env, emulator.url, cluster.address, "s3://bucket/out").wait(PATIENCE)
    assert done.code == 0, done.err
    body = s3.get_object(Bucket="bucket", Key="out/results.jsonl")["Body"].read()
    assert {json.loads(row)["image"] for row in body.splitlines()} == {f"photos/{n:03}.png" for n in range(8)}
    argv = [sys.executable, "-m", "batchrec", "verify", "s3://bucket/out"]
    checked = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (
        0,
        "s3://bucket/out: all files and parts are as they were written\n",
    )
    assert shown(cluster, env) == set()


def test_keeper_and_node_are_killed(cluster: Raylets, env: dict[str, str], tmp_path: Path) -> None:
    """No row lost or doubled, few calls paid twice, nothing of Ray's on the terminal, no secret that Ray shows."""
    (tmp_path / "photos").mkdir()
    for number in range(IMAGES):
        (tmp_path / "photos" / f"{number:03}.png").write_bytes(picture(number))
    with emulating(Settings(qps=QPS)) as emulator:
        run = start(tmp_path, env, emulator.url, cluster.address)
        until(lambda: emulator.counters.calls["dish"] >= IMAGES // 4, PATIENCE)
        os.kill(next(cluster.actors("KeeperActor")), signal.SIGKILL)
        until(lambda: emulator.counters.calls["dish"] >= IMAGES // 2, PATIENCE)
        cluster.send(0, signal.SIGKILL)
        done = run.wait(PATIENCE)
        calls, refused = emulator.counters.calls["dish"], emulator.counters.outcomes["dish"]["18"]
    assert done.code == 0, done.err
    assert Counter(row["image"] for row in rows(tmp_path)) == {f"photos/{n:03}.png": 1 for n in range(IMAGES)}
    assert calls - refused <= IMAGES + QPS / 4
    assert done.out == ""
    assert "raylet" not in done.err
    assert shown(cluster, env) == set()


def test_a_cluster_that_cannot_be_reached(env: dict[str, str], tmp_path: Path) -> None:
    """Exit code 69, which names the address; nothing is sent."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(picture(1))
    nobody = dead_endpoint().removeprefix("http://")
    done = start(tmp_path, env, "http://127.0.0.1:9", nobody).wait(PATIENCE)
    assert done.code == 69
    assert f"--on {nobody}: the cluster cannot be reached" in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Exception("The current node timed out\n  during startup."), 69),
        (RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.61.0\n    Python: 3.12.4\n"), 69),
        (PermissionError(13, "Permission denied", "/tmp/ray"), 69),
        (ValueError("Malformed address: ::1"), 2),
    ],
)
def test_what_ray_says_of_a_cluster_is_one_line(error: Exception, code: int) -> None:
    """A start that fails and another version end with 69, an address that is none with 2."""
    from batchrec.cluster.ray import unconnected

    told = unconnected("ray", error)
    assert isinstance(told, BatchrecError)
    assert (told.exit_code, str(told)) == (code, f"--on ray: {' '.join(str(error).split())}")


def test_a_defect_stays_one() -> None:
    """Our own errors are left as they are, and so is what nobody has foreseen."""
    from batchrec.cluster.ray import unconnected

    for error in (KeyError("x"), JobError("--on ray://x: no")):
        assert unconnected("ray", error) is error
