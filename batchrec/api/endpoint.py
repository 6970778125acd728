"""Endpoints: which addresses are allowed, and their normal form, by which two are compared.

An endpoint is an origin (RFC 6454): scheme, host and port. The normal form has a lower-case ASCII host (IDNA with
UTS 46, as yarl has it), no default port, no trailing dot and no path, so that equal origins are equal texts.
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from ..language import _, mark

EMBEDDED = "embedded"
"""The emulator in this process: no origin, nothing is sent."""

LIVE = "https://aip.baidubce.com"
"""The service itself; its normal form."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ODD = re.compile(r"[\s\\]|\][^:/?#]")
_WRONG = mark('is not an endpoint; "embedded", or for example: "https://aip.baidubce.com"')


def normal_endpoint(text: str) -> str:
    """The normal form of an endpoint; "embedded" stays as it is.

    Raises ValueError, whose text continues a complaint after "<key>: <what was given> " and does not repeat the value.
    """
    if text == EMBEDDED:
        return text
    url = _split(text)
    host = _normal_host(url.hostname or "")
    if url.scheme == "http" and not _loopback(host):
        raise ValueError(_("would send the key unencrypted; http:// is for this machine only, else https://"))
    if "@" in url.netloc:
        raise ValueError(_("holds a user or password; leave them out"))
    if url.path not in ("", "/") or "?" in text or "#" in text:
        raise ValueError(_('goes on after the host; for example: "https://aip.baidubce.com"'))
    port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{host}{port}"


def comparable(text: str) -> str:
    """The normal form of an endpoint that may be kept as it was written; any other text as it is."""
    try:
        return normal_endpoint(text)
    except ValueError:
        return text


def earlier_spellings(endpoint: str) -> tuple[str, ...]:
    """Texts other than the normal form that earlier versions kept: with default port, final dot, or both."""
    url = urlsplit(endpoint)
    host = url.netloc.removesuffix(f":{url.port}")
    dots = ("",) if host.endswith("]") else ("", ".")
    ports = ("", f":{_DEFAULT_PORTS[url.scheme]}") if url.port is None else (f":{url.port}",)
    return tuple(f"{url.scheme}://{host}{dot}{port}" for dot in dots for port in ports)[1:]


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        sound = url.scheme in _DEFAULT_PORTS and bool(url.hostname) and url.port != 0
    except ValueError:
        raise ValueError(_(_WRONG)) from None
    if not sound or _ODD.search(text) or not text.isprintable():
        raise ValueError(_(_WRONG))
    return url


def _normal_host(host: str) -> str:
    """The host in ASCII, an IPv6 address in brackets."""
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host)}]"
    if not host.isascii():
        host = _ascii(host)
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host):
        raise ValueError(_(_WRONG))
    return host


def _ascii(host: str) -> str:
    import idna  # 10 ms, for hosts that hardly anybody has

    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError(_(_WRONG)) from None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
