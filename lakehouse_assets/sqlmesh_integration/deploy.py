"""Deploying: making an environment what the checked-out files say. Its own act, never part of a run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse_assets.sqlmesh_integration.outcome import error_sentence, rows_in_words
from lakehouse_assets.sqlmesh_integration.plan import PlanSummary, summarize

if TYPE_CHECKING:
    from sqlmesh import Context
    from sqlmesh.core.plan import Plan

    from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject


class DeployError(Exception):
    """A deploy did not happen, or stopped; the message says why and what to do."""


class UnitTestsFailedError(DeployError):
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
    summary: PlanSummary
    tests: tuple[UnitTest, ...]


def summarize_plan(project: SqlmeshProject, environment: str | None = None) -> PlanSummary:
    """What deploying the checked-out files to the environment would change; changes nothing."""
    with _opened(project) as context:
        return summarize(_plan(context, environment or project.environment, skip_backfill=False))


def run_unit_tests(project: SqlmeshProject) -> tuple[UnitTest, ...]:
    """The result of every unit test of the project, failed ones first."""
    with _opened(project) as context:
        return _unit_tests(context)


def apply_plan(project: SqlmeshProject, environment: str | None = None, backfill: bool = False) -> Deployed:
    """Deploy the checked-out files to the environment, if its unit tests pass.

    Without `backfill` the tables and views are created and promoted, empty where they are new, and not one
    interval is marked computed: the next run catches up. With it SQLMesh computes what is missing before it
    promotes. Raises UnitTestsFailedError, or DeployError with the models that failed.
    """
    from lakehouse_assets.sqlmesh_integration import engine

    with _opened(project) as context:
        tests = _unit_tests(context)
        if not all(test.passed for test in tests):
            raise UnitTestsFailedError(tests)
        failed: list[str] = []
        console: Any = context.console
        console.sink = lambda event: failed.extend(_failures(event))
        target = environment or project.environment
        plan = _plan(context, target, skip_backfill=not backfill)
        summary = summarize(plan)
        try:
            engine.apply_plan(context, plan)
        except engine.sqlmesh_errors() as error:
            reasons = "\n".join(f"  {line}" for line in failed) or f"  {error_sentence(error)}"
            raise DeployError(
                f"The deploy to {target} stopped; what it had not reached is as before:\n{reasons}\n"
                "Fix the model or its source, then deploy again."
            ) from error
        return Deployed(summary, tests)


@contextmanager
def _opened(project: SqlmeshProject) -> Iterator[Context]:
    """The project's context with its files loaded; raises DeployError for one that does not parse."""
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import sentence

    with engine.session(project) as session:
        try:
            context = session.loaded()
        except engine.sqlmesh_errors() as error:
            raise DeployError(f"{sentence(project, error)}. Nothing was deployed.") from error
        yield context


def _plan(context: Context, environment: str, skip_backfill: bool) -> Plan:
    return context.plan_builder(
        environment,
        skip_tests=True,  # they ran before, with their names
        skip_backfill=skip_backfill,
        include_unmodified=True,  # an environment has every model: unchanged ones as views on prod's tables
    ).build()


def _unit_tests(context: Context) -> tuple[UnitTest, ...]:
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


def _failures(event: Any) -> Iterator[str]:
    from lakehouse_assets.sqlmesh_integration import engine
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    if isinstance(event, engine.NodeFailed):
        audits = engine.failed_audits(event.error)
        found = "; ".join(f"audit {name} found {rows_in_words(count)}" for name, count in audits)
        yield f"{table_ref(event.fqn).name}: {found or error_sentence(event.error)}"
