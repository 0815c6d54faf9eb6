"""What a caller is told when there is no answer: one kind of error, rendered by each way in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lakehouse.errors import LakehouseError

STATUS = {
    "invalid-request": 400,
    "syntax": 400,
    "refused": 400,
    "unknown-table": 400,
    "failed": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "too-large": 413,
    "head-too-large": 431,
    "unsupported-type": 415,
    "method": 405,
    "not-acceptable": 406,
    "time-limit": 422,
    "memory-limit": 422,
    "crashed": 422,
    "too-many-calls": 429,
    "unavailable": 503,
}
"""Kind -> HTTP status."""

TITLES = {
    "invalid-request": "The request can't be read",
    "syntax": "The SQL can't be parsed",
    "refused": "The statement is not allowed here",
    "unknown-table": "There is no such table",
    "failed": "The statement failed",
    "unauthorized": "A token is needed",
    "forbidden": "The token does not allow that",
    "not-found": "There is no such thing",
    "too-large": "The request is too large",
    "head-too-large": "The request's head is too large",
    "unsupported-type": "The request's type is not supported",
    "method": "The method is not answered here",
    "not-acceptable": "None of the accepted formats is offered",
    "time-limit": "The statement took too long",
    "memory-limit": "The statement needs too much memory",
    "crashed": "The statement ended its worker",
    "too-many-calls": "Too many calls at once",
    "unavailable": "Nothing can be read now",
}


DETAIL_CHARACTERS = 1_000
"""A caller's own words come back in DuckDB's sentences, and there may be a megabyte of them."""


@dataclass
class QueryError(LakehouseError):
    """Why there is no answer: its kind (a key of STATUS), a sentence, and the place in the SQL where there is one.

    A long sentence is cut.
    """

    kind: str
    detail: str
    line: int | None = None  # from 1
    column: int | None = None  # from 1, in characters
    retry_after: int | None = None  # seconds

    def __post_init__(self) -> None:
        if len(self.detail) > DETAIL_CHARACTERS:
            self.detail = f"{self.detail[:DETAIL_CHARACTERS]}…"

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        return f"{place}{self.detail}"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.kind]

    def as_dict(self) -> dict[str, Any]:
        """Its fields, without those that are not known: the constructor takes them back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def problem(self) -> dict[str, Any]:
        """A problem details object (RFC 9457)."""
        body = {"type": f"urn:lakehouse:{self.kind}", "title": TITLES[self.kind], "status": self.status}
        return body | {name: value for name, value in self.as_dict().items() if name not in ("kind", "retry_after")}


def place(sql: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of a byte offset into a statement."""
    before = sql.encode()[:offset].decode(errors="replace")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
