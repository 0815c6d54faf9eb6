"""Deploying is its own act: shown before it happens, stopped by a red test, and it computes only when told to."""

from __future__ import annotations

import pytest
from sqlglot import exp

from lakehouse_assets.sqlmesh_integration.deploy import DeployError, UnitTestsFailedError, lint, summarize_plan
from lakehouse_assets.sqlmesh_integration.environments import look_at_promotion
from lakehouse_assets.sqlmesh_integration.owners import Ownership
from lakehouse_assets.sqlmesh_integration.widening import widens
from tests.sqlmesh_integration.sandbox import Sandbox

DAY = "marts.daily_revenue"


def edit(shop: Sandbox, model: str, old: str, new: str) -> None:
    file = shop.folder / "models" / f"{model}.sql"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_a_deploy_creates_every_table_and_marks_nothing_computed(empty_shop: Sandbox) -> None:
    deployed = empty_shop.deploy()
    assert [test.passed for test in deployed.tests] == [True]
    models = empty_shop.resource.deployed()
    assert {name for name, model in models.items() if model.computed} == set()
    assert empty_shop.query("SELECT COUNT(*) FROM marts.daily_revenue") == [(0,)]
    assert empty_shop.query("SELECT COUNT(*) FROM marts.customer_revenue") == [(0,)]


@pytest.mark.slow
def test_a_deploy_over_empty_raw_computes_late_rows_all_the_same(empty_shop: Sandbox) -> None:
    empty_shop.execute("DELETE FROM raw.shop__orders")
    empty_shop.deploy()
    empty_shop.execute("INSERT INTO raw.shop__orders VALUES (1, 'ann', '2024-01-05', 20)")
    assert empty_shop.run().success
    assert empty_shop.query("SELECT ordered_on::TEXT, revenue_usd FROM marts.daily_revenue") == [("2024-01-05", 20)]


def test_a_deploy_with_backfill_computes_before_it_returns(empty_shop: Sandbox) -> None:
    empty_shop.deploy(backfill=True)
    assert empty_shop.query("SELECT COUNT(*) FROM marts.daily_revenue") == [(31,)]
    assert empty_shop.resource.deployed()[DAY].missing == ()


def test_a_model_without_an_interval_to_fill_does_not_break_a_deploy_with_backfill(empty_shop: Sandbox) -> None:
    edit(empty_shop, "daily_growth", "(time_column ordered_on)\n", "(time_column ordered_on),\n  start '2100-01-01'\n")
    empty_shop.deploy(backfill=True)
    assert empty_shop.query("SELECT COUNT(*) FROM marts.daily_growth") == [(0,)]


def test_failing_unit_tests_stop_the_deploy_and_are_named(empty_shop: Sandbox) -> None:
    edit(empty_shop, "daily_revenue", "SUM(orders.amount_usd)", "MAX(orders.amount_usd)")
    with pytest.raises(UnitTestsFailedError, match="1 of 1 unit tests failed, so nothing was deployed") as failed:
        empty_shop.deploy()
    (test,) = failed.value.tests
    assert (test.name, test.model, test.passed) == ("test_revenue_is_summed_by_day", DAY, False)
    assert empty_shop.resource.deployed() == {}


def test_what_the_linter_stops_is_named_with_file_rule_and_line(empty_shop: Sandbox) -> None:
    config = empty_shop.folder / "config.yaml"
    config.write_text(
        f"{config.read_text()}\nlinter: {{ enabled: true, rules: [nomissingexternalmodels, noselectstar] }}\n"
    )
    (empty_shop.folder / "models" / "copied.sql").write_text(
        "MODEL (name marts.copied, kind FULL);\nSELECT\n  *\nFROM raw.nowhere"
    )
    for act in (lambda: summarize_plan(empty_shop.project), empty_shop.deploy):
        with pytest.raises(DeployError) as refused:
            act()
        told = str(refused.value)
        assert told.startswith("Nothing was deployed: the models break 2 rules of the linter.\n"), told
        assert "\n  models/copied.sql, line 3: noselectstar: Query should not contain SELECT *" in told
        assert "\n  models/copied.sql, line 4: nomissingexternalmodels: Model" in told
        assert '"raw"."nowhere"' in told
        assert str(empty_shop.folder) not in told
    found = lint(empty_shop.project)
    assert "models/copied.sql: `sqlmesh format` lays it out otherwise" in found
    assert sum("noselectstar" in line for line in found) == 1


def test_a_plan_tells_columns_breaking_changes_and_the_days_to_compute(shop: Sandbox) -> None:
    edit(shop, "daily_revenue", "COUNT(*)::BIGINT AS orders", "COUNT(*)::INT AS orders")
    (shop.folder / "models" / "large_orders_by_day.sql").unlink()
    summary = summarize_plan(shop.project)
    changes = {change.name: change for change in summary.changes}
    assert changes[DAY].change == "modified"
    assert changes[DAY].is_breaking
    assert changes[DAY].columns_retyped == ("orders: BIGINT → INT",)
    assert changes["marts.daily_growth"].change == "modified indirectly"
    assert changes["marts.large_orders_by_day"].change == "removed"
    backfills = {backfill.name: backfill for backfill in summary.backfills}
    assert f"{backfills[DAY].start:%Y-%m-%d}" == "2024-01-01"
    text = "\n".join(summary.lines())
    assert "~ marts.daily_revenue: modified, breaking: what reads it is computed again too" in text
    assert "`marts.daily_growth`" in summary.markdown()


def test_a_plan_changes_nothing(shop: Sandbox) -> None:
    edit(shop, "daily_growth", "daily.revenue_usd::DOUBLE AS", "(2 * daily.revenue_usd)::DOUBLE AS")
    before = shop.resource.deployed()
    assert not summarize_plan(shop.project).is_empty
    assert shop.resource.deployed() == before


def test_an_environment_as_the_files_has_an_empty_plan(shop: Sandbox) -> None:
    assert summarize_plan(shop.project).is_empty


def test_a_plan_that_adds_a_column_names_it(shop: Sandbox) -> None:
    edit(shop, "daily_growth", "  @execution_ts", "  1::INT AS one,\n  @execution_ts")
    (change,) = summarize_plan(shop.project).changes
    assert change.columns_added == ("one",)
    assert not change.is_breaking


@pytest.mark.slow
def test_a_plan_that_takes_a_column_from_readers_is_breaking(shop: Sandbox) -> None:
    """Whatever SQLMesh calls it: nothing of ours reads the column, and somebody's report may."""
    edit(shop, "daily_growth", "  @execution_ts", "  1::BIGINT AS one,\n  'x'::TEXT AS two,\n  @execution_ts")
    shop.deploy(backfill=True)
    edit(shop, "daily_growth", "  1::BIGINT AS one,\n  'x'::TEXT AS two,\n", "  1::INT AS one,\n")
    (change,) = summarize_plan(shop.project).changes
    assert change.is_breaking and change.breaks_readers
    assert (change.columns_dropped, change.columns_retyped) == (("two",), ("one: BIGINT → INT",))
    assert "modified, breaking" in "\n".join(summarize_plan(shop.project).lines())
    shop.deploy(environment="qa", backfill=True)
    (promoted,) = look_at_promotion(shop.project, "qa", "prod", Ownership(("prod", "qa"))).summary.changes
    assert (promoted.is_breaking, promoted.category) == (True, "breaking for readers")


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ("INT", "BIGINT", True), ("BIGINT", "INT", False), ("INT", "DOUBLE", True), ("BIGINT", "DOUBLE", False),
        ("UINTEGER", "BIGINT", True), ("UBIGINT", "BIGINT", False), ("INT", "UBIGINT", False),
        ("INT", "DECIMAL(12,2)", True), ("INT", "DECIMAL(11,2)", False), ("DECIMAL(12,2)", "DECIMAL(18,4)", True),
        ("DECIMAL(12,2)", "DECIMAL(12,4)", False), ("FLOAT", "DOUBLE", True), ("DOUBLE", "FLOAT", False),
        ("TEXT", "INT", False), ("INT", "TEXT", False), ("VARCHAR(5)", "TEXT", True), ("TEXT", "TEXT", True),
        ("DATE", "TIMESTAMP", False), ("TIMESTAMP", "TIMESTAMPTZ", False),
    ],
)  # fmt: skip
def test_a_type_is_wider_when_it_holds_every_value_as_what_it_was(before: str, after: str, wider: bool) -> None:
    assert widens(exp.DataType.build(before, "duckdb"), exp.DataType.build(after, "duckdb")) is wider


def test_a_failing_model_stops_a_deploy_with_backfill_and_is_named(empty_shop: Sandbox) -> None:
    empty_shop.execute("UPDATE raw.shop__orders SET amount_usd = -5 WHERE order_id < 3")
    with pytest.raises(DeployError, match="marts.daily_revenue: audit positive_revenue found 1 row") as stopped:
        empty_shop.deploy(backfill=True)
    told = str(stopped.value)
    assert "marts.daily_revenue: 1 row that audit positive_revenue found:\nrevenue_usd  " in told
    assert '"revenue_usd" < 0' in told and told.endswith(";")


def test_a_materialization_before_the_first_deploy_says_deploy(empty_shop: Sandbox) -> None:
    ran = empty_shop.run()
    assert "The environment prod does not exist: deploy the project to it" in ran.failure


def test_a_model_that_does_not_parse_stops_the_deploy_with_its_file(shop: Sandbox) -> None:
    (shop.folder / "models" / "daily_growth.sql").write_text("MODEL (name marts.daily_growth); SELEC 1")
    with pytest.raises(DeployError, match=r"models/daily_growth\.sql"):
        shop.deploy()
