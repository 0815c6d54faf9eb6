"""SQL that turns a file's column into the declared type, or stops the query at a value that doesn't fit."""

from __future__ import annotations

import json

INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
MISFIT = "value does not fit: "


def quote(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def type_for_new_column(found: str) -> str:
    """The raw table's type for a column that nobody declared, from the file's own type."""
    if found in INTEGERS:
        return "BIGINT"
    if found in ("FLOAT", "DOUBLE"):
        return "DOUBLE"
    if found.startswith("TIMESTAMP"):
        return "TIMESTAMPTZ" if "ZONE" in found else "TIMESTAMP"
    return found if found in ("BOOLEAN", "DATE") or found.startswith("DECIMAL(") else "VARCHAR"


def number_or_text(source: str) -> str:
    """An SQL aggregate that is true when a text column has values, and all are plain finite numbers."""
    number = f"TRY_CAST({source} AS DOUBLE)"
    plain = f"isfinite({number}) AND NOT regexp_matches({source}, '^[+-]?0[0-9]')"
    return f"count({source}) > 0 AND bool_and({source} IS NULL OR COALESCE({plain}, false))"


def is_time(kind: str) -> bool:
    """Whether a DuckDB type holds dates."""
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def calendar(kind: str) -> str:
    """SQL's years, 1 to 9999, for BETWEEN: DuckDB goes further, but Python, Arrow's users and SQLMesh don't follow."""
    zone = "+00" if "ZONE" in kind or kind == "TIMESTAMPTZ" else ""
    name = "TIMESTAMPTZ" if zone else ("DATE" if kind == "DATE" else "TIMESTAMP")
    last = "9999-12-31" if kind == "DATE" else f"9999-12-31 23:59:59.999999{zone}"
    first = "0001-01-01" if kind == "DATE" else f"0001-01-01 00:00:00{zone}"
    return f"{name} '{first}' AND {name} '{last}'"


def conversion(source: str, found: str, column: str, wanted: str, row: str, *, careful: bool) -> str:
    """An SQL expression: `source` (of type `found`) as `wanted`, blank text being NULL.

    A value that `wanted` can't hold exactly stops the query: nothing becomes NULL or is rounded in silence.
    `careful` names row, column and value (see `misfit`) but costs seven times as much; without it, the
    message may be DuckDB's own. Timestamps with an offset become UTC: the connection's TimeZone must be UTC.
    """
    if wanted == "VARCHAR":
        value, fits = _as_text(source, found)
    elif _is_lossless(found, wanted):
        value = source if found == wanted else f"CAST({source} AS {wanted})"
        fits = f"isfinite({source})" if found == "DOUBLE" else None
        if is_time(found):
            fits = f"{source} BETWEEN {calendar(found)}"
    else:
        text = f"NULLIF(TRIM(CAST({source} AS VARCHAR)), '')"
        value, test = _parsed(text, wanted)
        checked = _or_misfit(source, f"({text} IS NULL OR COALESCE({test}, false))", value, column, wanted, row)
        if careful:
            return checked
        unchecked = value.replace("TRY_CAST", "CAST")
        return f"CASE WHEN {_suspicious(text, wanted)} THEN {checked} ELSE {unchecked} END"
    return value if fits is None else _or_misfit(source, fits, value, column, wanted, row)


def misfit(message: str) -> tuple[int, str] | None:
    """The row and the sentence for a DuckDB error that `conversion` raised; None for any other error."""
    _, found, place = message.partition(MISFIT)
    if not found:
        return None
    at = json.JSONDecoder().raw_decode(place)[0]
    return int(at["row"]), f"row {at['row']}, column {at['column']}: {at['value']!r} is no {at['type']}"


def _is_lossless(found: str, wanted: str) -> bool:
    if found == "TIMESTAMP WITH TIME ZONE":
        return wanted == "TIMESTAMPTZ"
    return found == wanted or (found in INTEGERS and wanted in ("BIGINT", "DOUBLE"))


def _as_text(source: str, found: str) -> tuple[str, str | None]:
    if found == "VARCHAR":  # PostgreSQL, which keeps small tables' rows, has no NUL in text
        return source, f"NOT contains({source}, chr(0))"
    if found in ("FLOAT", "DOUBLE"):  # codes that passed through pandas: 1.0 is the code 1
        whole = f"{source} = trunc({source}) AND abs({source}) < 1e15"
        as_integer = f"CAST(CAST({source} AS BIGINT) AS VARCHAR)"
        return f"CASE WHEN {whole} THEN {as_integer} ELSE CAST({source} AS VARCHAR) END", None
    nested = "[" in found or ("(" in found and not found.startswith("DECIMAL("))
    return f"CAST(to_json({source}) AS VARCHAR)" if nested else f"CAST({source} AS VARCHAR)", None


def _parsed(text: str, wanted: str) -> tuple[str, str]:
    """The value of a text, and whether it is the whole value; a plain cast alone rounds and truncates."""
    value = f"TRY_CAST({text} AS {wanted})"
    if wanted == "BIGINT" or wanted.startswith("DECIMAL("):  # 1.5 would become 2
        # The wider decimal rounds as well: to 12 digits, where another is not 0, and whatever an exponent makes.
        rounded = f"regexp_matches({text}, '[.][0-9]{{12}}[0-9]*[1-9]')"
        shifted = f"contains(lower({text}), 'e') AND TRY_CAST({text} AS DOUBLE) <> CAST({value} AS DOUBLE)"
        return value, f"{value} = TRY_CAST({text} AS DECIMAL(38, 12)) AND NOT {rounded} AND NOT ({shifted})"
    if wanted == "DOUBLE":
        return value, f"isfinite({value})"
    if wanted == "DATE":  # the time of day would go
        return value, f"{value} BETWEEN {calendar(wanted)} AND {value} = TRY_CAST({text} AS TIMESTAMP)"
    if wanted == "TIMESTAMP":  # the offset in 10:00:00+02 would go
        value = f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        return value, f"{value} BETWEEN {calendar(wanted)}"
    if wanted == "TIMESTAMPTZ":
        return value, f"{value} BETWEEN {calendar(wanted)}"
    return value, f"{value} IS NOT NULL"


def _suspicious(text: str, wanted: str) -> str:
    """Whether a plain cast could take the text wrongly instead of failing."""
    if wanted == "BIGINT":
        return f"contains({text}, '.') OR contains({text}, 'e') OR contains({text}, 'E')"
    if wanted.startswith("DECIMAL("):
        scale = wanted.rstrip(")").split(",")[1].strip()
        after_point = f"length({text}) - strpos({text}, '.') > {scale}"
        return f"contains({text}, '.') AND {after_point} OR contains(lower({text}), 'e')"
    if wanted == "DATE":
        return f"length({text}) <> 10"
    return f"contains({text}, 'n') OR contains({text}, 'N')"  # nan, inf, infinity, and names of time zones


def _or_misfit(source: str, fits: str, value: str, column: str, wanted: str, row: str) -> str:
    place = f"'row', {row}, 'column', {literal(column)}, 'type', {literal(wanted)}"
    shown = f"left(CAST({source} AS VARCHAR), 80)"
    error = f"error({literal(MISFIT)} || json_object({place}, 'value', {shown}))"
    return f"CASE WHEN {source} IS NULL OR {fits} THEN {value} ELSE {error} END"
