"""`batchrec doctor`: the checks of the environment, as lines or JSON."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from ..console.output import printing
from ..language import _, mark
from ..nightly.doctor import checks
from ..redact import redact, visible

_WORDS = {"ok": mark("ok"), "warning": mark("warning"), "problem": mark("problem")}


def show_checks(path: Path | None, *, as_json: bool) -> int:
    """Show the checks as they are done; returns 1 where there is a problem, else 0."""
    done = []
    with printing():
        for check in checks(path, os.environ):
            done.append(check)
            if not as_json:
                print(visible(redact(f"{_(_WORDS[check.status])}  {check.name}: {check.text}")), flush=True)
                if check.remedy:
                    print(visible(redact("    " + _("remedy: {remedy}").format(remedy=check.remedy))), flush=True)
        good = all(check.status != "problem" for check in done)
        if as_json:
            print(redact(json.dumps({"ok": good, "checks": list(map(asdict, done))}, ensure_ascii=False, indent=2)))
    return 0 if good else 1
