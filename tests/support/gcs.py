"""Records behind Ray's State API, read from a cluster's head without the extra `ray[default]`.

Prints them as JSON: `python -m tests.support.gcs ADDRESS`. In a process of its own: Ray ends the process whose cluster
has gone.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

_NAMESPACES = (None, b"cluster", b"dashboard", b"fun", b"job", b"session", b"tracing")
"""Namespaces of the key-value store of Ray's head: packages, settings, exported classes, submitted jobs."""


def records(address: str, env: Mapping[str, str]) -> dict[str, list[str]]:
    """Records by table, each as its bytes in Latin-1, so that any text in them can be searched for.

    Names, runtime environments, entry points, metadata and errors are in them as they are.
    """
    argv = [sys.executable, "-m", __name__, address]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(address: str) -> None:
    from ray import _raylet

    module: Any = _raylet
    options = module.GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    tables = module.GlobalStateAccessor(options)
    if not tables.connect():
        raise SystemExit(f"{address}: no cluster")
    store = module.GcsClient(address=address)
    kept: list[bytes] = []
    for namespace in _NAMESPACES:
        for key in store.internal_kv_keys(b"", namespace):
            kept += [key, store.internal_kv_get(key, namespace) or b""]
    found: dict[str, Iterable[bytes]] = {
        "actors": tables.get_actor_table(None, None),
        "jobs": tables.get_job_table(skip_is_running_tasks_field=True),  # which asks drivers that have ended
        "tasks": tables.get_task_events(),
        "workers": tables.get_worker_table(),
        "store": kept,
    }
    print(json.dumps({name: [bytes(each).decode("latin-1") for each in table] for name, table in found.items()}))


if __name__ == "__main__":
    _main(sys.argv[1])
