"""What runs by itself: when the schedule ticks, what it starts, what is tried again, and when a model is late."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from lakehouse_assets.sqlmesh_integration import ModelSpec, SqlmeshResource, SqlmeshTranslator, engine, sqlmesh_assets
from lakehouse_assets.sqlmesh_integration.automation import RETRIES, catch_up_job, cron_schedules, freshness_by_cron
from tests.sqlmesh_integration.sandbox import Sandbox

DAY = "marts.daily_revenue"


def schedule_of(shop: Sandbox) -> dg.ScheduleDefinition:
    job = catch_up_job(shop.assets(), resources={"sqlmesh": shop.resource})
    (schedule,) = cron_schedules(job, shop.project.manifest())
    return schedule


def edit(shop: Sandbox, model: str, old: str, new: str) -> None:
    file = shop.folder / "models" / f"{model}.sql"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_the_schedule_ticks_with_every_models_cron_and_restatement(empty_shop: Sandbox) -> None:
    assert schedule_of(empty_shop).cron_schedule == ["@daily", "@weekly"]
    edit(empty_shop, "daily_revenue", "lookback 2", "auto_restatement_cron '30 4 * * 1'")
    edit(empty_shop, "large_orders_by_day", "kind FULL", "kind FULL, cron '@midnight'")
    assert schedule_of(empty_shop).cron_schedule == ["30 4 * * 1", "@daily", "@weekly"]


def test_a_model_with_a_time_zone_of_its_own_ticks_in_it(empty_shop: Sandbox) -> None:
    edit(empty_shop, "large_orders_by_day", "kind FULL", "kind FULL, cron '0 6 * * *', cron_tz 'America/Los_Angeles'")
    job = catch_up_job(empty_shop.assets(), resources={"sqlmesh": empty_shop.resource})
    utc, west = cron_schedules(job, empty_shop.project.manifest())
    assert (utc.name, utc.cron_schedule, utc.execution_timezone) == ("models_cron", ["@daily", "@weekly"], "UTC")
    assert west.name == "models_cron_America_Los_Angeles"
    assert (west.cron_schedule, west.execution_timezone) == (["0 6 * * *"], "America/Los_Angeles")


def test_ticks_of_several_crons_at_one_moment_are_one_run(empty_shop: Sandbox) -> None:
    schedule = schedule_of(empty_shop)
    assert schedule.execution_timezone == "UTC"
    saturday = datetime(2024, 1, 6, 12, tzinfo=UTC)
    ticks = schedule_execution_time_iterator(saturday.timestamp(), list(schedule.cron_schedule), "UTC")
    assert [f"{next(ticks):%a %H:%M}" for _ in range(3)] == ["Sun 00:00", "Mon 00:00", "Tue 00:00"]


@pytest.mark.slow
def test_a_tick_starts_a_catch_up_which_computes_what_is_due(empty_shop: Sandbox) -> None:
    empty_shop.deploy()
    job = catch_up_job(empty_shop.assets(), resources={"sqlmesh": empty_shop.resource})
    (schedule,) = cron_schedules(job, empty_shop.project.manifest())
    moment = datetime(2024, 2, 1, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance, scheduled_execution_time=moment)
        (request,) = schedule.evaluate_tick(context).run_requests
        assert request.tags["dagster/schedule_name"] == "models_cron"
        assert job.execute_in_process(instance=instance, tags=request.tags).success
    assert empty_shop.query("SELECT COUNT(*) FROM marts.daily_revenue") == [(31,)]


@pytest.mark.parametrize(
    ("cron", "wait"),
    [
        ("@daily", timedelta(days=1)),
        ("0 5 * * 1-5", timedelta(days=3)),
        ("@monthly", timedelta(days=31)),
        ("0 9-17 * * 1-5", timedelta(days=2, hours=16)),  # over a weekend
        ("*/5 9-17 * * *", timedelta(hours=15, minutes=5)),  # over a night
    ],
)
def test_a_model_is_late_by_its_own_cron(empty_shop: Sandbox, cron: str, wait: timedelta) -> None:
    class Watched(SqlmeshTranslator):
        def freshness_policy(self, model: ModelSpec) -> dg.FreshnessPolicy:
            return freshness_by_cron(model)

    edit(empty_shop, "large_orders_by_day", "kind FULL", f"kind FULL, cron '{cron}'")
    empty_shop.translator = Watched()
    policy = empty_shop.assets().specs_by_key[dg.AssetKey(["marts", "large_orders_by_day"])].freshness_policy
    assert policy == dg.FreshnessPolicy.time_window(fail_window=2 * wait, warn_window=1.5 * wait)


class Attempts:
    """A shop whose engine fails the first time that it is asked to compute."""

    def __init__(self, shop: Sandbox, monkeypatch: pytest.MonkeyPatch, error: Exception | None):
        compute, self.made = engine.run_merged, 0

        def fails_once(*args: Any, **kwargs: Any) -> None:
            self.made += 1
            if self.made == 1 and error is not None:
                raise error
            compute(*args, **kwargs)

        monkeypatch.setattr(engine, "run_merged", fails_once)
        retries = dg.RetryPolicy(max_retries=RETRIES.max_retries, delay=0.01, backoff=RETRIES.backoff)

        @sqlmesh_assets(project=shop.project, retry_policy=retries)
        def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource) -> Iterator[Any]:
            yield from sqlmesh.run(context)

        self.result = dg.materialize(
            [models],
            resources={"sqlmesh": shop.resource},
            partition_key="2024-01-10",
            selection=dg.AssetSelection.assets(dg.AssetKey(DAY.split("."))),
            raise_on_error=False,
        )


def test_a_lost_race_is_tried_again(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Attempts(shop, monkeypatch, duckdb.TransactionException("Transaction conflict"))
    assert lost.result.success
    assert lost.made == 2
    assert shop.resource.deployed()[DAY].missing == ()


def test_a_failed_audit_is_not_tried_again(shop: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-10'")
    failed = Attempts(shop, monkeypatch, None)
    assert not failed.result.success
    assert failed.made == 1
