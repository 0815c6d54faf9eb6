"""The half-private calls into Dagster's event log, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from lakehouse_assets.sqlmesh_integration.event_log import (
    forget_partitions,
    newest_event_id,
    store_partitions,
    withdraw_planned_checks,
)

KEY = dg.AssetKey(["marts", "daily_revenue"])


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    overrides = {"telemetry": {"enabled": False}}
    if request.param == "postgres":
        url = request.getfixturevalue("database_url")
        overrides["storage"] = {"postgres": {"postgres_url": url}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        yield instance


def test_thousands_of_partitions_are_stored_and_read_back(instance: dg.DagsterInstance) -> None:
    rows = {f"p{number}": number for number in range(2500)}
    store_partitions(instance, KEY, rows)
    assert instance.get_materialized_partitions(KEY) == set(rows)
    filters = dg.AssetRecordsFilter(asset_key=KEY, asset_partitions=["p7"])
    (record,) = instance.fetch_materializations(filters, limit=5).records
    assert record.asset_materialization.metadata["dagster/partition_row_count"].value == 7
    assert instance.get_latest_materialization_event(KEY) is not None


def test_a_forgotten_partition_is_missing_and_its_history_stays(instance: dg.DagsterInstance) -> None:
    store_partitions(instance, KEY, {"a": 1, "b": 2})
    forget_partitions(instance, KEY, {"a"})
    assert instance.get_materialized_partitions(KEY) == {"b"}
    assert len(instance.fetch_materializations(KEY, limit=10).records) == 2
    store_partitions(instance, KEY, {"a": 3})
    assert instance.get_materialized_partitions(KEY) == {"a", "b"}


def test_an_event_that_came_later_keeps_its_partition(instance: dg.DagsterInstance) -> None:
    store_partitions(instance, KEY, {"a": 1})
    seen = newest_event_id(instance)
    store_partitions(instance, KEY, {"a": 2})
    forget_partitions(instance, KEY, {"a"}, until_event_id=seen)
    assert instance.get_materialized_partitions(KEY) == {"a"}
    forget_partitions(instance, KEY, {"a"})
    assert instance.get_materialized_partitions(KEY) == set()


def test_the_status_that_the_web_ui_shows_follows(instance: dg.DagsterInstance) -> None:
    from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")

    def shown() -> set[str]:
        value = get_and_update_asset_status_cache_value(instance, KEY, days)
        subset = value.deserialize_materialized_partition_subsets(days) if value else None
        return set(subset.get_partition_keys()) if subset is not None else set()

    store_partitions(instance, KEY, {"2024-01-01": 1, "2024-01-02": 1})
    assert shown() == {"2024-01-01", "2024-01-02"}
    forget_partitions(instance, KEY, {"2024-01-01"})
    assert shown() == {"2024-01-02"}


@time_machine.travel(datetime(2025, 2, 1, tzinfo=UTC))
def test_planned_partitions_are_written_at_once_and_read_as_planned(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over many partitions announces each of them; the storage for PostgreSQL writes them together."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    module = "lakehouse_assets.sqlmesh_integration.postgres_event_log"
    storage = {"custom": {"module": module, "class": "BatchingStorage", "config": {"postgres_url": database_url}}}

    year = dg.DailyPartitionsDefinition("2024-01-01", end_date="2025-01-01")

    @dg.asset(
        partitions_def=year,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            dg.AssetCheckSpec("made", asset="days", partitions_def=year),
        ],
    )
    def days():
        yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="made", passed=True)])

    overrides = {"storage": storage, "telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        tags = {
            "dagster/asset_partition_range_start": "2024-01-01",
            "dagster/asset_partition_range_end": "2024-12-31",
        }
        result = dg.materialize([days], instance=instance, tags=tags)
        assert result.success
        assert len(instance.get_materialized_partitions(days.key)) == 366
        planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        assert len(instance.all_logs(result.run_id, of_type=planned)) == 366
        assert instance.get_latest_materialization_event(days.key).dagster_event.partition == "2024-12-31"
        made = dg.AssetCheckKey(days.key, "made")
        (check,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([made]).values()
        assert check.status.value == "SUCCEEDED"


def test_an_announced_check_that_was_not_made_is_withdrawn_and_one_that_was_stays(instance: dg.DagsterInstance) -> None:
    @dg.multi_asset(
        specs=[dg.AssetSpec("a", skippable=True), dg.AssetSpec("b", skippable=True)],
        check_specs=[dg.AssetCheckSpec("good", asset="a"), dg.AssetCheckSpec("good", asset="b")],
        can_subset=True,
    )
    def both(context: dg.AssetExecutionContext):
        yield dg.MaterializeResult(asset_key="a")
        yield dg.AssetCheckResult(asset_key="a", check_name="good", passed=True)

    keys = [dg.AssetCheckKey(dg.AssetKey(name), "good") for name in "ab"]
    run_id = dg.materialize([both], instance=instance).run_id
    assert set(instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)) == set(keys)
    withdraw_planned_checks(instance, run_id, [key.asset_key for key in keys])
    assert set(instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)) == {keys[0]}
