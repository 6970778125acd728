"""Language of what the program says to people: gettext catalogues, chosen by the locale.

`_("{count:,} images")` is looked up as it stands, then formatted: `_("...").format(count=n)`, so that catalogues hold
whole sentences. English is what the code says; a text without a translation stays English. Logs, JSON, files and exit
codes are never translated.
"""

import gettext
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

DOMAIN = "batchrec"
LOCALE = Path(__file__).parent / "locale"


def language(environ: Mapping[str, str] | None = None) -> str:
    """The language of messages, from `BATCHREC_LANG`, else the first set of LC_ALL, LC_MESSAGES and LANG.

    "zh" for every Chinese locale, else "en".
    """
    environ = os.environ if environ is None else environ
    for name in ("BATCHREC_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name, "").strip().lower():
            return "zh" if value.startswith("zh") else "en"
    return "en"


def translate_typer() -> None:
    """Have Typer's own texts looked up in our catalogue. To be called before typer is imported.

    Typer looks them up in the global domain of `gettext`, some of them when it is imported. That domain follows
    LANGUAGE, LC_ALL, LC_MESSAGES and LANG; LANGUAGE wins, so it is set for this process and what it starts.
    """
    if language() != "en":
        os.environ["LANGUAGE"] = language()
        gettext.bindtextdomain(DOMAIN, LOCALE)
        gettext.textdomain(DOMAIN)


_english: list[bool] = []


def speak_english() -> None:
    """Translate nothing in this process from now on: for programs that read what it says."""
    _english.append(True)
    _catalogue.cache_clear()


@cache
def _catalogue() -> gettext.NullTranslations:
    if _english or language() == "en":
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, str(LOCALE), [language()], fallback=True)


def _(text: str) -> str:
    """The text in the user's language."""
    return _catalogue().gettext(text) if text else ""  # an empty one would be the catalogue's header


def ngettext(one: str, many: str, count: int) -> str:
    """The text for a count in the user's language."""
    return _catalogue().ngettext(one, many, count)


def titled(name: str, text: str = "") -> str:
    """A name with the colon that belongs to the language, and the text behind it."""
    return _("{name}: {text}").format(name=name, text=text) if text else _("{name}:").format(name=name)


def os_reason(error: BaseException) -> str:
    """The system's reason for an error in the user's language; the error's own text where there is none."""
    reason = getattr(error, "strerror", None)
    return _(reason) if reason else str(error)


def mark(text: str) -> str:
    """The text as it is: marks a constant for the catalogue, to be looked up where it is shown."""
    return text


TYPER = (
    *(mark("Arguments"), mark("Options"), mark("Commands"), mark("Error")),
    *(mark("[required]"), mark("required"), mark("[default: {}]"), mark("default: {default}"), mark("[env var: {}]")),
    *(mark("env var: {var}"), mark("(dynamic)"), mark("(deprecated) "), mark("Aborted."), mark("Aborted!")),
    mark("Install completion for the current shell."),
    mark("Show completion for the current shell, to copy it or customize the installation."),
)
"""Typer's own texts, marked for the catalogue: Typer 0.16 and newer look them up with `gettext`."""

SYSTEM = (
    *(mark("Operation not permitted"), mark("No such file or directory"), mark("Input/output error")),
    *(mark("Permission denied"), mark("Device or resource busy"), mark("File exists"), mark("Not a directory")),
    *(mark("Is a directory"), mark("Invalid argument"), mark("Too many open files in system")),
    *(mark("Too many open files"), mark("Text file busy"), mark("File too large"), mark("No space left on device")),
    *(mark("Read-only file system"), mark("Broken pipe"), mark("File name too long"), mark("No locks available")),
    *(mark("Directory not empty"), mark("Too many levels of symbolic links"), mark("Invalid cross-device link")),
    *(mark("Cannot allocate memory"), mark("Stale file handle"), mark("Disk quota exceeded")),
    *(mark("Operation not supported"), mark("Address already in use"), mark("Cannot assign requested address")),
    *(mark("Network is unreachable"), mark("Connection refused"), mark("Connection reset by peer")),
    *(mark("Connection timed out"), mark("No route to host"), mark("Transport endpoint is not connected")),
    *(mark("Name or service not known"), mark("Temporary failure in name resolution")),
    *(mark("Exec format error"), mark("No such device"), mark("No such device or address"), mark("Host is down")),
)
"""Reasons of the system, as glibc has them, marked for the catalogue."""
