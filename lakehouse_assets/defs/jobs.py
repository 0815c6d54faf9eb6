"""Jobs, the daily schedule, and the sensors that take the place of polling scripts."""

from __future__ import annotations

import hashlib
from contextlib import closing

import dagster as dg

from dlt_sources.datasets import dataset
from dlt_sources.landing.declaration import DeclarationError
from lakehouse.lake.postgres import connect
from lakehouse.landing import landed
from lakehouse.landing.zones import landing_files, landing_key, settled
from lakehouse.settings import load_settings
from lakehouse.storage import open_storage
from lakehouse.writing.touched import is_behind, newest
from lakehouse_assets.defs.ingestion.sources import raw_tables, sources

INGEST = "ingest"
CATCH_UP = "catch_up"


def ingest_job(raw: list[dg.AssetsDefinition]) -> dg.UnresolvedAssetJobDefinition:
    """Load what is new in every source. One that fails does not hold up the others."""
    return dg.define_asset_job(
        INGEST, dg.AssetSelection.assets(*raw), executor_def=dg.in_process_executor, description=ingest_job.__doc__
    )


def recompute_jobs(models: dg.AssetsDefinition) -> list[dg.UnresolvedAssetJobDefinition]:
    """A job for each model with partitions: `dagster job backfill` and the web UI's backfill of a job."""
    return [
        dg.define_asset_job(
            f"recompute_{spec.key.path[-1]}",
            dg.AssetSelection.assets(spec.key),
            executor_def=dg.in_process_executor,
            description=f"Compute partitions of {spec.key.to_user_string()} again, exactly those that you choose.",
        )
        for spec in models.specs
        if spec.partitions_def is not None
    ]


def daily_schedule() -> dg.ScheduleDefinition:
    """Ingestion every morning; what is due follows by the sensor `catch_up_sensor`."""
    return dg.ScheduleDefinition(
        name="daily",
        job_name=INGEST,
        cron_schedule="0 5 * * *",
        execution_timezone="UTC",
        description="Load every source, then compute what is due. Off until you switch it on.",
    )


def source_schedules(raw: list[dg.AssetsDefinition]) -> list[dg.ScheduleDefinition]:
    """A schedule for each source whose file asks for one."""
    by_name = {assets.op.name: assets for assets in raw}
    return [
        dg.ScheduleDefinition(
            name=f"{source.name}_schedule",
            target=dg.AssetSelection.assets(by_name[source.name]),
            cron_schedule=source.schedule,
            execution_timezone="UTC",
            description=f"Load what is new in {source.name}. Off until you switch it on.",
        )
        for source in sources()
        if source.schedule
    ]


@dg.sensor(
    job_name=CATCH_UP,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    name="catch_up_sensor",
    description="Compute what is due after a load that changed something, and after every ingestion.",
)
def catch_up_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Compute what is due after a load that changed something, and after every ingestion, whoever started it."""
    with closing(connect(load_settings())) as connection:
        touched, behind = newest(connection), is_behind(connection)
    finished = context.instance.get_run_records(
        dg.RunsFilter(job_name=INGEST, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]), limit=1
    )
    run_id = finished[0].dagster_run.run_id if finished else "none"
    seen = f"{touched}|{run_id}"
    if context.cursor == seen:
        return dg.SkipReason("nothing has been loaded since the last catch-up")
    if context.cursor is None and not behind:
        context.update_cursor(seen)
        return dg.SkipReason("every model is as new as what it reads")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"catch-up {seen}")], cursor=seen)


def landing_sensor(source: str, assets: dg.AssetsDefinition) -> dg.SensorDefinition:
    """A sensor that loads a source's files when they land or change, or when they go and their rows go with them."""

    @dg.sensor(
        name=f"{source}_landing_sensor",
        target=dg.AssetSelection.assets(assets),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Load what lands in, changes in or goes from the landing zone's folder {source}.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        settings = load_settings()
        try:
            when_deleted = dataset(source).when_deleted
        except DeclarationError as error:
            return dg.SkipReason(str(error))
        storage = open_storage(settings)
        with closing(connect(settings)) as connection:
            known = landed.states(connection, source)
        lying = {landing_key(file): file for file in landing_files(storage, source)}
        arrived = {
            landing_key(file): f"{file.etag} {file.modified_at}"
            for file in settled(storage, list(lying.values()))
            if (state := known.get(landing_key(file))) is None or state.etag != file.etag
        }
        gone = {
            key: f"gone {state.recorded_at}"
            for key, state in known.items()
            if key not in lying and state.rows and state.etag != landed.GONE
        }
        due = arrived | (gone if when_deleted == "delete_rows" else {})
        if not due:
            return dg.SkipReason(f"nothing new under {settings.landing_uri}/{source}")
        # The versions make the run key, so that no file is loaded twice and none is missed. With their times: an
        # earlier version that is restored has the etag that it had.
        versions = "\n".join(f"{key}@{version}" for key, version in sorted(due.items()))
        digest = hashlib.sha256(versions.encode()).hexdigest()[:16]
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=f"{source} {digest}", tags={"landed": max(due)[:200]})]
        )

    return sensor


def file_sources() -> list[str]:
    """The sources whose rows come from files of the landing zone."""
    return sorted({table.source for table in raw_tables() if table.from_files})
