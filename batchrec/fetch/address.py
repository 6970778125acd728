"""Addresses of URLs: parsed strictly, resolved once, and checked before anything connects to them.

The ranges are those of IANA's special-purpose registries (IPv4 and IPv6, as of 2026-11). They stand here, since
`ipaddress.is_global` differs between patch releases of Python 3.11.
"""

import asyncio
import hashlib
import ipaddress
import re
import socket
import string
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import quote

from yarl import URL

from ..sources.logins import HIDDEN_LOGIN, split_login

PORTS = {"http": 80, "https": 443}
"""Ports of the schemes."""

_SAFE = "".join(set(string.punctuation) - set('"<>\\^`{|}'))
"""Characters of a path and query that are sent as they are; `%` among them: what is encoded is not encoded again."""

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")

_PRIVATE_4 = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
"""This network, private, CGNAT, loopback, link-local, documentation, relays, benchmarks, multicast, reserved."""

_GLOBAL_6 = IPv6Network("2000::/3")
"""The only range of IPv6 that is given to public networks."""

_PRIVATE_6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
"""Ranges within `_GLOBAL_6` for protocols, tunnels and documentation. Teredo and 6to4 are looked into before."""

_NAT64 = IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """The address is private, or the URL cannot be fetched; the text is the message of the failure."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart: `host` in lower case (IDNA), `target` is path and query as they are sent."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: a login is sent to no other origin."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in one spelling, without fragment and login: two URLs with the same one are the same image."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def at(self, ip: str) -> URL:
        """The URL with a checked address in place of the host, so that nobody looks it up again."""
        host = f"[{ip}]" if ":" in ip else ip
        return URL(f"{self.scheme}://{host}:{self.port}{self.target}", encoded=True)

    def joined(self, location: str) -> "Address":
        """The address that a redirect leads to; a login in it is not used. Raises Refused."""
        try:
            return parse(str(URL(self.url, encoded=True).join(URL(location)).with_user(None).with_fragment(None)))
        except (ValueError, TypeError):
            raise Refused("a redirect leads to what is no URL of http or https") from None


def parse(url: str) -> Address:
    """Take a URL without login, or with a masked one, apart. Raises Refused where it cannot be fetched."""
    scheme, _, rest = url.partition("://")
    scheme, rest = scheme.lower(), rest.removeprefix(f"{HIDDEN_LOGIN}@")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    target = rest[len(authority) :].partition("#")[0]
    if scheme not in PORTS:
        raise Refused("no URL of http or https")
    if not authority or _FORBIDDEN.search(authority) or "@" in authority or target.startswith("\\"):
        raise Refused("no host in the URL that can be asked; special characters of a password are percent-encoded")
    try:
        parts = URL(f"{scheme}://{authority}")
        host, port = parts.raw_host, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise Refused("no host and port in the URL that can be asked")
    path = target if target.startswith("/") else f"/{target}"
    # Half of a surrogate pair cannot be sent.
    return Address(scheme, host.lower().rstrip("."), port, quote(path, safe=_SAFE, errors="replace"))


def url_digest(url: str) -> bytes:
    """Digest of a URL with its login, by which copies are found where nothing is known of the bytes."""
    masked, login = split_login(url)
    with suppress(Refused):
        masked = parse(masked).url
    return hashlib.sha256(f"{login}\0{masked}".encode("utf-8", "surrogatepass")).digest()


async def resolve(address: Address, *, private: bool) -> list[str]:
    """Addresses of the host that may be connected to, in the resolver's order, looked up once.

    Raises Refused where all of them are private, unless `private`; OSError where there is none.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:  # a label of more than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from exc
    ips = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    allowed = [ip for ip in ips if private or not is_private(ip)]
    if not allowed:
        raise Refused(
            f"{address.host} is a private or local address; input.fetch.private = true together with --allow-private "
            "allows these"
        )
    return allowed


def is_private(ip: str) -> bool:
    """Whether an IP address is not public: private, local, reserved, multicast, or unknown.

    The same for the IPv4 address inside of an IPv6 one (mapped, 6to4, Teredo, NAT64).
    """
    try:
        found = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, IPv4Address):
        return any(found in network for network in _PRIVATE_4)
    inner = _inner(found)
    if inner:
        return any(is_private(str(each)) for each in inner)
    return found not in _GLOBAL_6 or any(found in network for network in _PRIVATE_6)


def _inner(ip: IPv6Address) -> tuple[IPv4Address, ...]:
    """IPv4 addresses that packets to an IPv6 one may be sent to."""
    if ip in _NAT64:
        return (IPv4Address(int(ip) & 0xFFFFFFFF),)
    if ip.teredo:
        return ip.teredo
    return tuple(each for each in (ip.ipv4_mapped, ip.sixtofour) if each is not None)
