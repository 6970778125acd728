"""The job file: what may stand in it, as models, and the JSON Schema made of them.

`loading.py` reads one.

A model judges one key at a time, so that every key is judged whatever is wrong with the others. What holds between
keys (a step's options and its service, say) is judged by `loading.py` on what was written, for the same reason.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)
from pydantic_core import core_schema

from ..api.endpoint import EMBEDDED, LIVE, normal_endpoint
from ..api.services import SERVICES, Option, service_meant
from ..console.foreign import expression_fault
from ..errors import JobError
from ..language import _, language
from ..outputs import OUTPUTS
from ..periods import PERIODS
from ..sources import at_home
from ..sources.rows import READERS, kind
from ..values import Label, Treatment
from . import patterns
from .addresses import address_of, fault_of

SCHEMA_FILE = Path(__file__).with_name("job.schema.json")
TEMPLATES = {"en": "template.toml", "zh": "template.zh.toml"}
Schema = dict[str, Any]


# A validator's text goes on where "<key>: <what was given> " ends.


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(_("holds a character that cannot be printed"))
    return text


def _path(text: str) -> str:
    if "\0" in text:
        raise ValueError(_("is no path: it holds a NUL"))
    return text


def _output(text: str) -> str:
    address = address_of(text)
    if address is not None and (fault := fault_of(address)):
        raise ValueError(fault)
    return text


def _folder_name(text: str) -> str:
    _printable(text)
    if text in (".", "..") or "/" in text or "\\" in text or len(text.encode()) > 255:
        raise ValueError(_("cannot be the name of a folder: no / or \\, at most 255 bytes"))
    return text


def not_a_service(name: str) -> str:
    """The complaint about a name that is no service's; a Chinese title leads to the service meant."""
    meant = service_meant(name)
    hint = _('did you mean "{near}"?').format(near=meant) if meant else _("it is one of")
    return _("is not a service; {hint} ({services})").format(hint=hint, services=", ".join(SERVICES))


def _service(name: str) -> str:
    if name not in SERVICES:
        raise ValueError(not_a_service(name))
    return name


def _manifest(text: str) -> str:
    if kind(text) not in READERS:
        *others, last = READERS
        names = _("{others} or {last}").format(others=", ".join(others), last=last)
        raise ValueError(
            _("is not a manifest that can be read: {names}; save a spreadsheet as CSV UTF-8").format(names=names)
        )
    return _path(text)


def _model(text: str) -> str:
    # It becomes a part of the URL.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(_('is not a model; letters, digits, "-" and "_", for example: "itcast_fruit"'))
    return text


def _regex(text: str) -> str:
    try:
        patterns.compiled(text)
    except (re.error, OverflowError, RecursionError) as exc:
        raise ValueError(_("is not a regular expression: {fault}").format(fault=expression_fault(exc))) from None
    if patterns.explodes(text):
        raise ValueError(
            _(
                "is a regular expression that takes seconds or years for a short text; avoid repetitions of what is "
                'itself repeated, such as "(a+)+": "a+" finds the same'
            )
        )
    return text


def _rate(value: object, number: ValidatorFunctionWrapHandler) -> float:
    """Calls/s as a number. "auto" is infinite: it bounds nothing, and of several rates the smallest holds."""
    return math.inf if value == "auto" else float(number(value))


@dataclass(frozen=True, slots=True)
class _OneOf:
    """A text that is one of the words of a table."""

    words: Iterable[str]

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.words))


def _some(steps: "tuple[Step, ...]") -> "tuple[Step, ...]":
    # Not `min_length`, which would complain about the number of steps when only their contents are wrong.
    if not steps:
        raise ValueError(_('names no step; for example: [[recognize]] with service = "advanced_general"'))
    return steps


def _with_jsonl(formats: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("jsonl", *formats)))


def _option_schema(option: Option) -> Schema:
    schema: Schema = {
        "type": {bool: "boolean", int: "integer", float: "number"}[option.type],
        "description": option.meaning,
    }
    return schema if option.default is None else schema | {"default": option.default}


def _per_service(schema: Schema) -> None:
    """Check what depends on the service of a step: its options, and whether it names a model."""
    schema["allOf"] = [
        {
            "if": {"properties": {"service": {"const": service.name}}, "required": ["service"]},
            "then": {
                "properties": {
                    "options": {
                        "properties": {option.name: _option_schema(option) for option in service.options},
                        "additionalProperties": False,
                    },
                    **({} if service.custom else {"model": False, "canary": False}),
                },
                "required": ["model"] if service.custom else [],
            },
        }
        for service in SERVICES.values()
    ]


ServiceName = Annotated[str, AfterValidator(_service), Field(json_schema_extra={"enum": list[Any](SERVICES)})]
PathText = Annotated[str, Field(min_length=1), AfterValidator(_path)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Rate = Annotated[
    float,
    Field(gt=0),
    WrapValidator(_rate),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "auto"}]}),
]


MOST_FETCHED_BYTES = 256 * 1024 * 1024
"""Bound of `input.fetch.max_bytes`: no larger file is read either."""

_SIZE = re.compile(r"(\d{1,12})\s*(KB|MB|GB|KiB|MiB|GiB|B)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _bytes(value: object, number: ValidatorFunctionWrapHandler) -> int:
    """Bytes as a number, from one or from a text such as "20 MB"."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            raise ValueError(_('is no size; bytes as a number, or a text such as "20 MB"'))
        value = int(found[1]) * _UNITS[(found[2] or "").lower()]
    return int(number(value))


Bytes = Annotated[
    int,
    Field(ge=1, le=MOST_FETCHED_BYTES),
    WrapValidator(_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_FETCHED_BYTES},
                {"type": "string", "pattern": r"^\s*[0-9]+\s*([KkMmGg][Ii]?)?[Bb]?\s*$"},
            ]
        }
    ),
]


class Table(BaseModel):
    """A table of the job file. A number in quotes is no number, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Fetch(Table):
    """Fetching of http:// and https:// inputs."""

    per_host: int = Field(default=4, ge=1, le=64, description="Fetches from one host at once.", examples=[4])
    timeout: float = Field(default=30.0, gt=0, le=3600, description="Seconds of one attempt.", examples=[30])
    max_bytes: Bytes = Field(
        default=20_000_000,
        description='Larger images are not fetched: bytes, or a text such as "20 MB".',
        examples=["20 MB"],
    )
    private: bool = Field(
        default=False,
        description="Fetch from private and local addresses too; holds only with --allow-private.",
        examples=[True],
    )


class Input(Table):
    """The images to be recognized: paths, or a manifest, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["paths"], "properties": {"paths": {"minItems": 1}}},
                {"required": ["manifest"]},
            ]
        }
    )

    paths: tuple[PathText, ...] = Field(
        default=(),
        strict=False,
        description="Files, folders (with all below them) and globs, relative to this file.",
        examples=[["photos", "more/*.jpg"]],
    )
    manifest: Annotated[PathText, AfterValidator(_manifest)] | None = Field(
        default=None,
        description="A list of paths, relative to itself: .txt (one a line), .csv, .tsv or .jsonl.",
        examples=["images.csv"],
    )
    column: str = Field(
        default="path", min_length=1, description="The manifest's column or key that holds the path.", examples=["path"]
    )
    exclude: tuple[PathText, ...] = Field(
        default=(), strict=False, description="Globs of what is left out.", examples=[["**/thumbs/**"]]
    )
    repair: bool = Field(
        default=True,
        description="Re-encode or shrink what the service would refuse; false: refuse it here, unsent.",
        examples=[True],
    )
    max_side: int | None = Field(
        default=None,
        ge=15,
        le=4096,
        description="Send no more pixels a side than this, where that at least halves the bytes of an image.",
        examples=[1024],
    )
    check: Literal["header", "decode"] = Field(
        default="header",
        description="How closely an image is looked at before a call: its header and end, or every pixel.",
        examples=["decode"],
    )
    upright: bool = Field(
        default=True,
        description="Turn images as their orientation (EXIF, HEIC, AVIF) says; false: send the pixels as they lie.",
        examples=[False],
    )
    long: Literal["refuse", "pad", "split"] = Field(
        default="refuse",
        description="Images over 3:1: refuse them, add neutral bars, or send tiles, each of which is a call.",
        examples=["split"],
    )
    within: PathText | None = Field(
        default=None,
        description="A folder, relative to this file: no input whose real path lies outside of it is read.",
        examples=["."],
    )
    strip: bool = Field(
        default=False,
        description="Send no metadata (EXIF, GPS, XMP), without re-encoding JPEG.",
        examples=[True],
    )
    allow_empty: bool = Field(
        default=False, description="A job without any image ends with exit code 0 instead of 66.", examples=[True]
    )
    fetch: Fetch = Field(
        default_factory=Fetch,
        description="How images by URL are fetched.",
        examples=[{"per_host": 4, "timeout": 30, "max_bytes": "20 MB"}],
    )


class When(Table):
    """Images of a follow-up step: those that have such a label from an earlier step."""

    step: str = Field(
        min_length=1,
        description="The step whose labels decide; it stands earlier in the file.",
        examples=["advanced_general"],
    )
    label: Annotated[str, AfterValidator(_regex)] = Field(
        default="",
        description="A regular expression, searched in a label's name and root (200 characters); empty: any label.",
        examples=["食|菜|餐"],
        json_schema_extra={"format": "regex"},
    )
    min_score: float = Field(
        default=0.0, ge=0, le=1, description="The least score of the matching label, 0 to 1.", examples=[0.3]
    )

    def matches(self, labels: Iterable[Label]) -> bool:
        """Whether one of `labels` is as asked for. A label without a score counts as 0."""
        return any((label.score or 0.0) >= self.min_score and self._speaks_of(label) for label in labels)

    def _speaks_of(self, label: Label) -> bool:
        texts = [text for text in (label.name, label.root) if text is not None]
        return not self.label or any(patterns.found(self.label, text) for text in texts)


NEW_ACCOUNT_QPS = 2.0
"""Calls per second and service that a new account has: the limit of a job that sets none."""

NO_LIMIT = 1e6
"""Calls per second that stand for no limit: more than any machine makes."""

QPS = (
    "Calls per second and service; 2 if left out, what a new account has; no limit for the embedded endpoint. "
    '"auto" finds what the account has. A step\'s own wins.'
)


def _with_counted(model: type[Table]) -> type[Table]:
    """Add a key for each row of `PERIODS`."""
    fields: dict[str, Any] = {
        name: (Count | None, Field(default=None, description=period.meaning, examples=[period.example]))
        for name, period in PERIODS.items()
    }
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


@_with_counted
class ServiceLimits(Table):
    """Limits of a service, as `[limits]` has them for all services and a step for its own."""

    qps: Rate | None = Field(default=None, description=QPS, examples=[10])


LIMITS = tuple(ServiceLimits.model_fields)


class Question(Table):
    """A question about images: the service, its options, and the condition."""

    step: Annotated[str, Field(min_length=1), AfterValidator(_printable)] | None = Field(
        default=None, description="Its name, unique in the file; the service's name if left out.", examples=["food"]
    )
    service: ServiceName = Field(
        description="What is asked, as `batchrec services` lists it.", examples=["advanced_general"]
    )
    model: Annotated[str, AfterValidator(_model)] | None = Field(
        default=None, description="Your model, for EasyDL and only there.", examples=["itcast_fruit"]
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="The service's own request parameters.", examples=[{"baike_num": 0}]
    )
    send: Literal["bytes", "url"] = Field(
        default="bytes",
        description='For http:// and https:// inputs: "url" passes the URL to the service, which fetches it.',
        examples=["url"],
    )
    canary: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="For EasyDL: send so many images again at each run that makes calls, and tell when the model has "
        "changed.",
        examples=[5],
    )
    when: When | None = Field(
        default=None,
        description="Asks only where an earlier step gave such a label.",
        examples=[{"step": "advanced_general", "label": "食|菜|餐"}],
    )

    @property
    def name(self) -> str:
        """Name of the step in rows and in other steps."""
        return self.step if self.step is not None else self.service

    @property
    def fingerprint(self) -> str:
        """A digest of service, model and options. An answer belongs to them: another digest is asked again."""
        asked = json.dumps([self.service, self.model, self._plain_options()], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _plain_options(self) -> dict[str, Any]:
        """The options with 1 and 1.0 written alike where the service takes either."""
        fractional = {option.name for option in SERVICES[self.service].options if option.type is float}
        return {name: float(value) if name in fractional else value for name, value in self.options.items()}


class Step(ServiceLimits, Question):
    """One question about each image, and its own limits."""

    # Keys of the last base come first, in the schema and where faults are listed.
    model_config = ConfigDict(json_schema_extra=_per_service)


class Account(Table):
    """Account and endpoint."""

    endpoint: Annotated[str, AfterValidator(normal_endpoint)] = Field(
        default=LIVE,
        description='The service; "embedded": the emulator in this process, without an account. '
        "http:// for this machine only. BATCHREC_ENDPOINT wins over it. Keys go to their own endpoint only.",
        examples=["https://aip.baidubce.com"],
        json_schema_extra={"pattern": r"^(embedded|https://[^/]+/?|http://(localhost|127\.|\[::1\])[^/]*/?)$"},
    )
    profile: str = Field(
        default="default",
        min_length=1,
        description="Which credentials, as `batchrec login` keeps them.",
        examples=["default"],
    )
    prices: dict[ServiceName, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Yuan per 1,000 calls, by service.",
        examples=[{"dish": 2.0}],
        json_schema_extra={"propertyNames": {"enum": list[Any](SERVICES)}},
    )
    free: dict[ServiceName, Annotated[int, Field(ge=0, le=10**12)]] = Field(
        default_factory=dict,
        description="Calls that cost nothing, by service: what is left of a free quota. For the yuan of `plan`.",
        examples=[{"dish": 1000}],
        json_schema_extra={"propertyNames": {"enum": list[Any](SERVICES)}},
    )


class Limits(ServiceLimits):
    """Rate, quota and patience. Rates and counts are per service."""

    attempts: int = Field(default=5, ge=1, description="Per image and step, where an error may pass.", examples=[5])
    timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds from the last byte sent to the reply; an upload may take longer.",
        examples=[30],
    )
    patience: float = Field(
        default=60.0,
        ge=0,
        description="Seconds a service may fail for everybody before the run ends with 69.",
        examples=[60],
    )
    concurrency: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Calls in flight at once; 0: found from the rate and the measured latency.",
        examples=[64],
    )
    on_daily_limit: Literal["stop", "wait"] = Field(
        default="stop",
        description='At the daily limit: "stop" with 75, or "wait" until 00:00 in Beijing and go on.',
        examples=["stop"],
    )


class OutputSpec(Table):
    """Output directory and formats."""

    directory: Annotated[PathText, AfterValidator(_output)] | None = Field(
        default=None,
        description="Relative to this file; results/<name> if left out. With --on also an address, as s3://bucket/name.",
        examples=["results/furniture"],
    )
    formats: Annotated[tuple[Annotated[str, _OneOf(OUTPUTS)], ...], AfterValidator(_with_jsonl)] = Field(
        default=("jsonl", "csv"),
        strict=False,
        description="jsonl is always written; csv (for Excel) if named.",
        examples=[["jsonl", "csv"]],
    )


class Notify(Table):
    """Notifications: whom to tell, and of which events."""

    use: str = Field(
        min_length=1,
        description="A table of notify.toml in the config folder, which holds the command or the address.",
        examples=["ops"],
    )
    on: tuple[Literal["start", "finished", "failed", "quota", "attention"], ...] = Field(
        default=("attention",),
        strict=False,
        description='The events to tell; "attention" is only what needs a person.',
        examples=[["attention"]],
    )


@dataclass(frozen=True, slots=True)
class Written:
    """Origin of a job: its file, and what named the endpoint in place of the file, if anything."""

    path: Path
    endpoint_by: str = ""


class Job(Table):
    """A batchrec job: images, what is asked about each, by whom, how fast, and where the answers go."""

    name: Annotated[str, Field(min_length=1), AfterValidator(_folder_name)] = Field(
        default_factory=str,
        description="The identity of the output directory; this file's stem if left out.",
        examples=["furniture"],
    )
    input: Input = Field(examples=[{"paths": ["photos"]}])
    recognize: Annotated[tuple[Step, ...], AfterValidator(_some)] = Field(
        strict=False,
        description="The steps, asked in this order.",
        examples=[[{"service": "advanced_general"}]],
        json_schema_extra={"minItems": 1},
    )
    account: Account = Field(default_factory=Account, examples=[{"profile": "default"}])
    limits: Limits = Field(default_factory=Limits, examples=[{"qps": 10}])
    output: OutputSpec = Field(default_factory=OutputSpec, examples=[{"formats": ["jsonl", "csv"]}])
    notify: Notify | None = Field(
        default=None, description="Whom to tell of runs; nobody if left out.", examples=[{"use": "ops"}]
    )

    _written: Written = PrivateAttr(default=Written(Path("job.toml")))

    def model_post_init(self, context: Any, /) -> None:
        """Remembers which file it is: a validation's context is a `Written`, or None."""
        if context is not None:
            self._written = context

    @property
    def path(self) -> Path:
        """The job file, absolute. Links in it are not resolved."""
        return Path(os.path.abspath(self._written.path))

    def anchored(self) -> "Job":
        """The same job with the absolute path of its file, for a process that runs in another folder."""
        job = self.model_copy()
        job._written = Written(self.path, self.endpoint_by)
        return job

    @property
    def endpoint_by(self) -> str:
        """The user's own hand that named the endpoint, such as `--set`.

        Empty where only the job file may have.
        """
        return self._written.endpoint_by

    @property
    def base(self) -> Path:
        """The folder of the job file, absolute: what its paths are relative to."""
        return self.path.parent

    @property
    def directory(self) -> Path:
        """The output directory, absolute, without `..`. Raises JobError where it is an address."""
        if self.address is not None:
            text = _(
                "{file}: output.directory: {url} is an address, where only runs with --on write; add --on ray, or, for "
                "a copy in a folder that all commands read: batchrec merge {file} --out FOLDER"
            )
            raise JobError(text.format(file=self.path.name, url=self.address))
        return Path(os.path.abspath(at_home(self.base, self.output.directory or f"results/{self.name}")))

    @property
    def address(self) -> str | None:
        """The address that results are written to, as s3://bucket/name; None where that is a folder."""
        return None if self.output.directory is None else address_of(self.output.directory)

    def written_to(self, directory: Path) -> "Job":
        """The same job with another output directory."""
        return self.model_copy(update={"output": self.output.model_copy(update={"directory": str(directory)})})

    @property
    def within(self) -> Path | None:
        """The folder in which all inputs have to lie, absolute."""
        return None if self.input.within is None else at_home(self.base, self.input.within)

    def limits_for(self, step: Step) -> Limits:
        """The limits as `step` has them: its own win. There is always a `qps`."""
        own = {name: value for name in LIMITS if (value := getattr(step, name)) is not None}
        if own.get("qps", self.limits.qps) is None:
            own["qps"] = NO_LIMIT if self.account.endpoint == EMBEDDED else NEW_ACCOUNT_QPS
        return self.limits.model_copy(update=own)

    @property
    def treatment(self) -> Treatment:
        """Treatment of the images before they are sent."""
        chosen = self.input
        return Treatment(
            repair=chosen.repair,
            upright=chosen.upright,
            strip=chosen.strip,
            check=chosen.check,
            long=chosen.long,
            max_side=chosen.max_side,
        )


def job_schema() -> Schema:
    """The JSON Schema (2020-12) of a job file, by which editors complete and check it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Job.model_json_schema(),
        "title": "batchrec job file",
    }
    clean: Schema = _without_null(schema)
    return clean


def _without_null(node: Any) -> Any:
    """TOML has no null: what may be left out is left out. So a choice with null is the other choice."""
    if isinstance(node, list):
        return [_without_null(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_null(value) for key, value in node.items() if (key, value) != ("default", None)}
    choices = kept.pop("anyOf", [])
    others = [choice for choice in choices if choice != {"type": "null"}]
    return kept | (others[0] if len(others) == 1 else {"anyOf": others} if others else {})


def template() -> str:
    """A commented job file with every key and its default; its comments are in the user's language."""
    return Path(__file__).with_name(TEMPLATES[language()]).read_text(encoding="utf-8")
