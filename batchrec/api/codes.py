"""The service's error codes: number, its own words, the kind of failure, and what a person should do.

A new code is one row: its kind and its columns decide how batchrec treats it, `batchrec errors` prints the table.
Texts of the service are from its error pages (2019-06 to 2024-12); `error_code` comes with HTTP status 200 in all of
them.
"""

from dataclasses import dataclass

from ..values import Kind


@dataclass(frozen=True, slots=True)
class Code:
    """One error code. `message` is the service's own spelling, `advice` what helps."""

    number: int
    message: str
    kind: Kind
    advice: str
    billed: bool = True
    """Whether such a call counts against a quota. Where it does not, its reservation is given back."""
    cluster_busy: bool = False
    """Whether a throttled call says that the service is busy for everybody: calls pause, and the rate stays."""
    one_service: bool = False
    """Whether a refusal is about the service that was called, and not about the key: the others are called on."""


_AGAIN = "batchrec asks again by itself; if it persists, open a ticket with the log_id"
_TOKEN = "batchrec fetches a new token and repeats the call"
_BASE64 = "batchrec encodes the image itself, so this is not expected: report it"
_FORMAT = "the service takes JPG, PNG and BMP; leave input.repair on"

CODES: dict[int, Code] = {
    code.number: code
    for code in (
        Code(1, "Unknown error", Kind.TRANSIENT, _AGAIN),
        Code(2, "Service temporarily unavailable", Kind.TRANSIENT, _AGAIN),
        Code(3, "Unsupported openapi method", Kind.REQUEST, "the address is wrong: check account.endpoint"),
        Code(
            4,
            "Open api request limit reached",
            Kind.THROTTLED,
            "the whole cluster is busy; batchrec pauses",
            billed=False,
            cluster_busy=True,
        ),
        Code(
            6,
            "No permission to access data",
            Kind.REFUSED,
            "tick the service for your application in the console; for EasyDL bind the model to it",
            billed=False,
            one_service=True,
        ),
        Code(13, "Get service token failed", Kind.TOKEN, _TOKEN),
        Code(
            14,
            "IAM Certification failed",
            Kind.REFUSED,
            "the key or secret is wrong (`batchrec login`), or the clock is, where calls are signed",
            billed=False,
        ),
        Code(
            15,
            "app not exsits or create failed",
            Kind.REFUSED,
            "the application was deleted: make a new one",
            billed=False,
        ),
        Code(
            17,
            "Open api daily request limit reached",
            Kind.EXHAUSTED,
            "the day's quota is used up; it is assumed to open again at 00:00 Beijing time. Set limits.daily",
            billed=False,
        ),
        Code(
            18,
            "Open api qps request limit reached",
            Kind.THROTTLED,
            "too many calls a second: set limits.qps to what the account has. Persisting without any load: the "
            "free quota of this service was never claimed in the console, or somebody else uses the account",
            billed=False,
        ),
        Code(
            19,
            "Open api total request limit reached",
            Kind.EXHAUSTED,
            "the pack is used up: buy or claim more, then `batchrec quota open`",
            billed=False,
        ),
        Code(23, "IAM API-KEY authentication failed", Kind.REFUSED, "the API Key (bearer) is wrong", billed=False),
        Code(100, "Invalid parameter", Kind.TOKEN, _TOKEN, billed=False),
        Code(110, "Access token invalid or no longer valid", Kind.TOKEN, _TOKEN, billed=False),
        Code(111, "Access token expired", Kind.TOKEN, _TOKEN, billed=False),
        Code(216100, "invalid param", Kind.REQUEST, "check the step's options"),
        Code(216101, "not enough param", Kind.REQUEST, "check the step's options"),
        Code(216102, "service not support", Kind.REQUEST, "the address is wrong: check account.endpoint"),
        Code(216103, "param too long", Kind.REQUEST, "check the step's options"),
        Code(216110, "appid not exist", Kind.REQUEST, "the application was deleted: make a new one"),
        Code(216200, "empty image", Kind.IMAGE, "the file holds no picture"),
        Code(216201, "image format error", Kind.IMAGE, _FORMAT),
        Code(216202, "image size error", Kind.IMAGE, "bytes, sides or proportions are outside the limits"),
        Code(216203, "image size error", Kind.IMAGE, _BASE64),
        Code(216630, "recognize error", Kind.TRANSIENT, _AGAIN),
        Code(216634, "detect error", Kind.TRANSIENT, _AGAIN),
        Code(282000, "internal error", Kind.TRANSIENT, _AGAIN),
        Code(282003, "missing parameters", Kind.REQUEST, "check the step's options"),
        Code(282100, "image transcode error", Kind.IMAGE, "the service cannot decode the picture"),
        Code(282101, "image split limit reached", Kind.IMAGE, "the picture is too long"),
        Code(282102, "target detect error", Kind.IMAGE, "the service detects nothing in the picture"),
        Code(282103, "target recognize error", Kind.IMAGE, "the service recognizes nothing in the picture"),
        Code(282112, "url download timeout", Kind.TRANSIENT, _AGAIN),
        Code(282810, "image recognize error", Kind.IMAGE, "the service cannot recognize the picture"),
        Code(283300, "Invalid argument", Kind.REQUEST, "check the step's options"),
        Code(336000, "Internal error", Kind.TRANSIENT, _AGAIN),
        Code(336001, "Invalid Argument", Kind.REQUEST, "check the step's options and model"),
        Code(336002, "invalid JSON", Kind.REQUEST, "check account.endpoint: something changes the request"),
        Code(336003, "base64 decoding failed", Kind.IMAGE, _BASE64),
        Code(336004, "image size is not allowed", Kind.IMAGE, "the image is larger than 4 MB"),
        Code(336005, "image decoding failed", Kind.IMAGE, _FORMAT),
        Code(336006, "missing required parameter", Kind.REQUEST, "check the step's options"),
        Code(
            336100,
            "model temporarily unavailable",
            Kind.TRANSIENT,
            "the model is starting; batchrec asks again",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Word:
    """A failure that batchrec itself names, since the service did not speak."""

    word: str
    kind: Kind
    meaning: str
    or_kind: Kind | None = None
    """Kind of some of these failures, where it depends on the cause."""

    @property
    def kinds(self) -> str:
        """Its kinds, as a list for the user."""
        return ", ".join(kind.value for kind in (self.kind, self.or_kind) if kind)


WORDS: dict[str, Word] = {
    word.word: word
    for word in (
        Word(
            "unreadable",
            Kind.IMAGE,
            "the file cannot be read. Kind `read`: missing, no permission, a disk or network error; every run tries "
            "again. Kind `image`: a folder or device, or a name that is not UTF-8",
            Kind.READ,
        ),
        Word("outside", Kind.IMAGE, "the file's real path lies outside of input.within"),
        Word("empty", Kind.IMAGE, "the file has no bytes"),
        Word(
            "not_an_image",
            Kind.IMAGE,
            "the content is no picture, whatever the name says (an HTML page, text ...)",
        ),
        Word("torn", Kind.IMAGE, "the picture ends early or is damaged"),
        Word(
            "unsupported",
            Kind.IMAGE,
            "a format the service does not take, and input.repair is off; pixels that cannot be read, as those of a "
            "camera's raw file; or a JPEG of more than 100 scans",
        ),
        Word("too_small", Kind.IMAGE, "a side is under the service's minimum; batchrec never enlarges"),
        Word("too_long", Kind.IMAGE, "longer than 3:1; batchrec pads or splits it if `input.long` says so"),
        Word("too_large", Kind.IMAGE, "too many pixels or bytes to send, or to decode safely"),
        Word(
            "timeout",
            Kind.TRANSIENT,
            "no answer within limits.timeout, or an upload without progress",
        ),
        Word("connection", Kind.TRANSIENT, "no connection could be made"),
        Word("tls", Kind.TRANSIENT, "the server's certificate was not accepted"),
        Word("disconnected", Kind.TRANSIENT, "the connection broke before the answer was whole"),
        Word("not_json", Kind.TRANSIENT, "the reply is not the service's JSON"),
        Word("no_result", Kind.TRANSIENT, "the reply lacks the service's result, or has more than 1,000 labels"),
        Word("invalid_client", Kind.REFUSED, "the service does not know the key"),
        Word("http_429", Kind.THROTTLED, "a gateway refused the call: too many"),
        Word("http_413", Kind.IMAGE, "a gateway refused the request as too large"),
        Word("http_4xx", Kind.REQUEST, "a gateway refused the request; the status stands in the code"),
        Word("http_5xx", Kind.TRANSIENT, "a gateway failed; the status stands in the code"),
    )
}


def row_of(code: int | str) -> Code | None:
    """Row of an error code; None for a word of batchrec's own, and for a code that nobody has documented."""
    return CODES.get(code) if isinstance(code, int) else None


def kind_of(number: int) -> Kind:
    """Kind of an error code. All of 2161xx are faults of the request; an undocumented code is UNKNOWN."""
    if number in CODES:
        return CODES[number].kind
    return Kind.REQUEST if number // 100 == 2161 else Kind.UNKNOWN


def kind_of_status(status: int) -> Kind:
    """Kind of an HTTP status that came without the service's JSON: its own row, else that of its hundred."""
    word = WORDS.get(f"http_{status}") or WORDS.get(f"http_{status // 100}xx")
    return word.kind if word else Kind.TRANSIENT
