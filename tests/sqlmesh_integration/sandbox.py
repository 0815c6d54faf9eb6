"""A copy of a SQLMesh project with a warehouse of its own, and the ways to run it through Dagster.

No `from __future__ import annotations` here: Dagster reads an op's annotations as they are.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from lakehouse_assets.sqlmesh_integration import (
    SqlmeshProject,
    SqlmeshResource,
    SqlmeshTranslator,
    sqlmesh_assets,
)
from lakehouse_assets.sqlmesh_integration.automation import catch_up_job
from lakehouse_assets.sqlmesh_integration.deploy import apply_plan
from lakehouse_assets.sqlmesh_integration.outcome import ModelOutcome
from tests import forking

PROJECTS = Path(__file__).parent / "projects"
CONFIG = """
gateways:
  local:
    connection: { type: duckdb, database: warehouse.db }
    state_connection: { type: duckdb, database: state.db }
default_gateway: local
model_defaults: { dialect: duckdb, start: 2024-01-01, cron: "@daily" }
"""


@dataclass(repr=False)
class Ran:
    """One run: its outcomes by model, and its events."""

    result: dg.ExecuteInProcessResult
    outcomes: dict[str, ModelOutcome]

    @property
    def success(self) -> bool:
        return self.result.success

    def __repr__(self) -> str:
        return "success" if self.success else self.failure

    @property
    def failure(self) -> str:
        """What the failed run says, to the person who looks at it."""
        events = [event for event in self.result.all_events if event.is_step_failure]
        data = events[0].step_failure_data
        told = data.user_failure_data.description if data.user_failure_data else None
        return str(told or data.error_display_string)

    @property
    def checks(self) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        found = self.result.get_asset_check_evaluations()
        return {(evaluation.asset_key.path[-1], evaluation.check_name): evaluation for evaluation in found}

    def materialization(self, *key: str) -> dg.AssetMaterialization:
        events = self.result.asset_materializations_for_node("models")
        return [event for event in events if event.asset_key == dg.AssetKey(key)][-1]


@dataclass
class Sandbox:
    folder: Path
    environment: str = "prod"
    translator: SqlmeshTranslator | None = None
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    precedence: Sequence[str] = ("prod",)
    computes_upstream: bool = True

    @classmethod
    def of(cls, name: str, folder: Path, **settings: Any) -> "Sandbox":
        shutil.copytree(PROJECTS / name, folder / "sqlmesh")
        return cls(folder / "sqlmesh", **settings)

    @classmethod
    def with_models(cls, folder: Path, files: Mapping[str, str], **settings: Any) -> "Sandbox":
        """A project of these files, by their path in it; without a `config.yaml` among them, of the ordinary one."""
        project = folder / "sqlmesh"
        for name, text in {"config.yaml": CONFIG, **files}.items():
            file = project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return cls(project, **settings)

    def in_environment(self, environment: str, **settings: Any) -> "Sandbox":
        return Sandbox(self.folder, environment, self.translator, **settings)

    @property
    def project(self) -> SqlmeshProject:
        return SqlmeshProject(self.folder, environment=self.environment)

    @property
    def resource(self) -> SqlmeshResource:
        settings = {"precedence": list(self.precedence), "computes_upstream": self.computes_upstream}
        return SqlmeshResource.of(self.project, **settings)

    def assets(self, touched: Mapping[str, Any] | None = None, runs: list[Any] | None = None) -> dg.AssetsDefinition:
        @sqlmesh_assets(project=self.project, translator=self.translator)
        def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource) -> Iterable[Any]:
            run = sqlmesh.run(context, touched=touched)
            if runs is not None:
                runs.append(run)
            yield from run

        return models

    def deploy(self, **settings: Any) -> Any:
        return apply_plan(self.project, **settings)

    def run(
        self,
        *names: str,
        partition: str | None = None,
        partitions: tuple[str, str] | None = None,
        touched: Mapping[str, Any] | None = None,
        by_hand: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> Ran:
        """Run these models (`schema.table`; all when none is named) as a schedule would, or by hand."""
        runs: list[Any] = []
        assets = self.assets(touched, runs)
        run_config = {"ops": {"models": {"config": dict(config)}}} if config else None
        tags = {} if by_hand else {"dagster/schedule_name": "daily"}
        if partitions:
            tags |= {
                "dagster/asset_partition_range_start": partitions[0],
                "dagster/asset_partition_range_end": partitions[1],
            }
        prefix = [] if self.environment == "prod" else [self.environment]
        chosen = [dg.AssetKey([*prefix, *name.split(".")]) for name in names]
        selection = dg.AssetSelection.assets(*chosen) if chosen else None
        if not (partition or partitions or by_hand):
            job = catch_up_job(assets, resources={"sqlmesh": self.resource}, tags=tags, selection=selection)
            ran = job.execute_in_process(instance=self.instance, run_config=run_config, raise_on_error=False)
            return Ran(ran, runs[0].outcomes if runs else {})
        result = dg.materialize(
            [assets],
            resources={"sqlmesh": self.resource},
            instance=self.instance,
            partition_key=partition,
            selection=selection,
            tags=tags,
            run_config=run_config,
            raise_on_error=False,
        )
        return Ran(result, runs[0].outcomes if runs else {})

    def sqlmesh(self, *arguments: str) -> None:
        """Do something with SQLMesh's own command line."""
        process = self.start_sqlmesh(*arguments)
        assert process.wait() == 0, process.stdout + process.stderr

    def start_sqlmesh(self, *arguments: str, first: str = "") -> forking.Forked:
        """SQLMesh's own command line at work, now, in a process that runs the Python code `first` before."""
        words = ("sqlmesh", "-p", str(self.folder), *arguments)
        return forking.start(*words, cwd=self.folder, first=first, now=datetime.now(UTC))

    def partitions(self, *key: str) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(key))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "warehouse.db")) as connection:
            return connection.sql(statement).fetchall()

    def execute(self, statement: str) -> None:
        with duckdb.connect(str(self.folder / "warehouse.db")) as connection:
            connection.execute(statement)

    def stamps(self, table: str, day: str = "ordered_on") -> dict[str, Any]:
        """When each day of the table was computed."""
        return {str(key): stamp for key, stamp in self.query(f"SELECT {day}, computed_at FROM {table}")}


KEPT = ".cache"
"""What SQLMesh and the manifest keep of files that they have read: it stays when a project is put back."""


@dataclass(frozen=True)
class Saved:
    """A project as it was, and the one folder in which tests use it, one after the other.

    SQLMesh's context and the models that it has read are kept by folder: in another one each test would pay for them.
    """

    folder: Path
    copy: Path

    @classmethod
    def of(cls, sandbox: Sandbox) -> "Saved":
        copy = sandbox.folder.with_name("saved")
        shutil.copytree(sandbox.folder, copy, ignore=shutil.ignore_patterns(KEPT, "logs"))
        return cls(sandbox.folder, copy)

    def put_back(self) -> Sandbox:
        """As it was: its files, its state and its warehouse; with a Dagster that knows nothing of it."""
        for entry in self.folder.iterdir():
            if entry.name != KEPT:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.copytree(self.copy, self.folder, dirs_exist_ok=True)
        return Sandbox(self.folder)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
