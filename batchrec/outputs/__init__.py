"""Outputs: a module for each format, `files` that writes them all, and the summary.

A new format is a file, a row here, and its file's name in `state.output_directory.OUTPUT_FILES`.
"""

from ..interfaces import Output
from .csv import CsvOutput
from .jsonl import JsonlOutput

OUTPUTS: dict[str, Output] = {"jsonl": JsonlOutput(), "csv": CsvOutput()}
"""Formats by the name that `output.formats` uses."""

__all__ = ["OUTPUTS", "CsvOutput", "JsonlOutput"]
