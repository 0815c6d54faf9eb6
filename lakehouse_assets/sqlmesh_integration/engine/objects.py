"""Tables and views that SQLMesh's state has and the warehouse has not: found, and made again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp
from sqlmesh.core.dialect import schema_
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.snapshot import DeployabilityIndex, Snapshot, SnapshotEvaluator

# A view may be there and show another table than the environment's: by dialect, how to ask for every view's query.
VIEWS = {"duckdb": "SELECT database_name, schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal"}

# By dialect, how to ask at once for the columns of tables; elsewhere it would take a query for each.
COLUMNS = {"duckdb": "SELECT database_name, schema_name, table_name, column_name, data_type FROM duckdb_columns()"}


@dataclass(frozen=True)
class Remembered:
    """What a physical table held when it was last computed."""

    table: str
    rows: int
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Absent:
    """By the snapshots' full names. SQLMesh itself looks at none of it: it takes the state's word."""

    tables: frozenset[str] = frozenset()
    """Those whose physical table, or physical view, is not there."""
    views: frozenset[str] = frozenset()
    """Those whose view in the environment is not there, or shows another table."""

    def __bool__(self) -> bool:
        return bool(self.tables or self.views)


def absent(
    evaluator: SnapshotEvaluator,
    snapshots: Iterable[Snapshot],
    index: DeployabilityIndex,
    naming: EnvironmentNamingInfo,
) -> Absent:
    """What is not there; one query for each schema, and one for the views' queries where the engine tells them."""
    look = _Look(evaluator)
    tables, views = set(), set()
    for snapshot in snapshots:
        if not snapshot.is_model or snapshot.is_symbolic:
            continue
        adapter = evaluator.get_adapter(snapshot.model_gateway)
        table = exp.to_table(snapshot.table_name(index.is_representative(snapshot)), dialect=snapshot.model.dialect)
        if not look.has(adapter, table):
            tables.add(snapshot.name)
        if naming.is_dev or snapshot.virtual_environment_mode.is_full:
            above = adapter if naming.gateway_managed else evaluator.adapter
            view = snapshot.qualified_view_name.table_for_environment(naming, dialect=above.dialect)
            if not look.has(above, view) or look.shows_another(above, view, table.name):
                views.add(snapshot.name)
    return Absent(frozenset(tables), frozenset(views))


def columns_of(adapter: Any, tables: Collection[str]) -> dict[str, dict[str, str]]:
    """Columns and their types, in the engine's words, of those tables that are there; of none in some engines."""
    if adapter.dialect not in COLUMNS or not tables:
        return {}
    parsed = {table: exp.to_table(table) for table in tables}
    names = ", ".join(exp.Literal.string(table.name).sql(adapter.dialect) for table in parsed.values())
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for *place, column, kind in adapter.fetchall(f"{COLUMNS[adapter.dialect]} WHERE table_name IN ({names})"):
        found.setdefault(tuple(place), {})[column] = kind
    current = adapter.get_current_catalog()
    held = {name: found.get((table.catalog or current, table.db, table.name)) for name, table in parsed.items()}
    return {name: columns for name, columns in held.items() if columns}


def changed(adapter: Any, remembered: Mapping[str, Remembered]) -> dict[str, str]:
    """By the same names, what somebody else did to tables: they are empty, or columns are gone or of another type.

    Two queries for all of them. A table without rows was truncated if it had some; one that never had any is honest.
    """
    found = {}
    filled = {name: one for name, one in remembered.items() if one.rows}
    if filled:
        looks = [
            f"SELECT {number} AS n, CASE WHEN EXISTS(SELECT 1 FROM {exp.to_table(one.table).sql(adapter.dialect)}) "
            "THEN 1 ELSE 0 END AS has_rows"
            for number, one in enumerate(filled.values())
        ]
        names = list(filled)
        for number, has_rows in adapter.fetchall(" UNION ALL ".join(looks)):
            if not has_rows:
                rows = filled[names[number]].rows
                found[names[number]] = f"is empty, and held {rows:,} rows when it was last computed"
    held = columns_of(adapter, [one.table for one in remembered.values()])
    for name, one in remembered.items():
        now = held.get(one.table, one.columns)
        differences = [
            f"has {column} as {now[column]} instead of {kind}" if column in now else f"lacks the column {column}"
            for column, kind in one.columns.items()
            if now.get(column) != kind
        ]
        if differences:
            found[name] = ", ".join(differences)
    return found


def make_again(
    evaluator: SnapshotEvaluator,
    snapshots: Collection[Snapshot],
    index: DeployabilityIndex,
    naming: EnvironmentNamingInfo,
    among: Collection[Snapshot],
) -> None:
    """Create the physical tables of these snapshots that are not there, empty, and their views in the environment."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in among}
    evaluator.create_physical_schemas(snapshots, index)
    evaluator.create(snapshots, by_id, deployability_index=index)
    evaluator.promote(snapshots, naming, deployability_index=index, snapshots=by_id)


def forget_objects(evaluator: SnapshotEvaluator) -> None:
    """Let SQLMesh ask again what is there: it keeps the answers for as long as the process lives."""
    for adapter in evaluator.adapters.values():
        adapter._clear_data_object_cache()


class _Look:
    def __init__(self, evaluator: SnapshotEvaluator) -> None:
        self.evaluator = evaluator
        self.names: dict[tuple[int, str], set[str]] = {}
        self.queries: dict[int, dict[tuple[str, str, str], str]] = {}

    def has(self, adapter: Any, table: exp.Table) -> bool:
        schema = schema_(table.db, catalog=table.catalog or None)
        key = (id(adapter), schema.sql())
        if key not in self.names:
            self.names[key] = {found.name for found in adapter.get_data_objects(schema)}
        return table.name in self.names[key]

    def shows_another(self, adapter: Any, view: exp.Table, table: str) -> bool:
        if adapter.dialect not in VIEWS:
            return False
        if id(adapter) not in self.queries:
            rows = adapter.fetchall(VIEWS[adapter.dialect])
            self.queries[id(adapter)] = {(catalog, schema, name): sql for catalog, schema, name, sql in rows}
        catalog = view.catalog or adapter.get_current_catalog()
        query = self.queries[id(adapter)].get((catalog, view.db, view.name))
        return query is not None and re.search(rf"(?<!\w){re.escape(table)}(?!\w)", query) is None
