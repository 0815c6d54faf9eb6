"""Applying a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlmesh import Context
from sqlmesh.core.plan.evaluator import BuiltInPlanEvaluator

if TYPE_CHECKING:
    from sqlmesh.core.plan import Plan


class PlanEvaluator(BuiltInPlanEvaluator):
    """SQLMesh's own, that also creates the tables of models which have no interval to fill.

    SQLMesh leaves them out when other models are filled, and the promotion of their views then fails.
    """

    def visit_virtual_layer_update_stage(self, stage: Any, plan: Any) -> None:
        promoted = [stage.all_snapshots[info.snapshot_id] for info in stage.promoted_snapshots]
        self.snapshot_evaluator.create(promoted, stage.all_snapshots, deployability_index=stage.deployability_index)
        super().visit_virtual_layer_update_stage(stage, plan)


def apply_plan(context: Context, plan: Plan) -> None:
    PlanEvaluator(
        state_sync=context.state_sync,
        snapshot_evaluator=context.snapshot_evaluator,
        create_scheduler=context.create_scheduler,
        default_catalog=context.default_catalog,
        console=context.console,
    ).evaluate(plan.to_evaluatable())
