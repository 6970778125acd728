"""Advice to install an extra: a `pip install` of its requirements.

The line works although batchrec itself is not on PyPI.
"""

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from ..errors import JobError
from ..language import _


def pip_install(extra: str) -> str:
    """The line to type, from the metadata of the installed package; quoted for a shell.

    Where there is no metadata, in a folder of sources that was never installed, the line installs these.
    """
    try:
        listed = requires("batchrec") or []
    except PackageNotFoundError:
        listed = []
    wanted = [requirement for line in listed if (requirement := _of_extra(line, extra))]
    return shlex.join(("pip", "install", *(wanted or [f".[{extra}]"])))


def require_extra(extra: str, command: str, *modules: str) -> None:
    """Raise JobError, with the line to type, where a module of an extra is not installed."""
    if not all(map(find_spec, modules)):
        raise JobError(
            _("{command} needs the extra {extra}: {line}").format(command=command, extra=extra, line=pip_install(extra))
        )


def _of_extra(line: str, extra: str) -> str | None:
    """The requirement without the mark of the extra; None where it is not of this extra."""
    requirement, _semicolon, marker = (part.strip() for part in line.partition(";"))
    mark = re.compile(rf"""\(?\s*extra\s*==\s*['"]{re.escape(extra)}['"]\s*\)?""")
    if not mark.search(marker):
        return None
    others = re.sub(r"^and\s+|\s+and$", "", mark.sub("", marker).strip())
    return requirement.replace(" ", "") + (f"; {others}" if others else "")
