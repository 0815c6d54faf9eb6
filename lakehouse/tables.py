"""Query results for people and for programs: Rich tables, JSON, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any, Literal

import duckdb
from rich.table import Table
from rich.text import Text

from lakehouse.console import printable

BATCH_ROWS = 10_000
NUMBERS = ("INT", "DECIMAL", "DOUBLE", "FLOAT", "REAL")


def rich_table(
    columns: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None
) -> Table:
    """Numbers to the right with thousands separators, NULL visible."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, type_name in zip(columns, types, strict=True):
        side: Literal["left", "right"] = "right" if any(word in type_name for word in NUMBERS) else "left"
        table.add_column(Text(printable(name)), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(_shown(value) for value in row))
    return table


def _shown(value: Any) -> Text:
    if value is None:
        return Text("NULL", "dim")
    if isinstance(value, bool):
        return Text(str(value).lower())
    if isinstance(value, (int, float, Decimal)):
        return Text(f"{value:,}")
    return Text(printable(str(value)))


def write_json(result: duckdb.DuckDBPyConnection, out: IO[str]) -> int:
    """An array of records, a record a line. Gives the number of rows."""
    columns = [name for name, *_ in result.description or ()]
    count = 0
    out.write("[")
    for row in _rows(result):
        record = dict(zip(columns, row, strict=True))
        out.write(("," if count else "") + "\n" + json.dumps(record, default=plain, ensure_ascii=False))
        count += 1
    out.write("\n]\n" if count else "]\n")
    return count


def write_csv(result: duckdb.DuckDBPyConnection, out: IO[str]) -> int:
    """A header and the rows; NULL is an empty field. Gives the number of rows."""
    writer = csv.writer(out)
    writer.writerow([name for name, *_ in result.description or ()])
    count = 0
    for row in _rows(result):
        writer.writerow(["" if value is None else value for value in row])
        count += 1
    return count


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := result.fetchmany(BATCH_ROWS):
        yield from batch


def plain(value: Any) -> Any:
    """A value that JSON does not know, as one that it does."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
