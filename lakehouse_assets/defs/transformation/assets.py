"""The model assets: SQLMesh's models of one environment, run under the rules of who may write."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.writing.runs import Run, computing
from lakehouse.writing.timings import Timing
from lakehouse.writing.touched import Ranges
from lakehouse_assets.defs.environments.lifecycle import finish
from lakehouse_assets.defs.ingestion.sources import pipeline_of
from lakehouse_assets.defs.releases.cutting import author_of, cut_release, readers_see
from lakehouse_assets.models import Translator, deployed_graph, project
from lakehouse_assets.resources import LakeResource
from lakehouse_assets.sqlmesh_integration import SqlmeshResource, sqlmesh_assets
from lakehouse_assets.sqlmesh_integration.automation import RETRIES

LEFT_ALONE = ("shared", "refused", "not_ready", "undeployed")
"""What became of models that a run did not try to compute: nothing of them is unfinished."""


def model_assets() -> dg.AssetsDefinition:
    """Every model as an asset, computed in one SQLMesh run per Dagster run."""
    environment = load_settings().environment

    @sqlmesh_assets(
        project=project(), translator=Translator(), name="models", pool=f"sqlmesh_{environment}", retry_policy=RETRIES
    )
    def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource, lake: LakeResource) -> Iterator[Any]:
        by_key = {key: name for name, key in _names(context).items()}
        selected = [by_key[key] for key in context.selected_asset_keys if key in by_key]
        holder = f"run {context.run.run_id[:8]}"
        finish(lake.lake, sqlmesh.environment, run=holder, report=context.log.info)
        with computing(
            lake.lake, sqlmesh.environment, lambda: deployed_graph(sqlmesh), selected, pipeline_of(),
            run=holder, report=context.log.info,
        ) as work:  # fmt: skip
            run = sqlmesh.run(context, touched=_touched(work))
            try:
                for event in run:
                    yield event
                    _settle(lake.lake, work, run.outcomes)
            except dg.Failure as failure:
                _settle(lake.lake, work, run.outcomes)
                work.leave(name for name, outcome in run.outcomes.items() if outcome.state in LEFT_ALONE)
                # What has nothing to do with the failure reaches readers.
                cut = cut_release(lake.lake, work.connection, sqlmesh, run=holder, author=author_of(context.run.tags))
                readers = str(cut) if cut.release else readers_see(work.connection, sqlmesh.environment)
                raise dg.Failure(
                    f"{failure.description}\n{readers}",
                    metadata=failure.metadata,
                    allow_retries=failure.allow_retries,
                ) from failure
            finally:
                _settle(lake.lake, work, run.outcomes)
            if not selected:  # audits by themselves change nothing
                return
            work.leave()
            cut = cut_release(lake.lake, work.connection, sqlmesh, run=holder, author=author_of(context.run.tags))
        (context.log.warning if cut.reasons else context.log.info)(str(cut))

    return models


def _names(context: dg.AssetExecutionContext) -> dict[str, dg.AssetKey]:
    from lakehouse_assets.sqlmesh_integration.translator import MODEL

    return {spec.metadata[MODEL]: spec.key for spec in context.assets_def.specs if MODEL in spec.metadata}


def _settle(lake: Lake, work: Run, outcomes: Mapping[str, Any]) -> None:
    """What is computed and audited, or was found up to date, is no longer unfinished."""
    for name, outcome in list(outcomes.items()):
        if name in work.open and outcome.state in ("computed", "up_to_date"):
            is_new = outcome.state == "computed"
            timing = Timing(outcome.interval_count, outcome.duration_seconds) if is_new else None
            work.done(name, checked_at=lake.newest_snapshot() if is_new else None, timing=timing)


def _touched(work: Run) -> dict[str, list[tuple[datetime, datetime]] | None]:
    """Touched ranges as SQLMesh's layer takes them: with a zone, None for any row."""
    return {name: _zoned(ranges) for name, ranges in work.due.items()}


def _zoned(ranges: Ranges) -> list[tuple[datetime, datetime]] | None:
    zoned = []
    for start, end in ranges:
        if start is None or end is None:
            return None
        zoned.append((start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)))
    return zoned
