"""The values that travel through batchrec: frozen, and knowing nothing of each other's makers.

Those that are made for every image or label are named tuples, which are made three times as fast as frozen dataclasses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, NotRequired, TypedDict

Row = dict[str, Any]
"""One line of results.jsonl, keys as docs/en/output.md lists them."""


class BoxRow(TypedDict):
    """A rectangle as rows have it: pixels of the image as displayed, from its top left corner."""

    left: float
    top: float
    width: float
    height: float


class LabelRow(TypedDict):
    """A label as rows have it. `score` is from 0 to 1, None where the service gives none.

    The other keys are there for the services that have them.
    """

    name: str | None
    score: float | None
    root: NotRequired[str | None]
    calorie: NotRequired[float | None]
    year: NotRequired[str | None]
    box: NotRequired[BoxRow]


class ResultRow(TypedDict):
    """A line of results.jsonl: `Row` with its keys, for users of the package.

    `sha256` is of the file as it is. `labels` are best first. `response` is the service's JSON, with exact integers.
    `latency_ms` is of the call that was answered. `same_as` is the image of this job with the same bytes, `reused` and
    `answered_at` are times (ISO 8601, UTC), `tiles` is the number of calls of a split image.
    """

    image: str
    sha256: str | None
    step: str
    service: str
    model: str | None
    labels: list[LabelRow]
    response: dict[str, Any]
    attempts: int
    latency_ms: float
    repaired: list[str] | None
    same_as: str | None
    reused: str | None
    answered_at: str
    tiles: int | None


class FailureRow(TypedDict):
    """A line of failures.jsonl. `code` is the service's number, or a word of batchrec."""

    image: str
    step: str
    service: str
    kind: str
    code: int | str
    message: str
    attempts: int
    failed_at: str


class Kind(StrEnum):
    """Kind of a failure. The word is used by `failures.jsonl` and `--retry-kind`."""

    THROTTLED = "throttled"
    EXHAUSTED = "exhausted"
    TOKEN = "token"
    REFUSED = "refused"
    TRANSIENT = "transient"
    IMAGE = "image"
    READ = "read"
    FETCH = "fetch"
    REQUEST = "request"
    UNKNOWN = "unknown"


LYING = "lying"
"""The word of `--retry-kind` for images that an earlier version sent lying on their side. They have not failed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a call, or of an image before any call.

    `code` is the service's number, or a batchrec word (`unreadable`, `timeout` ...) where the service did not
    speak. `counted` says whether the service may have counted the call: False only where no connection was made.
    """

    kind: Kind
    code: int | str
    message: str
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Shortage(Failure):
    """Failure to read an input while the machine has no descriptor or memory left, which passes."""


class Reply(NamedTuple):
    """Reply of a server: the HTTP status and the whole body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Authorization:
    """Authorization of a call. `query` goes into the address, so that the address is a secret too.

    `sign` makes the headers of a call to a path that are signed by themselves. `fresh`: nothing has used it before.
    """

    query: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    fresh: bool = False
    sign: Callable[[str], Mapping[str, str]] | None = field(default=None, repr=False)


class QuotaKey(NamedTuple):
    """Key of a count: account and service as counts name them, and the Beijing day on which a call left."""

    account: str
    service: str
    day: str


class Caps(NamedTuple):
    """Limits of a job for a service.

    `qps` is in calls/s, infinite where it is to be found; `calls` are pairs of the name of a limit and its calls.
    """

    qps: float
    calls: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, qps: float, **calls: int | None) -> "Caps":
        """Limits by name, such as `daily=500`; None: no limit."""
        return cls(qps, tuple((name, most) for name, most in calls.items() if most is not None))


class Target(NamedTuple):
    """Account and service that calls go to, as counts name them, and the limits that the job sets."""

    account: str
    service: str
    caps: Caps


@dataclass(frozen=True, slots=True)
class Closure:
    """Reason why a service takes no more calls. `until`: Unix time; None: only a person reopens it.

    `reported` is False where batchrec stops by the limits that were set, before the service has to say so. `code` is a
    word where the service has no number for that limit.
    """

    code: int | str
    until: float | None
    reported: bool = True


class Allowance(NamedTuple):
    """Present rate (calls/s), and whether refusals have brought it down as far as they may."""

    rate: float
    slowest: bool


class Permit(NamedTuple):
    """Right to make one call: its number at the service, and when it is to leave (monotonic s)."""

    number: int
    at: float


class Permits(NamedTuple):
    """Permits of one lease, in the order of their times."""

    permits: Sequence[Permit]
    allowance: Allowance


class Ticket(NamedTuple):
    """Call that may leave: when (monotonic s), authorization, the key it is counted on, permit."""

    sent_at: float
    authorization: Authorization
    charge: QuotaKey
    permit: Permit


# Events of calls. `number` is the permit's, `sent_at` and `at` (when it ended) are monotonic seconds.


class Unused(NamedTuple):
    """No call left with the permit."""

    number: int


class Answered(NamedTuple):
    """The service let the call through."""

    number: int
    sent_at: float
    at: float


class Replied(NamedTuple):
    """The call came back with anything else, so it has arrived."""

    number: int
    sent_at: float
    at: float


class Lost(NamedTuple):
    """Nothing came back."""

    number: int
    at: float


class Throttled(NamedTuple):
    """The call was one too many a second (18)."""

    number: int
    sent_at: float
    at: float


class Busy(NamedTuple):
    """The call found the whole cluster busy (4)."""

    number: int
    sent_at: float
    at: float


class Uncounted(NamedTuple):
    """The service did not count a call that was charged."""

    charge: QuotaKey


class UsedUp(NamedTuple):
    """The service said that a quota is used up (17, 19) to a call that left on that Beijing day."""

    code: int | str
    day: str


class Reopened(NamedTuple):
    """The service takes calls again."""


RateEvent = Unused | Answered | Replied | Lost | Throttled | Busy
QuotaEvent = Uncounted | UsedUp | Reopened
Event = RateEvent | QuotaEvent


class Answer(NamedTuple):
    """A call that the service answered. `reply` is its JSON, `latency_ms` from sending to the last byte."""

    reply: dict[str, Any]
    labels: tuple["Label", ...]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the picture as displayed; the origin is the top left corner."""

    left: float
    top: float
    width: float
    height: float

    def scaled(self, x: float, y: float) -> "Box":
        """The same rectangle in a picture `x` times as wide and `y` times as high, to the nearest pixel."""
        if x == y == 1:
            return self
        return Box(round(self.left * x), round(self.top * y), round(self.width * x), round(self.height * y))

    @property
    def sides(self) -> dict[str, float]:
        """The rectangle as results.jsonl has it."""
        return {"left": self.left, "top": self.top, "width": self.width, "height": self.height}

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height

    def moved(self, right: float, down: float) -> "Box":
        """The same rectangle elsewhere."""
        return Box(self.left + right, self.top + down, self.width, self.height)

    def within(self, other: "Box") -> "Box":
        """The part that lies in another rectangle; without width or height where there is none."""
        left, top = (
            min(max(near, low), high)
            for near, low, high in ((self.left, other.left, other.right), (self.top, other.top, other.bottom))
        )
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, max(0, right - left), max(0, bottom - top))

    def around(self, other: "Box") -> "Box":
        """The smallest rectangle that holds both."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        return Box(left, top, max(self.right, other.right) - left, max(self.bottom, other.bottom) - top)


class Label(NamedTuple):
    """One thing the service saw. What the service does not say is None."""

    name: str | None
    score: float | None = None
    root: str | None = None
    calorie: float | None = None
    year: str | None = None
    box: Box | None = None


class Prepared(NamedTuple):
    """An image that the service will take.

    `data` is what is sent (bytes before base64), `scale_x` and `scale_y` how many pixels of the picture as
    displayed one pixel of what is sent stands for, `repaired` what was done to it, in words, in order.

    `area` is the part of the picture as displayed that is sent, None: all of it, without bars. `bar_x` and `bar_y` are
    the pixels of what is sent that lie left of it and above it. With `tiles`, these are sent one by one in its place.
    """

    data: bytes
    repaired: tuple[str, ...] = ()
    scale_x: float = 1.0
    scale_y: float = 1.0
    area: Box | None = None
    bar_x: int = 0
    bar_y: int = 0
    tiles: tuple["Prepared", ...] = ()

    def displayed(self, box: Box) -> Box:
        """A rectangle in what was sent as one in the picture as displayed, in pixels."""
        if self.area is None:
            return box.scaled(self.scale_x, self.scale_y)
        scaled = box.moved(-self.bar_x, -self.bar_y).scaled(self.scale_x, self.scale_y)
        return scaled.moved(self.area.left, self.area.top).within(self.area)


ADVISED_SIDE = 1024
"""Pixels a side that are recommended for `input.max_side`."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """Treatment of a job's images before they are sent, as its `[input]` table says.

    `repair`: convert, shrink and re-encode what the service would refuse; otherwise it is refused without a call.
    `upright`: turn the pixels as the orientation says. `strip`: remove metadata. `check`: "header", or "decode" to
    decode every image before a call is spent on it. `long`: treatment of images that are too long for the service:
    "refuse", "pad" (neutral bars) or "split" (tiles, a call each). `max_side`: pixels of the longer side at most, for
    images whose bytes that at least halves; None: as many as the service takes.
    """

    repair: bool = True
    upright: bool = True
    strip: bool = False
    check: str = "header"
    long: str = "refuse"
    max_side: int | None = None

    @property
    def decisive(self) -> str:
        """The keys on which results depend, as a text to compare: `repair` and `strip` are not among them."""
        keys = (
            "upright" if self.upright else "",
            self.long if self.long != "refuse" else "",
            f"max_side={self.max_side}" if self.max_side else "",
        )
        return ",".join(filter(None, keys))


class InputEntry(NamedTuple):
    """One input as a source names it.

    `key` is the `image` of its rows; `source` (index of the path or manifest) and `position` (row in a manifest, 0
    elsewhere) give the input order, with the key last. `size` in bytes (-1: there is no such file), `mtime_ns` in
    nanoseconds. `problem`, where set, is why it cannot be read, known without opening it. A tuple, since there are
    millions of them: the journal takes them as they are.
    """

    key: str
    source: int
    position: int
    size: int
    mtime_ns: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file or folder in an input folder that is left out; `kind` names it in counts, such as "PDF"."""

    kind: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the inputs that a person should read, such as a glob without a match."""

    text: str


class ServiceState(NamedTuple):
    """State of a service in a run, for a person who watches.

    `word`: "" (calls leave at the full rate), "first" (one call leaves, to try key and request), "probing",
    "throttled", "exhausted" or "forbidden". `since`: seconds that it has lasted; `code`: the last error code;
    `patience`: seconds after which the run gives up. `until`: Unix time at which an exhausted quota ends, None where
    that is not known; `waits`: the run waits for it.
    """

    word: str = ""
    since: float = 0.0
    code: int | str | None = None
    patience: float = 0.0
    until: float | None = None
    waits: bool = False


class Task(NamedTuple):
    """One image and step that is to be answered. `image` and `step` are the journal's numbers for them.

    `size` is the file's, in bytes (-1: there is none), `mtime_ns` its time as it was listed; `sha256` its digest when
    the journal knows it already. `variant` is the text of `images.variant` for its bytes, None where it is not known.
    `failed_before` is the message of its last failure, where it had one.
    """

    image: int
    step: int
    key: str
    position: int
    size: int
    sha256: bytes | None = None
    problem: str | None = None
    mtime_ns: int = 0
    variant: str | None = None
    failed_before: str | None = None


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A change of the model under an address, as canary images showed it at the time `at` (ISO 8601).

    `since`: the last time at which the earlier model was seen. `changed` of the `compared` images had another result.
    """

    step: str
    since: str
    at: str
    changed: int
    compared: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Content of `summary.json`.

    `base` is the folder that `image` is relative to. Times are ISO 8601 with offset. `answered` counts rows, `left`
    images that remain. All from `images` to `failures_by_code` and `model_changes` are of the job, the others of this
    run; `rate` is in answers per second. `exit_code` is what the command line returns.
    """

    job: str = ""
    version: str = ""
    endpoint: str = ""
    base: str = ""
    started_at: str = ""
    finished_at: str = ""
    exit_code: int = 0
    images: int = 0
    answered: int = 0
    failed: int = 0
    left: int = 0
    duplicates: int = 0
    ignored: int = 0
    ignored_by_kind: Mapping[str, int] = field(default_factory=dict)
    failures_by_code: Mapping[str, int] = field(default_factory=dict)
    new_failures: int = 0
    calls: int = 0
    throttled: int = 0
    retries: int = 0
    token_refreshes: int = 0
    outcome_unknown: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    stopped_by: str | None = None
    resume_at: str | None = None
    model_changes: tuple[ModelChange, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON has it; `model_changes` where there are any."""
        found = asdict(self)
        if not self.model_changes:
            del found["model_changes"]
        return found


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Images that a service takes.

    Sides in pixels, `base64_bytes` of base64 text, `formats` in Pillow's names.
    """

    base64_bytes: int = 4_000_000
    min_side: int = 15
    max_side: int = 4096
    max_ratio: float = 3.0
    formats: tuple[str, ...] = ("JPEG", "PNG", "BMP")
