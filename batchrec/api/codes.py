"""The service's error codes: number, its own words, the kind of failure, and what a person should do.

A new code is one row: its kind and its columns decide how batchrec treats it, `batchrec errors` prints the table.
Texts of the service are from its error pages (2019-06 to 2024-12); `error_code` comes with HTTP status 200 in all of
them.
"""

from dataclasses import dataclass

from ..language import mark
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


_AGAIN = mark("batchrec calls again by itself; if it persists, open a ticket with the log_id")
_TOKEN = mark("batchrec fetches a new token and repeats the call")
_BASE64 = mark("batchrec encodes the image itself, so this is not expected: report it")
_SET = mark("check the data set with `batchrec dataset check`")
_FORMAT = mark("the service takes JPG, PNG and BMP; leave input.repair on")

CODES: dict[int, Code] = {
    code.number: code
    for code in (
        Code(1, "Unknown error", Kind.TRANSIENT, _AGAIN),
        Code(2, "Service temporarily unavailable", Kind.TRANSIENT, _AGAIN),
        Code(3, "Unsupported openapi method", Kind.REQUEST, mark("the address is wrong: check account.endpoint")),
        Code(
            4,
            "Open api request limit reached",
            Kind.THROTTLED,
            mark("the whole cluster is busy; batchrec pauses"),
            billed=False,
            cluster_busy=True,
        ),
        Code(
            6,
            "No permission to access data",
            Kind.REFUSED,
            mark("tick the service for your application in the console; for EasyDL bind the model to it"),
            billed=False,
            one_service=True,
        ),
        Code(13, "Get service token failed", Kind.TOKEN, _TOKEN),
        Code(
            14,
            "IAM Certification failed",
            Kind.REFUSED,
            mark("the key or secret is wrong (`batchrec login`), or the clock is, where calls are signed"),
            billed=False,
        ),
        Code(
            15,
            "app not exsits or create failed",
            Kind.REFUSED,
            mark("the application was deleted: make a new one"),
            billed=False,
        ),
        Code(
            17,
            "Open api daily request limit reached",
            Kind.EXHAUSTED,
            mark("the day's quota is used up; it is assumed to open again at 00:00 Beijing time. Set limits.daily"),
            billed=False,
        ),
        Code(
            18,
            "Open api qps request limit reached",
            Kind.THROTTLED,
            mark(
                "too many calls a second: set limits.qps to what the account has. Persisting without any load: the "
                "free quota of this service was never claimed in the console, or somebody else uses the account"
            ),
            billed=False,
        ),
        Code(
            19,
            "Open api total request limit reached",
            Kind.EXHAUSTED,
            mark("the pack is used up: buy or claim more, then `batchrec quota open`"),
            billed=False,
        ),
        Code(
            23, "IAM API-KEY authentication failed", Kind.REFUSED, mark("the API Key (bearer) is wrong"), billed=False
        ),
        Code(100, "Invalid parameter", Kind.TOKEN, _TOKEN, billed=False),
        Code(110, "Access token invalid or no longer valid", Kind.TOKEN, _TOKEN, billed=False),
        Code(111, "Access token expired", Kind.TOKEN, _TOKEN, billed=False),
        Code(216100, "invalid param", Kind.REQUEST, mark("check the step's options")),
        Code(216101, "not enough param", Kind.REQUEST, mark("check the step's options")),
        Code(216102, "service not support", Kind.REQUEST, mark("the address is wrong: check account.endpoint")),
        Code(216103, "param too long", Kind.REQUEST, mark("check the step's options")),
        Code(216110, "appid not exist", Kind.REQUEST, mark("the application was deleted: make a new one")),
        Code(216200, "empty image", Kind.IMAGE, mark("the file holds no image")),
        Code(216201, "image format error", Kind.IMAGE, _FORMAT),
        Code(216202, "image size error", Kind.IMAGE, mark("bytes, sides or proportions are outside the limits")),
        Code(216203, "image size error", Kind.IMAGE, _BASE64),
        Code(216630, "recognize error", Kind.TRANSIENT, _AGAIN),
        Code(216634, "detect error", Kind.TRANSIENT, _AGAIN),
        Code(282000, "internal error", Kind.TRANSIENT, _AGAIN),
        Code(282003, "missing parameters", Kind.REQUEST, mark("check the step's options")),
        Code(282100, "image transcode error", Kind.IMAGE, mark("the service cannot decode the image")),
        Code(282101, "image split limit reached", Kind.IMAGE, mark("the image is too long")),
        Code(282102, "target detect error", Kind.IMAGE, mark("the service detects nothing in the image")),
        Code(282103, "target recognize error", Kind.IMAGE, mark("the service recognizes nothing in the image")),
        Code(
            282110,
            "urls not exit",
            Kind.IMAGE,
            mark("the service got no image from the URL: try recognize.send without url"),
        ),
        Code(282111, "url format illegal", Kind.IMAGE, mark("the service does not take the URL: check its spelling")),
        Code(282112, "url download timeout", Kind.TRANSIENT, _AGAIN),
        Code(282113, "url response invalid", Kind.IMAGE, mark("the URL's server gave the service no image (hotlinks)")),
        Code(282114, "url size error", Kind.IMAGE, mark("the URL has more than 1,024 bytes, or none")),
        Code(282810, "image recognize error", Kind.IMAGE, mark("the service cannot recognize the image")),
        Code(283300, "Invalid argument", Kind.REQUEST, mark("check the step's options")),
        Code(336000, "Internal error", Kind.TRANSIENT, _AGAIN),
        Code(336001, "Invalid Argument", Kind.REQUEST, mark("check the step's options and model")),
        Code(336002, "invalid JSON", Kind.REQUEST, mark("check account.endpoint: something changes the request")),
        Code(336003, "base64 decoding failed", Kind.IMAGE, _BASE64),
        Code(336004, "image size is not allowed", Kind.IMAGE, mark("the image is larger than 4 MB")),
        Code(336005, "image decoding failed", Kind.IMAGE, _FORMAT),
        Code(336006, "missing required parameter", Kind.REQUEST, mark("check the step's options")),
        Code(
            336100,
            "model temporarily unavailable",
            Kind.TRANSIENT,
            mark("the model is starting; batchrec calls again"),
        ),
        Code(406000, "internal server error", Kind.TRANSIENT, _AGAIN),
        Code(406001, "param invalid", Kind.REQUEST, _SET),
        Code(406002, "dataset not exist", Kind.REQUEST, mark("the data set was deleted: upload it again")),
        Code(406003, "dataset already exists", Kind.REQUEST, mark("batchrec looks for its number and goes on")),
        Code(
            406004,
            "dataset can not be modified temporarily",
            Kind.TRANSIENT,
            mark("an import or a training is going on; batchrec calls again, and an upload can be resumed"),
        ),
        Code(406005, "label not exist", Kind.REQUEST, _SET),
        Code(
            406006,
            "no permission to modify the dataset",
            Kind.REFUSED,
            mark("the data set belongs to another user, or is in use: check it in the console"),
            billed=False,
            one_service=True,
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
            mark(
                "the file cannot be read. Kind `read`: missing, no permission, a disk or network error; every run "
                "tries again. Kind `image`: a folder or device, or a name that is not UTF-8"
            ),
            Kind.READ,
        ),
        Word("outside", Kind.IMAGE, mark("the file's real path lies outside of input.within")),
        Word("empty", Kind.IMAGE, mark("the file has no bytes")),
        Word(
            "not_an_image",
            Kind.IMAGE,
            mark("the content is no image, whatever the name says (an HTML page, text ...)"),
        ),
        Word("torn", Kind.IMAGE, mark("the image ends early or is damaged")),
        Word(
            "unsupported",
            Kind.IMAGE,
            mark(
                "a format that cannot be read (HEIC needs the extra heif; a camera's raw file); a format the service "
                "does not take, and input.repair is off; or a JPEG of more than 100 scans"
            ),
        ),
        Word("too_small", Kind.IMAGE, mark("a side is under the service's minimum; batchrec never enlarges")),
        Word("too_long", Kind.IMAGE, mark("longer than 3:1; batchrec pads or splits it if `input.long` says so")),
        Word("too_large", Kind.IMAGE, mark("too many pixels or bytes to send, or to decode safely")),
        Word(
            "timeout",
            Kind.TRANSIENT,
            mark("no reply within limits.timeout, or an upload without progress"),
        ),
        Word("connection", Kind.TRANSIENT, mark("no connection could be made")),
        Word("tls", Kind.TRANSIENT, mark("the server's certificate was not accepted")),
        Word("disconnected", Kind.TRANSIENT, mark("the connection broke before the reply was whole")),
        Word("not_json", Kind.TRANSIENT, mark("the reply is not the service's JSON")),
        Word("no_result", Kind.TRANSIENT, mark("the reply lacks the service's result, or has more than 1,000 labels")),
        Word("invalid_client", Kind.REFUSED, mark("the service does not know the key")),
        Word("fetch_address", Kind.FETCH, mark("no URL that can be fetched")),
        Word("fetch_connection", Kind.FETCH, mark("no connection to the server of an image, or its name is not known")),
        Word("fetch_disconnected", Kind.FETCH, mark("the connection broke before the image was whole")),
        Word("fetch_empty", Kind.FETCH, mark("the server sent no bytes")),
        Word("fetch_encoding", Kind.FETCH, mark("the server encoded the image in a way that batchrec cannot decode")),
        Word("fetch_missing", Kind.FETCH, mark("an image that was fetched left the cache before its call")),
        Word(
            "fetch_not_an_image",
            Kind.FETCH,
            mark("the server sent another content, such as an HTML page; it is not kept"),
        ),
        Word(
            "fetch_private", Kind.FETCH, mark("a private or local address; see input.fetch.private and --allow-private")
        ),
        Word("fetch_proxy", Kind.FETCH, mark("the proxy cannot be reached, or refused a tunnel to an image's server")),
        Word("fetch_redirects", Kind.FETCH, mark("more than five redirects, or one that leads to no URL")),
        Word("fetch_storage", Kind.FETCH, mark("the cache in the state folder cannot be written")),
        Word("fetch_timeout", Kind.FETCH, mark("an image was not fetched within input.fetch.timeout")),
        Word("fetch_tls", Kind.FETCH, mark("the certificate of an image's server was not accepted")),
        Word("fetch_too_large", Kind.FETCH, mark("more bytes than input.fetch.max_bytes; the rest was not fetched")),
        Word(
            "fetch_4xx", Kind.FETCH, mark("an image's server refused; the status stands in the code, as in fetch_404")
        ),
        Word("fetch_5xx", Kind.FETCH, mark("an image's server failed; the status stands in the code, as in fetch_503")),
        Word("http_429", Kind.THROTTLED, mark("a gateway refused the call: too many")),
        Word("http_413", Kind.IMAGE, mark("a gateway refused the request as too large")),
        Word("http_4xx", Kind.REQUEST, mark("a gateway refused the request; the status stands in the code")),
        Word("http_5xx", Kind.TRANSIENT, mark("a gateway failed; the status stands in the code")),
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
