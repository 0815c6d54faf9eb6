"""What a worker is told: once about itself, then a call a statement."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

RELEASE = "__release"
"""The catalog that a worker attaches a release as. No statement may name it."""


@dataclass(frozen=True)
class Config:
    """What a worker is told once, by its owner."""

    extension_directory: str
    threads: int
    memory_bytes: int
    secret: str = ""
    """DuckDB's CREATE SECRET with a key that reads the published zone; empty for a folder."""


@dataclass(frozen=True)
class Call:
    """One statement and its limits."""

    id: str
    sql: str
    attach: str  # the ATTACH statement of the release
    allowed: str  # the only place that may be read, a folder's address that ends in a slash
    served: list[str]
    format: str
    max_rows: int
    max_bytes: int
    parameters: dict[str, Any]
    about: dict[str, Any]
    dialect: str = ""
    """`postgres` when a client of PostgreSQL wrote it."""
    schema: str = ""
    """Where tables lie that the statement names without their schema."""
    literals: list[tuple[str, Any]] | None = None
    """For `$1`, `$2`, …: DuckDB type and value."""
    views: dict[str, tuple[list[str], str]] | None = None
    """Of whoever does not see all of the release: table -> its columns, and the filter of its rows."""
    keys: dict[str, list[str]] = field(default_factory=dict)
    """The columns that tell a table's rows apart, of those served tables where that is known."""

    @property
    def place(self) -> str:
        """The release as it is seen: the same for calls that may share an open one."""
        return self.attach if self.views is None else f"{self.attach}\n{json.dumps(self.views, sort_keys=True)}"

    @property
    def meaning(self) -> tuple[str, ...]:
        """What says which columns of which tables it asks for."""
        return self.place, self.dialect, self.schema, self.sql
