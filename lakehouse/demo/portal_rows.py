"""The rows that the local portal serves: a Parquet file of strings, with the portal's own system fields."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.demo.soql import Malformed, Soql, split_select

SYSTEM_FIELDS = {":id": "row_identifier", ":created_at": "fixed_timestamp", ":updated_at": "fixed_timestamp"}
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
NOT_TEXT = {"crash_date": "floating_timestamp", "location": "location", "latitude": "number", "longitude": "number"}


@dataclass(frozen=True)
class Page:
    """What a query gives: each row as JSON text, and the fields with their types."""

    rows: list[str]
    fields: list[str]
    types: list[str]


class PortalRows:
    """One dataset, in a DuckDB in memory. Tests insert, change and delete through the methods."""

    def __init__(self, parquet: Path) -> None:
        self._database = duckdb.connect(config={"autoinstall_known_extensions": False})
        self._database.execute("SET TimeZone = 'UTC'")
        self._lock = threading.Lock()
        # Deterministic system fields: a crash is entered within a day, and corrected within three more.
        self._database.execute(
            """
            CREATE TABLE crashes AS
            WITH numbered AS (
                SELECT *, md5(collision_id) AS digest, CAST(crash_date AS TIMESTAMP)
                    + to_seconds(86400 + hash(collision_id) % 86400) AS created
                FROM read_parquet(?)
            )
            SELECT * EXCLUDE (digest, created),
                'row-' || digest[1:4] || '.' || digest[5:8] || '-' || digest[9:12] AS ":id",
                strftime(created, '%Y-%m-%dT%H:%M:%S.%gZ') AS ":created_at",
                strftime(created + to_days(CAST(hash(digest) % 3 AS INTEGER)), '%Y-%m-%dT%H:%M:%S.%gZ')
                    AS ":updated_at"
            FROM numbered ORDER BY ":updated_at"
            """,
            [str(parquet)],
        )
        newest = self._scalar('SELECT max(":updated_at") FROM crashes') or "2024-01-01T00:00:00.000Z"
        self._clock = datetime.strptime(newest, STAMP)
        self.version = 0
        self.types = self._types()

    def _types(self) -> dict[str, str]:
        names = [row[0] for row in self._database.execute("DESCRIBE crashes").fetchall()]
        numbers = {name for name in names if name.startswith("number_of_") or name == "collision_id"}
        return {
            name: SYSTEM_FIELDS.get(name) or NOT_TEXT.get(name) or ("number" if name in numbers else "text")
            for name in names
        }

    def query(self, parameters: Mapping[str, str], limit: int, offset: int) -> Page:
        """Answer a SODA query. Raises NoSuchColumn and Malformed."""
        soql = Soql(self.types)
        fields = self._fields(soql, parameters.get("select", "*"))
        conditions = [soql.expression(parameters["where"])] if parameters.get("where") else []
        arguments = []
        for name, value in parameters.items():
            if name in self.types:
                conditions.append(f"{soql.expression(name)} = ?")
                arguments.append(value)
        if words := parameters.get("q"):
            text = "concat_ws(' ', " + ", ".join(f'"{name}"' for name in self.types) + ")"
            conditions.append(f"contains(lower({text}), lower(?))")
            arguments.append(words)
        tail = f" WHERE {' AND '.join(f'({condition})' for condition in conditions)}" if conditions else ""
        if parameters.get("group"):
            tail += f" GROUP BY {soql.expression(parameters['group'])}"
        if parameters.get("having"):
            tail += f" HAVING {soql.expression(parameters['having'])}"
        if parameters.get("order"):
            aliases = {name: "number" for name, sql, _ in fields if name not in self.types}
            tail += f" ORDER BY {Soql(self.types, aliases).expression(parameters['order'])}"
        elif not parameters.get("group") and not any("(" in sql for _, sql, _ in fields):
            tail += " ORDER BY random()"  # the real one promises no order either
        # NULL || … is NULL, which concat_ws leaves out: so do portals.
        parts = ", ".join(f"'\"{name}\":' || {_as_json(sql, kind)}" for name, sql, kind in fields)
        aliased = ", ".join(f'{sql} AS "{name}"' for name, sql, _ in fields if name not in self.types)
        sql = f"SELECT '{{' || concat_ws(',', {parts}) || '}}'{', ' + aliased if aliased else ''} FROM crashes"
        sql += f"{tail} LIMIT {limit} OFFSET {offset}"
        try:
            rows = [row[0] for row in self._cursor().execute(sql, arguments).fetchall()]
        except (duckdb.ParserException, duckdb.BinderException, duckdb.ConversionException) as error:
            raise Malformed(" ".join(f"{name} {text}" for name, text in parameters.items())) from error
        return Page(rows, [name for name, _, _ in fields], [kind for _, _, kind in fields])

    def _fields(self, soql: Soql, select: str) -> list[tuple[str, str, str]]:
        """(name, SQL, type) of each field of $select."""
        fields = []
        for item, alias in split_select(select):
            if item in ("*", ":*"):
                system = item == ":*"
                names = [name for name in self.types if name.startswith(":") == system]
                fields += [(name, f'"{name}"', self.types[name]) for name in names]
            elif item.lower() in self.types:
                name = item.lower()
                fields.append((alias or name, f'"{name}"', self.types[name]))
            else:
                name = alias or "_".join("".join(c if c.isalnum() else " " for c in item).split())
                fields.append((name, soql.expression(item), "number"))
        return fields

    def last_modified(self) -> datetime:
        """When a row was changed last, by the portal's clock."""
        return self._clock

    def insert(self, rows: Sequence[Mapping[str, str]], *, updated_at: str | None = None) -> None:
        """Add rows; `updated_at` lets one arrive late, with a time that has passed already."""
        for row in rows:
            stamp = updated_at or self._tick()
            system = {":id": f"row-new-{row['collision_id']}", ":created_at": stamp, ":updated_at": stamp}
            values = system | dict(row)
            names = ", ".join(f'"{name}"' for name in values)
            marks = ", ".join("?" * len(values))
            self._write(f"INSERT INTO crashes ({names}) VALUES ({marks})", list(values.values()))

    def change(self, collision_id: str, **values: str | None) -> None:
        """Change a row's fields; its `:updated_at` is the portal's next second."""
        changed: dict[str, Any] = values | {":updated_at": self._tick()}
        assignments = ", ".join(f'"{name}" = ?' for name in changed)
        self._write(f"UPDATE crashes SET {assignments} WHERE collision_id = ?", [*changed.values(), collision_id])

    def delete(self, collision_id: str) -> None:
        """Take a row away, without a trace, as portals do."""
        self._write("DELETE FROM crashes WHERE collision_id = ?", [collision_id])

    def add_column(self, name: str, value: str) -> None:
        """A new field, with the same value in every row."""
        self._write(f'ALTER TABLE crashes ADD COLUMN "{name}" VARCHAR', [])
        self._write(f'UPDATE crashes SET "{name}" = ?, ":updated_at" = ?', [value, self._tick()])
        self.types = self._types()

    def drop_column(self, name: str) -> None:
        """A field that the portal no longer has."""
        self._write(f'ALTER TABLE crashes DROP COLUMN "{name}"', [])
        self.types = self._types()

    def count(self) -> int:
        """Number of rows."""
        return int(self._scalar("SELECT count(*) FROM crashes"))

    def _tick(self) -> str:
        self._clock += timedelta(seconds=1)
        return self._clock.strftime(STAMP)[:-4] + "Z"

    def _write(self, sql: str, values: list[Any]) -> None:
        with self._lock:
            self._cursor().execute(sql, values)
            self.version += 1

    def _scalar(self, sql: str) -> Any:
        row = self._cursor().execute(sql).fetchone()
        return row[0] if row else None

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same database: requests come from several threads."""
        return self._database.cursor()


def _as_json(sql: str, kind: str) -> str:
    """The field as JSON: everything is a string but an object, which the file holds as JSON already."""
    if kind == "location":
        return sql
    if "(" in sql:  # a function's number: 3, not 3.0
        return f"to_json(regexp_replace(CAST({sql} AS VARCHAR), '[.]0$', ''))"
    return f"to_json({sql})"
