"""How models look in Dagster."""

from collections.abc import Iterator

import dagster as dg
import pytest

from lakehouse_assets.sqlmesh_integration import (
    ModelSpec,
    SqlmeshResource,
    SqlmeshTranslator,
    TableRef,
    sqlmesh_assets,
)
from tests.sqlmesh_integration.sandbox import Sandbox

DAY = dg.AssetKey(["marts", "daily_revenue"])


@pytest.fixture
def spec(shop: Sandbox) -> dg.AssetSpec:
    return shop.assets().specs_by_key[DAY]


def test_an_asset_says_all_that_its_model_says(spec: dg.AssetSpec, shop: Sandbox) -> None:
    assert spec.description == "Revenue of each day."
    assert list(spec.owners) == ["team:shop_team"]
    assert spec.group_name == "marts"
    assert spec.kinds == {"sqlmesh", "duckdb", "incremental"}
    assert {"published", "finance"} <= set(spec.tags)
    assert spec.code_version == shop.project.manifest().find("marts.daily_revenue").data_hash
    assert spec.metadata["dagster/table_name"] == "warehouse.marts.daily_revenue"
    (reference,) = spec.metadata["dagster/code_references"].code_references
    assert reference.file_path == str(shop.folder / "models" / "daily_revenue.sql")
    schema = spec.metadata["dagster/column_schema"]
    assert [(c.name, c.type, c.description) for c in schema.columns][1] == ("revenue_usd", "DOUBLE", "US dollars")
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    assert lineage["revenue_usd"] == [dg.TableColumnDep(dg.AssetKey(["staging", "stg_shop__orders"]), "amount_usd")]


def test_an_address_owns_as_it_is(shop: Sandbox) -> None:
    assert list(shop.assets().specs_by_key[dg.AssetKey(["staging", "stg_shop__orders"])].owners) == ["data@example.com"]


def test_an_external_table_is_a_dependency_and_no_asset(shop: Sandbox) -> None:
    assets = shop.assets()
    raw = dg.AssetKey(["raw", "shop__orders"])
    assert raw not in assets.keys
    assert raw in assets.asset_deps[dg.AssetKey(["staging", "stg_shop__orders"])]


def test_partitions_begin_at_the_models_own_start(spec: dg.AssetSpec) -> None:
    assert spec.partitions_def == dg.DailyPartitionsDefinition("2024-01-01", timezone="UTC")


def test_a_partition_before_the_start_is_refused(shop: Sandbox) -> None:
    with pytest.raises(Exception, match="2023-12-31"):
        shop.run("marts.daily_revenue", partition="2023-12-31", by_hand=True)


def test_an_audit_is_a_check_and_twice_the_same_audit_two(shop: Sandbox) -> None:
    checks = {(check.asset_key.path[-1], check.name): check for check in shop.assets().check_specs}
    assert {name for asset, name in checks if asset == "daily_revenue"} == {
        "not_null",
        "positive_revenue",
        "accepted_range",
    }
    assert len([name for asset, name in checks if asset == "customer_revenue"]) == 2
    assert checks["daily_revenue", "accepted_range"].metadata["sqlmesh/blocking"] is False


def test_a_translator_changes_what_it_overrides_and_nothing_else(shop: Sandbox) -> None:
    class Translator(SqlmeshTranslator):
        def external_key(self, table: TableRef) -> dg.AssetKey:
            return dg.AssetKey(["dlt", table.table])

        def group_name(self, model: ModelSpec) -> str:
            return "everything"

        def automation_condition(self, model: ModelSpec) -> dg.AutomationCondition:
            return dg.AutomationCondition.eager()

    shop.translator = Translator()
    spec = shop.assets().specs_by_key[dg.AssetKey(["staging", "stg_shop__orders"])]
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["dlt", "shop__orders"])]
    assert spec.group_name == "everything"
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.metadata["dagster/column_lineage"].deps_by_column["customer"][0].asset_key.path[0] == "dlt"


@pytest.mark.parametrize(
    "select", [["marts.daily_revenue"], lambda model: "published" in model.tags], ids=["names", "predicate"]
)
def test_a_selection_leaves_models_out(shop: Sandbox, select: object) -> None:
    @sqlmesh_assets(project=shop.project, select=select, name="some", pool="warehouse")
    def some(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource) -> Iterator[None]:
        yield from ()

    assert set(some.keys) == {DAY}
    assert some.op.pool == "warehouse"


def test_a_selection_of_a_model_that_there_is_not_names_those_there_are(shop: Sandbox) -> None:
    with pytest.raises(KeyError, match=r"no model 'marts.nothing' in the project; it has marts.customer_revenue"):
        sqlmesh_assets(project=shop.project, select=["marts.nothing"])


def test_a_mart_carries_rows_and_a_plot(shop: Sandbox) -> None:
    class Translator(SqlmeshTranslator):
        def has_preview(self, model: ModelSpec) -> bool:
            return model.ref.schema == "marts"

    shop.translator = Translator()
    ran = shop.run("marts.customer_revenue", "marts.daily_revenue", partition="2024-01-10", by_hand=True)
    assert ran.success, ran.failure
    by_day = ran.materialization("marts", "daily_revenue").metadata
    by_customer = ran.materialization("marts", "customer_revenue").metadata
    assert str(by_day["preview"].value).splitlines()[2].startswith("| 2024-01-31 | 303.0 | 3 |")
    assert "| ann |" in str(by_customer["preview"].value)
    assert by_day["dagster/row_count"].value == 31
    for plot in (by_day["plot"].value, by_customer["plot"].value):
        assert str(plot).startswith("![revenue_usd by ")
        assert len(str(plot)) < 8_000


def test_a_translator_names_the_measure_of_the_plot(shop: Sandbox) -> None:
    class Translator(SqlmeshTranslator):
        column = "orders"

        def has_preview(self, model: ModelSpec) -> bool:
            return model.name == "marts.daily_revenue"

        def measure(self, model: ModelSpec) -> str:
            return self.column

    shop.translator = Translator()
    ran = shop.run("marts.daily_revenue", partition="2024-01-10", by_hand=True)
    plot = ran.materialization("marts", "daily_revenue").metadata["plot"].value
    assert str(plot).startswith("![orders by ordered_on]")
    shop.translator.column = "profit"
    ran = shop.run("marts.daily_revenue", partition="2024-01-10", by_hand=True)
    assert "plot" not in ran.materialization("marts", "daily_revenue").metadata
