"""results.jsonl: one JSON object a line. Every other output can be made from it."""

from ..exact_json import dumps
from ..state.output_directory import RESULTS
from ..values import Row


class JsonlOutput:
    """Rows as JSON lines in UTF-8."""

    filename = RESULTS
    header = b""

    def encode(self, row: Row) -> bytes:
        """The row as one line."""
        return dumps(row) + b"\n"
