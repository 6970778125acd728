#!/usr/bin/env bash
# ray 2.60.0: an actor that the memory monitor ends raises OutOfMemoryError, which is no RayActorError.
#
# Expected: the end of an actor's process, whatever its cause, raises a RayActorError (ActorDiedError), whose text says
# the cause; a program that catches RayActorError to give the actor's work to another one hears of every end.
# Seen: `ray.get` raises `ray.exceptions.OutOfMemoryError`, whose only base is RayError. It comes on busy nodes only,
# so that tests that kill the process do not meet it. (ActorUnschedulableError is no RayActorError either.)
# Here any use of memory is too much for the monitor (RAY_memory_usage_threshold=0.001).
# Output seen:
#   process ended itself: ActorDiedError, a RayActorError: True
#   ended by the memory monitor: OutOfMemoryError, a RayActorError: False
# Exit code 0: as described; 1: not any more. Needs Linux, uv and a package registry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/env"
uv pip install --quiet --system-certs --python "$work/env/bin/python" ray==2.60.0
export HOME="$work" RAY_USAGE_STATS_ENABLED=0 RAY_memory_monitor_refresh_ms=250
cat >"$work/actor.py" <<'PYTHON'
import os
import sys
import time

import ray

ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=1, _temp_dir=sys.argv[1])


@ray.remote(num_cpus=0)
class Holder:
    def end(self):
        os._exit(1)

    def hold(self):
        time.sleep(120)


try:
    ray.get(getattr(Holder.remote(), sys.argv[2]).remote(), timeout=60)
except ray.exceptions.RayError as error:
    print(f"{type(error).__name__}, a RayActorError: {isinstance(error, ray.exceptions.RayActorError)}")
PYTHON
died=$("$work/env/bin/python" "$work/actor.py" "$work/1" end 2>/dev/null | grep RayActorError)
monitored=$(RAY_memory_usage_threshold=0.001 "$work/env/bin/python" "$work/actor.py" "$work/2" hold 2>/dev/null | grep RayActorError)
printf 'process ended itself: %s\nended by the memory monitor: %s\n' "$died" "$monitored"
[ "$died" = 'ActorDiedError, a RayActorError: True' ] && [ "$monitored" = 'OutOfMemoryError, a RayActorError: False' ]
