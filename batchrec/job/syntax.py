"""Complaints about a text that is not TOML: the place, the line with a caret, and a hint.

job.toml: line 2, column 10: this is no value
    2 | paths = [“photos”]
      |          ^
    “ and ” are Chinese punctuation: TOML takes "
"""

import re
import unicodedata

from ..language import _, mark
from ..redact import visible
from .diagnostics import sounds_secret

_CHINESE = {
    "“": '"',
    "”": '"',
    "„": '"',
    "＂": '"',
    "‘": "'",
    "’": "'",
    "＇": "'",
    "，": ",",
    "、": ",",
    "：": "=",
    "＝": "=",
    "。": ".",
    "．": ".",
    "【": "[",
    "】": "]",
    "［": "[",
    "］": "]",
    "〔": "[",
    "〕": "]",
    "（": "[",
    "）": "]",
    "｛": "{",
    "｝": "}",
    "＃": "#",
    "－": "-",
    "＿": "_",
    "\u3000": " ",
}
"""Signs of Chinese input methods and word processors, and what TOML has in their place."""

_WHOLE_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'[^']*'|#.*")
_HEADER = re.compile(r"\s*(\[\[?)\s*(.*?)\s*\]\]?\s*(?:#.*)?$")
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_LONGEST_LINE_CHARACTERS = 76

_FAULTS = (
    ("Invalid value", mark("this is no value")),
    ("Invalid statement", mark("neither a key nor a table begins here")),
    ("Invalid initial character", mark("a key cannot begin here")),
    ("Invalid date", mark("there is no such date or time")),
    ("Invalid hex", mark("a backslash begins no escape here")),
    ("Escaped character", mark("a backslash begins no escape here")),
    ("Unescaped", mark("a backslash begins no escape here")),
    ("Illegal character '\\n'", mark("the line ends within a text")),
    ("Unterminated string", mark("a text is not closed")),
    ("Expected '\"", mark("a text is not closed")),
    ('Expected "', mark("a text is not closed")),
    ("Illegal character", mark("this character cannot stand here")),
    ("Found invalid character", mark("this character cannot stand here")),
    ("Expected '='", mark("= is missing behind a key")),
    ("Expected ']", mark("the name of a table is not closed")),
    ("Expected newline", mark("the line goes on where it should end")),
    ("Unclosed array", mark("a list is not closed")),
    ("Unclosed inline table", mark("a table is not closed")),
    ("Duplicate", mark("the key stands in this table already")),
    ("Cannot", mark("the file has this key or table already")),
)
"""By the beginning of the message of `tomllib`."""


def syntax_complaints(text: str, error: ValueError) -> list[str]:
    """Lines about a `tomllib.TOMLDecodeError`: the first without the file's name.

    A line that may hold a secret is not shown.
    """
    found = _PLACE.fullmatch(str(error))
    if found is None:  # numbers and times that Python cannot hold: it does not say where
        return [_("a number or a time is out of range")]
    lines = text.split("\n")
    at_end = found[2] is None
    number = len(text.rstrip().split("\n")) if at_end else int(found[2])
    line = lines[number - 1]
    column = len(line) + 1 if at_end else int(found[3])
    foreign = _foreign(line)
    if foreign:
        column = foreign[0] + 1
    elif "escape" in found[1] or "hex value" in found[1]:
        column = line.rfind("\\", 0, column - 1) + 1 or column
    hint = _hint(found[1], lines, number, column, foreign)
    place = _("line {line}, column {column}").format(line=number, column=column)
    where = _("end of document") if at_end and not foreign else place
    return [f"{where}: {_fault(found[1])}", *_shown(line, number, column), *([f"    {hint}"] if hint else [])]


def _fault(message: str) -> str:
    """The message of `tomllib` in our words; its versions differ in the rest of it."""
    return next((_(text) for beginning, text in _FAULTS if message.startswith(beginning)), _("this is not TOML"))


def _shown(line: str, number: int, column: int) -> list[str]:
    """The line and a caret below the column."""
    if sounds_secret(line):
        return []
    start = max(0, column - _LONGEST_LINE_CHARACTERS // 2) if len(line) > _LONGEST_LINE_CHARACTERS else 0
    cut = line[start : start + _LONGEST_LINE_CHARACTERS].replace("\t", " ")
    before = visible(cut[: column - 1 - start])
    width = sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in before)
    return [f"    {number} | {visible(cut)}", f"    {' ' * len(str(number))} | {' ' * width}^"]


def _foreign(line: str) -> list[int]:
    """Positions of Chinese punctuation outside of whole strings and comments."""
    rest = _WHOLE_STRING.sub(lambda found: " " * len(found[0]), line)
    places = [index for index, sign in enumerate(rest) if sign in _CHINESE]
    opening = rest.find('"')
    return [index for index in places if index < opening or opening < 0] or places


def _hint(message: str, lines: list[str], number: int, column: int, foreign: list[int]) -> str:
    line = lines[number - 1]
    rest = line[column - 1 :].strip()
    if foreign:
        sign = line[foreign[0]]
        shown = _("a full-width space") if sign == "\u3000" else sign
        return _("{sign} is Chinese punctuation; TOML takes {right}").format(
            sign=shown, right=_CHINESE[sign].replace(" ", _("an ordinary space"))
        )
    if ("escape" in message or "hex value" in message) and "\\" in line:
        return _("In \"…\" a backslash begins an escape; write '…', or / in place of each backslash.")
    if message.startswith("Cannot"):
        return _repeated(lines, number)
    if "Illegal character '\\n'" in message or "Unterminated string" in message or message.startswith("Expected '\"'"):
        return _("A closing quotation mark is missing in this line.")
    if "array" in message.lower():
        return _("A list ends with ] and has a comma between its entries; one of them is missing before this place.")
    if "inline table" in message.lower():
        return _("A table in one line ends with } and has a comma between its keys; one is missing before this place.")
    if message.startswith("Expected '='") and rest.startswith(":"):
        return _("TOML writes key = value, with = in place of the colon.")
    if message.startswith("Expected '='"):
        return _("TOML writes key = value; text without = may only stand behind #.")
    if message == "Invalid value":
        return _value_hint("…" if sounds_secret(line) else rest)
    if message.startswith("Expected newline"):
        return _("A line holds one key with one value; a number has no commas and no unit, and text stands in quotes.")
    return ""


def _value_hint(rest: str) -> str:
    """The hint about a value that is none; `rest` is the line from there on."""
    word = re.split(r"[\s,#\]}]", rest, maxsplit=1)[0]
    if not word:
        return _("A value is missing here, or a bracket is not closed.")
    if word.lower() in ("true", "false"):
        return _("true and false are written in small letters.")
    if word.lower() in ("yes", "no", "on", "off", "none", "null", "nil"):
        return _("TOML has true and false; a key without a value is left out.")
    return _('Text stands in quotes: "{word}"').format(word=word)


def _repeated(lines: list[str], number: int) -> str:
    """The hint about a key or table that stands in the file twice."""
    line = lines[number - 1]
    if header := _HEADER.fullmatch(line):
        for index in range(number - 1):
            other = _HEADER.fullmatch(lines[index])
            if other and other[2] == header[2]:
                if header[2] == "recognize":
                    return _("[recognize] stands in line {line}; each step begins with [[recognize]].").format(
                        line=index + 1
                    )
                return _("[{table}] stands in line {line} already; put the keys together.").format(
                    table=header[2], line=index + 1
                )
        return _("This table stands earlier in the file already.")
    key = line.partition("=")[0].strip()
    for index in range(number - 2, -1, -1):
        if lines[index].partition("=")[0].strip() == key and "=" in lines[index]:
            return _("{key} stands in line {line} already; keep one of them.").format(key=key, line=index + 1)
        if _HEADER.fullmatch(lines[index]):
            break
    return _("This key stands earlier in the table already; keep one of them.")
