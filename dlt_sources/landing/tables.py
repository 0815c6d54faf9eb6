"""What a source's table looks like, said once: for dlt, for the empty table, for whoever documents it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlt_sources.landing.column_types import decimal

if TYPE_CHECKING:
    import dlt

# DuckDB's name of a type -> dlt's hints for it.
DLT_TYPES: dict[str, dict[str, Any]] = {
    "VARCHAR": {"data_type": "text"},
    "TINYINT": {"data_type": "bigint", "precision": 8},
    "SMALLINT": {"data_type": "bigint", "precision": 16},
    "INTEGER": {"data_type": "bigint", "precision": 32},
    "BIGINT": {"data_type": "bigint"},
    "DOUBLE": {"data_type": "double"},
    "BOOLEAN": {"data_type": "bool"},
    "DATE": {"data_type": "date"},
    "TIME": {"data_type": "time"},
    "TIMESTAMP": {"data_type": "timestamp", "timezone": False},
    "TIMESTAMPTZ": {"data_type": "timestamp", "timezone": True},
}


HEADER = "x-header"
"""dlt's hint of a column that nobody declared: what the first file that had it called it."""


@dataclass(frozen=True)
class Column:
    """A column of a raw table; `type` is a DuckDB type.

    `aliases` are other names under which files carry it (case and punctuation don't matter);
    a file without a `required` column is refused, and one without any other is told of, unless it is declared
    `required = false`.
    """

    name: str
    type: str
    description: str
    aliases: tuple[str, ...] = ()
    required: bool | None = None

    def dlt_hints(self) -> dict[str, Any]:
        """dlt's column hints. Raises ValueError for a type that dlt has no word for."""
        hints: dict[str, Any] = {"name": self.name, "description": self.description, "nullable": True}
        if parts := decimal(self.type):
            precision, scale = parts
            if not 1 <= precision <= 38 or scale > precision:
                raise ValueError(f"column {self.name}: {self.type} has more digits than the 38 of a DECIMAL")
            return hints | {"data_type": "decimal", "precision": precision, "scale": scale}
        if self.type not in DLT_TYPES:
            raise ValueError(
                f"column {self.name}: {self.type} is no known type; use DECIMAL(p,s) or one of " + ", ".join(DLT_TYPES)
            )
        return hints | DLT_TYPES[self.type]


LOAD_ID = Column("_dlt_load_id", "VARCHAR", "The load that brought this row: _dlt_loads.load_id.")


@dataclass(frozen=True)
class Table:
    """A raw table: its columns in order, the columns that tell its rows apart, and its event time.

    `event_time` names the column by which downstream models are partitioned: a load that inserts,
    changes or deletes rows makes their days due again; without one, everything.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    event_time: str | None
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By column what the source calls it, any of several names; what is made here has none."""

    @property
    def column_types(self) -> dict[str, str]:
        """Every declared column's DuckDB type by name, in order."""
        return {column.name: column.type for column in self.columns}

    def dlt_columns(self) -> dict[str, Any]:
        """Every column's dlt hints by name; key columns are not nullable."""
        return {
            column.name: column.dlt_hints() | ({"nullable": False} if column.name in self.key else {})
            for column in self.columns
        }


def learned_columns(schema: dlt.Schema, table: Table) -> dict[str, str]:
    """Columns that earlier loads added to the table, and the DuckDB types that they got then."""
    declared = {column.name for column in table.columns}
    in_schema = schema.tables.get(table.name, {}).get("columns", {})
    return {
        name: _duckdb_type(dict(hints))
        for name, hints in in_schema.items()
        if name not in declared and hints.get("data_type")
    }


def learned_headers(schema: dlt.Schema, table: Table) -> dict[str, str]:
    """What the first file that had it called each of those columns."""
    in_schema = schema.tables.get(table.name, {}).get("columns", {})
    return {name: str(dict(hints)[HEADER]) for name, hints in in_schema.items() if HEADER in hints}


def _duckdb_type(hints: dict[str, Any]) -> str:
    kind = hints["data_type"]
    if kind == "decimal":
        return f"DECIMAL({hints.get('precision', 38)},{hints.get('scale', 9)})"
    if kind == "timestamp":
        return "TIMESTAMP" if hints.get("timezone") is False else "TIMESTAMPTZ"
    if kind == "bigint":
        return {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER"}.get(hints.get("precision", 64), "BIGINT")
    names = {"double": "DOUBLE", "bool": "BOOLEAN", "date": "DATE", "time": "TIME"}
    return names.get(kind, "VARCHAR")


def create_tables(pipeline: dlt.Pipeline, source: Any) -> list[str]:
    """Create the source's declared tables, empty, in the pipeline's dataset; name those that are new.

    `source` is the dlt source (`nyc_taxi()`); nothing is extracted. Safe to repeat: existing tables
    only gain the columns that they lack.
    """
    schema = source.discover_schema()
    pipeline.sync_destination()  # columns that loads have added are in the lake's schema alone
    known = pipeline.schemas.get(schema.name, schema)
    known.update_schema(schema)
    pipeline.schemas.save_schema(known)
    created = pipeline.sync_schema(schema.name) or {}
    return sorted(set(created) & set(schema.data_table_names(seen_data_only=False)))
