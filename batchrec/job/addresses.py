"""Addresses of object storage: in `output.directory`, and in place of a folder on the command line."""

import re
from os import PathLike, fspath

from ..language import _

SCHEMES = ("s3", "oss", "gs", "file")
"""Schemes of addresses that results can be written to."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
"""One slash is enough: a `Path` of the command line has one. A drive of Windows has one letter."""


def address_of(text: str | PathLike[str]) -> str | None:
    """The address that a text is, without a slash at its end; None where it is a path."""
    found = _ADDRESS.fullmatch(fspath(text))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2].rstrip("/")
    return f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def fault_of(address: str) -> str:
    """The reason why nothing can be written to an address; empty where something can."""
    scheme, _colon, rest = address.partition("://")
    if scheme not in SCHEMES:
        *others, last = (f"{each}://" for each in SCHEMES)
        names = _("{others} or {last}").format(others=", ".join(others), last=last)
        return _("is an address that cannot hold results; expected a folder, or {names}").format(names=names)
    if "@" in rest.partition("/")[0]:
        return _("holds a user or a password; these come from the environment of each node")
    if not rest.strip("/"):
        return _("names no bucket; for example: s3://bucket/furniture")
    if "?" in rest or "#" in rest or "*" in rest:
        return _("holds a character that no name of results may have: ?, # or *")
    return ""
