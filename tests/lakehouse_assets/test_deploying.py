"""Deploy is its own act: nothing else ships code, and it marks nothing computed that is not."""

import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lakehouse.lake.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.writing import marks
from lakehouse.writing.locks import environment_lock, holding
from lakehouse_assets import models as models_module
from lakehouse_assets.models import PROJECT_DIR
from tests.lakehouse_assets.conftest import House

DAILY = dg.AssetKey(["marts", "daily_revenue"])


@pytest.mark.slow
def test_a_deploy_without_backfill_computes_nothing_and_the_next_run_does_everything(house: House) -> None:
    with closing(connect(house.lake.settings)) as connection:
        rows = connection.execute("SELECT to_regclass('sqlmesh._environments') IS NOT NULL").fetchone()
    assert rows == (True,)
    house.run("catch_up")
    assert house.rows(
        "SELECT event_date::VARCHAR, unique_users, total_revenue::DOUBLE FROM marts.daily_revenue_example"
    ) == [
        ("2024-01-01", 2, 29.99),
        ("2024-01-02", 1, 29.99),
    ]


def test_the_deploy_job_shows_the_plan_and_changes_nothing_unless_told(house: House) -> None:
    result = house.run("deploy")
    outputs = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = outputs[0].step_output_data.metadata
    assert metadata["applied"].value is False
    assert "Environment `prod`" in str(metadata["plan"].value)


def test_unit_tests_show_as_checks_of_their_models(house: House) -> None:
    result = house.run("deploy", run_config={"ops": {"deploy_models": {"config": {"apply": True, "backfill": False}}}})
    assert result.success
    key = dg.AssetCheckKey(dg.AssetKey(["marts", "rejected_rows"]), "unit_tests")
    (record,) = house.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status.value == "SUCCEEDED"


@pytest.mark.slow
def test_a_failing_unit_test_shows_as_a_failed_check_until_it_is_mended_and_nothing_is_deployed(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "sqlmesh_project"
    shutil.copytree(PROJECT_DIR, files)
    model = files / "models" / "marts" / "daily_revenue.sql"
    model.write_text(model.read_text().replace("THEN revenue ELSE 0", "THEN 2 * revenue ELSE 0"))
    apply = {"ops": {"deploy_models": {"config": {"apply": True, "backfill": False}}}}
    before = deployed(house)
    with monkeypatch.context() as checked_out:
        checked_out.setattr(models_module, "PROJECT_DIR", files)
        result = house.run("deploy", run_config=apply, raise_on_error=False)
        assert not result.success
        (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert "unit tests failed, so nothing was deployed:" in failure.user_failure_data.description
        assert "test_refunds_are_counted_apart_from_purchases" in failure.user_failure_data.description
        assert deployed(house) == before
        shown, metadata = unit_tests(house, "daily_revenue")
        assert (shown, "AssertionError" in str(metadata)) == ("FAILED", True)
        assert unit_tests(house, "rejected_rows")[0] == "SUCCEEDED"
    assert house.run("deploy", run_config=apply).success
    assert unit_tests(house, "daily_revenue")[0] == "SUCCEEDED"


def deployed(house: House) -> list[tuple[Any, ...]]:
    """Prod's plan, and every version of a model that there ever was."""
    with closing(connect(house.lake.settings)) as connection:
        plans = connection.execute("SELECT plan_id, finalized_ts FROM sqlmesh._environments WHERE name = 'prod'")
        versions = connection.execute("SELECT name, identifier FROM sqlmesh._snapshots ORDER BY 1, 2")
        return [*plans.fetchall(), *versions.fetchall()]


def unit_tests(house: House, mart: str) -> tuple[str, dict[str, Any]]:
    """What the web UI shows of a mart's check `unit_tests`, and what it says."""
    key = dg.AssetCheckKey(dg.AssetKey(["marts", mart]), "unit_tests")
    (record,) = house.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.evaluation is not None
    return record.status.value, {name: entry.value for name, entry in record.evaluation.metadata.items()}


@pytest.mark.slow
def test_what_sqlmesh_computed_by_itself_shows_as_materialized_without_a_run(house: House) -> None:
    house.run("catch_up")
    shown = house.instance.get_materialized_partitions(DAILY)
    assert "2010-02-01" in shown
    house.instance.wipe_assets([DAILY])
    assert house.instance.get_materialized_partitions(DAILY) == set()
    sensor = house.definitions.get_sensor_def("sqlmesh_state_sensor")
    context = dg.build_sensor_context(instance=house.instance, definitions=house.definitions)
    said = sensor(context)
    assert "now shown as materialized" in str(said.skip_message)
    assert house.instance.get_materialized_partitions(DAILY) == shown
    assert "as it was" in str(sensor(dg.build_sensor_context(
        instance=house.instance, definitions=house.definitions, cursor=context.cursor)).skip_message)  # fmt: skip


@pytest.mark.slow
def test_what_a_killed_run_left_shows_as_missing_once_nobody_computes(house: House) -> None:
    house.run("catch_up")
    sensor = house.definitions.get_sensor_def("sqlmesh_state_sensor")

    def look() -> str:
        context = dg.build_sensor_context(instance=house.instance, definitions=house.definitions)
        return str(sensor(context).skip_message)

    look()
    assert "2010-02-01" in house.instance.get_materialized_partitions(DAILY)
    with holding(house.lake.settings, [environment_lock("prod")], holder="run killed") as connection:
        marks.write(connection, "model", "prod", ["marts.daily_revenue"], run="killed", snapshot=1)
        models_module.resource().mark_missing({"marts.daily_revenue": [(day("2010-02-01"), day("2010-02-02"))]})
        assert look() == "a run is computing; it reports its own partitions"
    try:  # the run is dead; its mark stays until somebody repairs what it left
        assert "as missing: {'marts.daily_revenue': 1}" in look()
        assert "2010-02-01" not in house.instance.get_materialized_partitions(DAILY)
    finally:
        assert house.run("catch_up").success
    assert "2010-02-01" in house.instance.get_materialized_partitions(DAILY)
    assert house.marks("model") == []


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.slow
def test_a_developer_s_run_never_computes_what_prod_owns_nor_takes_it_for_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse_assets.definitions import build
    from lakehouse_assets.defs.environments import deploying

    house.land_events("ecommerce_events_dev.parquet", "SELECT 66666, 1, 'purchase', '2010-02-02', 7")
    house.load_events()
    before = house.computed_at()
    snapshot = house.lake.newest_snapshot()

    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "dev_ann")
    load_settings.cache_clear()
    deploying.deploy(house.lake, "dev_ann", backfill=False, run="test")
    developer = build()
    keys = {key.to_user_string() for key in developer.resolve_asset_graph().executable_asset_keys}
    assert "dev_ann/marts/daily_revenue" in keys
    assert not any(key.startswith("raw/") for key in keys), "raw is loaded by prod's location only"
    assert developer.resolve_job_def("catch_up").execute_in_process(instance=house.instance).success
    assert house.computed_at() == before
    assert house.lake.newest_snapshot() > snapshot, "the environment's views are there"

    monkeypatch.delenv("LAKEHOUSE_ENVIRONMENT")
    load_settings.cache_clear()
    house.run("catch_up")
    after = house.computed_at()
    assert {day for day in after if after[day] != before.get(day)} == {"2010-02-02"}
