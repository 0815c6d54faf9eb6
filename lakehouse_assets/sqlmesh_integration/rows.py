"""Counts what a run wrote. Called in SQLMesh's own thread, right after a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval, columns_of
from lakehouse_assets.sqlmesh_integration.ranges import from_ms

if TYPE_CHECKING:
    from sqlmesh.core.model import Model

TRUNCATED = {"year": "YEAR", "month": "MONTH", "day": "DAY", "hour": "HOUR"}
FINER = "MINUTE"
ZONED = (exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPLTZ)
TOO_FINE = ("%S", "%f", "%s")
"""A time kept as text with seconds would give too many groups to fetch."""

Counted = dict[str | None, int]
"""Rows by partition key; by None where the partition can't be told."""


class RowCounter:
    """Rows by partition of a model with a time column, and of whole tables."""

    def __init__(self, deployment: Deployment, key_of: Callable[[str, datetime], str | None]):
        self.deployment = deployment
        self.key_of = key_of

    def count(self, name: str, interval: Interval) -> Counted:
        """Rows of one batch; nothing for a model that is no table by time."""
        snapshot = self.deployment.snapshots[name]
        if not (snapshot.is_model and snapshot.is_incremental_by_time_range):
            return {}
        model = snapshot.model
        assert model.time_column is not None
        column = model.time_column.column
        start, end = (model.convert_to_time_column(from_ms(moment)) for moment in interval)
        group, read = _grouped(model)
        query = (
            exp.select(exp.alias_(group, "bucket"), "COUNT(*)")
            .from_(exp.to_table(self.deployment.written(name)))
            .where(column >= start, column < end)
            .group_by("1")
        )
        found: Counter[str | None] = Counter()
        for value, rows in self.deployment.adapter(name).fetchall(query):
            moment = read(value)
            found[self.key_of(name, moment) if moment else None] += int(rows)
        return dict(found)

    def total(self, name: str) -> int | None:
        """Rows of the whole table; None for what is none."""
        snapshot = self.deployment.snapshots[name]
        if not snapshot.is_model or snapshot.is_view or snapshot.is_symbolic:
            return None
        query = exp.select("COUNT(*)").from_(exp.to_table(self.deployment.written(name)))
        ((rows,),) = self.deployment.adapter(name).fetchall(query)
        return int(rows)

    def columns(self, name: str) -> dict[str, str]:
        """Columns of the table and their types; nothing for what is none."""
        snapshot, table = self.deployment.snapshots[name], self.deployment.written(name)
        if not snapshot.is_model or snapshot.is_view or snapshot.is_symbolic:
            return {}
        return columns_of(self.deployment.adapter(name), [table]).get(table, {})


def _grouped(model: Model) -> tuple[exp.Expr, Callable[[Any], datetime | None]]:
    """What a model's rows are grouped by, and how a group's value is read as a moment in UTC."""
    assert model.time_column is not None
    column, form = model.time_column.column.copy(), model.time_column.format
    kind = (model.columns_to_types or {}).get(column.name)
    if kind is not None and kind.is_type(*exp.DataType.TEMPORAL_TYPES):
        if kind.is_type(*ZONED):
            column = exp.AtTimeZone(this=column, zone=exp.Literal.string("UTC"))
        unit = TRUNCATED.get(model.interval_unit.value)
        bucket = exp.TimestampTrunc(this=exp.cast(column, "timestamp"), unit=exp.var(unit or FINER))
        return bucket, _of_time if unit else lambda value: _floored(model, _of_time(value))
    if form is None or _has(form, TOO_FINE):
        return exp.null(), lambda _: None
    return column, lambda value: _floored(model, _of_text(value, form))


def _floored(model: Model, moment: datetime | None) -> datetime | None:
    return model.interval_unit.cron_floor(moment) if moment else None


def _has(form: str, parts: Iterable[str]) -> bool:
    return any(part in form for part in parts)


def _of_time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return None


def _of_text(value: Any, form: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(str(value), form).replace(tzinfo=UTC)
    return None
