"""The definitions that the tests serve with a real Dagster: a project's models, a job over one, a schedule over all."""

import os

import dagster as dg

from lakehouse_assets.sqlmesh_integration import SqlmeshProject, SqlmeshResource, sqlmesh_assets
from lakehouse_assets.sqlmesh_integration.automation import catch_up_job

project = SqlmeshProject(os.environ["SHOP"])


@sqlmesh_assets(project=project)
def models(context: dg.AssetExecutionContext, sqlmesh: SqlmeshResource):
    yield from sqlmesh.run(context)


DAY = dg.AssetKey(["marts", "daily_revenue"])
day_jobs = [dg.define_asset_job("day_job", selection=dg.AssetSelection.assets(DAY))] if DAY in models.keys else []
all_job = catch_up_job(models, resources={"sqlmesh": SqlmeshResource.of(project)})
schedule = dg.ScheduleDefinition(name="every_minute", job=all_job, cron_schedule="* * * * *")

defs = dg.Definitions(
    assets=[models],
    jobs=[*day_jobs, all_job],
    schedules=[schedule],
    resources={"sqlmesh": SqlmeshResource.of(project)},
    executor=dg.in_process_executor,
)
