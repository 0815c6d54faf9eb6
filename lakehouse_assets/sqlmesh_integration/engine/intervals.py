"""The state's intervals: taken back, and computed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlmesh import Context
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.scheduler import Scheduler, merged_missing_intervals
from sqlmesh.core.snapshot import DeployabilityIndex, Snapshot, SnapshotId, apply_auto_restatements
from sqlmesh.core.snapshot.definition import snapshots_to_dag, start_date
from sqlmesh.core.state_sync import StateReader
from sqlmesh.core.state_sync.db.interval import _intervals_to_df
from sqlmesh.utils.date import to_timestamp

from lakehouse_assets.sqlmesh_integration.engine.events import Interval


def read_intervals(state: StateReader, snapshots: Collection[Snapshot]) -> None:
    """Bring the snapshots' intervals up to what the state holds; what is to be restated is not computed."""
    for snapshot in snapshots:
        snapshot.pending_restatement_intervals = []
    state.refresh_snapshot_intervals(snapshots)
    for snapshot in snapshots:
        snapshot.apply_pending_restatement_intervals()


def first_start(snapshot: Snapshot, by_id: dict[SnapshotId, Snapshot], now: int) -> int:
    """When the first interval of a snapshot among these begins, in milliseconds."""
    return to_timestamp(snapshot.node.interval_unit.cron_floor(start_date(snapshot, by_id, relative_to=now)))


def in_order(snapshots: Collection[Snapshot]) -> list[Snapshot]:
    """Each after those it reads."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in snapshots}
    return [by_id[node] for node in snapshots_to_dag(snapshots) if node in by_id]


def missing_intervals(
    scheduler: Scheduler, deployability: DeployabilityIndex, now: int
) -> dict[Snapshot, list[Interval]]:
    """What SQLMesh's own `run` would compute of the scheduler's snapshots at `now`, look-back included.

    They must hold every ancestor of what is asked about: a model without a start begins with its parents.
    """
    missing = merged_missing_intervals(
        scheduler.snapshot_per_version.values(), execution_time=now, end=now, deployability_index=deployability
    )
    # Of a model whose cron did not tick since its start, SQLMesh (0.236) gives one that ends before it begins.
    return {snapshot: [(a, b) for a, b in intervals if a < b] for snapshot, intervals in missing.items()}


def forget_intervals(context: Context, ranges: Mapping[Snapshot, Sequence[Interval]], dev: set[str]) -> None:
    """Write to the state that these intervals are not computed, for every snapshot that shares the table.

    `dev` names the snapshots whose table is a development one: the state keeps their intervals apart and
    its own `remove_intervals` never touches them. One call of that takes one interval for each snapshot (it
    keeps the last of several, silently), hence the rounds.
    """
    state: Any = context.state_sync
    for turn in range(max((len(found) for found in ranges.values()), default=0)):
        now = [(snapshot, found[turn]) for snapshot, found in ranges.items() if turn < len(found)]
        shared = [(snapshot, interval) for snapshot, interval in now if snapshot.name not in dev]
        if shared:
            state.remove_intervals(shared, remove_shared_versions=True)
        apart = [(snapshot, interval) for snapshot, interval in now if snapshot.name in dev]
        if apart:
            intervals = state.state_sync.interval_state
            intervals.engine_adapter.insert_append(
                intervals.intervals_table,
                _intervals_to_df(apart, is_dev=True, is_removed=True),
                target_columns_to_types=intervals._interval_columns_to_types,
                track_rows_processed=False,
            )


def restate_due(context: Context, snapshots: dict[SnapshotId, Snapshot], now: int) -> None:
    """What SQLMesh's own `run` does first in prod, for models with an `auto_restatement_cron` that has ticked.

    Their newest intervals, and those of everything that reads them, are written to the state as to be computed
    again, and the next tick as the next time. `snapshots` must hold the whole environment.
    """
    restated, _ = apply_auto_restatements(snapshots, now)
    state: Any = context.state_sync
    state.add_snapshots_intervals(restated)
    state.update_auto_restatements({s.name_version: s.next_auto_restatement_ts for s in snapshots.values()})


def run_merged(
    scheduler: Scheduler,
    environment: EnvironmentNamingInfo,
    intervals: dict[Snapshot, list[Interval]],
    deployability: DeployabilityIndex,
    stop: Callable[[], bool],
) -> None:
    """Compute exactly these intervals, in the order of the models; failures come through the console."""
    scheduler.run_merged_intervals(
        merged_intervals=intervals,
        deployability_index=deployability,
        environment_naming_info=environment,
        circuit_breaker=stop,
        start=min(start for found in intervals.values() for start, _ in found),
        end=max(end for found in intervals.values() for _, end in found),
        run_environment_statements=True,
    )
