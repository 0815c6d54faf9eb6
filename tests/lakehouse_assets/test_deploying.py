"""Deploy is its own act: nothing else ships code, and it marks nothing computed that is not."""

from contextlib import closing

import dagster as dg

from lakehouse.postgres import connect
from tests.lakehouse_assets.conftest import House

DAILY = dg.AssetKey(["marts", "daily_revenue"])


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
