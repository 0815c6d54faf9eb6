"""Jobs, the daily schedule, and the sensors that take the place of polling scripts."""

from __future__ import annotations

from contextlib import closing

import dagster as dg

from lakehouse.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.writing.touched import newest
from lakehouse.zones import landing_files, settled
from lakehouse_assets.sources import raw_tables

INGEST = "ingest"
CATCH_UP = "catch_up"


def ingest_job(raw: list[dg.AssetsDefinition]) -> dg.UnresolvedAssetJobDefinition:
    """Load what is new in every source. One that fails does not hold up the others."""
    return dg.define_asset_job(
        INGEST, dg.AssetSelection.assets(*raw), executor_def=dg.in_process_executor, description=ingest_job.__doc__
    )


def daily_schedule() -> dg.ScheduleDefinition:
    """Ingestion every morning; what is due follows by the sensor `catch_up_sensor`."""
    return dg.ScheduleDefinition(
        name="daily",
        job_name=INGEST,
        cron_schedule="0 5 * * *",
        execution_timezone="UTC",
        description="Load every source, then compute what is due. Off until you switch it on.",
    )


@dg.sensor(
    job_name=CATCH_UP,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    name="catch_up_sensor",
)
def catch_up_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Compute what is due after a load that changed something, and after every ingestion, whoever started it."""
    with closing(connect(load_settings())) as connection:
        touched = newest(connection)
    finished = context.instance.get_run_records(
        dg.RunsFilter(job_name=INGEST, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]), limit=1
    )
    run_id = finished[0].dagster_run.run_id if finished else "none"
    seen = f"{touched}|{run_id}"
    if context.cursor == seen:
        return dg.SkipReason("nothing has been loaded since the last catch-up")
    if context.cursor is None and not touched and not finished:
        return dg.SkipReason("nothing has been loaded yet")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"catch-up {seen}")], cursor=seen)


def landing_sensor(source: str, assets: dg.AssetsDefinition) -> dg.SensorDefinition:
    """A sensor that loads a source's files when they land."""

    @dg.sensor(
        name=f"{source}_landing_sensor",
        target=dg.AssetSelection.assets(assets),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Load a file when it lands in the landing zone's folder {source}.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        settings = load_settings()
        files = settled(landing_files(settings, source))
        # What is there now, by key and version: a changed file is new, a file seen before is not.
        now = "\n".join(f"{file.key}@{file.etag}" for file in files)
        if now == (context.cursor or ""):
            return dg.SkipReason(f"nothing new under {settings.landing_dir / source}")
        known = set((context.cursor or "").splitlines())
        arrived = [line for line in now.splitlines() if line not in known]
        if not arrived:
            return dg.SensorResult(cursor=now)
        key = f"{arrived[-1]}" if len(arrived) == 1 else f"{arrived[-1]} and {len(arrived) - 1} more"
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key)], cursor=now)

    return sensor


def file_sources() -> list[str]:
    """The sources whose rows come from files of the landing zone."""
    return sorted({table.source for table in raw_tables() if table.from_files})
