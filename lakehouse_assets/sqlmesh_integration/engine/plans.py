"""Applying a plan."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp
from sqlmesh import Context
from sqlmesh.core.dialect import schema_
from sqlmesh.core.plan.evaluator import BuiltInPlanEvaluator
from sqlmesh.core.snapshot.evaluator import SnapshotCreationFailedError

from lakehouse_assets.sqlmesh_integration.engine.events import Interval
from lakehouse_assets.sqlmesh_integration.engine.intervals import forget_intervals
from lakehouse_assets.sqlmesh_integration.engine.objects import Absent, absent, make_again

if TYPE_CHECKING:
    from sqlmesh.core.plan import Plan
    from sqlmesh.core.snapshot import Snapshot


class PlanEvaluator(BuiltInPlanEvaluator):
    """SQLMesh's own, that also creates the tables of models which have no interval to fill.

    SQLMesh leaves them out when other models are filled, and the promotion of their views then fails. And what is
    named in `left_alone` is never filled: its table belongs to another environment.
    """

    left_alone: Collection[str] = ()

    def visit_backfill_stage(self, stage: Any, plan: Any) -> None:
        ours = {s: found for s, found in stage.snapshot_to_intervals.items() if s.name not in self.left_alone}
        super().visit_backfill_stage(replace(stage, snapshot_to_intervals=ours), plan)

    def visit_virtual_layer_update_stage(self, stage: Any, plan: Any) -> None:
        promoted = [stage.all_snapshots[info.snapshot_id] for info in stage.promoted_snapshots]
        self.snapshot_evaluator.create(promoted, stage.all_snapshots, deployability_index=stage.deployability_index)
        super().visit_virtual_layer_update_stage(stage, plan)


def lost_of(context: Context, plan: Plan) -> Absent:
    """What the environment and the plan's models should have and the warehouse has not, whatever the plan changes."""
    stored = context.state_sync.get_environment(plan.environment.name)
    shown = {info.snapshot_id for info in stored.promoted_snapshots} if stored and stored.finalized_ts else set()
    snapshots = plan.snapshots.values()
    found = absent(context.snapshot_evaluator, snapshots, plan.deployability_index, plan.environment.naming_info)
    known = frozenset(snapshot.name for snapshot in snapshots if snapshot.snapshot_id in shown)
    computed = frozenset(snapshot.name for snapshot in snapshots if _computed(plan, snapshot))
    return Absent(found.tables & (known | computed), found.views & known)


def forget_lost(context: Context, plan: Plan, lost: Absent) -> None:
    """Write to the state that nothing is computed of the tables that are gone, whoever uses them."""
    chosen = [snapshot for snapshot in plan.snapshots.values() if snapshot.name in lost.tables]
    ranges = {snapshot: computed for snapshot in chosen if (computed := _computed(plan, snapshot))}
    dev = {snapshot.name for snapshot in chosen if not plan.deployability_index.is_representative(snapshot)}
    forget_intervals(context, ranges, dev)
    state: Any = context.state_sync
    state.clear_cache()


def _computed(plan: Plan, snapshot: Snapshot) -> list[Interval]:
    is_shared = plan.deployability_index.is_representative(snapshot)
    return list(snapshot.intervals if is_shared else snapshot.dev_intervals)


def create_externals(context: Context) -> frozenset[str]:
    """Make the external tables, without rows. Gives the full names of those that the files say too little of."""
    unknown = set()
    for fqn in context.dag.sorted:
        model = context.models.get(fqn)
        if model is None:
            unknown.add(fqn)
        elif model.kind.is_external:
            types = model.columns_to_types or {}
            if types and not any(kind.is_type(exp.DataType.Type.UNKNOWN) for kind in types.values()):
                table = exp.to_table(fqn)
                context.engine_adapter.create_schema(schema_(table.args["db"], table.args.get("catalog")))
                context.engine_adapter.create_table(table, types)
            else:
                unknown.add(fqn)
    return frozenset(unknown)


def create_tables(context: Context, plan: Plan) -> list[tuple[str, BaseException]]:
    """Make every physical table and view of a plan, empty. Gives the full names of those that can't be made, and why.

    Not among them: what reads one that can't be, or reads a file that isn't there.
    """
    snapshots, evaluator = list(plan.snapshots.values()), context.snapshot_evaluator
    evaluator.create_physical_schemas(snapshots, plan.deployability_index)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"sqlmesh\..*")  # of how it reads a seed
            evaluator.create(snapshots, plan.snapshots, deployability_index=plan.deployability_index)
    except SnapshotCreationFailedError as error:
        return [(one.node.name, one) for one in error.errors if not isinstance(one.__cause__, duckdb.IOException)]
    return []


def apply_plan(context: Context, plan: Plan, left_alone: Collection[str] = (), lost: Absent = Absent()) -> None:
    """Apply it; the models (by full name) in `left_alone` are shown in the environment, and not computed.

    What is `lost` is made again: tables empty, unless the plan computes them.
    """
    evaluator = PlanEvaluator(
        state_sync=context.state_sync,
        snapshot_evaluator=context.snapshot_evaluator,
        create_scheduler=context.create_scheduler,
        default_catalog=context.default_catalog,
        console=context.console,
    )
    evaluator.left_alone = left_alone
    evaluator.evaluate(plan.to_evaluatable())
    if lost:
        chosen = [snapshot for snapshot in plan.snapshots.values() if snapshot.name in lost.tables | lost.views]
        naming, index = plan.environment.naming_info, plan.deployability_index
        make_again(context.snapshot_evaluator, chosen, index, naming, plan.snapshots.values())
