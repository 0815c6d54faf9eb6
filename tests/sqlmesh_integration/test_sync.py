"""What SQLMesh knows shows in Dagster, without a run."""

import shutil
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.sqlmesh_integration.environments import promote
from lakehouse_assets.sqlmesh_integration.sync import Synced, sync_partitions
from tests.sqlmesh_integration.sandbox import Sandbox, moment
from tests.sqlmesh_integration.test_environments import change_growth

DAY = "marts.daily_revenue"
GROWTH = "marts.daily_growth"
LARGE = "marts.large_orders_by_day"
JANUARY_10_AND_11 = [(moment("2024-01-10"), moment("2024-01-12"))]
RESTATE = (
    *("plan", "prod", "--restate-model", DAY, "--start", "2024-01-10", "--end", "2024-01-11"),
    *("--auto-apply", "--no-prompts", "--skip-tests"),
)


def sync(shop: Sandbox) -> Synced:
    return sync_partitions(shop.instance, shop.resource, [shop.assets()])


def shown(shop: Sandbox, name: str) -> set[str]:
    prefix = [] if shop.environment == "prod" else [shop.environment]
    return shop.partitions(*prefix, *name.split("."))


def held(shop: Sandbox, name: str) -> set[str]:
    """The days that SQLMesh's state has as computed."""
    ranges = shop.resource.deployed()[name].computed
    return {f"{start + timedelta(days):%Y-%m-%d}" for start, end in ranges for days in range((end - start).days)}


def test_a_fresh_instance_shows_every_computed_day_and_model(shop: Sandbox) -> None:
    synced = sync(shop)
    assert synced.materialized[DAY] == len(shop.partitions("marts", "daily_revenue")) == 35
    assert synced.materialized["marts.customer_revenue"] == 1
    assert shop.instance.get_latest_materialization_event(dg.AssetKey(["marts", "customer_revenue"]))
    assert not sync(shop)


def test_days_that_sqlmesh_holds_missing_show_as_missing(shop: Sandbox) -> None:
    sync(shop)
    shop.resource.mark_missing({DAY: [(moment("2024-01-10"), moment("2024-01-12"))]})
    assert sync(shop).missing == {DAY: 2}
    assert {"2024-01-10", "2024-01-11"}.isdisjoint(shop.partitions("marts", "daily_revenue"))
    shop.run()
    assert {"2024-01-10", "2024-01-11"} <= shop.partitions("marts", "daily_revenue")
    assert not sync(shop)


def test_a_breaking_deploy_shows_every_day_as_missing_until_it_is_computed(shop: Sandbox) -> None:
    sync(shop)
    file = shop.folder / "models" / "daily_growth.sql"
    file.write_text(file.read_text().replace("daily.revenue_usd::DOUBLE", "(daily.revenue_usd * 2)::DOUBLE"))
    shop.deploy()
    assert sync(shop).missing["marts.daily_growth"] == 35
    assert shop.partitions("marts", "daily_growth") == set()
    shop.run()
    assert "2024-01-31" in shop.partitions("marts", "daily_growth")


def test_a_whole_model_written_elsewhere_gets_an_event(shop: Sandbox) -> None:
    sync(shop)
    elsewhere = Sandbox(shop.folder)
    elsewhere.run("marts.customer_revenue", by_hand=True)
    assert sync(shop).materialized == {"marts.customer_revenue": 1}


@pytest.mark.slow
def test_a_promotion_shows_the_days_that_the_other_environment_has_computed(shop: Sandbox) -> None:
    sync(shop)
    change_growth(shop)
    qa = shop.in_environment("qa", precedence=("prod", "qa"))
    qa.deploy(backfill=True)
    qa.resource.mark_missing({GROWTH: JANUARY_10_AND_11})
    promote(shop.project, "qa", "prod")
    assert sync(shop).missing == {GROWTH: 2}
    assert shown(shop, GROWTH) == held(shop, GROWTH)
    assert {"2024-01-10", "2024-01-11"}.isdisjoint(held(shop, GROWTH)) and "2024-01-12" in held(shop, GROWTH)
    assert shown(shop, DAY) == held(shop, DAY)


def test_what_sqlmeshs_own_run_computes_shows_and_nothing_else(shop: Sandbox) -> None:
    shop.resource.mark_missing({DAY: JANUARY_10_AND_11, LARGE: None})
    sync(shop)
    assert shown(shop, DAY) == held(shop, DAY) and "2024-01-10" not in shown(shop, DAY)
    shop.sqlmesh("run", "prod")
    assert sync(shop).materialized == {DAY: 2, LARGE: 1}
    assert "2024-01-10" in shown(shop, DAY) == held(shop, DAY)


def test_a_restatement_in_prod_by_sqlmeshs_own_command_line_shows_as_missing_where_a_table_differs(
    shop: Sandbox,
) -> None:
    change_growth(shop)
    dev = shop.in_environment("dev")
    dev.deploy(backfill=True)
    sync(dev)
    assert shown(dev, GROWTH) == held(dev, GROWTH) and "2024-01-10" in shown(dev, GROWTH)
    shop.sqlmesh(*RESTATE)
    assert sync(dev).missing == {GROWTH: 2}
    assert shown(dev, GROWTH) == held(dev, GROWTH)


def test_after_a_restatement_of_sqlmeshs_own_that_was_killed_the_state_is_shown(shop: Sandbox, tmp_path: Path) -> None:
    """In prod SQLMesh itself holds such days as computed all the while: nobody could know better."""
    sync(shop)
    shop.resource.mark_missing({GROWTH: [(moment("2024-01-20"), moment("2024-01-21"))]})
    wall = tmp_path / "wall"
    first = f"""
import time
from pathlib import Path
from sqlmesh.core.snapshot import SnapshotEvaluator
def wait(*args, **kwargs):
    Path({str(wall)!r}).touch()
    time.sleep(60)
SnapshotEvaluator.audit = wait
"""
    before = shop.stamps(DAY)
    process = shop.start_sqlmesh(*RESTATE, first=first)
    deadline = time.monotonic() + 300
    while not wall.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    assert wall.exists(), process.stdout + process.stderr
    assert shop.stamps(DAY) != before
    assert sync(shop).missing == {GROWTH: 1}
    for name in (DAY, GROWTH):
        assert shown(shop, name) == held(shop, name)


@pytest.mark.slow
def test_a_whole_model_of_other_content_gets_an_event_when_it_is_promoted(shop: Sandbox) -> None:
    sync(shop)
    qa = shop.in_environment("qa")
    file = shop.folder / "models" / "customer_revenue.sql"
    file.write_text(file.read_text().replace("SUM(", "2 * SUM("))
    qa.deploy()
    assert qa.run("marts.customer_revenue", by_hand=True).success
    assert shop.run("marts.customer_revenue", by_hand=True).success, "the old content, after qa's"
    promote(shop.project, "qa", "prod")
    assert sync(shop).materialized == {"marts.customer_revenue": 1}
    assert not sync(shop)


def test_only_the_models_named_are_looked_at(shop: Sandbox) -> None:
    synced = sync_partitions(shop.instance, shop.resource, [shop.assets()], names=[DAY])
    assert set(synced.materialized) == {DAY}


def test_before_the_first_deploy_there_is_nothing_to_show(empty_shop: Sandbox) -> None:
    assert not sync(empty_shop)


@pytest.mark.slow
def test_a_state_file_that_is_replaced_under_the_process_is_read_anew(tmp_path: Path) -> None:
    files = {"models/one.sql": "MODEL (name marts.one, kind FULL);\nSELECT 1 AS id"}
    sandbox = Sandbox.with_models(tmp_path, files)
    sandbox.deploy()
    before = Path(shutil.copy(sandbox.folder / "state.db", tmp_path))
    states = []
    for _ in range(2):
        states.append(sandbox.run().outcomes["marts.one"].state)
    before.replace(sandbox.folder / "state.db")
    assert [*states, sandbox.run().outcomes["marts.one"].state] == ["computed", "up_to_date", "computed"]
    (sandbox.folder / "state.db").unlink()
    assert "does not exist" in sandbox.run().failure
    sandbox.deploy()
    assert sandbox.run().outcomes["marts.one"].state == "computed"
