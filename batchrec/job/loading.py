"""Reads a job file and tells everything that is wrong with it at once.

    the TOML ─▶ --set ─▶ BATCHREC_ENDPOINT ─▶ the models of spec.py ─▶ diagnostics.py ─▶ Job or JobError

A complaint reads `<where it was written>: <key path>: <what was given> <what would be right>`.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..api.pasted import pasted
from ..errors import JobError
from .diagnostics import HIDDEN, Loc, Raw, find_diagnostics, key_path, shown
from .spec import Job, Written

_ENDPOINT: Loc = ("account", "endpoint")


def load_job(path: str | Path, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Job:
    """The job in the TOML file `path`, or a JobError with every complaint.

    `overrides` are `key.path=TOML-VALUE`, as of `--set`; `BATCHREC_ENDPOINT` in `environ` (None: the process's) wins
    over them and the file.
    """
    environ = os.environ if environ is None else environ
    raw = _read(path)
    origins: dict[Loc, str] = {}
    complaints = []
    for override in overrides:
        try:
            origins[_override(raw, override)] = "--set"
        except ValueError as exc:
            complaints.append(f"--set {exc}")
    account = raw.setdefault("account", {})
    if (endpoint := pasted(environ.get("BATCHREC_ENDPOINT", ""))) and isinstance(account, dict):
        account["endpoint"] = endpoint
        origins[_ENDPOINT] = "BATCHREC_ENDPOINT"
    return build_job(raw, path, origins, complaints)


def build_job(raw: Raw, path: str | Path, origins: dict[Loc, str] | None = None, complaints: Sequence[str] = ()) -> Job:
    """The job that `raw` describes, as if the file `path` held it, or a JobError with every complaint.

    `origins` says of keys that come from elsewhere where from; `complaints` are earlier ones, to be told first.
    """
    raw = {"name": Path(path).stem, **raw}
    endpoint_by = _origin(_ENDPOINT, origins or {}, "")
    job: Job | None = None
    within: ValidationError | None = None
    try:
        job = Job.model_validate(raw, context=Written(Path(path), endpoint_by))
    except ValidationError as exc:
        within = exc
    lines = [
        f"{_origin(fault.loc, origins or {}, path)}: {key_path(fault.loc)}: {fault.text}"
        for fault in find_diagnostics(raw, within)
    ]
    if job is None or complaints or lines:
        raise JobError(*complaints, *lines)
    return job


def _origin(loc: Loc, origins: dict[Loc, str], path: str | Path) -> str:
    """Origin of the value at `loc`; of several places the last one won."""
    return next((origin for keys, origin in reversed(origins.items()) if loc[: len(keys)] == keys), str(path))


def _read(path: str | Path) -> Raw:
    """The file's TOML, in UTF-8 with or without byte order mark."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text)
    except FileNotFoundError:
        reason = f"there is no such file; `batchrec init {path}` writes one to start from"
    except IsADirectoryError:
        reason = "is a folder; name the job file in it"
    except OSError as exc:
        reason = f"cannot be read: {exc.strerror}"
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        reason = f"line {line}: byte 0x{exc.object[exc.start]:02x} is not UTF-8; save the file as UTF-8"
    except RecursionError:
        reason = "lists or tables are nested too deep"
    except ValueError as exc:
        reason = _syntax(exc)
    raise JobError(f"{path}: {reason}")


def _syntax(exc: ValueError) -> str:
    """tomllib's "Invalid value (at line 2, column 5)" with the place first."""
    place = re.fullmatch(r"(.*) \(at (.*)\)", str(exc), re.DOTALL)
    return f"{place[2]}: {place[1]}" if place else str(exc)


def _override(raw: Raw, override: str) -> Loc:
    """Writes `key.path=TOML-VALUE` into `raw`; the keys written to. ValueError says what is wrong with it."""
    keys, equals, text = override.partition("=")
    loc = tuple(re.sub(r"\[(\d+)\]", r".\1", keys.strip()).split("."))
    if not equals or "" in loc:
        raise ValueError(f"{shown(keys)}: it takes key.path=TOML-VALUE, for example: limits.qps=50")
    value = _toml_value(loc, text)
    node: Any = raw
    written: list[str | int] = []
    for key in loc[:-1]:
        written.append(_slot(node, key, written))
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[int(key)]
    written.append(_slot(node, loc[-1], written))
    node[written[-1]] = value
    return tuple(written)


def _slot(node: Any, key: str, parents: Sequence[str | int]) -> str | int:
    """`key` as an index or key of `node`, which must have room for it."""
    if isinstance(node, dict):
        return key
    here = key_path((*parents, key))
    if not isinstance(node, list):
        raise ValueError(f"{here}: {key_path(parents)} is {shown(node, *parents)}, which holds no keys")
    if not key.isdecimal() or int(key) >= len(node):
        raise ValueError(f"{here}: {key_path(parents)} has {len(node)} entries, counted from 0")
    return int(key)


def _toml_value(loc: Loc, text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    if set(parsed) == {"value"}:
        return parsed["value"]
    given = shown(text, *loc)
    quotable = given != HIDDEN and re.fullmatch(r"[\w./:*|-]+", text)
    hint = f"; text is quoted: --set '{key_path(loc)}=\"{text}\"'" if quotable else ""
    raise ValueError(f"{key_path(loc)}: {given} is not a TOML value{hint}")
