"""results.jsonl: one JSON object a line. Every other output can be made from it."""

from ..exact_json import dumps
from ..values import Row


class JsonlOutput:
    """Rows as JSON lines in UTF-8."""

    name = "jsonl"
    filename = "results.jsonl"
    dialect = 1
    header = b""

    def encode(self, row: Row) -> bytes:
        """The row as one line."""
        return dumps(row) + b"\n"

    def encode_failure(self, failure: Row) -> bytes:
        """Nothing: failures have a file of their own, failures.jsonl."""
        return b""
