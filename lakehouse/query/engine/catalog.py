"""What there is, as clients ask it: `information_schema`, `pg_catalog`, `duckdb_tables()`, SHOW.

They are asked of a DuckDB that holds the release's tables without their rows and nothing else: no file, no address, no
secret, no other table. So its own views are right, and have nothing to give away. Nothing here knows who asks:
HTTP, Lambda and the command line share it, and so may another protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from lakehouse.lake.ducklake import ALIAS, identifier, quoted
from lakehouse.query.engine.allowed import words

_OWN = words("""
duckdb_columns duckdb_constraints duckdb_indexes duckdb_schemas duckdb_tables duckdb_types duckdb_views
""")
CATALOG_TABLE_FUNCTIONS = _OWN | {"duckdb_functions", "duckdb_sequences"}
_POSTGRES = words("""
pg_am pg_attrdef pg_attribute pg_class pg_collation pg_constraint pg_database pg_depend pg_description pg_enum pg_index
pg_indexes pg_namespace pg_proc pg_sequence pg_sequences pg_tables pg_tablespace pg_type pg_views
""")
CATALOG_RELATIONS = {
    "information_schema": words("""
character_sets check_constraints columns constraint_column_usage constraint_table_usage key_column_usage
referential_constraints schemata table_constraints tables views
"""),
    "pg_catalog": _POSTGRES,
    "main": _OWN,
    "": _OWN | _POSTGRES,
}
"""Schema -> the relations in it that are answered. Left out: settings, secrets, prepared statements, logs."""
CATALOG_FUNCTIONS = words("""
col_description format_pg_type format_type has_any_column_privilege has_column_privilege has_database_privilege
has_schema_privilege has_sequence_privilege has_table_privilege map_to_pg_oid obj_description pg_collation_is_visible
pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_viewdef pg_has_role pg_is_other_temp_schema
pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible pg_table_is_visible pg_type_is_visible
shobj_description
""")
CATALOG_SCANS = frozenset(name.upper() for name in CATALOG_TABLE_FUNCTIONS) | {
    "DUCKDB_DATABASES",
    "DUCKDB_DEPENDENCIES",
}
"""What these relations read, by the names in a plan."""


@dataclass(frozen=True)
class TableWithoutRows:
    """A table as its catalog tells it."""

    schema: str
    name: str
    columns: Sequence[tuple[str, str, str]]
    """Name, DuckDB type, description."""
    description: str = ""
    key: Sequence[str] = ()
    """The columns of its grain."""


def catalog_of(tables: Iterable[TableWithoutRows]) -> duckdb.DuckDBPyConnection:
    """A DuckDB of these tables without rows. The same tables get the same object ids in every process."""
    connection = duckdb.connect(
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "threads": 1,
            "memory_limit": "256MiB",
            "temp_directory": "",
        }
    )
    connection.execute(f"SET TimeZone = 'UTC'; ATTACH ':memory:' AS {ALIAS}; USE {ALIAS}; DETACH memory")
    for table in sorted(tables, key=lambda one: (one.schema, one.name)):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(table.schema)}")
        full = f"{identifier(table.schema)}.{identifier(table.name)}"
        columns = ", ".join(f"{identifier(name)} {kind}" for name, kind, _ in table.columns)
        key = f", PRIMARY KEY ({', '.join(map(identifier, table.key))})" if table.key else ""
        try:
            connection.execute(f"CREATE TABLE {full} ({columns}{key})")
        except duckdb.Error:  # a column of a type that DuckDB makes no key of
            connection.execute(f"CREATE TABLE {full} ({columns})")
        if table.description:
            connection.execute(f"COMMENT ON TABLE {full} IS {quoted(table.description)}")
        for name, _, text in table.columns:
            if text:
                connection.execute(f"COMMENT ON COLUMN {full}.{identifier(name)} IS {quoted(text)}")
    connection.execute("SET lock_configuration = true")
    return connection


def tables_of(
    connection: duckdb.DuckDBPyConnection, database: str, keys: Mapping[str, Sequence[str]]
) -> list[TableWithoutRows]:
    """The tables of an attached release. `keys`: the columns of a table's grain, by `schema.table`."""
    columns: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for schema, table, *column in connection.execute(
        "SELECT schema_name, table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns() "
        "WHERE database_name = ? ORDER BY column_index", [database],
    ).fetchall():  # fmt: skip
        name, kind, text = column
        columns.setdefault((schema, table), []).append((name, kind, text))
    return [
        TableWithoutRows(schema, name, columns[schema, name], text, keys.get(f"{schema}.{name}", ()))
        for schema, name, text in connection.execute(
            "SELECT schema_name, table_name, coalesce(comment, '') FROM duckdb_tables() WHERE database_name = ?",
            [database],
        ).fetchall()
    ]
