"""DuckDB's types as PostgreSQL's clients know them. What PostgreSQL has no exact type for is text; nested is JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PgType:
    """A type of PostgreSQL, and how DuckDB writes its text."""

    oid: int
    size: int
    name: str
    text: str = "{0}::VARCHAR"
    """SQL that makes PostgreSQL's text of a column."""
    binary: str = ""
    """SQL that makes the column that is sent in binary. Empty: as its text."""
    width: int = 0
    """Bytes of a value in binary; 0 when they differ."""


_FLOAT = (
    "CASE WHEN isnan({0}) THEN 'NaN' WHEN isinf({0}) THEN if({0} > 0, 'Infinity', '-Infinity') ELSE {0}::VARCHAR END"
)
_BOOL = "CASE WHEN {0} THEN 't' WHEN NOT {0} THEN 'f' END"
TEXT = PgType(25, -1, "text")
JSON = PgType(114, -1, "json", "to_json({0})::VARCHAR")
NUMERIC = PgType(1700, -1, "numeric", binary="{0}::VARCHAR")
BOOL = PgType(16, 1, "bool", _BOOL, "{0}::UTINYINT", 1)
INT2 = PgType(21, 2, "int2", binary="{0}::SMALLINT", width=2)
INT4 = PgType(23, 4, "int4", binary="{0}::INTEGER", width=4)
INT8 = PgType(20, 8, "int8", binary="{0}::BIGINT", width=8)

TYPES = {
    "BOOLEAN": BOOL,
    "TINYINT": INT2,
    "UTINYINT": INT2,
    "SMALLINT": INT2,
    "USMALLINT": INT4,
    "INTEGER": INT4,
    "UINTEGER": INT8,
    "BIGINT": INT8,
    "UBIGINT": NUMERIC,
    "HUGEINT": NUMERIC,
    "UHUGEINT": NUMERIC,
    "DECIMAL": NUMERIC,
    "FLOAT": PgType(700, 4, "float4", _FLOAT, "{0}", 4),
    "DOUBLE": PgType(701, 8, "float8", _FLOAT, "{0}", 8),
    "DATE": PgType(1082, 4, "date", binary="{0}", width=4),
    "TIME": PgType(1083, 8, "time", binary="{0}", width=8),
    "TIMESTAMP": PgType(1114, 8, "timestamp", binary="{0}", width=8),
    "TIMESTAMP_S": PgType(1114, 8, "timestamp", binary="{0}::TIMESTAMP", width=8),
    "TIMESTAMP_MS": PgType(1114, 8, "timestamp", binary="{0}::TIMESTAMP", width=8),
    "TIMESTAMP WITH TIME ZONE": PgType(1184, 8, "timestamptz", binary="{0}", width=8),
    "INTERVAL": PgType(1186, 16, "interval", "replace({0}::VARCHAR, 'month', 'mon')", "{0}", 16),
    "UUID": PgType(2950, 16, "uuid", binary="unhex(replace({0}::VARCHAR, '-', ''))"),
    "BLOB": PgType(17, -1, "bytea", r"'\x' || lower(hex({0}))", "{0}"),
    "VARCHAR": TEXT,
    "JSON": PgType(114, -1, "json"),
    "INT2VECTOR": PgType(22, -1, "int2vector", "array_to_string({0}, ' ')"),
}
NAMES = {
    16: "BOOLEAN", 17: "BLOB", 18: "VARCHAR", 19: "VARCHAR", 20: "BIGINT", 21: "SMALLINT", 23: "INTEGER", 25: "VARCHAR",
    26: "UINTEGER", 114: "VARCHAR", 700: "FLOAT", 701: "DOUBLE", 1042: "VARCHAR", 1043: "VARCHAR", 1082: "DATE",
    1083: "TIME", 1114: "TIMESTAMP", 1184: "TIMESTAMP WITH TIME ZONE", 1186: "INTERVAL", 1700: "NUMERIC",
    2950: "UUID", 3802: "VARCHAR",
}  # fmt: skip
"""DuckDB's type of a value that a client sends, by its OID; one that is not here is taken for whatever it is beside."""
ARRAYS = {
    1000: 16, 1001: 17, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20, 1021: 700, 1022: 701,
    1028: 26, 1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1231: 1700, 2951: 2950, 199: 114,
}  # fmt: skip
"""OID of an array -> OID of what is in it."""


def catalog_type(kind: str) -> str:
    """What a type of DuckDB's means in PostgreSQL's catalog."""
    return "INT2VECTOR" if kind == "USMALLINT[]" else kind


def pg_type(kind: str) -> PgType:
    """The type that a column of DuckDB's type goes out as."""
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT")):
        return JSON
    return TYPES.get(kind.partition("(")[0] if kind.startswith("DECIMAL") else kind, TEXT)


def type_modifier(kind: str) -> int:
    """PostgreSQL's: of a DECIMAL its digits."""
    if not kind.startswith("DECIMAL("):
        return -1
    precision, scale = (int(one) for one in kind[8:-1].split(","))
    return (precision << 16 | scale) + 4


def oid_of(name: str) -> int:
    """The OID of a type in NAMES; text's for what is unknown."""
    if name.endswith("[]"):
        item = oid_of(name[:-2])
        return next(oid for oid, inner in ARRAYS.items() if inner == item)
    return next((oid for oid, known in NAMES.items() if known == name and oid not in (18, 19)), TEXT.oid)
