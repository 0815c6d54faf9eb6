"""Values on their way out: the same answer in every format, for every type that DuckDB has.

What a format has no exact type for travels as DuckDB's own text, which DuckDB casts back. In all formats: INTERVAL (a
month is no fixed time), ENUM, UUID, BIT, TIME WITH TIME ZONE, UNION, VARIANT, BIGNUM. In JSON and CSV dates and times
too, keys of maps, DECIMAL as its digits, BLOB as base64; in JSON also integers beyond 2^53, NaN and the infinities.
HUGEINT is DECIMAL(38, 0) in Arrow and Parquet. A struct without names is an array in JSON and CSV; in Arrow and
Parquet its fields are 1, 2, ….
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
"""Type -> the type that it travels as to JSON and CSV: Python's dates know neither infinity nor nanoseconds.

FLOAT goes there by way of its text: Python's only float is a DOUBLE, in which 0.1::FLOAT is 0.10000000149011612.
"""
KEYS = frozenset({"varchar", "blob"})
"""Of a map, that JSON and CSV take as they are."""
_NESTED = frozenset({"list", "array", "map", "struct"})
PLACE = "\x01"
"""Stands before a number as the name of a field that has none: a cast can't leave it without."""


def _stays(kind: Any, casts: Mapping[str, str]) -> bool:
    """Whether a value may travel as it is."""
    if kind.id in casts:
        return False
    if kind.id not in _NESTED:
        return True
    children = [(name, child) for name, child in kind.children if name != "size" or kind.id != "array"]
    if kind.id == "map" and casts is not BINARY_CASTS and children[0][1].id not in KEYS:
        return False
    if kind.id == "struct" and casts is BINARY_CASTS and not children[0][0]:
        return False
    return all(_stays(child, casts) for _, child in children)


def _travels_as(kind: Any, casts: Mapping[str, str]) -> str:
    """The type to cast to."""
    if kind.id in casts or kind.id not in _NESTED:
        return casts.get(kind.id, str(kind))
    children = list(kind.children)
    found = [_travels_as(child, casts) for name, child in children if name != "size" or kind.id != "array"]
    if kind.id in ("list", "array"):
        return f"{found[0]}[{children[1][1] if kind.id == 'array' else ''}]"
    if kind.id == "map":
        if casts is not BINARY_CASTS and children[0][1].id not in KEYS:
            found[0] = "VARCHAR"
        return f"MAP({', '.join(found)})"
    place = "" if casts is BINARY_CASTS else PLACE
    names = [name or f"{place}{number}" for number, (name, _) in enumerate(children, 1)]
    return f"STRUCT({', '.join(f'{_name(name)} {one}' for name, one in zip(names, found, strict=True))})"


def _name(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


def _cast(column: str, kind: Any, casts: Mapping[str, str]) -> str:
    """The column's expression in the type that it travels as; the column itself when it may stay as it is."""
    steps = [casts]
    if casts is TEXT_CASTS and "FLOAT" in str(kind):
        steps = [{**TEXT_CASTS, "float": "VARCHAR"}, {**TEXT_CASTS, "float": "DOUBLE"}]
    return "::".join([column, *(_travels_as(kind, step) for step in steps if not _stays(kind, step))])


def selecting(sql: str, columns: Sequence[tuple[str, Any]], casts: Mapping[str, str]) -> str:
    """The statement with every column in the type that it travels as; itself when all may stay as they are."""
    names = [f"c{number}" for number in range(len(columns))]
    chosen = [_cast(name, kind, casts) for name, (_, kind) in zip(names, columns, strict=True)]
    if chosen == names:
        return sql
    # The statement stays on lines of its own: it may end in a comment.
    return f"SELECT {', '.join(chosen)} FROM (\n{sql}\n) AS answer({', '.join(names)})"


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
        if value and next(iter(value))[:1] == PLACE:
            return [for_json(one) for one in value.values()]
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
