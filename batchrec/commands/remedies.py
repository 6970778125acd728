"""Remedies: what a person does about images that failed with a code, and about a run that stopped."""

from ..api.codes import CODES, kind_of
from ..language import _, mark
from ..periods import PERIODS
from ..values import Kind

_FETCH_AGAIN = mark("fetch them again; the next run takes files that have changed")
_NEXT_RUN = mark("every run tries them again; check that the files are there and may be read")
_NEXT_FETCH = mark("every run tries them again; check the URLs and their server")
_RETRY = mark("this may pass: run again with --retry-failed")
_OTHER_IMAGE = mark("replace them with images that the service takes; the next run takes files that have changed")
_CHECK_OPTIONS = mark("check the options of the step and account.endpoint, then run with --retry-failed")

_BY_WORD: dict[str, str] = {
    "unreadable": mark("use regular files with names in UTF-8; the next run takes files that have changed"),
    "outside": mark("move them below input.within, or change that key; then run with --retry-failed"),
    "empty": _FETCH_AGAIN,
    "not_an_image": mark("their content is no image: fetch them again, or leave them out with input.exclude"),
    "torn": _FETCH_AGAIN,
    "unsupported": mark("convert them to JPEG, or turn input.repair on where it is off; then run with --retry-failed"),
    "too_small": mark("fetch larger ones: batchrec never enlarges; the next run takes files that have changed"),
    "too_long": mark('set input.long to "pad" or "split", then run with --retry-failed'),
    "too_large": mark("shrink them; the next run takes files that have changed"),
    "fetch_private": mark("addresses in a private network need input.fetch.private = true and --allow-private"),
    "fetch_proxy": mark(
        "the proxy (HTTP_PROXY, HTTPS_PROXY) must allow CONNECT to the port of the URLs: 80 for http://, 443 for "
        "https://; NO_PROXY exempts hosts; every run tries them again"
    ),
    "fetch_too_large": mark("raise input.fetch.max_bytes; every run tries them again"),
    "fetch_timeout": mark("every run tries them again; raise input.fetch.timeout for slow servers"),
    "fetch_storage": mark("make room for the state folder (BATCHREC_STATE_DIR); every run tries them again"),
    "tls": mark("check the certificate of the server or proxy (SSL_CERT_FILE), then run with --retry-failed"),
}

_BY_KIND: dict[Kind, str] = {
    Kind.READ: _NEXT_RUN,
    Kind.FETCH: _NEXT_FETCH,
    Kind.IMAGE: _OTHER_IMAGE,
    Kind.TRANSIENT: _RETRY,
    Kind.UNKNOWN: _RETRY,
    Kind.REQUEST: _CHECK_OPTIONS,
}

_BY_REASON: dict[str, str] = {
    **{period.stopped_by: period.reason for period in PERIODS.values()},
    "credentials": mark("stopped: the credentials were refused; check them with `batchrec login`"),
    "permission": mark("stopped: the account may not use a service; `batchrec errors 6` says more"),
    "service": mark("stopped: the service cannot be reached or keeps failing; run again later"),
    "output": mark("stopped: an output cannot be written"),
    "inputs": mark("stopped: the inputs went away; run again when they are back"),
    "no_image": mark("there is no image in the inputs"),
    "error": mark("stopped by an error"),
}


def remedy(code: int | str, kind: str) -> str:
    """Instruction for failures with this code, in the user's language."""
    if isinstance(code, str):
        text = _BY_WORD.get(code) if kind != Kind.READ else None
        return _(text or _BY_KIND.get(Kind(kind), _RETRY))
    if code in CODES and kind_of(code) is Kind.IMAGE:
        return _(CODES[code].advice)
    return _(_BY_KIND.get(kind_of(code), _RETRY))


def reason(stopped_by: str) -> str:
    """Sentence for `stopped_by` of summary.json, in the user's language."""
    known = _BY_REASON.get(stopped_by)
    return _(known) if known else _("interrupted by {signal}; run again to go on").format(signal=stopped_by)
