"""Counts and looks at what a run wrote. Called in SQLMesh's own thread, right after a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from lakehouse_assets.sqlmesh_integration.deployment import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.ranges import from_ms

if TYPE_CHECKING:
    from sqlmesh.core.engine_adapter.base import EngineAdapter
    from sqlmesh.core.snapshot import Snapshot

TRUNCATED = {"year": "YEAR", "month": "MONTH", "day": "DAY", "hour": "HOUR"}


class RowCounter:
    """Rows by partition key for a batch of a model with a time column, else by None for its whole table."""

    def __init__(self, deployment: Deployment, key_of: Callable[[str, Any], str | None]):
        self.deployment = deployment
        self.key_of = key_of

    def count(self, name: str, interval: Interval) -> dict[str | None, int]:
        snapshot = self.deployment.snapshots[name]
        if not snapshot.is_model or snapshot.is_view or snapshot.is_symbolic:
            return {}
        adapter = self.deployment.adapter(name)
        if snapshot.is_incremental_by_time_range:
            return self._by_partition(name, snapshot, adapter, interval)
        return {None: self.total(name)}

    def total(self, name: str) -> int:
        """Rows of the whole table."""
        query = exp.select("COUNT(*)").from_(exp.to_table(self.deployment.written(name)))
        return _number(self.deployment.adapter(name), query)

    def _by_partition(
        self, name: str, snapshot: Snapshot, adapter: EngineAdapter, interval: Interval
    ) -> dict[str | None, int]:
        model = snapshot.model
        assert model.time_column is not None
        column = model.time_column.column
        unit = TRUNCATED.get(model.interval_unit.value)
        temporal = (model.columns_to_types or {}).get(column.name)
        start, end = from_ms(interval[0]), from_ms(interval[1])
        inside = exp.and_(column >= model.convert_to_time_column(start), column < model.convert_to_time_column(end))
        table = exp.to_table(self.deployment.written(name))
        if unit is None or temporal is None or not temporal.is_type(*exp.DataType.TEMPORAL_TYPES):
            query = exp.select("COUNT(*)").from_(table).where(inside)
            return {None: _number(adapter, query)}
        bucket = exp.TimestampTrunc(this=exp.cast(column.copy(), "timestamp"), unit=exp.var(unit))
        query = exp.select(exp.alias_(bucket, "bucket"), "COUNT(*)").from_(table).where(inside).group_by("1")
        return {self.key_of(name, moment): int(rows) for moment, rows in adapter.fetchall(query)}


def _number(adapter: EngineAdapter, query: exp.Select) -> int:
    ((rows,),) = adapter.fetchall(query)
    return int(rows)
