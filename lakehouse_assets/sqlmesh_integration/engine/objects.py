"""Tables and views that SQLMesh's state has and the warehouse has not: found, and made again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlglot import exp
from sqlmesh.core.dialect import schema_
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.snapshot import DeployabilityIndex, Snapshot, SnapshotEvaluator

# A view may be there and show another table than the environment's: by dialect, how to ask for every view's query.
VIEWS = {"duckdb": "SELECT database_name, schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal"}


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
