"""A job that computes whatever is due, and a schedule that starts it when a model's cron ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.job.asset_job import build_asset_job, get_asset_graph_for_job

from lakehouse_assets.sqlmesh_integration.manifest import Manifest
from lakehouse_assets.sqlmesh_integration.request import MODE_TAG


def catch_up_job(
    models: dg.AssetsDefinition,
    *,
    upstream: Sequence[dg.AssetsDefinition] = (),
    selection: dg.AssetSelection | None = None,
    name: str = "catch_up",
    resources: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.JobDefinition:
    """Every model that is due, in one run without partitions, whoever starts it.

    Inside the job the assets have no partitions: Dagster refuses a job over assets that are partitioned
    differently, as models that start on different days are, and fails a run without partitions that reads a
    partitioned asset. The layer itself records the partitions that it computed. `upstream` are the other assets
    that the models read. A sensor may ask for a part of it: `RunRequest(job_name=…, asset_selection=[…])`.
    """
    whole = [assets.map_asset_specs(_without_partitions) for assets in (models, *upstream)]
    graph = get_asset_graph_for_job(AssetGraph.from_assets(whole), selection or dg.AssetSelection.assets(*models.keys))
    return build_asset_job(
        name,
        graph,
        allow_different_partitions_defs=False,
        executor_def=dg.in_process_executor,
        resource_defs=resources,
        description="Compute what is due: new intervals, missing ones, and those that a load has touched.",
        run_tags={MODE_TAG: "catch_up", **(tags or {})},
    )


def _without_partitions(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(partitions_def=None)


def cron_schedule(
    job: dg.JobDefinition, manifest: Manifest, name: str = "models_cron", **settings: Any
) -> dg.ScheduleDefinition:
    """Start the job at every tick of any model's cron; SQLMesh then knows which intervals that made due."""
    crons = sorted({CRON_NAMES.get(model.cron, model.cron) for model in manifest.models if model.kind != "SEED"})
    return dg.ScheduleDefinition(
        name=name, job=job, cron_schedule=crons or "@daily", execution_timezone="UTC", **settings
    )


# SQLMesh has one name that Dagster does not know.
CRON_NAMES = {"@midnight": "@daily"}
