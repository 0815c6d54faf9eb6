"""What goes wrong, with the SQLSTATE that PostgreSQL's clients know it by."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lakehouse.query.engine.problems import QueryError
from lakehouse.query.postgres.messages import notice

CODES = {
    "invalid-request": "08P01",
    "syntax": "42601",
    "refused": "42501",
    "unknown-table": "42P01",
    "unauthorized": "28P01",
    "forbidden": "28000",
    "not-found": "3D000",
    "too-large": "54000",
    "time-limit": "57014",
    "memory-limit": "53200",
    "crashed": "53200",
    "too-many-calls": "53300",
    "unavailable": "58000",
}
"""Kind of a QueryError -> SQLSTATE."""
FAILED = (
    (r"Referenced column|does not have a column", "42703"),
    (r"No function matches|Function with name .* does not exist", "42883"),
    (r"Could not convert|can't be read as|[Ii]nvalid .* (?:format|value)|Conversion", "22P02"),
    (r"out of range|[Oo]verflow", "22003"),
    (r"GROUP BY", "42803"),
    (r"[Dd]ivi\w+ by zero", "22012"),
    (r"Ambiguous", "42702"),
    (r"[Cc]annot (?:compare|mix)|type", "42804"),
)
"""Of the sentences of DuckDB."""


@dataclass
class SqlError(Exception):
    """An error of the protocol's or of a session's own."""

    code: str
    text: str
    is_fatal: bool = False


def code_of(error: QueryError) -> str:
    """Its SQLSTATE."""
    if error.kind in CODES:
        return CODES[error.kind]
    return next((code for pattern, code in FAILED if re.search(pattern, error.detail)), "42000")


def error_message(error: QueryError | SqlError, sql: str = "", *, is_fatal: bool = False) -> bytes:
    """ErrorResponse. `sql` is the statement where its places are those of the error."""
    if isinstance(error, SqlError):
        severity = "FATAL" if is_fatal or error.is_fatal else "ERROR"
        return notice(b"E", {"S": severity, "V": severity, "C": error.code, "M": error.text})
    severity = "FATAL" if is_fatal else "ERROR"
    fields = {"S": severity, "V": severity, "C": code_of(error), "M": error.detail}
    if sql and error.line and error.column:
        before = sum(len(line) + 1 for line in sql.split("\n")[: error.line - 1])
        fields["P"] = str(before + error.column)
    return notice(b"E", fields)
