"""The Dagster code location: settings in, definitions out."""

import dagster as dg

from lakehouse.garbage import collect_seldom
from lakehouse.settings import load_settings
from lakehouse_assets.defs import jobs
from lakehouse_assets.defs.alerts import sensors as alerts
from lakehouse_assets.defs.environments.deploy_job import deploy, unit_test_checks
from lakehouse_assets.defs.environments.jobs import environment_jobs
from lakehouse_assets.defs.ingestion.assets import LANDING_IO, origin_assets, raw_assets
from lakehouse_assets.defs.maintenance import assets as maintenance
from lakehouse_assets.defs.openlineage.sensor import openlineage_sensor
from lakehouse_assets.defs.releases import assets as releases
from lakehouse_assets.defs.transformation.assets import model_assets
from lakehouse_assets.defs.transformation.state_sync import state_sensor
from lakehouse_assets.instance.reloading import VERSION, definitions_version
from lakehouse_assets.io_managers import LandingIOManagerFactory, ZoneIOManagerFactory
from lakehouse_assets.models import project, resource
from lakehouse_assets.resources import LakeResource, StorageResource
from lakehouse_assets.sqlmesh_integration.automation import catch_up_job, cron_schedules


def build() -> dg.Definitions:
    """Raw assets belong to prod's location: another environment's models depend on them and never load."""
    settings = load_settings()
    version = definitions_version(settings)  # before anything is read: what changes meanwhile makes it another
    owns_raw = settings.environment == "prod"
    models = model_assets()
    sqlmesh = resource()
    storage = StorageResource()
    resources: dict[str, object] = {
        "lake": LakeResource(),
        "sqlmesh": sqlmesh,
        "storage": storage,
        releases.PUBLISHED_IO: ZoneIOManagerFactory(storage=storage, environment=settings.environment),
        LANDING_IO: LandingIOManagerFactory(storage=storage),
    }
    published = releases.published_assets(project().manifest())
    catch_up = catch_up_job(models, upstream=[*raw_assets, origin_assets], name=jobs.CATCH_UP, resources=resources)
    tending = maintenance.maintenance_assets()
    by_source = {assets.op.name: assets for assets in raw_assets}
    return dg.Definitions(
        assets=[models, published, *([*raw_assets, origin_assets, tending] if owns_raw else [])],
        asset_checks=[*unit_test_checks(project().manifest()), *([maintenance.lake_health] if owns_raw else [])],
        jobs=[
            deploy,
            *environment_jobs(),
            catch_up,
            releases.publish_job(published),
            *jobs.recompute_jobs(models),
            *([jobs.ingest_job(raw_assets)] if owns_raw else []),
            *([maintenance.maintenance_job(tending), maintenance.lake_health_job()] if owns_raw else []),
        ],
        schedules=[
            *cron_schedules(catch_up, project().manifest()),
            *([jobs.daily_schedule(), *jobs.source_schedules(raw_assets)] if owns_raw else []),
            *(maintenance.maintenance_schedules() if owns_raw else []),
        ],
        sensors=[
            jobs.catch_up_sensor,
            releases.release_sensor,
            state_sensor(models, sqlmesh),
            alerts.run_failure_alert_sensor,
            alerts.recovered_alert_sensor,
            alerts.freshness_alert_sensor([models]),
            *([openlineage_sensor] if settings.openlineage else []),
            *([jobs.landing_sensor(name, by_source[name]) for name in jobs.file_sources()] if owns_raw else []),
        ],
        resources=resources,
        executor=dg.in_process_executor,
        metadata={VERSION: version},
    )


collect_seldom()
defs = build()
