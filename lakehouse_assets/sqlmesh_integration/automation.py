"""What makes models run by themselves: a job over whatever is due, its schedule, retries, and when one is late."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.job.asset_job import build_asset_job, get_asset_graph_for_job

from lakehouse_assets.sqlmesh_integration.manifest import Manifest, ModelSpec
from lakehouse_assets.sqlmesh_integration.request import MODE_TAG

RETRIES = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For `sqlmesh_assets(retry_policy=…)`: what may pass, as a lost race or a database that was away, is tried again.

A failed audit is not, nor what is not deployed: the run says so to Dagster, since the same rows would fail again.
"""


def freshness_by_cron(model: ModelSpec) -> dg.FreshnessPolicy:
    """For a translator's `freshness_policy`: late when half a wait for its cron is overdue, stale after a whole one."""
    wait = timedelta(seconds=model.cron_seconds)
    return dg.FreshnessPolicy.time_window(fail_window=2 * wait, warn_window=1.5 * wait)


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
    if not models.keys:
        raise ValueError(f"{models.node_def.name} has no model, and a run over nothing would be a success")
    whole = [assets.map_asset_specs(_without_partitions) for assets in (models, *upstream)]
    graph = get_asset_graph_for_job(AssetGraph.from_assets(whole), selection or dg.AssetSelection.assets(*models.keys))
    return build_asset_job(
        name,
        graph,
        allow_different_partitions_defs=False,
        executor_def=dg.in_process_executor,
        resource_defs=resources,
        description=(
            "Compute what is due: new intervals, missing ones, and those that a load has touched. Start this instead "
            "of *Materialize all*, which Dagster refuses over assets that are partitioned differently "
            "(Failed to resolve asset job)."
        ),
        run_tags={MODE_TAG: "catch_up", **(tags or {})},
    )


def _without_partitions(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(partitions_def=None)


def cron_schedules(
    job: dg.JobDefinition, manifest: Manifest, name: str = "models_cron", **settings: Any
) -> list[dg.ScheduleDefinition]:
    """Start the job at every tick of any model's cron; SQLMesh then knows which intervals that made due.

    A model's `auto_restatement_cron` ticks too. One schedule in UTC, and one more for each `cron_tz` of a model.
    """
    crons: defaultdict[str, set[str]] = defaultdict(set)
    for model in manifest.models:
        if model.kind != "SEED":
            crons[model.cron_tz or "UTC"].add(CRON_NAMES.get(model.cron, model.cron))
            if model.auto_restatement_cron:
                crons["UTC"].add(CRON_NAMES.get(model.auto_restatement_cron, model.auto_restatement_cron))
    return [
        dg.ScheduleDefinition(
            name=name if zone == "UTC" else f"{name}_{re.sub('[^A-Za-z0-9]+', '_', zone)}",
            job=job,
            cron_schedule=sorted(ticks),
            execution_timezone=zone,
            **settings,
        )
        for zone, ticks in (crons or {"UTC": {"@daily"}}).items()
    ]


# SQLMesh has one name that Dagster does not know.
CRON_NAMES = {"@midnight": "@daily"}
