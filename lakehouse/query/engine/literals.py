"""Values in the place of `$1`, `$2`, …: as literals, found and written by DuckDB's own rules.

A value whose type nobody named becomes a plain text literal, which DuckDB, as PostgreSQL, takes for whatever stands
beside it; DuckDB's prepared parameters would be VARCHAR there, and `day = $1` an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from lakehouse.query.engine.problems import QueryError

OID = "UINTEGER"
"""PostgreSQL's, which is BIGINT to DuckDB's parser."""
PLACE = re.compile(rb"\$([0-9]{1,5})")
TYPES = frozenset(
    {
        "BOOLEAN", "BLOB", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DATE", "TIME", "TIMESTAMP",
        "TIMESTAMP WITH TIME ZONE", "INTERVAL", "UUID", "VARCHAR", "NUMERIC", "UINTEGER",
    }
)  # fmt: skip
"""What a value may be said to be; each also as a list, with `[]` behind it."""
Literal = tuple[str, str | Sequence[str | None] | None]
"""Type ("" when nobody named it) and value: its text, the texts of a list, or NULL."""


def places(sql: str) -> Iterator[tuple[int, int, int]]:
    """Start, end (in bytes) and number of every `$n` that is no part of a text, a name or a comment."""
    content = sql.encode()
    for at, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.operator and (found := PLACE.match(content, at)):
            yield at, found.end(), int(found[1])


def filled(sql: str, literals: Sequence[Literal]) -> str:
    """The statement with a literal in each place.

    Raises:
        QueryError: it names a place for which there is no value.
    """
    content, parts, done = sql.encode(), [], 0
    for start, end, number in places(sql):
        if not 1 <= number <= len(literals):
            raise QueryError("invalid-request", f"There is no value for ${number}.")
        parts += [content[done:start], f" {literal(*literals[number - 1])} ".encode()]
        done = end
    return b"".join([*parts, content[done:]]).decode()


def literal(kind: str, value: str | Sequence[str | None] | None) -> str:
    """A literal of DuckDB's SQL."""
    if kind and kind.removesuffix("[]") not in TYPES:
        raise QueryError("invalid-request", "A value has a type that is not known here.")
    if value is None:
        return f"CAST(NULL AS {_sql_type(kind, '')})" if kind else "NULL"
    if not isinstance(value, str):
        one = kind.removesuffix("[]")
        return f"CAST(ARRAY[{', '.join(literal(one, part) for part in value)}] AS {_sql_type(one, '')}[])"
    text = "'" + value.replace("'", "''") + "'"
    return f"CAST({text} AS {_sql_type(kind, value)})" if kind else text


def _sql_type(kind: str, value: str) -> str:
    if kind.removesuffix("[]") != "NUMERIC":
        return kind
    if not value or kind.endswith("[]"):
        return kind.replace("NUMERIC", "DECIMAL(38, 10)")
    whole, _, part = value.partition(".")
    fits = re.fullmatch(r"[+-]?\d{1,38}", whole) and re.fullmatch(r"\d*", part) and len(whole) + len(part) <= 38
    return f"DECIMAL(38, {len(part)})" if fits else "DOUBLE"


def with_oids(sql: str) -> str:
    """The statement with casts to oid that its tree will show."""
    return re.sub(r"(::\s*)(?:pg_catalog\.)?oid\b", rf"\1{OID}", sql, flags=re.IGNORECASE)


def inferred(tree: Mapping[str, Any], types: Mapping[str, str]) -> dict[int, str]:
    """The types of places that a parse tree says: of a cast, of the column beside it (`types`, by name), of LIMIT."""
    found: dict[int, str] = {}
    left: list[Any] = [tree]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += item
            continue
        if not isinstance(item, dict):
            continue
        kind = item.get("class") or item.get("type")
        below = [one for value in item.values() for one in (value if isinstance(value, list) else [value])]
        asked = [int(one["identifier"]) for one in below if _is_place(one)]
        if item.get("subquery_type") == "ANY" and (place := _list_place(item["subquery"])):
            named = types.get(_column(item["child"]).lower(), "")
            found[place] = f"{named}[]" if named else ""
        if asked:
            named = ""
            if kind == "CAST":
                told = item["cast_type"]
                is_list = told.get("id") == "LIST"
                name = str((told["type_info"]["child_type"] if is_list else told).get("id", ""))
                named = name if name == OID else _known(name)
                named += "[]" if named and is_list else ""
            elif kind in ("LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"):
                named = "BIGINT"
            elif kind in ("COMPARISON", "BETWEEN") or item.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN"):
                beside = (types.get(_column(one).lower(), "") for one in below)
                named = next((one for one in beside if one), "")
            for number in asked:
                found.setdefault(number, named)
        left += below
    return found


def _list_place(subquery: Any) -> int:
    """The number of the place in `= ANY($n)`, which is a subquery to DuckDB; 0 for another one."""
    chosen = subquery["node"].get("select_list", [{}])[0]
    given = chosen.get("children", [{}])[0] if chosen.get("function_name") == "unnest" else {}
    return int(given["identifier"]) if _is_place(given) else 0


def _is_place(item: Any) -> bool:
    return isinstance(item, dict) and item.get("class") == "PARAMETER" and str(item.get("identifier")).isdigit()


def _column(item: Any) -> str:
    if isinstance(item, dict) and item.get("class") == "CAST":
        item = item.get("child")
    return str(item["column_names"][-1]) if isinstance(item, dict) and item.get("class") == "COLUMN_REF" else ""


def _known(name: str) -> str:
    name = {"TIMESTAMP_TZ": "TIMESTAMP WITH TIME ZONE", "DECIMAL": "NUMERIC", "HUGEINT": "NUMERIC"}.get(name, name)
    name = {"TINYINT": "SMALLINT", "UTINYINT": "SMALLINT", "USMALLINT": "INTEGER", "UINTEGER": "BIGINT"}.get(name, name)
    return name if name in TYPES else ""


def column_types(connection: duckdb.DuckDBPyConnection, database: str, tables: Sequence[str]) -> dict[str, str]:
    """The types of the columns of these tables by name, where they agree."""
    rows = connection.execute(
        "SELECT lower(column_name), any_value(data_type) FROM duckdb_columns() WHERE database_name = ? AND "
        "list_contains(?, schema_name || '.' || table_name) GROUP BY ALL HAVING count(DISTINCT data_type) = 1",
        [database, list(tables)],
    ).fetchall()
    return {name: _known(kind.partition("(")[0]) for name, kind in rows}


def from_json(told: Sequence[Sequence[Any]]) -> list[Literal]:
    """As a call carries them."""
    return [(str(kind), value) for kind, value in told]


def list_items(value: str) -> list[str | None]:
    """Of an array as PostgreSQL writes it, `{a,"b c",NULL}`. Raises ValueError or IndexError when it is none."""
    if not (value.startswith("{") and value.endswith("}")):
        raise ValueError("no list")
    found: list[str | None] = []
    part, is_quoted, inside, at = "", False, False, 1
    if value == "{}":
        return found
    while at < len(value):
        mark = value[at]
        if mark == "\\":
            at += 1
            part += value[at]
        elif mark == '"':
            inside, is_quoted = not inside, True
        elif inside:
            part += mark
        elif mark == "{":
            raise ValueError("more than one dimension")
        elif mark in ",}":
            part = part if is_quoted else part.strip()
            found.append(None if part.upper() == "NULL" and not is_quoted else part)
            part, is_quoted = "", False
        else:
            part += mark
        at += 1
    return found
