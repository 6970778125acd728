#!/usr/bin/env bash
# libfaketime 0.9.10 (Debian 12) and Python 3.11: with FAKETIME_DONT_FAKE_MONOTONIC=1, `time.sleep` raises OSError.
#
# Expected: that variable leaves the monotonic clock alone, so that waiting works as without libfaketime, only the date
# differs. libfaketime's README recommends it where programs hang.
# Seen: since Python 3.11 `time.sleep` is clock_nanosleep until a time of CLOCK_MONOTONIC (TIMER_ABSTIME). libfaketime
# counts that time from the fake date all the same, although the clock was left alone: strace shows a call for
# tv_sec=-1796064965, which the kernel refuses, whatever the fake date is (with `+0` too). `sleep` of coreutils, which
# waits for a span, works; so does Python without the variable.
# Output seen:
#   0: slept
#   1: [Errno 22] Invalid argument
# Exit code 0: as described; 1: not any more. Needs Debian 12 (apt-get download, dpkg-deb) and its python3.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq libfaketime=0.9.10-2.1 2>/dev/null
dpkg-deb -x libfaketime_*.deb .
library=$(find "$work" -name libfaketime.so.1)
tried() {
    LD_PRELOAD=$library FAKETIME='+1h' FAKETIME_DONT_FAKE_MONOTONIC=$1 python3 - <<'PYTHON'
import time

try:
    time.sleep(0.2)
    print("slept")
except OSError as error:
    print(error)
PYTHON
}
faked=$(tried 0) left=$(tried 1)
printf '0: %s\n1: %s\n' "$faked" "$left"
[ "$faked" = slept ] && [ "$left" = '[Errno 22] Invalid argument' ]
