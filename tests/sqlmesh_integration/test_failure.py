"""A model that fails: what stays, what is skipped, what is said, and that the next run heals it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.sqlmesh_integration import SqlmeshResource
from lakehouse_assets.sqlmesh_integration.sync import sync_partitions
from tests import forking
from tests.sqlmesh_integration.sandbox import Sandbox, moment

DAY = "marts.daily_revenue"
BAD_DAY = "UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-10'"
GOOD_DAY = "UPDATE raw.shop__orders SET amount_usd = 7 WHERE ordered_at::DATE = '2024-01-10'"
TOUCHED = {
    DAY: [(moment("2024-01-10"), moment("2024-01-11"))],
    "marts.daily_growth": [(moment("2024-01-10"), moment("2024-01-11"))],
}


def test_a_failed_audit_skips_what_reads_it_and_names_model_audit_and_rows(shop: Sandbox) -> None:
    shop.execute(BAD_DAY)
    ran = shop.run(touched={**TOUCHED, "marts.large_orders_by_day": None})
    assert not ran.success
    assert "1 of 3 models failed in environment prod:" in ran.failure
    assert "marts.daily_revenue: audit positive_revenue found 1 row" in ran.failure
    assert "Skipped, because they read what failed: marts.daily_growth." in ran.failure
    assert ran.outcomes["marts.large_orders_by_day"].state == "computed"
    assert ran.materialization("marts", "large_orders_by_day")


def test_a_model_whose_rows_are_refused_once_written_has_failed_and_is_due_again(
    shop: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    @contextmanager
    def refusing(table: str) -> Iterator[None]:
        yield
        written.append(table)
        if "daily_revenue" in table:
            raise OSError("the store has lost them")

    project = replace(shop.project, writing=refusing)
    monkeypatch.setattr(SqlmeshResource, "project", property(lambda _: project))
    ran = shop.run(touched=TOUCHED)
    assert "marts.daily_revenue: OSError: the store has lost them" in ran.failure
    assert ran.outcomes["marts.daily_growth"].state == "skipped"
    assert [table.split("__")[:3] for table in written] == [["sqlmesh", "marts.marts", "daily_revenue"]]
    monkeypatch.undo()
    due = shop.run().outcomes[DAY].intervals
    assert any(start <= moment("2024-01-10") < end for start, end in due)


def test_a_failed_check_carries_its_rows_and_query(shop: Sandbox) -> None:
    shop.execute(BAD_DAY)
    checks = shop.run(touched=TOUCHED).checks
    failed = checks["daily_revenue", "positive_revenue"]
    assert not failed.passed
    assert failed.severity == dg.AssetCheckSeverity.ERROR
    assert failed.metadata["failed_rows"].value == 1
    assert '"revenue_usd" < 0' in str(failed.metadata["query"].value)
    sample = str(failed.metadata["sample"].value).splitlines()
    assert sample[0] == "| revenue_usd | ordered_on | orders | computed_at |"  # what was audited comes first
    assert sample[2].startswith("| -15.0 | 2024-01-10 | 3 |")  # and a day is a day
    assert checks["daily_revenue", "not_null"].passed


def test_a_warning_audit_fails_its_check_and_nothing_else(shop: Sandbox) -> None:
    shop.execute("INSERT INTO raw.shop__orders SELECT n, 'eve', '2024-01-10', 1 FROM range(1000, 2100) AS r(n)")
    ran = shop.run(touched=TOUCHED)
    assert ran.success
    warned = ran.checks["daily_revenue", "accepted_range"]
    assert not warned.passed
    assert warned.severity == dg.AssetCheckSeverity.WARN


def test_failed_days_are_missing_until_a_run_heals_them(shop: Sandbox) -> None:
    shop.execute(BAD_DAY)
    shop.run(touched=TOUCHED)
    missing = shop.resource.deployed()[DAY].missing
    assert missing == ((moment("2024-01-10"), moment("2024-01-11")),)
    shop.execute(GOOD_DAY)
    assert shop.run().success
    assert shop.resource.deployed()[DAY].missing == ()
    assert shop.query("SELECT revenue_usd FROM marts.daily_growth WHERE ordered_on = '2024-01-10'") == [(21,)]


@pytest.mark.slow
def test_failed_days_show_as_missing_in_dagster(shop: Sandbox) -> None:
    shop.run(config={"mode": "recompute"})
    assert "2024-01-10" in shop.partitions("marts", "daily_revenue")
    shop.execute(BAD_DAY)
    shop.run(touched=TOUCHED)
    assert "2024-01-10" not in shop.partitions("marts", "daily_revenue")
    assert "2024-01-11" in shop.partitions("marts", "daily_revenue")
    shop.execute(GOOD_DAY)
    shop.run()
    assert "2024-01-10" in shop.partitions("marts", "daily_revenue")


@pytest.mark.slow
def test_days_computed_before_a_later_batch_failed_are_shown(shop: Sandbox) -> None:
    file = shop.folder / "models" / "daily_revenue.sql"
    file.write_text(file.read_text().replace("lookback 2", "lookback 2, batch_size 10").replace("1000", "1001"))
    shop.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE ordered_at::DATE = '2024-01-25'")
    shop.deploy()
    shop.resource.mark_missing({DAY: None})
    assert not shop.run(DAY, partitions=("2024-01-01", "2024-01-31"), by_hand=True).success
    ((start, end),) = shop.resource.deployed()[DAY].computed[:1]
    assert (start, end) == (moment("2024-01-01"), moment("2024-01-21"))
    assert {f"2024-01-{day:02}" for day in range(1, 21)} <= shop.partitions("marts", "daily_revenue")
    assert "2024-01-25" not in shop.partitions("marts", "daily_revenue")


def test_a_day_that_is_healed_alone_leaves_none_of_its_look_back_missing(shop: Sandbox) -> None:
    sync_partitions(shop.instance, shop.resource, [shop.assets()])
    shown = shop.partitions("marts", "daily_revenue")
    shop.execute(BAD_DAY)
    shop.resource.mark_missing(TOUCHED)
    assert not shop.run().success, "a catch-up: the bad day, and with it the two before"
    assert shown - shop.partitions("marts", "daily_revenue") == {"2024-01-10"}
    shop.execute(GOOD_DAY)
    assert shop.run(DAY, partition="2024-01-10", by_hand=True).success
    assert shop.resource.deployed()[DAY].missing == ()
    assert shop.partitions("marts", "daily_revenue") == shown


def test_a_failed_partition_run_leaves_that_partition_missing(shop: Sandbox) -> None:
    shop.execute(BAD_DAY)
    ran = shop.run(DAY, partition="2024-01-10", by_hand=True)
    assert not ran.success
    assert shop.resource.deployed()[DAY].missing == ((moment("2024-01-10"), moment("2024-01-11")),)


def test_checks_can_be_run_alone(shop: Sandbox) -> None:
    table = shop.resource.deployed()[DAY].physical_table
    shop.execute(f"UPDATE {table} SET revenue_usd = -1 WHERE ordered_on = '2024-01-05'")
    before = shop.stamps(DAY)
    key = dg.AssetCheckKey(dg.AssetKey(["marts", "daily_revenue"]), "positive_revenue")
    result = dg.materialize(
        [shop.assets()],
        resources={"sqlmesh": shop.resource},
        selection=dg.AssetSelection.checks(key),
        raise_on_error=False,
    )
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert not result.success  # it blocks, and Dagster fails a run for such a check
    assert shop.stamps(DAY) == before


def test_an_error_in_the_engine_is_told_with_the_model(shop: Sandbox) -> None:
    shop.execute("ALTER TABLE raw.shop__orders RENAME COLUMN amount_usd TO amount")
    ran = shop.run("marts.large_orders_by_day", by_hand=True)
    assert "marts.large_orders_by_day: " in ran.failure
    assert "amount_usd" in ran.failure


@pytest.mark.slow
def test_a_run_killed_in_the_middle_shows_its_days_as_missing_and_the_next_repairs_them(
    shop: Sandbox, tmp_path: Path
) -> None:
    """SIGKILL after the days' rows were written and before they were audited."""
    home, wall = tmp_path / "home", tmp_path / "wall"
    home.mkdir()
    script = f"""
import time
from pathlib import Path
import dagster as dg
from lakehouse_assets.sqlmesh_integration import engine
from tests.sqlmesh_integration.sandbox import Sandbox
def wait(*args, **kwargs):
    Path({str(wall)!r}).touch()
    time.sleep(60)
engine.RecordingEvaluator.audit = wait
with dg.DagsterInstance.from_config({str(home)!r}) as instance:
    shop = Sandbox(Path({str(shop.folder)!r}), instance=instance)
    shop.run({DAY!r}, partitions=("2024-01-10", "2024-01-11"), by_hand=True)
"""
    cut_off = {"2024-01-10", "2024-01-11"}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        shop.instance = instance
        sync_partitions(instance, shop.resource, [shop.assets()])
        shown = shop.partitions("marts", "daily_revenue")
        assert cut_off < shown
        process = forking.start("python", "-c", script, now=datetime.now(UTC))
        deadline = time.monotonic() + 300
        while not wall.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        assert wall.exists(), process.stderr
        assert shop.resource.deployed()[DAY].missing == ((moment("2024-01-10"), moment("2024-01-12")),)

        assert sync_partitions(instance, shop.resource, [shop.assets()]).missing == {DAY: 2}
        assert shop.partitions("marts", "daily_revenue") == shown - cut_off
        before = shop.stamps(DAY)
        assert shop.run().success
        look_back = {"2024-01-08", "2024-01-09"}  # the model's own: what is due brings the two days before it
        assert {day for day, stamp in shop.stamps(DAY).items() if stamp != before.get(day)} == cut_off | look_back
        assert shop.resource.deployed()[DAY].missing == ()
        assert shop.partitions("marts", "daily_revenue") == shown
