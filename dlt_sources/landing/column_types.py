"""SQL that turns a file's column into the declared type, or stops the query at a value that doesn't fit."""

from __future__ import annotations

import json
import math
import re

from dlt_sources.landing.dialect import PLAIN, Dialect

INTEGERS = {
    "TINYINT": (-(1 << 7), (1 << 7) - 1),
    "SMALLINT": (-(1 << 15), (1 << 15) - 1),
    "INTEGER": (-(1 << 31), (1 << 31) - 1),
    "BIGINT": (-(1 << 63), (1 << 63) - 1),
    "HUGEINT": (-(1 << 127), (1 << 127) - 1),
    "UTINYINT": (0, (1 << 8) - 1),
    "USMALLINT": (0, (1 << 16) - 1),
    "UINTEGER": (0, (1 << 32) - 1),
    "UBIGINT": (0, (1 << 64) - 1),
}
"""The smallest and the largest value of each."""
EXACT_IN_DOUBLE = 1 << 53
"""Up to here a DOUBLE has every whole number."""
MISFIT = "value does not fit: "


def quote(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def decimal(kind: str) -> tuple[int, int] | None:
    """(precision, scale) of a DECIMAL; None for other types."""
    found = re.fullmatch(r"DECIMAL\((\d+), ?(\d+)\)", kind)
    return (int(found[1]), int(found[2])) if found else None


def is_widening(found: str, wanted: str) -> bool:
    """Whether every value of one type is exactly one of the other, and a plain cast makes it that.

    FLOAT isn't widened: what prints as 12.65 would be 12.649999618530273.
    """
    if found == wanted:
        return True
    parts, target = decimal(found), decimal(wanted)
    if found in INTEGERS:
        low, high = INTEGERS[found]
        if wanted in INTEGERS:
            return INTEGERS[wanted][0] <= low and high <= INTEGERS[wanted][1]
        if target:
            return target[0] - target[1] >= len(str(high))
        return wanted == "DOUBLE" and high <= EXACT_IN_DOUBLE
    if parts and target:
        return target[1] >= parts[1] and target[0] - target[1] >= parts[0] - parts[1]
    return (found, wanted) in (
        ("DATE", "TIMESTAMP"),
        ("TIMESTAMP_S", "TIMESTAMP"),
        ("TIMESTAMP_MS", "TIMESTAMP"),
    )


def type_for_new_column(found: str) -> str:
    """The raw table's type for a column that nobody declared, from the file's own type."""
    if found in INTEGERS:
        return "BIGINT" if is_widening(found, "BIGINT") else "DECIMAL(20,0)"
    if found in ("FLOAT", "DOUBLE"):
        return "DOUBLE"
    if found.startswith("TIMESTAMP"):
        return "TIMESTAMPTZ" if "ZONE" in found else "TIMESTAMP"
    return found if found in ("BOOLEAN", "DATE") or decimal(found) else "VARCHAR"


_PLAIN = (
    r"[+-]?(0|[1-9][0-9]*|(0|[1-9][0-9]*)?[.][0-9]+|(0|[1-9][0-9]*)[.]"
    r"|([0-9]|[0-9][.][0-9]+)[eE][+-][0-9]+|[0-9]+[.][0-9]+[eE][0-9]+)"
)
"""A number that is no code: 007, 1_000 and 1E5 may be something else."""


def type_of_text(source: str, dialect: Dialect = PLAIN) -> str:
    """An SQL aggregate: the type of a text column of CSV that nobody declared.

    DOUBLE where each value is a plain number that it has exactly, BIGINT for longer whole ones, else VARCHAR.
    """
    text = dialect.number(source)
    _, exact = _parsed(text, "DOUBLE")
    number = f"regexp_full_match({text}, '{_PLAIN}') AND COALESCE({exact}, false)"
    short = f"length({source}) <= 15 AND regexp_full_match({source}, '[+-]?[1-9][0-9]*')"  # most are: cheaper
    whole = f"regexp_full_match({text}, '[+-]?(0|[1-9][0-9]*)') AND TRY_CAST({text} AS BIGINT) IS NOT NULL"
    return (
        f"CASE WHEN count({source}) = 0 THEN 'VARCHAR'"
        f" WHEN bool_and({source} IS NULL OR CASE WHEN {short} THEN true ELSE {number} END) THEN 'DOUBLE'"
        f" WHEN bool_and({source} IS NULL OR {whole}) THEN 'BIGINT' ELSE 'VARCHAR' END"
    )


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


def conversion(
    source: str,
    found: str,
    column: str,
    wanted: str,
    row: str,
    *,
    careful: bool,
    declared: bool = True,
    dialect: Dialect = PLAIN,
) -> str:
    """An SQL expression: `source` (of type `found`) as `wanted`, blank text being NULL.

    A value that `wanted` can't hold exactly stops the query: nothing becomes NULL or is rounded in silence.
    `careful` names row, column and value (see `misfit`) but costs seven times as much; without it, the
    message may be DuckDB's own. Timestamps with an offset become UTC: the connection's TimeZone must be UTC.
    Text for a number that nobody `declared` must be a plain one: 007 may be a code. Text is written in `dialect`.
    """
    if wanted == "VARCHAR":
        value, fits = _as_text(source, found)
    elif direct := _direct(source, found, wanted):
        value, fits = direct
    else:
        text = f"NULLIF(TRIM(CAST({source} AS VARCHAR)), '')"
        blank, form = f"{text} IS NULL", dialect.form(wanted)
        value, test, suspicious, text = _from_text(text, wanted, dialect)
        if wanted == "BOOLEAN" and found != "VARCHAR":  # 0 and 1 are another column's type, not false and true
            test, suspicious = "false", "true"
        if found == "VARCHAR" and not declared and (wanted in INTEGERS or wanted == "DOUBLE"):
            plain = f"regexp_full_match({text}, '{_PLAIN}')"
            test, suspicious = f"{plain} AND {test}", f"({suspicious}) OR NOT {plain}"
        checked = _or_misfit(source, f"({blank} OR COALESCE({test}, false))", value, column, wanted + form, row)
        if careful:
            return checked
        unchecked = value.replace("TRY_CAST", "CAST")
        return f"CASE WHEN {suspicious} THEN {checked} ELSE {unchecked} END"
    return value if fits is None else _or_misfit(source, fits, value, column, wanted, row)


def fits(text: str, wanted: str, dialect: Dialect = PLAIN) -> str:
    """SQL: whether a text that isn't blank is a value of a type, exactly; a number only if it is plainly one."""
    _, test, _, text = _from_text(text, wanted, dialect)
    if wanted in INTEGERS or wanted == "DOUBLE" or decimal(wanted):
        test = f"regexp_full_match({text}, '{_PLAIN}') AND {test}"
    return f"COALESCE({test}, false)"


def _from_text(text: str, wanted: str, dialect: Dialect) -> tuple[str, str, str, str]:
    """A text as a value, whether it is one, whether a plain cast may take it wrongly, and the text as SQL has it."""
    form = dialect.form(wanted)
    if form and is_time(wanted):
        return *_parsed_time(text, wanted, dialect), "true", text
    text = dialect.number(text) if form else text
    return *_parsed(text, wanted), _suspicious(text, wanted), text


def misfit(message: str) -> tuple[int, str] | None:
    """The row and the sentence for a DuckDB error that `conversion` raised; None for any other error."""
    _, found, place = message.partition(MISFIT)
    if not found:
        return None
    at = json.JSONDecoder().raw_decode(place)[0]
    return int(at["row"]), f"row {at['row']}, column {at['column']}: {at['value']!r} is no {at['type']}{_why(at)}"


def _why(at: dict[str, str]) -> str:
    """What the value would have become."""
    value, wanted = at["value"], at["type"]
    if wanted == "VARCHAR" and value[:1] in "{[":
        return ": NaN, Infinity and decimals without a digit before the point can't be written as JSON"
    if re.search(r"[.]\d{7}", value) and wanted.startswith("TIME"):
        return ": times are kept to the microsecond"
    try:
        number = float(value)
    except ValueError:
        return ""
    if wanted == "DOUBLE" and math.isfinite(number) and _PLAIN_NUMBER.fullmatch(value.strip()):
        return f": it would become {number!r}"
    return ""


_PLAIN_NUMBER = re.compile(_PLAIN)


def _direct(source: str, found: str, wanted: str) -> tuple[str, str | None] | None:
    """The value of a typed column that needs no way over its text, and whether it fits where that isn't sure."""
    value = source if found == wanted else f"CAST({source} AS {wanted})"
    if found == "TIMESTAMP_NS" and wanted == "TIMESTAMP":
        return value, f"epoch_ns({source}) % 1000 = 0 AND {value} BETWEEN {calendar(wanted)}"
    if found == "TIMESTAMP WITH TIME ZONE" and wanted == "TIMESTAMPTZ":
        return source, f"{source} BETWEEN {calendar(found)}"
    if found in INTEGERS and wanted == "DOUBLE" and not is_widening(found, wanted):
        return value, f"CAST({value} AS HUGEINT) = {source}"
    if not is_widening(found, wanted):
        return None
    if is_time(found):
        return value, f"{source} BETWEEN {calendar(found)}"
    return value, f"isfinite({source})" if found in ("FLOAT", "DOUBLE") else None


def _as_text(source: str, found: str) -> tuple[str, str | None]:
    if found == "VARCHAR":  # PostgreSQL, which keeps small tables' rows, has no NUL in text
        return source, f"NOT contains({source}, chr(0))"
    if found in ("FLOAT", "DOUBLE"):  # codes that passed through pandas: 1.0 is the code 1
        whole = f"{source} = trunc({source}) AND abs({source}) < 1e15"
        as_integer = f"CAST(CAST({source} AS BIGINT) AS VARCHAR)"
        return f"CASE WHEN {whole} THEN {as_integer} ELSE CAST({source} AS VARCHAR) END", None
    if "[" not in found and ("(" not in found or decimal(found)):
        return f"CAST({source} AS VARCHAR)", None
    value = f"CAST(to_json({source}) AS VARCHAR)"
    if not re.search("FLOAT|DOUBLE|DECIMAL", found):
        return value, None
    # to_json writes NaN, Infinity and .5, which are no JSON, beside texts and keys that may hold the same letters.
    outside = f"regexp_replace({value}, '\"([^\"\\\\]|\\\\.)*\"', '', 'g')"
    return value, f"NOT regexp_matches({outside}, '[NI]|[^0-9][.]')"


def _parsed(text: str, wanted: str) -> tuple[str, str]:
    """The value of a text, and whether it is the whole value; a plain cast alone rounds and truncates."""
    value = f"TRY_CAST({text} AS {wanted})"
    if wanted in INTEGERS or decimal(wanted):  # 1.5 would become 2
        _, scale = decimal(wanted) or (0, 0)
        rounded = f"regexp_matches(replace({text}, '_', ''), '[.][0-9]{{{scale}}}[0-9]*[1-9]')"
        # With an exponent DuckDB rounds, too. Two numbers of at most 15 digits are one DOUBLE only if they are one.
        digits = _digits(f"split_part(lower({text}), 'e', 1)")
        unequal = f"TRY_CAST({text} AS DOUBLE) <> CAST({value} AS DOUBLE) OR ({value} = 0 AND {digits} <> '')"
        shifted = f"(length({digits}) > 15 OR {unequal})"
        is_exact = f"CASE WHEN contains(lower({text}), 'e') THEN NOT {shifted} ELSE NOT {rounded} END"
        return value, f"{value} IS NOT NULL AND {is_exact}"
    if wanted == "DOUBLE":  # what a DOUBLE prints, with as many digits: 0.1 and 0.10000000000000001, not 0.1000…0002
        digits = _digits(f"split_part(lower({text}), 'e', 1)")
        printed = f"format('{{:.' || CAST(greatest(length({digits}), 1) - 1 AS VARCHAR) || 'e}}', {value})"
        mantissa = f"split_part({printed}, 'e', 1)"
        return value, f"isfinite({value}) AND length({digits}) < 100 AND {_digits(mantissa)} = {digits}"
    shown = f"regexp_matches({text}, '[.][0-9]{{6}}[0-9]*[1-9]')"  # nanoseconds
    if wanted == "DATE":  # the time of day would go
        whole = f"{value} = TRY_CAST({text} AS TIMESTAMP) AND NOT {shown}"
        return value, f"{value} BETWEEN {calendar(wanted)} AND {whole}"
    if wanted == "TIMESTAMP":  # the offset in 10:00:00+02 would go
        value = f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        return value, f"{value} BETWEEN {calendar(wanted)} AND NOT {shown}"
    if wanted == "TIMESTAMPTZ":
        return value, f"{value} BETWEEN {calendar(wanted)} AND NOT {shown}"
    if wanted == "TIME":
        return value, f"{value} IS NOT NULL AND NOT {shown}"
    return value, f"{value} IS NOT NULL"


def _parsed_time(text: str, wanted: str, dialect: Dialect) -> tuple[str, str]:
    """As `_parsed`, by the formats that the dialect declares."""
    time, test = dialect.time(text)
    value = f"CAST({time} AS {wanted})"
    whole = f" AND {value} = {time}" if wanted == "DATE" else ""  # the time of day would go
    return value, f"{value} BETWEEN {calendar(wanted)} AND {test}{whole}"


def _digits(number: str) -> str:
    """SQL: a number's digits without the zeros before and behind them."""
    return f"trim(regexp_replace({number}, '[^0-9]', '', 'g'), '0')"


def _suspicious(text: str, wanted: str) -> str:
    """Whether a plain cast could take the text wrongly instead of failing."""
    if wanted in INTEGERS:
        return f"contains({text}, '.') OR contains({text}, 'e') OR contains({text}, 'E')"
    if parts := decimal(wanted):
        return f"contains({text}, '.') AND {_behind_point(text)} > {parts[1]} OR contains(lower({text}), 'e')"
    if wanted == "DATE":
        return f"length({text}) <> 10"
    named = f"contains(lower({text}), 'n')"  # nan, inf, infinity, and names of time zones
    if wanted == "DOUBLE":
        return f"length({text}) > 15 OR contains(lower({text}), 'e') OR {named}"
    return f"{named} OR contains({text}, '.') AND {_behind_point(text)} > 6"


def _behind_point(text: str) -> str:
    return f"length({text}) - strpos({text}, '.')"


def _or_misfit(source: str, fits: str, value: str, column: str, wanted: str, row: str) -> str:
    place = f"'row', {row}, 'column', {literal(column)}, 'type', {literal(wanted)}"
    shown = f"left(CAST({source} AS VARCHAR), 80)"
    error = f"error({literal(MISFIT)} || json_object({place}, 'value', {shown}))"
    return f"CASE WHEN {source} IS NULL OR {fits} THEN {value} ELSE {error} END"
