"""A Ray cluster on this machine, in a process of its own: a head without a CPU, nodes of one CPU each.

Ray ends with the process that started it, and nodes are to be killed and frozen from outside:
`python -m tests.support.raylets` prints the address, then for each line of standard input a node more, as JSON lines,
until that input ends.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Ports of a node's agents, by the names that Ray has for the settings and for the files."""
STORE_BYTES = 80_000_000


class Raylets:
    """A cluster that processes outside of this one run; `env` is theirs."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        said = self._answer()
        self.address: str = said["address"]
        self.logs = Path(said["session"]) / "logs"
        """Folder of Ray's own logs."""
        self.nodes: list[int] = []
        """Processes of the raylets of nodes that were added, and were not killed."""

    def add(self) -> None:
        """Start a node more."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        self.nodes.append(self._answer()["raylet"])

    def send(self, node: int, number: signal.Signals) -> None:
        """A signal to a node's raylet and all its children."""
        raylet = self.nodes.pop(node) if number == signal.SIGKILL else self.nodes[node]
        for process in (raylet, *children(raylet)):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def actors(self, word: str) -> Iterator[int]:
        """Processes of the actors of a class: Ray names them so."""
        for process in children(self._process.pid):
            with suppress(OSError):  # it has ended
                if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::" + word.encode()):
                    yield process

    def close(self) -> None:
        """End all that was started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError("the cluster did not start")


def children(process: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent == process:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def _main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray._private import node as nodes
    from ray.cluster_utils import Cluster

    node_class: Any = nodes.Node
    start_raylet = node_class.start_raylet

    def start_at_once(node: Any, *arguments: Any, **named: Any) -> None:
        """Leave the ports of a node's agents where they will: its raylet waits 15 s for them, and ends itself."""
        for name in _PORTS:
            place = Path(node.get_session_dir_path()) / f"{name}_{node.node_id}"
            place.write_text(str(getattr(node._ray_params, name)), encoding="ascii")
        start_raylet(node, *arguments, **named)

    def add(cpus: int) -> int:
        ports: dict[str, Any] = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        node = cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES, include_dashboard=False, **ports)
        return int(node.all_processes["raylet"][0].process.pid)

    node_class.start_raylet = start_at_once
    cluster: Any = Cluster()
    try:
        add(0)
        session = cluster.head_node.get_session_dir_path()
        print(json.dumps({"address": cluster.address, "session": session}), flush=True)
        for _line in sys.stdin:
            print(json.dumps({"raylet": add(1)}), flush=True)
    finally:
        cluster.shutdown()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in listening:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in listening]


if __name__ == "__main__":
    _main()
