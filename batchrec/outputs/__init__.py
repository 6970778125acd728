"""Outputs: a module for each format, `files` that writes them all, the summary, names in a directory.

A new format is a module and a row here.
"""

from ..interfaces import Output
from .csv import CsvOutput
from .jsonl import JsonlOutput

_TABLE: tuple[Output, ...] = (JsonlOutput(), CsvOutput())

OUTPUTS: dict[str, Output] = {output.name: output for output in _TABLE}
"""Outputs by the name that `output.formats` uses."""

__all__ = ["OUTPUTS", "CsvOutput", "JsonlOutput"]
