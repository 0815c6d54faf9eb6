"""What SQLMesh knows shows in Dagster, whoever computed it: a sensor on SQLMesh's state."""

from contextlib import closing

import dagster as dg

from lakehouse.lake.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.writing.locks import environment_lock, held
from lakehouse_assets.sqlmesh_integration import SqlmeshResource

# Two numbers that move whenever SQLMesh's state does: read without importing SQLMesh.
STATE_VERSION_SQL = """
    SELECT
        (SELECT coalesce(max(last_altered_ts), 0) || '/' || count(*) || '/' || coalesce(max(created_ts), 0)
         FROM sqlmesh._intervals) || '|' ||
        (SELECT coalesce(max(finalized_ts), 0) || '/' || count(*) FROM sqlmesh._environments)
"""


def state_sensor(models: dg.AssetsDefinition, sqlmesh: SqlmeshResource) -> dg.SensorDefinition:
    """Follow SQLMesh's state: after a deploy, a promotion, or work with its own command line."""

    @dg.sensor(
        name="sqlmesh_state_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Show as materialized what SQLMesh has computed, and as missing what it holds missing.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        with closing(connect(load_settings())) as connection:
            if any(not holder.shared for holder in held(connection, [environment_lock(sqlmesh.environment)])):
                return dg.SkipReason("a run is computing; it reports its own partitions")
            exists = connection.execute("SELECT to_regclass('sqlmesh._intervals') IS NOT NULL").fetchone()
            if not exists or not exists[0]:
                return dg.SkipReason("nothing was deployed yet")
            version = connection.execute(STATE_VERSION_SQL).fetchone()
        seen = str(version[0]) if version else ""
        if context.cursor == seen:
            return dg.SkipReason("SQLMesh's state is as it was")
        from lakehouse_assets.sqlmesh_integration.sync import sync_partitions

        synced = sync_partitions(context.instance, sqlmesh, [models])
        context.update_cursor(seen)
        if not synced:
            return dg.SkipReason("Dagster shows what SQLMesh's state holds")
        return dg.SkipReason(f"now shown as materialized: {synced.materialized}; as missing: {synced.missing}")

    return sensor
