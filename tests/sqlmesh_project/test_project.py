"""What every model owes its readers, and what SQLMesh's own tools say of the project."""

from __future__ import annotations

import re

import dagster as dg
import pytest
from sqlglot import ErrorLevel, exp
from sqlmesh import Context

from lakehouse_assets.defs.ingestion.assets import origin_assets, raw_assets
from lakehouse_assets.defs.ingestion.sources import raw_tables
from lakehouse_assets.defs.transformation.assets import model_assets


@pytest.fixture(scope="module")
def context(sample):
    with sample.context() as context:
        yield context


def models(context: Context):
    return [model for model in context.models.values() if not model.kind.is_external]


def test_every_model_has_a_description_an_owner_a_grain_and_audits(context):
    wanting = [
        (model.name, what)
        for model in models(context)
        for what in ("description", "owner", "grains", "audits", "tags")
        if not getattr(model, what)
    ]
    assert not wanting


def test_every_column_has_a_description_and_a_type(context):
    wanting = [
        f"{model.name}.{column}"
        for model in models(context)
        for column, kind in (model.columns_to_types or {}).items()
        if not model.column_descriptions.get(column) or kind.is_type(exp.DataType.Type.UNKNOWN)
    ]
    assert not wanting


def test_every_grain_is_held_by_an_audit(context):
    wanting = []
    for model in models(context):
        audited = {
            frozenset(column.name for column in arguments["columns"].find_all(exp.Column))
            for audit, arguments in model.audits_with_args
            if audit.name in ("unique_values", "unique_combination_of_columns")
        }
        for grain in model.grains:
            columns = frozenset(column.name for column in grain.find_all(exp.Column))
            if not any(columns <= names for names in audited):
                wanting.append(model.name)
    assert not wanting


def test_only_marts_are_published(context):
    published = [model.name for model in models(context) if "published" in model.tags]
    assert "marts.daily_revenue" in published
    assert [name for name in published if not name.startswith("marts.")] == []


@pytest.mark.parametrize("mart", ["marts.collisions_daily", "marts.daily_revenue"])
def test_rows_before_a_models_start_are_rejected_not_lost(context, mart):
    start = context.get_model(mart).start
    rendered = context.render("marts.rejected_rows").sql(dialect="duckdb")
    assert f"lies before {start}, when the records begin" in rendered
    assert re.search(rf"< CAST\('{start}' AS TIMESTAMP\)", rendered)


@pytest.mark.slow
def test_sql_models_can_be_written_for_other_engines(context):
    for model in models(context):
        if model.is_sql:
            query = context.render(model.name, start="2024-01-01", end="2024-01-02")
            for dialect in ("postgres", "snowflake", "bigquery", "spark", "trino"):
                assert query.sql(dialect=dialect, unsupported_level=ErrorLevel.RAISE), dialect


def test_column_lineage_reaches_the_raw_tables(context):
    from sqlmesh.core.lineage import column_dependencies

    staged = column_dependencies(context, "marts.collisions_summary", "crash_month")
    assert staged == {'"lakehouse"."staging"."stg_nyc_collisions__crashes"': {"crash_date"}}
    raw = column_dependencies(context, "staging.stg_nyc_collisions__crashes", "crash_date")
    assert raw == {'"lakehouse"."raw"."nyc_collisions__crashes"': {"crash_date"}}


COLLISIONS = {
    "borough": {"borough"},
    "crash_month": {"crash_date"},
    "crashes_with_casualties": {"number_of_persons_injured", "number_of_persons_killed"},
    "cyclists_killed": {"number_of_cyclist_killed"},
}


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_the_columns_of_a_marts_asset_lead_through_staging_and_raw_to_the_fields_of_their_source():
    specs = {**model_assets().specs_by_key, **{spec.key: spec for assets in raw_assets for spec in assets.specs}}
    outside = {spec.key: spec for spec in origin_assets.specs}

    def origins(key: dg.AssetKey, column: str) -> set[dg.TableColumnDep]:
        if key in outside:
            if schema := outside[key].metadata.get("dagster/column_schema"):
                assert column in {found.name for found in schema.columns}
            return {dg.TableColumnDep(key, column)}
        assert column in {found.name for found in specs[key].metadata["dagster/column_schema"].columns}
        read = specs[key].metadata["dagster/column_lineage"].deps_by_column[column]
        return {found for dep in read for found in origins(dep.asset_key, dep.column_name)}

    raw = dg.AssetKey(["raw", "nyc_collisions__crashes"])
    crashes = dg.AssetKey(["source", "nyc_collisions__crashes"])
    assert origins(raw, "portal_updated_at") == {dg.TableColumnDep(crashes, ":updated_at")}
    assert "_dlt_load_id" not in specs[raw].metadata["dagster/column_lineage"].deps_by_column  # made here
    for mart in ("collisions_summary", "collisions_summary_ibis"):
        for column, sources in COLLISIONS.items():
            expected = {dg.TableColumnDep(crashes, source) for source in sources}
            assert origins(dg.AssetKey(["marts", mart]), column) == expected
    events = dg.AssetKey(["landing", "ecommerce"])
    assert origins(dg.AssetKey(["marts", "daily_revenue"]), "total_revenue") == {
        dg.TableColumnDep(events, "event_type"),
        dg.TableColumnDep(events, "revenue"),
    }


@pytest.mark.usefixtures("settings")
def test_the_external_models_are_what_the_sources_declare(context):
    for table in raw_tables():
        external = context.get_model(f"raw.{table.name}")
        declared = {name: exp.DataType.build(kind, dialect="duckdb") for name, kind, _ in table.columns}
        assert external.columns_to_types == declared


def test_the_linter_has_nothing_to_say(context):
    assert context.lint_models(raise_on_error=False) == []


def test_the_files_are_formatted(context):
    assert context.format(check=True)


@pytest.mark.slow
def test_the_unit_tests_pass(context):
    result = context.test()
    assert result.testsRun >= 10
    assert result.wasSuccessful(), [*result.failures, *result.errors]
