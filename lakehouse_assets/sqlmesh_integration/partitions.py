"""Dagster's partitions of a model: one for each of its intervals, named as Dagster names hours, days, months."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import dagster as dg

from lakehouse_assets.sqlmesh_integration.manifest import ModelSpec

# SQLMesh's interval unit: its cron and the format of a partition's key.
UNITS = {
    "year": ("0 0 1 1 *", "%Y"),
    "month": ("0 0 1 * *", "%Y-%m-%d"),
    "day": ("0 0 * * *", "%Y-%m-%d"),
    "hour": ("0 * * * *", "%Y-%m-%d-%H:%M"),
    "half_hour": ("*/30 * * * *", "%Y-%m-%d-%H:%M"),
    "quarter_hour": ("*/15 * * * *", "%Y-%m-%d-%H:%M"),
    "five_minute": ("*/5 * * * *", "%Y-%m-%d-%H:%M"),
}


def partitions_definition(model: ModelSpec) -> dg.TimeWindowPartitionsDefinition | None:
    """Partitions of a model that is incremental by time, from its start, in UTC; None for any other."""
    if not model.is_partitioned:
        return None
    cron, key_format = UNITS[model.interval_unit]
    end = datetime.fromisoformat(model.end).strftime(key_format) if model.end else None
    start = datetime.fromisoformat(model.start).strftime(key_format)
    if model.interval_unit == "day" and end is None:
        return dg.DailyPartitionsDefinition(start_date=start, timezone="UTC")
    if model.interval_unit == "hour" and end is None:
        return dg.HourlyPartitionsDefinition(start_date=start, timezone="UTC")
    if model.interval_unit == "month" and end is None:
        return dg.MonthlyPartitionsDefinition(start_date=start, timezone="UTC")
    return dg.TimeWindowPartitionsDefinition(start=start, end=end, fmt=key_format, cron_schedule=cron, timezone="UTC")


def key_of(model: ModelSpec, start: datetime) -> str:
    """The key of the partition that begins at `start`, which is UTC unless it says otherwise."""
    utc = start.astimezone(UTC) if start.tzinfo else start
    return utc.strftime(UNITS[model.interval_unit][1])


def keys_within(
    model: ModelSpec, definition: dg.TimeWindowPartitionsDefinition, ranges: Iterable[tuple[datetime, datetime]]
) -> list[str]:
    """The keys of all partitions that lie wholly inside one of the ranges, oldest first."""
    keys: list[str] = []
    for start, end in ranges:
        found = list(definition.get_partition_keys_in_time_window(dg.TimeWindow(start, end)))
        while found and definition.time_window_for_partition_key(found[-1]).end > end:
            found.pop()  # Dagster takes one that only begins in the window
        keys += found
    first = key_of(model, datetime.fromisoformat(model.start))
    return [key for key in keys if key >= first]


def window_of(context: dg.AssetExecutionContext, keys: Sequence[dg.AssetKey]) -> dg.TimeWindow | None:
    """The time the run was asked to recompute: from its first partition to its last; None without partitions.

    Dagster gives one contiguous range of partitions to a run under `BackfillPolicy.single_run`.
    """
    if not (context.has_partition_key or context.has_partition_key_range):
        return None
    for key in keys:
        definition = context.assets_def.specs_by_key[key].partitions_def
        if isinstance(definition, dg.TimeWindowPartitionsDefinition):
            bounds = context.partition_key_range
            first = definition.time_window_for_partition_key(bounds.start)
            last = definition.time_window_for_partition_key(bounds.end)
            return dg.TimeWindow(first.start, last.end)
    return None
