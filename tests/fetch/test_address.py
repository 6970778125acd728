"""Addresses of URLs: taken apart strictly, and checked in every form that leads into a private network."""

import pytest

from batchrec.fetch.address import Refused, is_private, parse, url_digest
from batchrec.sources.logins import split_login, without_logins

PUBLIC = "8.8.8.8 1.1.1.1 100.63.255.255 172.32.0.1 2606:4700::1111 ::ffff:8.8.8.8 2002:808:808::1 64:ff9b::8.8.8.8"
PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a00:1
64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:808:808::1 2001:db8::1 2001:10::1 2002:7f00:1::1 2002:a00:1::1 2002:c0a8:1::
3fff::1 5f00::1 fc00::1 fd12::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 not-an-address
"""


@pytest.mark.parametrize("ip", PUBLIC.split())
def test_public_addresses(ip: str) -> None:
    """Addresses of the public internet, also inside of an IPv6 one."""
    assert not is_private(ip)


@pytest.mark.parametrize("ip", PRIVATE.split())
def test_private_addresses(ip: str) -> None:
    """Loopback, link-local, private, CGNAT, multicast, reserved, documentation, and all of them in IPv6 forms."""
    assert is_private(ip)


@pytest.mark.parametrize(
    ("written", "host", "port", "target"),
    [
        ("http://Example.COM", "example.com", 80, "/"),
        ("HTTPS://example.com./a%2Fb?c=%7E&d=e f#g", "example.com", 443, "/a%2Fb?c=%7E&d=e%20f"),
        ("http://[::1]:8080/猫.jpg", "::1", 8080, "/%E7%8C%AB.jpg"),
        ("https://***@例子.com:8443?x", "xn--fsqu00a.com", 8443, "/?x"),
    ],
)
def test_urls_are_sent_as_they_are_written(written: str, host: str, port: int, target: str) -> None:
    """The host is in normal form; what is percent-encoded stays so, since a signature may cover it."""
    found = parse(written)
    assert (found.host, found.port, found.target) == (host, port, target)


@pytest.mark.parametrize(
    "written",
    [
        "ftp://a/b",
        "http://",
        "http:///a",
        "http://a:b/",
        "http://a:99999/",
        "http://a b/",
        "http://a\\@b/",
        "http://x@y/",
    ],
)
def test_what_is_no_url_is_refused(written: str) -> None:
    """Nothing is guessed: a host that two programs read in two ways is a way around the check."""
    with pytest.raises(Refused):
        parse(written)


@pytest.mark.parametrize(
    ("written", "masked", "login"),
    [
        ("http://u:p@h/a@b", "http://***@h/a@b", "u:p"),
        ("http://u:p@q@h/", "http://***@h/", "u:p@q"),
        ("https://u@h", "https://***@h", "u"),
        ("http://u:p/w@h/a", "http://***@h/a", "u:p/w"),
        ("http://u:p#w@h/a", "http://***@h/a", "u:p#w"),
        ("http://h:80/a@b", "http://h:80/a@b", ""),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b", ""),
    ],
)
def test_logins_are_masked(written: str, masked: str, login: str) -> None:
    """Also where the password should have been percent-encoded; an @ in the path is none."""
    assert split_login(written) == (masked, login)
    assert without_logins(f"no column; expected {written}, or") == f"no column; expected {masked}, or"


def test_spellings_of_one_url_are_one_image() -> None:
    """Case of the host, default port and fragment make no other image; login, path and query do."""
    same = {url_digest(url) for url in ("http://h/a", "HTTP://H:80/a", "http://h./a#x")}
    assert len(same) == 1
    assert not same & {url_digest(url) for url in ("http://h/A", "https://h/a", "http://h/a?", "http://u@h/a")}


def test_redirects_are_joined() -> None:
    """A login in a Location is dropped; a scheme that is not of the web is refused."""
    here = parse("https://h/x/y?z")
    assert here.joined("../q").url == "https://h/q"
    assert here.joined("//u:p@g/zz#f").url == "https://g/zz"
    for location in ("ftp://x/", "javascript:1", "http://[bad", "data:,x"):
        with pytest.raises(Refused):
            here.joined(location)
