"""`batchrec init`: a short job file for a folder of images."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES, Service
from ..console.text import duration, say
from ..errors import JobError
from ..images.heads import kind_of_other
from ..job.diagnostics import toml
from ..job.spec import NEW_ACCOUNT_QPS, SCHEMA_FILE, not_a_service, template
from ..language import _, ngettext, os_reason
from ..sources import open_sources
from ..sources.keys import normal, quoted
from ..sources.rows import READERS, kind
from ..values import Ignored, InputEntry

_SCHEMA_LINE = "#:schema ./job.schema.json\n"
"""First line of a job file by which editors find the schema beside it."""

_KINDS = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff", "heif": "heic"}
"""Kinds of images by suffix, where that is not the suffix itself."""

_COMMENT_COLUMN = 33
"""Column at which comments begin."""


@dataclass(frozen=True, slots=True)
class JobFileOptions:
    """Options of `init`: the embedded endpoint, services, every key, the schema beside the file."""

    embedded: bool
    services: tuple[str, ...]
    all_keys: bool
    schema: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """Inputs of the job, with counts by kind. `path` is relative to the job file."""

    path: str
    manifest: bool
    images: Counter[str]
    ignored: Counter[str]

    @property
    def total(self) -> int:
        return self.images.total()


def write_job_file(folder: str | None, path: Path, options: JobFileOptions) -> None:
    """Write a job file for a folder, an image or a list of images.

    Raises JobError where something is named that is not there, and where a file exists or cannot be written.
    """
    services = [_service(name) for name in options.services or ("advanced_general",)]
    if folder is not None and folder.lower().endswith(".toml") and not os.path.isdir(folder):
        line = shlex.join(("batchrec", "init", "--out", folder))
        raise JobError(
            _("{path}: is no folder of images; to write a job file of that name: {line}").format(path=folder, line=line)
        )
    if os.path.lexists(path):
        raise _exists(path)
    found = None if folder is None else _look(folder, path)
    text = _every_key(found, options) if options.all_keys else _short(found, services, path, options)
    if options.schema:
        _write(path.with_name(SCHEMA_FILE.name), SCHEMA_FILE.read_text(encoding="utf-8"), same=True)
        text = _SCHEMA_LINE + text
    _write(path, text)
    say(*_next_steps(found, path, options))


def _service(name: str) -> Service:
    if name not in SERVICES:
        raise JobError(f"--service: {quoted(name)} {not_a_service(name)}")
    return SERVICES[name]


def _look(folder: str, path: Path) -> _Found:
    """Count the inputs of a job file at `path`. Raises JobError where there is no such folder."""
    given = Path(os.path.abspath(os.path.expanduser(folder) if not os.path.exists(folder) else folder))
    base = Path(os.path.abspath(path)).parent
    if not os.path.exists(given):
        raise JobError(_("{path}: there is no such folder or file; expected a folder of images").format(path=folder))
    key = _relative(given, base)
    if os.path.isfile(given) and kind(key) in READERS:
        return _Found(key, True, Counter(), Counter())
    images, ignored = Counter[str](), Counter[str]()
    output = base / "results" / path.stem
    for entry in open_sources([key], None, "path", (), base, output, None, kind_of_other):
        if isinstance(entry, InputEntry):
            suffix = os.path.splitext(entry.key)[1].lstrip(".").lower()
            images[_KINDS.get(suffix, suffix) or _("no suffix")] += 1
        elif isinstance(entry, Ignored):
            ignored[entry.kind] += 1
    return _Found(key, False, images, ignored)


def _relative(given: Path, base: Path) -> str:
    """The path from the job file's folder; absolute only on another drive, where there is none."""
    try:
        return normal(os.path.relpath(given, base))
    except ValueError:
        return normal(str(given))


def _short(found: _Found | None, services: Sequence[Service], path: Path, options: JobFileOptions) -> str:
    """Twelve lines for one service: counts, inputs, steps, and a proposal for the endpoint or the rate."""
    name = shlex.quote(str(path.name))
    lines = [
        "# " + (_contents(found) if found else _("Put the folder with your images under paths.")),
        _("# Check: batchrec plan {job} · start or resume: batchrec run {job}").format(job=name),
        _("# Every key with its default: batchrec init --all-keys --out all.toml"),
        "",
        "[input]",
        _line(*_inputs(found), _("relative to this file")),
    ]
    for service in services:
        of = _("one of {count} services: batchrec services").format(count=len(SERVICES))
        lines += ["", "[[recognize]]", _line("service", service.name, of)]
        if service.custom:
            lines.append(_line("model", "itcast_fruit", _("the end of your model's address in the EasyDL console")))
    if options.embedded:
        comment = _("no account; for Baidu: without it, in another output folder")
        lines += ["", "[account]", _line("endpoint", EMBEDDED, comment)]
    else:
        comment = _("calls per second, what a new account has")
        if found and found.total:
            seconds = found.total * len(services) / NEW_ACCOUNT_QPS
            comment += _(": about {time}").format(time=duration(seconds))
        lines += ["", "[limits]", _line("qps", int(NEW_ACCOUNT_QPS), comment)]
    return "\n".join(lines) + "\n"


def _inputs(found: _Found | None) -> tuple[str, object]:
    if found is None:
        return "paths", ["photos"]
    return ("manifest", found.path) if found.manifest else ("paths", [found.path])


def _line(key: str, value: object, comment: str) -> str:
    return f"{key} = {toml(value)}".ljust(_COMMENT_COLUMN - 1) + f" # {comment}"


def _contents(found: _Found) -> str:
    """Counts by kind, on one line."""
    if found.manifest:
        return _("The images that {path} lists.").format(path=found.path)
    said = ngettext("{count:,} image in {path}", "{count:,} images in {path}", found.total).format(
        count=found.total, path=found.path if found.path.isprintable() else quoted(found.path)
    )
    if found.images:
        said += f": {_listed(found.images)}"
    if found.ignored:
        said += "; " + _("ignored: {kinds}").format(kinds=_listed(found.ignored))
    return said


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())


def _every_key(found: _Found | None, options: JobFileOptions) -> str:
    """The template with every key; services beside the first are left to the reader."""
    text = template()
    if found is not None:
        key, value = _inputs(found)
        old = 'paths = ["photos"]  '
        text = text.replace(old, f"{key} = {toml(value)}".ljust(len(old)), 1)
    if options.services:
        text = text.replace('service = "advanced_general"', f"service = {toml(options.services[0])}", 1)
    if options.embedded:
        text = text.replace('endpoint = "https://aip.baidubce.com"  #', f'endpoint = "{EMBEDDED}"  #', 1)
    return text


def _write(path: Path, text: str, *, same: bool = False) -> None:
    """Write a new file. Raises JobError where it exists; `same`: unless with this very text."""
    try:
        if same and path.exists() and path.read_text(encoding="utf-8") == text:
            return
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path) from None
    except (OSError, ValueError) as exc:
        reason = os_reason(exc)
        raise JobError(_("{path}: {reason}; nothing was written").format(path=path, reason=reason)) from exc


def _exists(path: Path) -> JobError:
    return JobError(_("{path}: exists already; nothing was written. Another name: --out FILE.toml").format(path=path))


def _next_steps(found: _Found | None, path: Path, options: JobFileOptions) -> list[str]:
    """The lines after it is written: counts, and what to type next."""
    name = shlex.quote(str(path))
    lines = [_("wrote {path}").format(path=path) + (f"; {_contents(found)}" if found else "")]
    if found is None:
        lines.append(_("Put your folder under input.paths, then:"))
    elif not found.manifest and not found.total:
        lines.append(_("There is no image in it yet. Later:"))
    if not options.embedded:
        lines.append("  batchrec login")
    return [*lines, f"  batchrec plan {name}", f"  batchrec run {name}"]
