"""The manifest: what it says of a model, that it is cached by content, and that a broken project still loads."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse_assets.sqlmesh_integration import SqlmeshProject
from lakehouse_assets.sqlmesh_integration.manifest_builder import ProjectError
from tests.sqlmesh_integration.sandbox import PROJECTS, Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sources(tmp_path: Path) -> Sandbox:
    return Sandbox.of("shop", tmp_path)


def test_a_model_is_described_in_plain_data(sources: Sandbox) -> None:
    model = sources.project.manifest().find("marts.daily_revenue")
    assert model.description == "Revenue of each day."
    assert (model.kind, model.interval_unit, model.time_column) == ("INCREMENTAL_BY_TIME_RANGE", "day", "ordered_on")
    assert (model.owner, model.tags, model.grains) == ("shop_team", ("published", "finance"), ("ordered_on",))
    assert model.start == "2024-01-01T00:00:00+00:00"
    assert model.path == "models/daily_revenue.sql"
    columns = {column.name: column for column in model.columns}
    assert columns["revenue_usd"].type == "DOUBLE"
    assert columns["revenue_usd"].description == "US dollars"
    blocking = {audit.check_name: audit.blocking for audit in model.audits}
    assert blocking == {"not_null": True, "positive_revenue": True, "accepted_range": False}


def test_column_lineage_reaches_the_external_table(sources: Sandbox) -> None:
    manifest = sources.project.manifest()
    staged = {column.name: column.sources for column in manifest.find("staging.stg_shop__orders").columns}
    assert staged["amount_usd"] == (("raw", "shop__orders", "amount_usd"),)
    daily = {column.name: column.sources for column in manifest.find("marts.daily_revenue").columns}
    assert daily["revenue_usd"] == (("staging", "stg_shop__orders", "amount_usd"),)


def test_an_embedded_model_is_seen_through(sources: Sandbox) -> None:
    manifest = sources.project.manifest()
    assert "staging.large_orders" not in manifest.by_name
    model = manifest.find("marts.large_orders_by_day")
    assert [table.name for table in model.depends_on] == ["staging.stg_shop__orders"]
    assert model.columns[0].sources == (("staging", "stg_shop__orders", "ordered_at"),)


def test_outside_prod_the_table_name_is_the_environments_view(sources: Sandbox) -> None:
    project = SqlmeshProject(sources.folder, environment="dev")
    assert project.manifest().find("marts.daily_revenue").view_name == "warehouse.marts__dev.daily_revenue"


def test_a_fresh_manifest_loads_without_sqlmesh(sources: Sandbox) -> None:
    sources.project.manifest()
    script = f"""
import sys
from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource, sqlmesh_assets
import lakehouse_assets.sqlmesh_integration.automation, lakehouse_assets.sqlmesh_integration.deploy
import lakehouse_assets.sqlmesh_integration.sync
@sqlmesh_assets(project=SqlmeshProject({str(sources.folder)!r}))
def models(context, sqlmesh: SqlmeshResource):
    yield from sqlmesh.run(context)
print(sorted({{"sqlmesh", "sqlglot", "pandas", "duckdb", "dlt"}} & set(sys.modules)), len(models.keys))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 5"


def test_a_virtual_environment_in_the_project_is_no_source(sources: Sandbox) -> None:
    before = sources.project.content_key()
    package = sources.folder / "env" / "lib" / "package"
    package.mkdir(parents=True)
    (sources.folder / "env" / "pyvenv.cfg").touch()
    (package / "module.py").write_text("x = 1")
    assert sources.project.content_key() == before


def test_another_checkout_of_the_same_files_has_the_same_content(sources: Sandbox, tmp_path: Path) -> None:
    other = shutil.copytree(sources.folder, tmp_path / "elsewhere" / "sqlmesh_project")
    assert replace(sources.project, path=other).content_key() == sources.project.content_key()


def test_two_models_of_one_name_in_two_catalogs_are_told_apart_by_nobody_and_refused(sources: Sandbox) -> None:
    (sources.folder / "models" / "same.sql").write_text(
        "MODEL (name other.marts.daily_growth, kind FULL); SELECT 1 AS one"
    )
    with pytest.raises(ProjectError) as refused:
        sources.project.manifest()
    both = '"other"."marts"."daily_growth" and "warehouse"."marts"."daily_growth" are both marts.daily_growth'
    assert both in str(refused.value)


@pytest.mark.parametrize("file", ["models/daily_growth.sql", "audits/positive_revenue.sql", "config.yaml"])
def test_a_changed_file_makes_a_new_manifest(sources: Sandbox, file: str) -> None:
    before = sources.project.manifest().key
    path = sources.folder / file
    path.write_text(path.read_text() + "\n")
    assert sources.project.manifest().key != before


def test_a_changed_query_changes_the_code_version(sources: Sandbox) -> None:
    before = sources.project.manifest().find("marts.daily_growth").data_hash
    path = sources.folder / "models" / "daily_growth.sql"
    path.write_text(path.read_text().replace("daily.revenue_usd::DOUBLE", "(daily.revenue_usd + 1)::DOUBLE"))
    assert sources.project.manifest().find("marts.daily_growth").data_hash != before


def test_what_sqlmesh_writes_into_the_project_is_no_change(sources: Sandbox) -> None:
    key = sources.project.content_key()
    (sources.folder / "logs").mkdir()
    (sources.folder / "logs" / "sqlmesh.log").write_text("x")
    (sources.folder / "warehouse.db").write_bytes(b"x")
    (sources.folder / ".cache").mkdir(exist_ok=True)
    (sources.folder / ".cache" / "x.sql").write_text("x")
    assert sources.project.content_key() == key


def test_a_model_that_does_not_parse_keeps_the_others_and_says_which_file(sources: Sandbox) -> None:
    sources.project.manifest()
    (sources.folder / "models" / "daily_growth.sql").write_text("MODEL (name marts.daily_growth); SELEC 1")
    manifest = sources.project.manifest()
    assert "marts.daily_revenue" in manifest.by_name
    (error,) = manifest.errors
    assert "could not be read: Failed to" in error
    assert "models/daily_growth.sql" in error
    assert "\x1b" not in error
    assets = sources.assets()
    assert all("models/daily_growth.sql" in str(spec.metadata["sqlmesh/error"]) for spec in assets.specs)


def test_deployed_models_still_run_while_the_files_are_broken(shop: Sandbox) -> None:
    shop.project.manifest()
    (shop.folder / "models" / "large_orders.sql").write_text("MODEL (name x); SELEC 1")
    ran = shop.run("marts.daily_revenue", partition="2024-01-10", by_hand=True)
    assert ran.outcomes["marts.daily_revenue"].state == "computed"


def test_a_half_written_cache_is_built_again(sources: Sandbox) -> None:
    sources.project.manifest()
    sources.project.manifest_path.write_text("{")
    assert sources.project.manifest().by_name


def test_an_unknown_model_is_named_with_those_there_are(sources: Sandbox) -> None:
    with pytest.raises(KeyError, match=r"no model 'marts.nothing' in the project; it has marts.customer_revenue"):
        sources.project.manifest().find("marts.nothing")


def test_the_projects_of_these_tests_are_whole() -> None:
    assert {folder.name for folder in PROJECTS.iterdir()} == {"mixture", "shop"}
