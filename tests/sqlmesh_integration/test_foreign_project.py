"""The project that `sqlmesh init duckdb` makes, from an empty Dagster project, with the lines of the README."""

import os
from pathlib import Path

import duckdb
import pytest

from tests import forking

LINES = """\
import dagster as dg
from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource, catch_up_job, sqlmesh_assets

project = SqlmeshProject("sqlmesh_project")
sqlmesh = SqlmeshResource.of(project)

@sqlmesh_assets(project=project)
def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource):
    yield from sqlmesh.run(context)

catch_up = catch_up_job(models, resources={"sqlmesh": sqlmesh})
defs = dg.Definitions(assets=[models], jobs=[catch_up], resources={"sqlmesh": sqlmesh})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "sqlmesh_project"
    project.mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "definitions.py").write_text(LINES)
    sqlmesh(project, "init", "duckdb")
    return tmp_path


def sqlmesh(project: Path, *arguments: str) -> None:
    done = forking.run("sqlmesh", "-p", str(project), *arguments, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr


def dagster(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(folder / "home")}
    done = forking.run("dagster", *arguments, cwd=folder, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_ten_lines_make_assets_of_it_that_run(folder: Path) -> None:
    assert len([line for line in LINES.splitlines() if line]) < 10
    sqlmesh(folder / "sqlmesh_project", "plan", "--auto-apply", "--no-prompts", "--skip-backfill")
    materialize = ["asset", "materialize", "-f", "definitions.py", "--select"]
    dagster(
        folder, *materialize, "sqlmesh_example/incremental_model", "--partition-range", "2020-01-01...2020-01-07",
    )  # fmt: skip
    dagster(folder, "job", "execute", "-f", "definitions.py", "-j", "catch_up")
    with duckdb.connect(str(folder / "sqlmesh_project" / "db.db"), read_only=True) as warehouse:
        assert warehouse.sql("SELECT COUNT(*) FROM sqlmesh_example.incremental_model").fetchone() == (7,)
        assert warehouse.sql("SELECT SUM(num_orders) FROM sqlmesh_example.full_model").fetchone() == (7,)
