"""Reads a job file and tells everything that is wrong with it at once.

    the TOML ─▶ --set ─▶ BATCHREC_ENDPOINT ─▶ the models of spec.py ─▶ diagnostics.py ─▶ Job or JobError

A complaint reads `<where it was written>: <key path>: <what was given> <what would be right>`.
"""

import math
import os
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..api.pasted import pasted
from ..errors import JobError
from ..language import _, os_reason
from ..sources.folder import SUFFIXES
from ..sources.rows import READERS, kind
from . import spec
from .addresses import address_of
from .diagnostics import HIDDEN, Loc, Raw, find_diagnostics, key_path, shown
from .lines import line_of, lines_of
from .spec import Written
from .syntax import syntax_complaints

_ENDPOINT: Loc = ("account", "endpoint")
_IN_PYTHON = "Job"
"""The name of a job that no file holds, as complaints begin."""


class Job(spec.Job):
    """A job: images, what is asked about each, by whom, how fast, and where the results go.

    >>> Job(name="cats", input={"paths": ["photos"]}, recognize=[{"service": "animal"}])

    takes the keys of a job file, as tables and lists. `base` is the folder that its paths are relative to, default the
    current one. Raises JobError with every complaint, as `load_job` does. BATCHREC_ENDPOINT wins over
    `account.endpoint`.
    """

    def __init__(self, *, base: str | os.PathLike[str] = ".", **keys: Any) -> None:
        raw = {"name": "job", **_plain(keys)}
        origins: dict[Loc, str] = {}
        _take_endpoint(raw, origins, os.environ)
        _fill(self, raw, Path(base) / f"{raw['name']}.toml", origins, (), _IN_PYTHON)


def load_job(path: str | Path, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Job:
    """The job in the TOML file `path`, or a JobError with every complaint.

    `overrides` are `key.path=TOML-VALUE`, as of `--set`; `BATCHREC_ENDPOINT` in `environ` (None: the process's) wins
    over them and the file.
    """
    environ = os.environ if environ is None else environ
    raw, text = _read(path)
    origins: dict[Loc, str] = {}
    complaints = []
    for override in overrides:
        try:
            origins[_override(raw, override)] = "--set"
        except ValueError as exc:
            complaints.append(f"--set {exc}")
    _take_endpoint(raw, origins, environ)
    return build_job(raw, path, origins, complaints, text)


def output_directory(path: str | Path) -> Path:
    """The output directory that a command was given: itself, or that of a job file.

    Raises JobError with the complaints about a job file, and where it is another file.
    """
    if (address := address_of(path)) is not None and not os.path.lexists(path):
        text = _("{url}: for a copy in a folder, which all commands read: batchrec merge {url} --out FOLDER")
        raise JobError(text.format(url=address))
    path = Path(path)
    # Those of os.path have no error for a name that is too long.
    if path.suffix.lower() == ".toml" and not os.path.isdir(path):
        return load_job(path).directory
    if os.path.isfile(path):
        raise JobError(_("{path}: is a file; expected an output directory or a job file").format(path=path))
    return path


def build_job(
    raw: Raw,
    path: str | Path,
    origins: dict[Loc, str] | None = None,
    complaints: Sequence[str] = (),
    text: str = "",
) -> Job:
    """The job that `raw` describes, as if the file `path` held it, or a JobError with every complaint.

    `origins` says of keys that come from elsewhere where from; `complaints` are earlier ones, to be told first.
    `text` is the file's, for the lines of its keys.
    """
    job = Job.__new__(Job)
    _fill(job, {"name": Path(path).stem, **raw}, Path(path), origins or {}, complaints, path, text)
    return job


def _take_endpoint(raw: Raw, origins: dict[Loc, str], environ: Mapping[str, str]) -> None:
    """Put BATCHREC_ENDPOINT into `raw`, where it is set."""
    account = raw.setdefault("account", {})
    if (endpoint := pasted(environ.get("BATCHREC_ENDPOINT", ""))) and isinstance(account, dict):
        account["endpoint"] = endpoint
        origins[_ENDPOINT] = "BATCHREC_ENDPOINT"


def _fill(
    job: Job,
    raw: Raw,
    path: Path,
    origins: dict[Loc, str],
    complaints: Sequence[str],
    named: str | Path,
    text: str = "",
) -> None:
    """Give a job its keys. Raises JobError with every complaint.

    `named`: the file or object that holds them; `text` is that file's, for the lines of its keys.
    """
    within: ValidationError | None = None
    try:
        # As pydantic's own __init__ does, which takes no context.
        job.__pydantic_validator__.validate_python(
            raw, self_instance=job, context=Written(path, _origin(_ENDPOINT, origins, ""))
        )
    except ValidationError as exc:
        within = exc
    faults = find_diagnostics(raw, within)
    lines = lines_of(text) if faults else {}
    told = [
        f"{_origin(fault.loc, origins, _place(named, fault.loc, lines))}: {key_path(fault.loc)}: {fault.text}"
        for fault in sorted(faults, key=lambda fault: line_of(fault.loc, lines) or math.inf)
    ]
    if within or complaints or told:
        raise JobError(*complaints, *told)


def _plain(value: Any) -> Any:
    """The value as TOML would have it: paths are texts, models tables, tuples lists."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, spec.Table):
        return _plain(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _origin(loc: Loc, origins: dict[Loc, str], path: str | Path) -> str:
    """Origin of the value at `loc`; of several places the last one won."""
    return next((origin for keys, origin in reversed(origins.items()) if loc[: len(keys)] == keys), str(path))


def _place(path: str | Path, loc: Loc, lines: Mapping[Loc, int]) -> str:
    """The file, and the line of the key, or of the table that it is missing in."""
    line = line_of(loc, lines)
    return str(path) if line is None else _("{path}: line {line}").format(path=path, line=line)


def _read(path: str | Path) -> tuple[Raw, str]:
    """The file's TOML, in UTF-8 with or without byte order mark, and its text."""
    text = ""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text), text
    except FileNotFoundError:
        line = shlex.join(("batchrec", "init", "--out", str(path)))
        reason = _("there is no such file; this writes one to start from: {line}").format(line=line)
    except IsADirectoryError:
        line = shlex.join(("batchrec", "init", str(path)))
        reason = _("is a folder, not a job file; this writes a job file for it: {line}").format(line=line)
    except OSError as exc:
        reason = _("cannot be read: {reason}").format(reason=os_reason(exc))
    except UnicodeDecodeError as exc:
        if (other := _other_file(path)) is not None:
            raise JobError(f"{path}: {other}") from None
        number = exc.object.count(b"\n", 0, exc.start) + 1
        reason = _("line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8").format(
            line=number, byte=exc.object[exc.start]
        )
    except RecursionError:
        reason = _("lists or tables are nested too deep")
    except ValueError as exc:
        if (other := _other_file(path)) is not None:
            raise JobError(f"{path}: {other}") from None
        first, *others = syntax_complaints(text, exc)
        raise JobError(f"{path}: {first}", *others) from None
    raise JobError(f"{path}: {reason}")


def _other_file(path: str | Path) -> str | None:
    """The complaint about an image or a list in place of a job file; None for other files."""
    if Path(path).suffix.lstrip(".").lower() in SUFFIXES:
        line = shlex.join(("batchrec", "recognize", str(path)))
        return _("is an image, not a job file; this recognizes it: {line}").format(line=line)
    if kind(str(path)) in READERS:
        line = shlex.join(("batchrec", "init", str(path)))
        return _("is a list of images, not a job file; this writes a job file for it: {line}").format(line=line)
    return None


def _override(raw: Raw, override: str) -> Loc:
    """Writes `key.path=TOML-VALUE` into `raw`; the keys written to. ValueError says what is wrong with it."""
    keys, equals, text = override.partition("=")
    loc = tuple(re.sub(r"\[(\d+)\]", r".\1", keys.strip()).split("."))
    if not equals or "" in loc:
        raise ValueError(_("{keys}: it takes key.path=TOML-VALUE, for example: limits.qps=50").format(keys=shown(keys)))
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
        raise ValueError(
            _("{here}: {parents} is {node}, which holds no keys").format(
                here=here, parents=key_path(parents), node=shown(node, *parents)
            )
        )
    if not key.isdecimal() or int(key) >= len(node):
        raise ValueError(
            _("{here}: {parents} has {count} entries, counted from 0").format(
                here=here, parents=key_path(parents), count=len(node)
            )
        )
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
    hint = _("; text is quoted: --set '{loc}=\"{text}\"'").format(loc=key_path(loc), text=text) if quotable else ""
    raise ValueError(_("{key}: {given} is not a TOML value{hint}").format(key=key_path(loc), given=given, hint=hint))
