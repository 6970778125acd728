#!/usr/bin/env bash
# ray 2.60.0: with log_to_driver=False and logging at FATAL, the end of a worker is still told on the driver's stdout.
#
# Expected: `log_to_driver=False` keeps the output of Ray's processes out of the driver, and messages of Ray itself go
# to the log or to stderr; a program may print JSON on stdout for the next one.
# Seen: the driver prints "(raylet) A worker died or was killed ..." with colour codes on stdout, whatever both options
# say, and though the program handles the RayActorError itself. A reader of JSON lines fails at that line.
# Output seen, without what stands behind the word "died" in the first line:
#   ESC[33m(raylet)ESC[0m A worker died
#   {"done": true}
# Exit code 0: as described; 1: not any more. Needs Linux, uv and a package registry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/env"
uv pip install --quiet --system-certs --python "$work/env/bin/python" ray==2.60.0
export HOME="$work" RAY_USAGE_STATS_ENABLED=0
cat >"$work/driver.py" <<'PYTHON'
import os
import sys

import ray

ray.init(
    address="local", include_dashboard=False, log_to_driver=False, logging_level="FATAL", num_cpus=1, _temp_dir=sys.argv[1]
)


@ray.remote(num_cpus=0)
class Holder:
    def end(self):
        os._exit(1)


try:
    ray.get(Holder.remote().end.remote(), timeout=60)
except ray.exceptions.RayActorError:
    print('{"done": true}')
PYTHON
"$work/env/bin/python" "$work/driver.py" "$work/ray" 2>/dev/null | sed 's/\x1b/ESC/g; s/ died.*/ died/' | tee "$work/said"
[ "$(cat "$work/said")" = 'ESC[33m(raylet)ESC[0m A worker died
{"done": true}' ]
