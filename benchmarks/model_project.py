"""Small SQLMesh projects on a throw-away lake, and the Dagster project over one, as a user would write them.

Everything here but `ModelProject` is called in a child process.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.throwaway import CaseError, Throwaway
from lakehouse.lake.ducklake import ALIAS, METADATA_SCHEMA, Lake
from lakehouse.settings import load_settings
from lakehouse_assets.sqlmesh_integration.importing import first_import

if TYPE_CHECKING:
    import dagster as dg
    from sqlmesh import Context

    from lakehouse_assets.sqlmesh_integration import SqlmeshProject

START = "2024-01-01"
DEFINITIONS = '''"""A SQLMesh project's models as assets."""

from pathlib import Path

import dagster as dg

from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource, sqlmesh_assets

project = SqlmeshProject(Path(__file__).parent / "sqlmesh")


@sqlmesh_assets(project=project)
def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource):
    yield from sqlmesh.run(context)


defs = dg.Definitions(
    assets=[models], resources={"sqlmesh": SqlmeshResource.of(project)}, executor=dg.in_process_executor
)
'''
EMPTY_DEFINITIONS = '''"""An asset that does nothing."""

import dagster as dg


@dg.asset
def empty() -> None:
    """Nothing."""


defs = dg.Definitions(assets=[empty], executor=dg.in_process_executor)
'''


@dataclass(frozen=True)
class ModelProject:
    """Where the files lie: `sqlmesh/` and the two definitions beside it."""

    lakehouse: Throwaway
    folder: Path

    @classmethod
    def create(
        cls, lakehouse: Throwaway, name: str, models: Mapping[str, str], fill: str = "", *, computed: bool = True
    ) -> ModelProject:
        """Write the models (file name -> SQL), run `fill` on the lake, deploy to prod; computed or not."""
        folder = lakehouse.root / name
        (folder / "sqlmesh" / "models").mkdir(parents=True)
        (folder / "definitions.py").write_text(DEFINITIONS)
        (folder / "empty_definitions.py").write_text(EMPTY_DEFINITIONS)
        for file, sql in models.items():
            (folder / "sqlmesh" / "models" / f"{file}.sql").write_text(sql)
        lakehouse.call("benchmarks.model_project:prepare", folder=str(folder), fill=fill, computed=computed)
        return cls(lakehouse, folder)

    def dagster(self, *words: str) -> list[str]:
        """`dagster asset materialize` over the models."""
        return ["dagster", "asset", "materialize", "-f", "definitions.py", *words]

    def empty_asset(self) -> list[str]:
        """The same command over an asset that does nothing."""
        return ["dagster", "asset", "materialize", "-f", "empty_definitions.py", "--select", "empty"]

    def holds(self, question: str, rows: int) -> None:
        """Raise CaseError unless the lake counts so many rows: else nothing was measured but doing nothing."""
        found = self.lakehouse.call("benchmarks.model_project:counted", question=question)
        if found != rows:
            raise CaseError(f"The work that was measured is not there: {question} gives {found:,}, not {rows:,}.")

    def sqlmesh(self, *words: str) -> list[str]:
        """SQLMesh's own command line over the same project."""
        return ["sqlmesh", "-p", str(self.folder / "sqlmesh"), *words]


def prepare(folder: str, fill: str, computed: bool) -> None:
    """Configure the project, fill the raw zone, deploy."""
    import yaml

    from lakehouse_assets.sqlmesh_integration.deploy import apply_plan

    lake = Lake(load_settings())
    if fill:
        with closing(lake.connect()) as connection:
            connection.execute(fill)
    target = Path(folder)
    (target / "sqlmesh" / "config.yaml").write_text(yaml.safe_dump(_configuration(lake, target.name)))
    apply_plan(sqlmesh_project(target), backfill=computed)


def counted(question: str) -> int:
    """The lake's one number."""
    with closing(Lake(load_settings()).connect(read_only=True)) as connection:
        row = connection.execute(question).fetchone()
    return int(row[0]) if row else 0


def _configuration(lake: Lake, state_schema: str) -> dict[str, Any]:
    words = dict(word.split("=", 1) for word in lake.catalog.removeprefix("postgres:").split())
    catalog = {
        "type": "ducklake",
        "path": lake.catalog,
        "data_path": lake.data_path,
        "metadata_schema": METADATA_SCHEMA,
    }
    connection = {
        "type": "duckdb",
        "catalogs": {ALIAS: catalog},
        "connector_config": lake.duckdb_settings(),
        "register_comments": False,
    }
    state = {
        "type": "postgres",
        "host": words["host"],
        "port": 5432,
        "user": words["user"],
        "password": "",
        "database": words["dbname"],
    }
    return {
        "gateways": {
            "lake": {"connection": connection, "state_connection": state, "state_schema": f"sqlmesh_{state_schema}"}
        },
        "default_gateway": "lake",
        "disable_anonymized_analytics": True,
        "model_defaults": {"dialect": "duckdb", "start": START, "cron": "@daily"},
    }


def sqlmesh_project(folder: str | Path) -> SqlmeshProject:
    """As the definitions see it."""
    from lakehouse_assets.sqlmesh_integration import SqlmeshProject

    return SqlmeshProject(Path(folder).resolve() / "sqlmesh")


def definitions(folder: str | Path) -> Any:
    """The module of the project's definitions, imported."""
    specification = importlib.util.spec_from_file_location("bench_definitions", Path(folder) / "definitions.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def bare_context(folder: str | Path) -> Context:
    """SQLMesh alone, quiet, its files loaded; imported as a run of ours imports it."""
    with first_import("sqlmesh"):
        from sqlmesh import Context
        from sqlmesh.core.console import NoopConsole, set_console

    set_console(NoopConsole())
    return Context(paths=str(Path(folder) / "sqlmesh"))


def bare(context: Context, work: str, **arguments: Any) -> None:
    """`context.plan("prod", …)` or `context.run("prod", …)`, quiet as the layer is."""
    from sqlmesh.core.console import NoopConsole, set_console

    set_console(NoopConsole())
    getattr(context, work)("prod", **arguments)
    context.close()  # the layer closes its connections too


def instance() -> dg.DagsterInstance:
    """The throw-away lakehouse's Dagster instance: its events go to PostgreSQL, as in real life."""
    import dagster as dg

    return dg.DagsterInstance.from_config(str(load_settings().dagster_home))
