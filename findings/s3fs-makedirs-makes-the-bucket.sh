#!/usr/bin/env bash
# s3fs 2026.9.0: `makedirs` of a folder in a bucket that is not there makes the bucket.
#
# Expected: S3 has no folders, so `makedirs` does nothing, and the first object fails with FileNotFoundError
# (NoSuchBucket), as `pipe_file` alone does. A typing error in the address of an output is then told at once.
# Seen: `makedirs` calls `mkdir` with `create_parents=True`, and that calls CreateBucket where the bucket is not there,
# with no word. A program that makes the folder first, as local files want it, leaves a new bucket in the account, and
# its objects in there.
# Output seen:
#   pipe_file: FileNotFoundError
#   makedirs: ['fruit-resluts']
# Exit code 0: as described; 1: not any more. Needs uv and a package registry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/env"
uv pip install --quiet --system-certs --python "$work/env/bin/python" \
    fsspec==2026.9.0 s3fs==2026.9.0 aiobotocore==3.10.0 'moto[server]==5.2.5'
export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=us-east-1
"$work/env/bin/python" - <<'PYTHON'
import logging
import sys

import s3fs
from moto.server import ThreadedMotoServer

logging.disable()
server = ThreadedMotoServer("127.0.0.1", 0)
server.start()
fs = s3fs.S3FileSystem(endpoint_url="http://{}:{}".format(*server.get_host_and_port()), use_listings_cache=False)
try:
    fs.pipe_file("fruit-resluts/night/part", b"x")
    alone = "written"
except OSError as error:
    alone = type(error).__name__
print("pipe_file:", alone)
fs.makedirs("fruit-resluts/night", exist_ok=True)
made = fs.ls("")
print("makedirs:", made)
server.stop()
sys.exit((alone, made) != ("FileNotFoundError", ["fruit-resluts"]))
PYTHON
