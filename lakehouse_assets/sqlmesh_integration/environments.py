"""Environments as SQLMesh's state has them: which there are, made and promoted from each other, and deleted.

Nothing here reads the project's files: what is deployed counts. And nothing here computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse_assets.sqlmesh_integration.deploy import DeployError, RefusedError
from lakehouse_assets.sqlmesh_integration.owners import Ownership, table_users
from lakehouse_assets.sqlmesh_integration.plan import FOR_READERS, PlanSummary, summarize
from lakehouse_assets.sqlmesh_integration.ranges import from_ms
from lakehouse_assets.sqlmesh_integration.reasons import error_sentence

if TYPE_CHECKING:
    from sqlmesh.core.environment import Environment
    from sqlmesh.core.plan import Plan
    from sqlmesh.core.state_sync import StateReader

    from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject


class UnknownEnvironmentError(RefusedError):
    """Nothing was ever deployed to it."""

    def __init__(self, name: str, known: Collection[str]):
        there = ", ".join(sorted(known)) or "none: deploy to prod first"
        super().__init__(f"There is no environment {name}. There are: {there}.")


@dataclass(frozen=True)
class EnvironmentInfo:
    """One environment. `expires_at` is None for one that stays."""

    name: str
    own_models: int
    """How many of its models have a table or view that no other environment uses."""
    shared_models: int
    expires_at: datetime | None = None
    updated_at: datetime | None = None
    """When it was last deployed or promoted to; None while that is unfinished."""


@dataclass(frozen=True)
class Promotion:
    """What showing `source`'s models in `target` would change."""

    source: str
    target: str
    summary: PlanSummary
    incomplete: tuple[str, ...]
    """A line for each model that would change its table and is not computed as `target` would need it."""
    computed_by: Mapping[str, str]
    """The environment that computes it now, for each model whose table `target` does not have yet."""
    is_source_finished: bool
    """False when a deploy or promotion of `source` was cut off."""


def environment_names(project: SqlmeshProject) -> list[str]:
    """Every environment, by name."""
    from lakehouse_assets.sqlmesh_integration import engine

    with engine.session(project) as session:
        return sorted(summary.name for summary in session.ready_to_run().state_sync.get_environments_summary())


def list_environments(project: SqlmeshProject) -> list[EnvironmentInfo]:
    """Every environment with what it holds, prod first, then by name."""
    from lakehouse_assets.sqlmesh_integration import engine

    with engine.session(project) as session:
        state = session.ready_to_run().state_sync
        environments = state.get_environments()
        users = table_users(environments)
        found = []
        for environment in environments:
            tables = _tables(state, environment)
            own = sum(users[table] == {environment.name} for table in tables)
            found.append(
                EnvironmentInfo(
                    name=environment.name,
                    own_models=own,
                    shared_models=len(tables) - own,
                    expires_at=from_ms(environment.expiration_ts) if environment.expiration_ts else None,
                    updated_at=from_ms(environment.finalized_ts) if environment.finalized_ts else None,
                )
            )
    return sorted(found, key=lambda info: (info.name != "prod", info.name))


def used_tables(project: SqlmeshProject, name: str) -> set[str]:
    """The physical tables and views behind an environment's models; none for one that is not there."""
    from lakehouse_assets.sqlmesh_integration import engine

    with engine.session(project) as session:
        state = session.ready_to_run().state_sync
        environment = state.get_environment(engine.environment_name(name))
        return set(_tables(state, environment)) if environment else set()


def _tables(state: StateReader, environment: Environment) -> list[str]:
    from sqlmesh.core.snapshot import DeployabilityIndex

    snapshots = state.get_snapshots(environment.snapshots)
    is_prod = environment.name == "prod"
    index = DeployabilityIndex.all_deployable() if is_prod else DeployabilityIndex.create(snapshots)
    return [
        snapshot.table_name(is_deployable=index.is_representative(snapshot))
        for snapshot in snapshots.values()
        if snapshot.is_model and not snapshot.is_symbolic
    ]


def look_at_promotion(
    project: SqlmeshProject, source: str, target: str, ownership: Ownership = Ownership()
) -> Promotion:
    """What promoting would change; changes nothing. `target` need not exist yet.

    Raises:
        UnknownEnvironmentError: there is no `source`.
    """
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.deployed import Deployment

    source, target = engine.environment_name(source), engine.environment_name(target)
    with engine.session(project) as session:
        state = session.ready_to_run().state_sync
        environments = {environment.name: environment for environment in state.get_environments()}
        if source not in environments:
            raise UnknownEnvironmentError(source, environments)
        plan = engine.virtual_plan(session.context, environments[source], target)
        seen = Deployment(session, source, ownership=ownership, judged_as=target)
        models = seen.models()
        there = {}
        if target in environments:
            there = Deployment(session, target, ownership=ownership).models()
        moved = {
            name: model
            for name, model in models.items()
            if name not in there or there[name].physical_table != model.physical_table
        }
        incomplete = [
            f"{name}: " + ("was never computed" if not model.computed else f"misses {_spans(model.missing)}")
            for name, model in sorted(moved.items())
            if model.missing
        ]
        incomplete += [f"{seen.names[fqn]}: its table is gone" for fqn in sorted(seen.absent().tables)]
        return Promotion(
            source=source,
            target=target,
            summary=_summary(plan),
            incomplete=tuple(incomplete),
            computed_by={name: model.owner for name, model in moved.items()},
            is_source_finished=environments[source].finalized_ts is not None,
        )


def promote(project: SqlmeshProject, source: str, target: str) -> PlanSummary:
    """Show in `target` exactly the models that are deployed in `source`: views move, no row does.

    Raises:
        UnknownEnvironmentError: there is no `source`.
        RefusedError: one of its tables is gone.
        DeployError: it stopped; promoting again finishes it.
    """
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    with engine.session(project) as session:
        context = session.ready_to_run()
        stored = context.state_sync.get_environment(engine.environment_name(source))
        if stored is None:
            raise UnknownEnvironmentError(source, [e.name for e in context.state_sync.get_environments()])
        plan = engine.virtual_plan(context, stored, target)
        lost = engine.lost_of(context, plan)
        if lost.tables and stored.name != plan.environment.name:
            gone = ", ".join(sorted(table_ref(fqn).name for fqn in lost.tables))
            raise RefusedError(f"{source} is not promoted: the tables of {gone} are gone. Catch up there first.")
        engine.forget_lost(context, plan, lost)
        try:
            engine.apply_plan(context, plan, lost=lost)
        except engine.sqlmesh_errors() as error:
            raise DeployError(
                f"The promotion of {source} to {target} stopped half-way: {error_sentence(error)}. Promote again: that "
                "does what is left."
            ) from error
        return _summary(plan)


def drop(project: SqlmeshProject, name: str, candidates: Collection[str] = ()) -> list[str]:
    """Drop an environment's views and state, and those of its tables and of `candidates` that nobody uses then.

    Gives the dropped tables; none for an environment that is not there. Dropping again what was cut off does the rest.
    """
    from lakehouse_assets.sqlmesh_integration import engine

    name = engine.environment_name(name)
    with engine.session(project) as session:
        context = session.ready_to_run()
        environments = context.state_sync.get_environments()
        tables = {table for table, users in table_users(environments).items() if name in users} | set(candidates)
        try:
            engine.drop_environment(context, name)
            return engine.drop_unused_tables(context, tables)
        except engine.sqlmesh_errors() as error:
            raise DeployError(
                f"{name} is not dropped whole: {error_sentence(error)}. Drop it again: that does what is left."
            ) from error


def drop_expired_tables(project: SqlmeshProject, *, dry_run: bool = False) -> list[str]:
    """SQLMesh's janitor for tables: drop those that no environment has used for longer than `snapshot_ttl`, and tidy
    its state. With `dry_run`, name them only.

    Raises:
        DeployError: not all could be dropped; doing it again does the rest.
    """
    from lakehouse_assets.sqlmesh_integration import engine

    with engine.session(project) as session:
        context = session.ready_to_run()
        try:
            dropped = engine.drop_expired_tables(context, dry_run=dry_run)
            if not dry_run:
                engine.compact_state(context)
        except engine.sqlmesh_errors() as error:
            raise DeployError(f"Not every table that nobody uses was dropped: {error_sentence(error)}.") from error
        return dropped


def _summary(plan: Plan) -> PlanSummary:
    """The plan without what it would compute: nothing, whatever is missing."""
    summary = summarize(plan)
    changes = [
        c
        if c.loses_data
        else replace(c, category=FOR_READERS if c.breaks_readers else "", is_breaking=c.breaks_readers)
        for c in summary.changes
    ]
    return replace(summary, changes=tuple(changes), backfills=())


def _spans(missing: Collection[tuple[datetime, datetime]]) -> str:
    first, last = min(start for start, _ in missing), max(end for _, end in missing)
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}" + (f" in {len(missing)} gaps" if len(missing) > 1 else "")
