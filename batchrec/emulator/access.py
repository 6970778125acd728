"""Access rules: the HTTP requests that the emulator answers at all.

A table and a pure decision, no socket.

The emulator listens where any web page can send requests to. A browser names itself: it sends `Origin` with every
POST and `Sec-Fetch-Site` to loopback addresses, and its `Host` is the name that the page used (DNS rebinding).
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

CONTROL = "/_emulator"
"""The start of the control paths. All other paths are the service's own."""

SERVICE_HOST = "aip.baidubce.com"
"""The live service's name: official clients send it as `Host` wherever they connect."""

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+?)\.?)(?::([0-9]{0,5}))?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")

LOOPBACK = "localhost"
"""The name that stands for every loopback address, too."""

Name = IPv4Address | IPv6Address | str
"""A host: an address, or a name in lower case without a trailing dot."""


class HostError(ValueError):
    """A host that cannot be allowed. The message names it."""


class Request(NamedTuple):
    """The parts of a request that decide. Headers as tuples: they may be absent, or there several times."""

    method: str
    control: bool
    """Whether it goes to a control path."""
    target: str
    """The request target as it was sent: a path, or an address with scheme and host."""
    host: tuple[str, ...] = ()
    origin: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    """`Sec-Fetch-Site`."""
    content_type: tuple[str, ...] = ()


def _is_local(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is assigned to this machine: only then a socket can be bound to it."""
    if address.is_unspecified or address.is_multicast:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((str(address), 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts that requests may be for, beside loopback and, on the service's paths, the service's name."""

    names: frozenset[Name] = frozenset()
    """The host that the server was told to listen on, its addresses, and hosts allowed beside them."""
    wildcard: bool = False
    """Whether every address of this machine is one of them."""
    local: Callable[[IPv4Address | IPv6Address], bool] = _is_local
    """Whether an address is one of this machine."""

    @classmethod
    def listening(cls, host: str, bound: Iterable[str], allowed: Iterable[str] = ()) -> "Hosts":
        """The hosts of a server that was told to listen on `host` and listens on the addresses `bound`.

        Raises HostError for an entry of `allowed` that is no host.
        """
        addresses = [name for text in (host, *bound) if (name := _listed(text))]
        unusable = [text for text in allowed if not _listed(text)]
        if unusable:
            raise HostError(f"{unusable[0]!r} is no host; right would be a name or an address without a port")
        names = frozenset(name for name in addresses if isinstance(name, str) or not name.is_unspecified)
        wildcard = any(not isinstance(name, str) and name.is_unspecified for name in addresses)
        return cls(names | {name for text in allowed if (name := _listed(text))}, wildcard)

    def include(self, authority: str, *, control: bool) -> bool:
        """Whether a request with this `Host` is for this server.

        The port is not looked at: it may be forwarded.
        """
        name = host_of(authority)
        if name is None or name == SERVICE_HOST:
            return name is not None and not control
        if name == LOOPBACK or name in self.names:
            return True
        return self.wildcard and not isinstance(name, str) and self.local(name)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply to a request that is not answered: HTTP status and reason."""

    status: int
    reason: str


def _from_page(request: Request, hosts: Hosts) -> bool:
    return bool(request.origin)


def _from_browser(request: Request, hosts: Hosts) -> bool:
    return any(site != "none" for site in request.site)


def _without_one_host(request: Request, hosts: Hosts) -> bool:
    return len(request.host) != 1


def _for_another_host(request: Request, hosts: Hosts) -> bool:
    return bool(_foreign(request, hosts))


def _not_json(request: Request, hosts: Hosts) -> bool:
    types = [value.partition(";")[0].strip().lower() for value in request.content_type]
    return request.control and request.method == "POST" and types != ["application/json"]


RULES: tuple[tuple[Callable[[Request, Hosts], bool], int, str], ...] = (
    (_from_page, 403, "requests with an Origin header come from web pages, and are refused"),
    (
        _from_browser,
        403,
        "requests with a Sec-Fetch-Site header other than 'none' come from web pages, and are refused",
    ),
    (_without_one_host, 403, "exactly one Host header is needed"),
    (
        _for_another_host,
        403,
        "Host {host!a} is not this emulator's; to allow a name: batchrec emulator --allow-host NAME",
    ),
    (_not_json, 415, "a POST to {control} needs the header Content-Type: application/json"),
)
"""Whether a request is refused, with which status, and why. The first rule that applies decides."""


def refusal(request: Request, hosts: Hosts) -> Refusal | None:
    """The refusal of a request, or None for one that is answered."""
    for applies, status, reason in RULES:
        if applies(request, hosts):
            return Refusal(status, reason.format(host=" ".join(_foreign(request, hosts))[:200], control=CONTROL))
    return None


@lru_cache(maxsize=1024)
def host_of(authority: str) -> Name | None:
    """The host of a `Host` header (RFC 9110, 7.2) without its port, or None for text that is none.

    Loopback addresses are `LOOPBACK`. IPv4 addresses have four decimal numbers: `2130706433` and `0x7f.1` are names. An
    IPv4 address in IPv6 form is the IPv4 address.
    """
    match = _AUTHORITY.fullmatch(authority)
    if not match or int(match[3] or 0) > 65535:
        return None
    try:
        address = IPv6Address(match[1]) if match[1] else ipaddress.ip_address(match[2])
    except ValueError:
        return None if match[1] else match[2].lower()
    address = getattr(address, "ipv4_mapped", None) or address
    return LOOPBACK if address.is_loopback else address


def exposed(bound: Iterable[str]) -> bool:
    """Whether a server listens on an address beyond loopback, so that other machines may reach it."""
    return not all(ipaddress.ip_address(address).is_loopback for address in bound)


def reachable(bound: str) -> str:
    """Host of a URL under which a client of this machine reaches a server on this address."""
    address = ipaddress.ip_address(bound)
    if address.is_unspecified:
        return "[::1]" if address.version == 6 else "127.0.0.1"
    return f"[{bound}]" if address.version == 6 else bound


def _foreign(request: Request, hosts: Hosts) -> list[str]:
    """Foreign hosts that a request names, in its header or, as sent to a proxy, in its target."""
    absolute = _ABSOLUTE.match(request.target)
    named = (*request.host, absolute[1]) if absolute else request.host
    return [authority for authority in named if not hosts.include(authority, control=request.control)]


def _listed(text: str) -> Name | None:
    """A host as it is given to a server: IPv6 with or without brackets, and without a port."""
    bare = text.partition("%")[0]  # the zone of a link-local address is no part of a Host header
    if ":" in bare and not bare.startswith("["):
        return host_of(f"[{bare}]")
    return host_of(bare) if re.fullmatch(r"\[.*\]|[^:\[\]]+", bare) else None
