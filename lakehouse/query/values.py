"""Values on their way out: the same answer in every format, for every type that DuckDB has.

What a format has no exact type for travels as DuckDB's own text, which DuckDB casts back. In all formats: INTERVAL (a
month is no fixed time), ENUM, UUID, BIT, TIME WITH TIME ZONE, UNION, VARIANT, BIGNUM. In JSON and CSV dates and times
too, DECIMAL as its digits, BLOB as base64; in JSON also integers beyond 2^53, NaN and the infinities. HUGEINT is
DECIMAL(38, 0) in Arrow and Parquet.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

SAFE_INTEGER = 2**53
_ALWAYS_TEXT = dict.fromkeys(
    ("interval", "enum", "uuid", "bit", "time with time zone", "union", "variant", "bignum", "geometry"), "VARCHAR"
)
BINARY_CASTS: Mapping[str, str] = {**_ALWAYS_TEXT, "hugeint": "DECIMAL(38, 0)", "uhugeint": "DECIMAL(38, 0)"}
"""Type -> the type that it travels as to Arrow and Parquet."""
TEXT_CASTS: Mapping[str, str] = _ALWAYS_TEXT | dict.fromkeys(
    ("date", "time", "time_ns", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"),
    "VARCHAR",
)
"""Type -> the type that it travels as to JSON and CSV: Python's dates know neither infinity nor nanoseconds."""


def _travels_as(kind: Any, casts: Mapping[str, str]) -> str:
    name = kind.id
    if name in casts:
        return casts[name]
    if name not in ("list", "array", "map", "struct"):
        return str(kind)
    children = dict(kind.children)
    if name == "list":
        return f"{_travels_as(children['child'], casts)}[]"
    if name == "array":
        return f"{_travels_as(children['child'], casts)}[{children['size']}]"
    if name == "map":
        return f"MAP({_travels_as(children['key'], casts)}, {_travels_as(children['value'], casts)})"
    fields = ", ".join(f"{_name(field)} {_travels_as(child, casts)}" for field, child in kind.children)
    return f"STRUCT({fields})"


def _name(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


def selecting(sql: str, columns: Sequence[tuple[str, Any]], casts: Mapping[str, str]) -> str:
    """The statement with every column in the type that it travels as; itself when all may stay as they are."""
    found = [None if (wanted := _travels_as(kind, casts)) == str(kind) else wanted for _, kind in columns]
    if not any(found):
        return sql
    chosen = ", ".join(f"c{i}::{cast}" if cast else f"c{i}" for i, cast in enumerate(found))
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    # The statement stays on lines of its own: it may end in a comment.
    return f"SELECT {chosen} FROM (\n{sql.rstrip().rstrip(';')}\n) AS answer({names})"


def columns_of(relation: DuckDBPyRelation) -> list[tuple[str, Any]]:
    """Names and DuckDB types of a statement's answer."""
    return list(zip(relation.columns, relation.types, strict=True))


def for_json(value: Any) -> Any:
    """A value that orjson knows."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else text_of(value)
    if isinstance(value, dict):
        # Keys of a map may be anything, and JSON's only text.
        return {key if isinstance(key, str) else text_of(key): for_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [for_json(one) for one in value]
    return text_of(value)


def text_of(value: Any) -> str:
    """A value in text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return repr(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
