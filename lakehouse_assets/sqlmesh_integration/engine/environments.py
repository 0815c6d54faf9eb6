"""Environments made of what is stored: plans without the project's files, and deletion."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlmesh import Context
from sqlmesh.core.context_diff import ContextDiff
from sqlmesh.core.environment import Environment, EnvironmentNamingInfo
from sqlmesh.core.plan import Plan, PlanBuilder
from sqlmesh.core.snapshot import SnapshotTableCleanupTask
from sqlmesh.core.state_sync.common import ExpiredBatchRange
from sqlmesh.utils.date import now_timestamp
from sqlmesh.utils.errors import SQLMeshError


def environment_name(name: str) -> str:
    """As SQLMesh stores it: with `_` for what is no letter or digit."""
    return str(EnvironmentNamingInfo.sanitize_name(name))


def virtual_plan(context: Context, source: Environment, target: str) -> Plan:
    """A plan that shows in `target` what is deployed in `source`, and computes nothing.

    `Context.plan` would take the checked-out files instead. The snapshots, the statements that run around a plan, and
    the Python requirements are the source's.
    """
    state = context.state_sync
    snapshots = {snapshot.name: snapshot for snapshot in state.get_snapshots(source.snapshots).values()}
    difference = ContextDiff.create(
        target,
        snapshots=snapshots,
        create_from=source.name,
        state_reader=state,
        provided_requirements=source.requirements,
        infer_python_dependencies=False,
        environment_statements=state.get_environment_statements(source.name),
        gateway_managed_virtual_layer=context.config.gateway_managed_virtual_layer,
        ensure_finalized_snapshots=context.config.plan.use_finalized_state,
    )
    return PlanBuilder(
        difference,
        is_dev=target != "prod",
        skip_backfill=True,
        include_unmodified=True,
        environment_ttl=None if target in context.pinned_environments else context.environment_ttl,
        environment_suffix_target=context.config.environment_suffix_target,
        environment_catalog_mapping=context.environment_catalog_mapping,
        console=context.console,
    ).build()


def drop_environment(context: Context, name: str) -> None:
    """Drop its views and its row in the state. Does nothing when it is gone; raises SQLMeshError when a drop failed."""
    state = context.state_sync
    if state.get_environment(name) is None:
        return
    state.invalidate_environment(name)
    failures = context._cleanup_environments(current_ts=now_timestamp(), name=name)
    if failures:
        raise SQLMeshError("; ".join(failures))


def drop_unused_tables(context: Context, candidates: Collection[str]) -> list[str]:
    """Drop those of these physical tables that no environment uses, with their snapshots and intervals.

    SQLMesh's own janitor takes every unused snapshot, or those whose time to live has passed: neither is what one
    environment leaves behind.
    """
    state = context.state_sync
    batch = state.get_expired_snapshots(batch_range=ExpiredBatchRange.all_batch_range(), ignore_ttl=True)
    if batch is None:
        return []
    unused = state.get_snapshots(batch.expired_snapshot_ids)
    chosen = {
        snapshot_id
        for snapshot_id, snapshot in unused.items()
        if snapshot.is_model
        and not snapshot.is_symbolic
        and {snapshot.table_name(is_deployable=True), snapshot.table_name(is_deployable=False)} & set(candidates)
    }
    tasks = [task for task in batch.cleanup_tasks if task.snapshot.snapshot_id in chosen]
    return sorted(set(_drop(context, tasks, chosen)) & set(candidates))


def drop_expired_tables(context: Context, *, dry_run: bool = False) -> list[str]:
    """Drop the physical tables that no environment has used for as long as they live (`snapshot_ttl`), with their
    snapshots and intervals; with `dry_run`, name them only."""
    state = context.state_sync
    batch = state.get_expired_snapshots(batch_range=ExpiredBatchRange.all_batch_range())
    if batch is None:
        return []
    if dry_run:
        return sorted(set(_tables_of(batch.cleanup_tasks)))
    return sorted(set(_drop(context, batch.cleanup_tasks, batch.expired_snapshot_ids)))


def compact_state(context: Context) -> None:
    """Write a model's many computed intervals as few rows."""
    context.state_sync.compact_intervals()


def _tables_of(tasks: Iterable[SnapshotTableCleanupTask]) -> Iterator[str]:
    for task in tasks:
        if task.snapshot.is_model and not task.snapshot.is_symbolic:
            yield task.snapshot.table_name(is_deployable=False)
            if not task.dev_table_only:
                yield task.snapshot.table_name(is_deployable=True)


def _drop(context: Context, tasks: list[SnapshotTableCleanupTask], snapshots: Collection[Any]) -> list[str]:
    dropped = list(_tables_of(tasks))
    context.snapshot_evaluator.cleanup(tasks)
    state = context.state_sync
    state.delete_snapshots(snapshots)
    # Else a model of the same content, deployed again, would count as computed over a table that is new.
    behind_the_cache: Any = getattr(state, "state_sync", state)
    behind_the_cache.interval_state.cleanup_intervals(tasks, snapshots)
    return dropped
