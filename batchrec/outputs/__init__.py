"""Outputs: a module for each format, `files` that writes them all, and the summary.

A new format is a file and a row.
"""

from ..interfaces import Output
from .csv import CsvOutput
from .jsonl import JsonlOutput

OUTPUTS: dict[str, Output] = {"jsonl": JsonlOutput(), "csv": CsvOutput()}
"""Formats by the name that `output.formats` uses.

Their files are listed in `state.output_directory.OUTPUT_FILES`.
"""

__all__ = ["OUTPUTS", "CsvOutput", "JsonlOutput"]
