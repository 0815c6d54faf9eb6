"""Applying a plan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlmesh import Context
from sqlmesh.core.plan.evaluator import BuiltInPlanEvaluator

if TYPE_CHECKING:
    from sqlmesh.core.plan import Plan


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


def apply_plan(context: Context, plan: Plan, left_alone: Collection[str] = ()) -> None:
    """Apply it; the models (by full name) in `left_alone` are shown in the environment, and not computed."""
    evaluator = PlanEvaluator(
        state_sync=context.state_sync,
        snapshot_evaluator=context.snapshot_evaluator,
        create_scheduler=context.create_scheduler,
        default_catalog=context.default_catalog,
        console=context.console,
    )
    evaluator.left_alone = left_alone
    evaluator.evaluate(plan.to_evaluatable())
