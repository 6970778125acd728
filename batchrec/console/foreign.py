"""Faults that Python's libraries find in what a user wrote, in our words: regular expressions, CSV."""

import re

from ..language import _, mark

_EXPRESSIONS = (
    ("missing ), unterminated subpattern", mark("a bracket is not closed")),
    ("unbalanced parenthesis", mark("a closing bracket has no opening one")),
    ("unterminated character set", mark("[ is not closed by ]")),
    ("bad character range", mark("a range runs backwards")),
    ("nothing to repeat", mark("there is nothing before it to repeat")),
    ("multiple repeat", mark("a repetition is repeated")),
    ("bad escape", mark("a backslash with a letter that means nothing")),
    ("the repetition number is too large", mark("a repetition number is too large")),
)
"""By the beginning of the message of `re.error`."""

_CSV = (
    ("unexpected end of data", mark("a quotation mark is not closed")),
    ("line contains NUL", mark("it holds a NUL")),
    ("field larger than field limit", mark("a cell is too long, or a quotation mark is not closed")),
    ("new-line character seen in unquoted field", mark("a line break stands outside of quotation marks")),
)
"""By the beginning of the message of `csv.Error`."""


def expression_fault(error: Exception) -> str:
    """Fault of a regular expression, and its character, from 1."""
    found = _found(_EXPRESSIONS, str(error)) or _("it is not well-formed")
    position = error.pos if isinstance(error, re.error) else None
    if position is None:
        return found
    return _("{fault}, at character {position}").format(fault=found, position=position + 1)


def csv_fault(error: Exception) -> str:
    """Fault of a line of CSV."""
    return _found(_CSV, str(error)) or _("a quotation mark within a cell is not doubled")


def _found(table: tuple[tuple[str, str], ...], message: str) -> str:
    return next((_(text) for beginning, text in table if message.startswith(beginning)), "")
