"""parquet: results.parquet, one row per image and step, with a schema of its own.

`log_id` is an unsigned integer of 64 bits, `response` the service's JSON as text, and no column is without a type:
readers that guess types fail at both (docs/en/exports.md).

rows, some thousands ─▶ a list of values for each column ─▶ Arrow arrays ─▶ a group of the file
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate, chain, count, islice
from typing import Any, NamedTuple

from ..console.extras import require_extra
from ..exact_json import loads
from ..values import Row
from .exporter import Export

_BATCH_ROWS = 10_000
"""Rows that are held at a time, some 20 MB; a group of the file holds as many."""

_MOST_LOG_ID = 2**64  # larger ones do not fit into the column; they stand in `response`
_LOG_ID = b'"log_id":'
_SIDES = ("left", "top", "width", "height")


def write_parquet(export: Export) -> None:
    """Write the selected results or failures. Raises JobError where pyarrow is missing."""
    require_extra("parquet", "parquet", "pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    failed = export.selection.failed
    fields = _failure_fields(pa) if failed else _result_fields(pa)
    schema = pa.schema(fields, metadata={"batchrec": json.dumps(export.origin, ensure_ascii=False)})
    rows: Iterator[Any] = export.failures() if failed else export.rows()
    with parquet.ParquetWriter(export.folder / "results.parquet", schema, compression="zstd") as file:
        while batch := list(islice(rows, _BATCH_ROWS)):
            columns = _failure_columns(export, batch) if failed else _result_columns(export, batch)
            arrays = [_array(pa, columns[field.name], field.type) for field in schema]
            file.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            export.written += len(batch)
    if not failed:
        export.leave_out_failures(sum(1 for _failure in export.failures()))


def _result_fields(pa: Any) -> list[Any]:
    box = pa.struct([(side, pa.float64()) for side in _SIDES])
    label = pa.struct(
        [
            *(("name", pa.string()), ("score", pa.float64()), ("root", pa.string())),
            *(("calorie", pa.float64()), ("year", pa.string()), ("box", box)),
        ]
    )
    moment = pa.timestamp("us", tz="UTC")
    return [
        *(pa.field(name, pa.string()) for name in ("image", "sha256", "step", "service", "model")),
        *(pa.field("name", pa.string()), pa.field("score", pa.float64()), pa.field("labels", pa.list_(label))),
        *(pa.field("log_id", pa.uint64()), pa.field("response", pa.string())),
        *(pa.field("attempts", pa.int32()), pa.field("latency_ms", pa.float64())),
        *(pa.field("repaired", pa.list_(pa.string())), pa.field("same_as", pa.string())),
        *(pa.field("reused", moment), pa.field("answered_at", moment), pa.field("tiles", pa.int32())),
    ]


def _failure_fields(pa: Any) -> list[Any]:
    return [
        *(pa.field(name, pa.string()) for name in ("image", "step", "service", "kind", "code", "message")),
        *(pa.field("attempts", pa.int32()), pa.field("failed_at", pa.timestamp("us", tz="UTC"))),
    ]


def _result_columns(export: Export, batch: list[tuple[Row, bytes]]) -> dict[str, list[Any]]:
    """The columns of some results, by name."""
    rows = [row for row, _response in batch]
    labels = [list(export.labels(row)) for row in rows]
    first = [each[0] if each else {} for each in labels]
    names = ("sha256", "step", "service", "model", "attempts", "latency_ms", "repaired", "same_as")
    return {
        **{name: _values(rows, name) for name in (*names, "reused", "answered_at", "tiles")},
        "image": [export.images.named(row["image"]) for row in rows],
        "name": [label.get("name") for label in first],
        "score": [label.get("score") for label in first],
        "labels": labels,
        "log_id": [_log_id(response) for _row, response in batch],
        "response": [response for _row, response in batch],
    }


def _failure_columns(export: Export, batch: list[Row]) -> dict[str, list[Any]]:
    """The columns of some failures, by name."""
    columns = {name: [failure[name] for failure in batch] for name in batch[0]}
    return columns | {"image": [export.images.named(image) for image in columns["image"]]}


def _log_id(response: bytes) -> int | None:
    """The `log_id` of a response as JSON; None where it has none that fits into the column."""
    digits = response[response.rfind(_LOG_ID) + len(_LOG_ID) : -1]
    if digits.isdigit() and response.endswith(b"}"):  # the last key, and of no object within
        value: object = int(digits)
    else:
        found = loads(response)
        value = found.get("log_id") if isinstance(found, dict) else None
    return value if type(value) is int and 0 <= value < _MOST_LOG_ID else None


class _Kind(NamedTuple):
    """Values of a column: the types that Arrow takes as they are, and the function for all others."""

    plain: frozenset[type]
    convert: Callable[[object], object]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def _moment(value: object) -> datetime | None:
    """The time of an ISO 8601 text, else None."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _words(value: object) -> list[str] | None:
    return [str(word) for word in value] if isinstance(value, Iterable) and not isinstance(value, str) else None


_NOTHING = type(None)
_KINDS = {
    "string": _Kind(frozenset((str, bytes, _NOTHING)), _text),
    "double": _Kind(frozenset((float, int, _NOTHING)), _number),
    "int32": _Kind(frozenset((int, _NOTHING)), _whole),
    "uint64": _Kind(frozenset((int, _NOTHING)), _whole),
    "timestamp[us, tz=UTC]": _Kind(frozenset((_NOTHING,)), _moment),
    "list<item: string>": _Kind(frozenset((_NOTHING,)), _words),
}
"""By Arrow's name of a type. A value of another type than its column's is None, or its text in a column of texts."""


def _array(pa: Any, values: Sequence[Any], kind: Any) -> Any:
    """The values as an array of a type; structures and lists of them by the arrays of their fields.

    Arrow takes structures from dictionaries too, in five times as long.
    """
    if pa.types.is_struct(kind):
        there = [value for value in values if type(value) is dict]
        arrays = [_array(pa, _values(there, field.name), field.type) for field in kind]
        found = pa.StructArray.from_arrays(arrays, fields=list(kind))
        if len(there) == len(values):
            return found
        places = count()
        return found.take(pa.array([next(places) if type(value) is dict else None for value in values], pa.int32()))
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        offsets = pa.array(accumulate(map(len, values), initial=0), pa.int32())
        return pa.ListArray.from_arrays(offsets, _array(pa, [*chain(*values)], kind.value_type), type=kind)
    plain, convert = _KINDS[str(kind)]
    return pa.array(values if plain.issuperset(map(type, values)) else [convert(value) for value in values], kind)


def _values(rows: list[Row], name: str) -> list[Any]:
    """The values of a key; None where a row lacks it."""
    try:
        return [row[name] for row in rows]  # in half the time of `get`
    except KeyError:
        return [row.get(name) for row in rows]
