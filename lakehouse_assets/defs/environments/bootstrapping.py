"""What `lakehouse bootstrap` makes beside the lake: SQLMesh's state, Dagster's storage, and then the roles for all."""

from __future__ import annotations

from contextlib import closing

import psycopg

from lakehouse.lake import roles
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse_assets.instance.storage import SCHEMA as DAGSTER_SCHEMA
from lakehouse_assets.models import project


def make_states(lake: Lake) -> None:
    """Create SQLMesh's state and Dagster's storage where they are missing: a writer's login could not."""
    with closing(connect(lake.settings)) as connection:
        no_models_state = not _is_there(connection, f"{roles.MODELS_STATE}._versions")
        no_storage = not _is_there(connection, f"{DAGSTER_SCHEMA}.runs")
    if no_models_state:
        from lakehouse_assets.sqlmesh_integration.engine.sessions import session

        with session(project()) as opened:
            opened.context.state_sync.get_versions()
    if no_storage:
        import dagster as dg

        with dg.DagsterInstance.from_config(str(lake.settings.dagster_home)):
            pass


def make_roles(lake: Lake) -> tuple[roles.Roles, list[str]]:
    """The lake's roles in PostgreSQL, and the names of the new ones. Raises RolesError when this login may not."""
    with closing(connect(lake.settings)) as connection:
        return roles.make(connection)


def _is_there(connection: psycopg.Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
    return bool(row and row[0])
