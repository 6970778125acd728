"""Result files: one module for each format, and `files`, which writes them all. A new format is a file and a row."""

from ..interfaces import Output
from .csv import CsvOutput
from .jsonl import JsonlOutput

OUTPUTS: dict[str, Output] = {"jsonl": JsonlOutput(), "csv": CsvOutput()}
"""By the name that `output.formats` uses."""

__all__ = ["OUTPUTS", "CsvOutput", "JsonlOutput"]
