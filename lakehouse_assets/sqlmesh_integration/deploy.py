"""Deploying: making an environment what the checked-out files say. Its own act, never part of a run."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lakehouse_assets.sqlmesh_integration.outcome import CheckOutcome, audit_rows, rows_in_words
from lakehouse_assets.sqlmesh_integration.owners import Ownership, table_users
from lakehouse_assets.sqlmesh_integration.plan import PlanSummary, summarize
from lakehouse_assets.sqlmesh_integration.ranges import interval_count
from lakehouse_assets.sqlmesh_integration.reasons import ModelsError, error_sentence, remedy

if TYPE_CHECKING:
    from sqlmesh import Context
    from sqlmesh.core.plan import Plan
    from sqlmesh.core.state_sync import StateReader

    from lakehouse_assets.sqlmesh_integration.engine import Absent
    from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject


class DeployError(ModelsError):
    """A deploy did not happen, or stopped; the message says why and what to do."""

    changed_nothing = False


class RefusedError(DeployError):
    """It was refused before it began."""

    changed_nothing = True


class UnitTestsFailedError(RefusedError):
    def __init__(self, tests: tuple[UnitTest, ...]):
        failed = [test for test in tests if not test.passed]
        lines = "\n".join(f"  {test.name}: {test.message.splitlines()[0][:200]}" for test in failed)
        super().__init__(
            f"{len(failed)} of {len(tests)} unit tests failed, so nothing was deployed:\n{lines}\n"
            "Fix the model or the test, then deploy again."
        )
        self.tests = tests


@dataclass(frozen=True)
class UnitTest:
    """One of the project's SQLMesh unit tests, of the model `model` (`schema.table`)."""

    name: str
    model: str
    passed: bool
    message: str = ""


@dataclass(frozen=True)
class Deployed:
    """`measured`: how many intervals of which models (`schema.table`) were computed, in how many seconds."""

    summary: PlanSummary
    tests: tuple[UnitTest, ...]
    measured: Mapping[str, tuple[int, float]] = field(default_factory=dict)


def summarize_plan(
    project: SqlmeshProject, environment: str | None = None, ownership: Ownership = Ownership()
) -> PlanSummary:
    """What deploying the checked-out files to the environment would change; changes nothing."""
    from lakehouse_assets.sqlmesh_integration import engine

    with _opened(project) as context:
        plan = _plan(context, environment or project.environment, skip_backfill=False)
        owned = owners_after(context.state_sync, plan, ownership)
        taken = {before for before, after in owned.values() if before and before != after}
        return replace(
            summarize(plan, _left_alone(plan, owned)),
            takes_over_from=tuple(sorted(taken)),
            lost=_in_words(plan, engine.lost_of(context, plan)),
        )


def run_unit_tests(project: SqlmeshProject) -> tuple[UnitTest, ...]:
    """The result of every unit test of the project, failed ones first."""
    with _opened(project) as context:
        return _unit_tests(context)


def lint(project: SqlmeshProject) -> tuple[str, ...]:
    """`file, line n: rule: what is wrong` of every model, and the files that `sqlmesh format` would lay out anew."""
    with _opened(project) as context:
        console: Any = context.console
        context.lint_models(raise_on_error=False)
        found = _broken_rules(project, console)
        if not context.format(check=True):
            models = {model._path for model in context.models.values() if model._path}
            files = sorted({*models, *project.folder.glob("audits/**/*.sql")})
            unlike = [file for file in files if not context.format(check=True, paths=(file,))]
            found += [f"{file.relative_to(project.folder)}: `sqlmesh format` lays it out otherwise" for file in unlike]
        return tuple(found)


def _broken_rules(project: SqlmeshProject, console: Any) -> list[str]:
    return [line.replace(f"{project.folder}/", "") for line in console.broken_rules]


def refused(project: SqlmeshProject) -> tuple[str, ...]:
    """A sentence for each model whose table a deploy couldn't create: a column, a type or a function doesn't fit.

    Makes the project's external tables, without rows, and then all that a first deploy of prod would make, computing
    nothing: for a gateway whose warehouse and state are empty. Not told of: models above an external table of
    which some column's type isn't known, and those that read a file which isn't here.

    Raises:
        DeployError: SQLMesh refuses the project or its plan as a whole.
    """
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    with _opened(project) as context:
        unknown = engine.create_externals(context)
        found = []
        for fqn, error in engine.create_tables(context, _plan(context, "prod", skip_backfill=True)):
            model = context.models[fqn]
            if not unknown & {fqn, *context.dag.upstream(fqn)}:
                path = engine.file_of(model) or project.folder
                reason = error_sentence(error).split(" LINE ")[0]
                found.append(f"{path.relative_to(project.folder)}: {table_ref(fqn).name} can't be made: {reason}")
        return tuple(found)


def apply_plan(
    project: SqlmeshProject,
    environment: str | None = None,
    backfill: bool = False,
    ownership: Ownership = Ownership(),
) -> Deployed:
    """Deploy the checked-out files to the environment, if its unit tests pass.

    Without `backfill` the tables and views are created and promoted, empty where they are new, and not one
    interval is marked computed: the next run catches up. With it SQLMesh computes what is missing before it
    promotes, but in tables that another environment owns, which this one only reads. Raises
    UnitTestsFailedError, or DeployError with the models that failed.
    """
    from lakehouse_assets.sqlmesh_integration import engine

    with _opened(project) as context:
        tests = _unit_tests(context)
        if not all(test.passed for test in tests):
            raise UnitTestsFailedError(tests)
        failed: list[str] = []
        batches: dict[str, list[engine.BatchDone]] = {}

        def hear(event: Any) -> None:
            failed.extend(_failures(event))
            if isinstance(event, engine.BatchDone):
                batches.setdefault(event.fqn, []).append(event)

        console: Any = context.console
        console.sink = hear
        audited: list[str] = []
        engine.RecordingEvaluator.of(context).sink = lambda event: audited.extend(_audited(event))
        target = environment or project.environment
        plan = _plan(context, target, skip_backfill=not backfill)
        lost = engine.lost_of(context, plan)
        if lost.tables:
            _forget(context, plan, lost)
            plan = _plan(context, target, skip_backfill=not backfill)
        others = _left_alone(plan, owners_after(context.state_sync, plan, ownership))
        summary = replace(summarize(plan, others), lost=_in_words(plan, lost))
        try:
            engine.apply_plan(context, plan, left_alone=others, lost=lost)
        except engine.sqlmesh_errors() as error:
            failed = failed or [error_sentence(error)]
            reasons = "\n".join(f"  {line}" for line in failed)
            raise DeployError(
                f"The deploy to {target} stopped; what it had not reached is as before:\n{reasons}\n"
                + "\n".join([remedy(failed, "deploy again"), *audited])
            ) from error
        return Deployed(summary, tests, dict(_measured(plan, batches)))


@contextmanager
def _opened(project: SqlmeshProject) -> Iterator[Context]:
    """The project's context with its files loaded; raises DeployError for one that can't be read or planned."""
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import sentence

    with engine.session(project) as session:
        session.console.broken_rules.clear()
        try:
            context = session.loaded()
        except engine.sqlmesh_errors() as error:
            raise RefusedError(f"{sentence(project, error)}. Nothing was deployed.") from error
        try:
            yield context
        except engine.sqlmesh_errors() as error:
            broken = _broken_rules(project, session.console)
            if not broken:
                raise DeployError(f"Nothing was deployed: {error_sentence(error)}") from error
            rules = "1 rule" if len(broken) == 1 else f"{len(broken)} rules"
            lines = "\n".join(f"  {line}" for line in broken)
            raise RefusedError(f"Nothing was deployed: the models break {rules} of the linter.\n{lines}") from error


def _plan(context: Context, environment: str, skip_backfill: bool) -> Plan:
    return context.plan_builder(
        environment,
        skip_tests=True,  # they ran before, with their names
        skip_backfill=skip_backfill,
        include_unmodified=True,  # an environment has every model: unchanged ones as views on prod's tables
    ).build()


def _forget(context: Context, plan: Plan, lost: Absent) -> None:
    """Take back from the state what was computed of tables that are gone: they are about to be made again, empty."""
    from lakehouse_assets.sqlmesh_integration import engine

    kept = [s for s in plan.snapshots.values() if s.name in lost.tables and s.is_model and s.disable_restatement]
    if kept:
        lines = "\n".join(f"  {name}" for name in _in_words(plan, lost, {snapshot.name for snapshot in kept}))
        raise RefusedError(
            f"Nothing was deployed:\n{lines}\nThese models keep history that can't be computed again. Restore the "
            "tables, or begin anew: materialize the models with the option `mode: recompute`."
        )
    engine.forget_lost(context, plan, lost)


def _in_words(plan: Plan, lost: Absent, names: Collection[str] | None = None) -> tuple[str, ...]:
    """A line for each table and view that the environment should have and has not."""
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    lines = []
    for snapshot in plan.snapshots.values():
        if names is None or snapshot.name in names:
            name, index = table_ref(snapshot.name).name, plan.deployability_index
            if snapshot.name in lost.tables:
                table = snapshot.table_name(is_deployable=index.is_representative(snapshot))
                lines.append(f"{name}: the table {table} is gone: what was computed of it is computed again")
            elif snapshot.name in lost.views:
                lines.append(f"{name}: its view is gone, or shows another table: it is made again")
    return tuple(sorted(lines))


def owners_after(state: StateReader, plan: Plan, ownership: Ownership) -> dict[str, tuple[str, str]]:
    """Who owns the table of each of the plan's models (by full name) before it ("" for nobody), and after it."""
    environment = plan.environment.name
    environments = state.get_environments()
    before = table_users(environments)
    others = table_users([other for other in environments if other.name != environment])
    found = {}
    for snapshot in plan.snapshots.values():
        if snapshot.is_model and not snapshot.is_symbolic:
            table = snapshot.table_name(is_deployable=plan.deployability_index.is_deployable(snapshot))
            owner = ownership.owner(table, before[table]) if table in before else ""
            found[snapshot.name] = (owner, ownership.owner(table, others.get(table, set()) | {environment}))
    return found


def _left_alone(plan: Plan, owned: Mapping[str, tuple[str, str]]) -> frozenset[str]:
    """Full names of the models whose tables other environments will own, and may be computing now."""
    return frozenset(name for name, (_, after) in owned.items() if after != plan.environment.name)


def _unit_tests(context: Context) -> tuple[UnitTest, ...]:
    from lakehouse_assets.sqlmesh_integration import engine

    engine.pin_unit_tests(context)
    result = context.test(stream=io.StringIO())
    wrong = [*result.failures, *result.errors]
    tests = [_unit_test(test, str(message)) for test, message in wrong]
    return (*tests, *(_unit_test(test, "") for test in result.successes))


def _unit_test(test: Any, message: str) -> UnitTest:
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    model = getattr(test, "model", None)
    return UnitTest(
        name=getattr(test, "test_name", str(test)),
        model=table_ref(model.fqn).name if model is not None else "",
        passed=not message,
        message=message,
    )


def _audited(event: Any) -> Iterator[str]:
    """The rows that a blocking audit found, and how."""
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    if isinstance(event, engine.Audited) and event.rows:
        check = CheckOutcome(
            event.check_name, event.audit, event.blocking, event.rows, event.query, event.columns, event.sample
        )
        if rows := audit_rows(table_ref(event.fqn).name, [check]):
            yield rows


def _measured(plan: Plan, batches: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, tuple[int, float]]]:
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    for snapshot in plan.snapshots.values():
        if done := batches.get(snapshot.name):
            count = interval_count([batch.interval for batch in done], engine.counted_unit(snapshot))
            yield table_ref(snapshot.name).name, (count, sum(batch.duration_ms for batch in done) / 1000)


def _failures(event: Any) -> Iterator[str]:
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    if isinstance(event, engine.NodeFailed):
        audits = engine.failed_audits(event.error)
        found = "; ".join(f"audit {name} found {rows_in_words(count)}" for name, count in audits)
        yield f"{table_ref(event.fqn).name}: {found or error_sentence(event.error)}"
