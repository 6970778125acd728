"""`python -m benchmarks.log_ids`: what programs make of a log_id, as the table of docs/en/exports.md.

Each program reads a number of 19 digits from each file that `batchrec` writes, with one row that lacks it.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOG_ID = 2124958367024021511
"""A number of 19 digits that floating point does not hold."""

Reading = Callable[[Path], Any]


def _write(folder: Path) -> None:
    """Write the same two rows in each format."""
    import pyarrow as pa
    import xlsxwriter
    from pyarrow import parquet

    rows = [{"log_id": LOG_ID}, {"log_id": None}]
    lines = [{"image": "a.jpg", "response": row} for row in rows]
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "results.csv").write_text(f"image,log_id\r\na.jpg,{LOG_ID}\r\nb.jpg,\r\n", encoding="utf-8-sig")
    parquet.write_table(pa.Table.from_pylist(rows, pa.schema([("log_id", pa.uint64())])), folder / "results.parquet")
    with xlsxwriter.Workbook(folder / "results.xlsx") as book:
        book.add_worksheet().write_string(0, 0, str(LOG_ID))


def _readings() -> list[tuple[str, str, Reading]]:
    import duckdb
    import openpyxl
    import pandas
    import polars
    from pyarrow import csv

    def sql(text: str) -> Reading:
        def read(path: Path) -> Any:
            with duckdb.connect() as db:
                return db.execute(text.format(path=path)).fetchall()[0][0]

        return read

    return [
        ("pandas", "results.jsonl", lambda path: pandas.read_json(path, lines=True)["response"][0]["log_id"]),
        ("pandas", "results.csv", lambda path: pandas.read_csv(path)["log_id"][0]),
        ("pandas, `dtype={'log_id': 'Int64'}`", "results.csv", _pandas_int64),
        ("pandas", "results.parquet", lambda path: pandas.read_parquet(path)["log_id"][0]),
        (
            "pandas, `dtype_backend='pyarrow'`",
            "results.parquet",
            lambda path: pandas.read_parquet(path, dtype_backend="pyarrow")["log_id"][0],
        ),
        ("polars", "results.jsonl", lambda path: polars.read_ndjson(path)["response"][0]["log_id"]),
        ("polars", "results.csv", lambda path: polars.read_csv(path)["log_id"][0]),
        ("polars", "results.parquet", lambda path: polars.read_parquet(path)["log_id"][0]),
        ("DuckDB", "results.jsonl", sql("SELECT response.log_id FROM read_json_auto('{path}')")),
        ("DuckDB", "results.csv", sql("SELECT log_id FROM read_csv('{path}')")),
        ("DuckDB", "results.parquet", sql("SELECT log_id FROM '{path}'")),
        ("pyarrow", "results.csv", lambda path: csv.read_csv(path)["log_id"][0].as_py()),
        ("openpyxl", "results.xlsx", lambda path: openpyxl.load_workbook(path).worksheets[0]["A1"].value),
    ]


def _pandas_int64(path: Path) -> Any:
    import pandas

    return pandas.read_csv(path, dtype={"log_id": "Int64"})["log_id"][0]


def table() -> list[tuple[str, str, str, str]]:
    """Program, file, the value as the program shows it, and `exact` or `rounded`."""
    with tempfile.TemporaryDirectory(prefix="log-ids-") as name:
        folder = Path(name)
        _write(folder)
        found = []
        for program, file, read in _readings():
            value = read(folder / file)
            found.append((program, file, str(value), "exact" if _digits(value) == str(LOG_ID) else "rounded"))
    return found


def _digits(value: Any) -> str:
    """The value's own digits: a float is equal to an integer that it only stands for."""
    return f"{value:.0f}" if "float" in type(value).__name__ else str(value)


def main() -> None:
    """Print the table as Markdown."""
    print("| program | file | reads | log_id |\n| --- | --- | --- | --- |")
    for program, file, value, verdict in table():
        print(f"| {program} | `{file}` | `{value}` | {verdict} |")


if __name__ == "__main__":
    main()
