"""Query results for people and for programs: Rich tables, JSON, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from lakehouse.cli.console import printable

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
