"""Audits beside the computing of a model: those chosen alone, and standalone ones, which belong to no one model."""

from __future__ import annotations

from collections.abc import Collection

from lakehouse_assets.sqlmesh_integration import engine
from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.outcome import CheckOutcome
from lakehouse_assets.sqlmesh_integration.reasons import error_sentence


def run_audits(session: engine.Session, deployment: Deployment, name: str) -> dict[str, CheckOutcome]:
    """Every audit of a model, or a standalone audit, over all that is computed; nothing is written."""
    snapshot = deployment.snapshots[name]
    computed = (snapshot.is_model and deployment.computed(snapshot)) or deployment.intervals(name).history()
    if not computed:
        return {}
    found: dict[str, CheckOutcome] = {}

    def hear(event: engine.Audited) -> None:
        found[event.check_name] = CheckOutcome(
            event.check_name, event.audit, event.blocking, event.rows, event.query, event.columns, event.sample
        )

    evaluator = engine.RecordingEvaluator.of(session.context)
    before, evaluator.sink = evaluator.sink, hear
    try:
        evaluator.audit(
            snapshot,
            snapshots={s.name: s for s in deployment.snapshots.values()},
            start=computed[0][0],
            end=computed[-1][1],
            execution_time=deployment.now,
            deployability_index=deployment.index,
        )
    finally:
        evaluator.sink = before
    return found


def run_standalone(session: engine.Session, deployment: Deployment, name: str) -> CheckOutcome | None:
    """A standalone audit's result; one that can't run has failed, and says why. None: it skips itself."""
    try:
        return next(iter(run_audits(session, deployment, name).values()), None)
    except engine.sqlmesh_errors() as error:
        return CheckOutcome(name, name, blocking=False, error=error_sentence(error))


def standalone_over(deployment: Deployment, names: Collection[str]) -> list[str]:
    """The deployed standalone audits that read one of these models."""
    chosen = set(names)
    return sorted(name for name, s in deployment.snapshots.items() if s.is_audit and chosen & deployment.parents(name))
