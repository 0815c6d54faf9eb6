"""`SqlmeshResource`: runs a project's deployed models inside a Dagster op, and says what is deployed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from lakehouse_assets.sqlmesh_integration.importing import first_import
from lakehouse_assets.sqlmesh_integration.owners import Ownership
from lakehouse_assets.sqlmesh_integration.project import SqlmeshProject

if TYPE_CHECKING:
    from lakehouse_assets.sqlmesh_integration.decision import Touched
    from lakehouse_assets.sqlmesh_integration.deployed_model import DeployedModel
    from lakehouse_assets.sqlmesh_integration.run_events import SqlmeshRun


class SqlmeshResource(dg.ConfigurableResource):
    """A SQLMesh project as one environment. `SqlmeshResource.of(project)` is the short way to make one."""

    path: str = Field(description="The SQLMesh project's folder.")
    more_paths: list[str] = Field(default=[], description="Further repositories of the same project.")
    gateway: str | None = None
    environment: str = "prod"
    cache_dir: str | None = None
    precedence: list[str] = Field(
        default=["prod"],
        description="Environments that own a table which several use, first come first; else its first user does.",
    )
    computes_upstream: bool = Field(
        default=True,
        description="Compute along what is missing upstream of a chosen model; else such a model is refused.",
    )
    failure_footnote: str = Field(default="", description="A sentence that closes every failure's message.")

    @classmethod
    def of(cls, project: SqlmeshProject, **settings: Any) -> SqlmeshResource:
        cache_dir = str(project.cache_dir) if project.cache_dir else None
        return cls(
            path=str(project.folder),
            more_paths=[str(folder) for folder in project.folders[1:]],
            gateway=project.gateway,
            environment=project.environment,
            cache_dir=cache_dir,
            **settings,
        )

    @property
    def project(self) -> SqlmeshProject:
        return SqlmeshProject([self.path, *self.more_paths], self.gateway, self.environment, self.cache_dir)

    def first_users(self) -> Mapping[str, Sequence[str]]:
        """By physical table its environments, first user first. Override it where you keep that: SQLMesh doesn't."""
        return {}

    @property
    def ownership(self) -> Ownership:
        """Who computes what several environments use, as of now."""
        return Ownership(self.precedence, self.first_users())

    def run(self, context: dg.AssetExecutionContext, touched: Touched | None = None) -> SqlmeshRun:
        """Compute what this run was asked for; iterate over the result and yield what it gives.

        `touched` names models whose upstream rows changed, with the changed rows' time ranges (None: anywhere):
        those intervals are written down as missing first, and are due whatever the model's cron. After the
        iteration, and while it runs, `outcomes` says what became of each chosen model.

        Raises dagster.Failure when a model fails, after everything that does not read it was computed.
        """
        with first_import("sqlmesh"):
            from lakehouse_assets.sqlmesh_integration.run_events import SqlmeshRun

        return SqlmeshRun(self, context, touched or {})

    def deployed(self) -> dict[str, DeployedModel]:
        """The environment's models as they are deployed, by `schema.table`; empty before the first deploy."""
        with first_import("sqlmesh"):
            from lakehouse_assets.sqlmesh_integration import engine
            from lakehouse_assets.sqlmesh_integration.deployed import Deployment, NotDeployedError

        with engine.session(self.project) as session:
            try:
                return Deployment(session, self.environment, ownership=self.ownership).models()
            except NotDeployedError:
                return {}

    def mark_missing(self, touched: Mapping[str, Sequence[Any] | None]) -> None:
        """Write to SQLMesh's state, durably, that these ranges of these models are not computed."""
        with first_import("sqlmesh"):
            from lakehouse_assets.sqlmesh_integration import engine
            from lakehouse_assets.sqlmesh_integration.deployed import Deployment

        with engine.session(self.project) as session:
            deployment = Deployment(session, self.environment, list(touched), self.ownership)
            known = {name: ranges for name, ranges in touched.items() if name in deployment.snapshots}
            deployment.forget({name: deployment.intervals(name).touched(ranges) for name, ranges in known.items()})

    def audit(self, names: Collection[str]) -> dict[str, str]:
        """Run the blocking audits of these deployed models over all they hold; gives model -> what failed.

        Nothing is computed, and nothing is written.
        """
        with first_import("sqlmesh"):
            from lakehouse_assets.sqlmesh_integration import engine
            from lakehouse_assets.sqlmesh_integration.audits import run_audits
            from lakehouse_assets.sqlmesh_integration.deployed import Deployment
            from lakehouse_assets.sqlmesh_integration.outcome import audit_sentence

        failed = {}
        with engine.session(self.project) as session:
            deployment = Deployment(session, self.environment, list(names), self.ownership)
            for name in names:
                if sentence := audit_sentence(run_audits(session, deployment, name).values()):
                    failed[name] = sentence
        return failed
