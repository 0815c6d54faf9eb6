"""Our SQLMesh project in this graph, and its deployed models as the writing rules see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.settings import PROJECT_ROOT, load_settings
from lakehouse.writing.graph import Graph, Node, ServedTable
from lakehouse_assets.resources import ModelsResource, writing_rows
from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource, SqlmeshTranslator
from lakehouse_assets.sqlmesh_integration.automation import freshness_by_cron

if TYPE_CHECKING:
    from lakehouse_assets.sqlmesh_integration.deployed_model import DeployedModel
    from lakehouse_assets.sqlmesh_integration.manifest import ModelSpec

PROJECT_DIR = PROJECT_ROOT / "sqlmesh_project"
PUBLISHED = "published"
"""The tag of a model that readers get."""
RELEASE_GROUP = "release_group:"
"""A tag that begins so binds models that share nothing: the tables made of them are released together."""


class Translator(SqlmeshTranslator):
    """What readers look at carries a preview, a plot and a freshness policy."""

    def freshness_policy(self, model: ModelSpec) -> dg.FreshnessPolicy | None:
        """Published models are watched for going stale."""
        return freshness_by_cron(model) if PUBLISHED in model.tags else None

    def group_name(self, model: ModelSpec) -> str:
        """The subject, its first tag but `published`: a stripe of the graph from raw to mart, like the raw assets'."""
        return next((tag for tag in model.tags if tag != PUBLISHED), super().group_name(model))

    def has_preview(self, model: ModelSpec) -> bool:
        """Those that readers look at."""
        return PUBLISHED in model.tags


def project() -> SqlmeshProject:
    """Our SQLMesh project in the environment that this code location shows."""
    settings = load_settings()
    return SqlmeshProject(
        PROJECT_DIR, environment=settings.environment, cache_dir=settings.cache_dir / "sqlmesh", writing=writing_rows
    )


def throw_away() -> SqlmeshProject:
    """The same over a lake in this process's memory, empty at each use."""
    return replace(project(), gateway="throw_away")


def resource() -> SqlmeshResource:
    """The same as a resource."""
    return ModelsResource.of(project(), precedence=["prod", "qa"])


def deployed_graph(sqlmesh: SqlmeshResource) -> Graph:
    """Every model that is deployed in the resource's environment, by `schema.table`, whatever the files say now."""
    return {name: _node(model) for name, model in sqlmesh.deployed().items()}


def _node(model: DeployedModel) -> Node:
    from lakehouse_assets.sqlmesh_integration.manifest_builder import table_ref

    stored_as = table_ref(model.physical_table).name
    served = ServedTable(
        model.name, model.view, stored_as, "", model.description, dict(model.columns), model.partitioned_by
    )
    return Node(
        model.physical_table,
        frozenset(model.upstream),
        frozenset(model.external),
        model.is_view,
        owner=model.owner,
        gap=_gap(model),
        stored_as=stored_as,
        served=served if PUBLISHED in model.tags else None,
        bound_by=frozenset(tag for tag in model.tags if tag.startswith(RELEASE_GROUP)),
    )


def _gap(model: DeployedModel) -> str:
    """Why this model's table is not whole: a hole, or nothing at all. What is only not due yet is no hole."""
    if not model.missing:
        return ""
    if not model.computed:
        return "never computed"
    newest = max(end for _, end in model.computed)
    holes = [span for span in model.missing if span[0] < newest]
    return f"missing {_spans(holes)}" if holes else ""


def _spans(ranges: Sequence[tuple[datetime, datetime]]) -> str:
    words = [f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M}" for start, end in ranges[:3]]
    return ", ".join(words) + (f" and {len(ranges) - 3} more ranges" if len(ranges) > 3 else "")
