"""A look at the service without a key: proxy, connection, certificate, clock."""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.parse import urlsplit

from ..api.connections import proxy_for, trusting
from ..errors import JobError
from ..language import _

_LIMIT_SECONDS = 10.0
_CLOCK_SECONDS = 60.0
"""Difference of clocks from which on calls may be counted on another day than here. Signatures hold for 30 min."""

Finding = tuple[str, bool, str, str]
"""Name, whether it is good, text and remedy of a check."""


def reach(endpoint: str) -> Iterator[Finding]:
    """Look at an endpoint: `proxy`, `TLS`, `service` and `clock`.

    Takes 10 s at most where nothing replies.
    """
    try:
        proxy = proxy_for(endpoint)
        trust = trusting(endpoint)
    except JobError as error:
        yield "proxy" if "PROXY" in str(error) else "TLS", False, str(error), _("correct the variable")
        return
    if proxy is None:
        yield "proxy", True, _("none"), ""
    else:
        parts = urlsplit(proxy)
        yield "proxy", True, f"{parts.scheme}://{parts.hostname}:{parts.port}", ""
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler({} if proxy is None else {urlsplit(endpoint).scheme: proxy})
    ]
    if isinstance(trust, ssl.SSLContext):
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    try:
        request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "batchrec"})
        with urllib.request.build_opener(*handlers).open(request, timeout=_LIMIT_SECONDS) as reply:
            date = reply.headers.get("Date")
    except urllib.error.HTTPError as exc:  # a reply all the same
        date = exc.headers.get("Date")
        exc.close()
    except (OSError, HTTPException, ValueError) as exc:
        yield _unreachable(endpoint, getattr(exc, "reason", None) or exc)
        return
    yield "service", True, _("{endpoint} replies").format(endpoint=endpoint), ""
    yield from _clock(date)


def _unreachable(endpoint: str, reason: object) -> Finding:
    if isinstance(reason, ssl.SSLError):
        remedy = _(
            "check the clock; if a proxy or firewall signs connections, name its certificate (PEM) in SSL_CERT_FILE"
        )
        return "TLS", False, f"{endpoint}: {reason}", remedy
    remedy = _("check the network, DNS, HTTPS_PROXY and NO_PROXY of this user; a scheduled run gets what install saw")
    return "service", False, f"{endpoint}: {reason}", remedy


def _clock(date: str | None) -> Iterator[Finding]:
    try:
        off = time.time() - parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return
    text = _("{seconds:+.0f} s against the service").format(seconds=off)
    good = abs(off) <= _CLOCK_SECONDS
    yield "clock", good, text, "" if good else _("set the clock: timedatectl set-ntp true")
