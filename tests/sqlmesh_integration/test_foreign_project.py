"""The project that `sqlmesh init duckdb` makes, from an empty Dagster project, with the lines of the README."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).parents[2]
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
    command = [str(Path(sys.executable).with_name("sqlmesh")), *arguments]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def dagster(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *arguments],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


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
