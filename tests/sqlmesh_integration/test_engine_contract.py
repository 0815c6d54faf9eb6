"""What the layer takes from SQLMesh without a promise. After an upgrade, the test that fails says what changed."""

import inspect
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from sqlmesh import Context
from sqlmesh.core import constants
from sqlmesh.core.console import NoopConsole
from sqlmesh.core.context_diff import ContextDiff
from sqlmesh.core.environment import EnvironmentNamingInfo
from sqlmesh.core.plan import PlanBuilder
from sqlmesh.core.plan.evaluator import BuiltInPlanEvaluator
from sqlmesh.core.plan.stages import BackfillStage
from sqlmesh.core.scheduler import Scheduler, merged_missing_intervals
from sqlmesh.core.snapshot import Snapshot, SnapshotEvaluator, apply_auto_restatements
from sqlmesh.core.snapshot.definition import snapshots_to_dag, start_date
from sqlmesh.core.snapshot.evaluator import SnapshotCreationFailedError
from sqlmesh.core.state_sync.cache import CachingStateSync
from sqlmesh.core.state_sync.db.facade import EngineAdapterStateSync
from sqlmesh.core.state_sync.db.interval import IntervalState, _intervals_to_df
from sqlmesh.utils.errors import CircuitBreakerError

from lakehouse_assets.sqlmesh_integration import engine
from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from tests.sqlmesh_integration.sandbox import Sandbox, moment

DAY = "marts.daily_revenue"


@pytest.fixture
def session(shop: Sandbox) -> Iterator[engine.Session]:
    with engine.session(shop.project) as session:
        yield session


@pytest.mark.parametrize(("said", "pools"), [("", 0), ("2", 2)])
def test_the_process_is_not_forked_unless_its_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, pools: int
) -> None:
    made = Sandbox.with_models(tmp_path, {"models/one.sql": "MODEL (name marts.one, kind FULL);\nSELECT 1 AS a"})
    monkeypatch.setenv("MAX_FORK_WORKERS", said)
    monkeypatch.setattr(constants, "MAX_FORK_WORKERS", 2)
    forked = []

    def executor(**options: Any) -> ProcessPoolExecutor:
        forked.append(options)
        return ProcessPoolExecutor(**options)

    monkeypatch.setattr("sqlmesh.utils.process.ProcessPoolExecutor", executor)
    with engine.session(made.project) as session:
        assert list(session.loaded().models) == ['"warehouse"."marts"."one"']
    assert len(forked) == pools


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_the_version_is_the_one_that_these_tests_passed_with() -> None:
    assert version("sqlmesh") == "0.236.4", "run this folder's tests, read what fails, then change this line"


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (NoopConsole.start_evaluation_progress, {"batched_intervals"}),
        (NoopConsole.update_snapshot_evaluation_progress, {"snapshot", "interval", "batch_idx", "duration_ms"}),
        (NoopConsole.log_failed_models, {"errors"}),
        (NoopConsole.log_skipped_models, {"snapshot_names"}),
        (SnapshotEvaluator.__init__, {"adapters", "ddl_concurrent_tasks", "selected_gateway"}),
        (SnapshotEvaluator.audit, {"snapshot", "snapshots", "start", "end", "execution_time", "deployability_index"}),
        (SnapshotEvaluator.create, {"target_snapshots", "snapshots", "deployability_index"}),
        (SnapshotEvaluator.create_physical_schemas, {"snapshots", "deployability_index"}),
        (SnapshotCreationFailedError.__init__, {"errors"}),
        (
            Scheduler.run_merged_intervals,
            {"merged_intervals", "deployability_index", "environment_naming_info", "circuit_breaker"},
        ),
        (BuiltInPlanEvaluator.visit_virtual_layer_update_stage, {"stage", "plan"}),
        (BuiltInPlanEvaluator.visit_backfill_stage, {"stage", "plan"}),
        (BackfillStage, {"snapshot_to_intervals", "selected_snapshot_ids"}),
        (
            ContextDiff.create,
            {"environment", "snapshots", "create_from", "state_reader", "environment_statements"}
            | {"provided_requirements", "infer_python_dependencies", "gateway_managed_virtual_layer"},
        ),
        (PlanBuilder.__init__, {"context_diff", "is_dev", "skip_backfill", "include_unmodified", "environment_ttl"}),
        (Context._cleanup_environments, {"current_ts", "name"}),
        (EngineAdapterStateSync.get_expired_snapshots, {"batch_range", "ignore_ttl"}),
        (IntervalState.cleanup_intervals, {"cleanup_targets", "expired_snapshot_ids"}),
        (Context.plan_builder, {"skip_tests", "skip_backfill", "include_unmodified"}),
        (apply_auto_restatements, {"snapshots", "execution_time"}),
        (merged_missing_intervals, {"snapshots", "execution_time", "end", "deployability_index"}),
        (_intervals_to_df, {"snapshot_intervals", "is_dev", "is_removed"}),
        (start_date, {"snapshot", "snapshots", "relative_to"}),
        (snapshots_to_dag, {"snapshots"}),
        (EngineAdapterStateSync.refresh_snapshot_intervals, {"snapshots"}),
        (EngineAdapterStateSync.remove_intervals, {"snapshot_intervals", "remove_shared_versions"}),
        (EngineAdapterStateSync.update_auto_restatements, {"next_auto_restatement_ts"}),
        (Snapshot.apply_pending_restatement_intervals, {"self"}),
        (CachingStateSync.clear_cache, {"self"}),
        (EnvironmentNamingInfo.sanitize_name, {"v"}),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_method_still_takes_what_the_layer_gives_or_overrides(function: Any, names: set[str]) -> None:
    assert names <= parameters(function)


def test_a_new_context_runs_what_is_stored_without_loading_the_files(
    shop: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.sessions, "_sessions", {})
    with engine.session(shop.project) as session:
        assert session.context.models == {}
        assert DAY in Deployment(session, "prod").snapshots


def test_of_a_model_whose_cron_has_not_ticked_sqlmesh_gives_an_interval_that_ends_before_it_begins(
    tmp_path: Path,
) -> None:
    """Once it gives none, `missing_intervals` need not leave it out."""
    yearly = (
        "MODEL (name marts.new, kind INCREMENTAL_BY_TIME_RANGE (time_column day), cron '@yearly', interval_unit 'day', "
        "start '3 days ago'); SELECT @start_date::DATE AS day"
    )
    made = Sandbox.with_models(tmp_path, {"models/new.sql": yearly})
    made.deploy()
    with engine.session(made.project) as session:
        deployment = Deployment(session, "prod")
        missing = merged_missing_intervals(
            deployment.scheduler.snapshot_per_version.values(),
            execution_time=deployment.now, end=deployment.now, deployability_index=deployment.index,
        )  # fmt: skip
        ((start, end),) = missing[deployment.snapshots["marts.new"]]
        assert start > end
        assert deployment.due(["marts.new"]) == {}


def test_every_interval_of_a_model_is_forgotten_although_the_state_takes_one_a_call(session: engine.Session) -> None:
    days = [(moment("2024-01-03"), moment("2024-01-04")), (moment("2024-01-07"), moment("2024-01-09"))]
    deployment = Deployment(session, "prod")
    deployment.forget({DAY: deployment.intervals(DAY).touched(days)})
    assert Deployment(session, "prod").models()[DAY].missing == tuple(days)


def test_times_at_the_ends_of_the_calendar_are_in_no_interval(session: engine.Session) -> None:
    """With 9999-12-31 sources say "never"; the hour after it has no date."""
    first, last = (end.replace(tzinfo=UTC) for end in (datetime.min, datetime.max))
    deployment = Deployment(session, "prod")
    intervals = deployment.intervals(DAY)
    assert intervals.touched([(first, first + timedelta(hours=1)), (last - timedelta(hours=1), last)]) == []
    assert intervals.touched([(first, last)]) == intervals.history()


def test_the_plan_is_told_before_anything_is_computed_and_each_batch_after_its_audits(session: engine.Session) -> None:
    heard: list[Any] = []
    session.console.sink = heard.append
    engine.RecordingEvaluator.of(session.context).sink = heard.append
    deployment = Deployment(session, "prod")
    work = {DAY: deployment.intervals(DAY).window(moment("2024-01-05"), moment("2024-01-06"))}
    deployment.compute(work, lambda: False)
    kinds = [type(event).__name__ for event in heard]
    assert kinds == ["Planned", "Begun", "Audited", "Audited", "Audited", "BatchDone"]
    assert heard[0].batches == {deployment.snapshots[DAY].name: [heard[-1].interval]}


def test_a_stopped_run_computes_no_further_model(session: engine.Session) -> None:
    heard: list[Any] = []
    session.console.sink = heard.append
    deployment = Deployment(session, "prod")
    work = {DAY: deployment.intervals(DAY).window(moment("2024-01-05"), moment("2024-01-06"))}
    with pytest.raises(CircuitBreakerError):
        deployment.compute(work, lambda: True)
    assert not [event for event in heard if isinstance(event, engine.BatchDone)]


def test_a_closed_session_leaves_its_database_files_to_others(shop: Sandbox) -> None:
    with engine.session(shop.project) as session:
        Deployment(session, "prod")
    shop.execute("CREATE TABLE proof (a INT)")  # a connection that may write, beside the open process
    with engine.session(shop.project) as session:
        assert Deployment(session, "prod").snapshots


@pytest.mark.slow
def test_two_runs_in_one_process_use_one_context(empty_shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Context] = []
    make = Context.__init__
    monkeypatch.setattr(Context, "__init__", lambda self, *a, **k: (made.append(self), make(self, *a, **k))[1])
    empty_shop.deploy()
    assert empty_shop.run().success
    assert empty_shop.run(DAY, partition="2024-01-10", by_hand=True).success
    assert len(made) == 1


def test_another_configuration_is_another_context(shop: Sandbox) -> None:
    with engine.session(shop.project) as first:
        pass
    config = shop.folder / "config.yaml"
    config.write_text(config.read_text() + "variables: { a: 1 }\n")
    with engine.session(shop.project) as second:
        assert second is not first


def test_a_relative_database_file_lies_in_the_project(session: engine.Session, shop: Sandbox) -> None:
    gateway = session.context.config.gateways["local"]
    assert gateway.connection.database == str(shop.folder / "warehouse.db")
    assert gateway.state_connection.database == str(shop.folder / "state.db")
