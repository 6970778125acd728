#!/usr/bin/env bash
# Babel 2.19.0: a .mo file compiled from a .po without POT-Creation-Date has the time of the build in it.
#
# Expected: a .mo is a function of its .po, as that of msgfmt is: a wheel built twice from one commit is the same file.
# Dates are left out of a .po so that versions of it compare well, and `pybabel update` has --ignore-pot-creation-date.
# Seen: `read_po` gives a catalogue without that header the present time, and `write_mo` writes it, with all header
# fields that the .po has not (Report-Msgid-Bugs-To, Last-Translator ...). Each minute gives another .mo. With the date
# in the .po, whatever it is, the files are equal.
# Output seen, but for the time:
#   without: 'POT-Creation-Date: <now>', equal a minute later: False
#   with:    'POT-Creation-Date: 2026-01-01 00:00+0000', equal a minute later: True
# Exit code 0: as described; 1: not any more. Needs uv and a package registry; takes a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/env"
uv pip install --quiet --system-certs --python "$work/env/bin/python" babel==2.19.0
"$work/env/bin/python" - <<'PYTHON'
import io
import sys
import time
from datetime import datetime, timezone

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
FIXED = "POT-Creation-Date: 2026-01-01 00:00+0000"
BODY = '\nmsgid "image"\nmsgstr "图片"\n'
SOURCES = {"without": HEADER + BODY, "with": HEADER + f'"{FIXED}\\n"\n' + BODY}


def compiled(source):
    file = io.BytesIO()
    write_mo(file, read_po(io.BytesIO(source.encode()), locale="zh"))
    return file.getvalue()


def date(mo):
    start = mo.index(b"POT-Creation-Date")
    return mo[start : mo.index(b"\n", start)].decode()


now = datetime.now(timezone.utc).strftime("%Y-%m-%d")
before = {name: compiled(source) for name, source in SOURCES.items()}
time.sleep(61)
equal = {name: compiled(source) == before[name] for name, source in SOURCES.items()}
for name, mo in before.items():
    print(f"{name + ':':8} {date(mo)!r}, equal a minute later: {equal[name]}")
sys.exit((equal, now in date(before["without"]), date(before["with"])) != ({"without": False, "with": True}, True, FIXED))
PYTHON
