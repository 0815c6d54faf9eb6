"""Releases from the graph's side: who did what with which code, and the cut at the end of an act."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING

import psycopg

from lakehouse.lake.ducklake import Lake
from lakehouse.releases import log
from lakehouse.releases.rule import Act, Cut, cut
from lakehouse.settings import PROJECT_ROOT
from lakehouse_assets.defs.ingestion.sources import pipeline_of
from lakehouse_assets.models import deployed_graph

if TYPE_CHECKING:
    from lakehouse_assets.sqlmesh_integration import SqlmeshResource

PUBLISH_JOB = "publish_release"
AUTHOR_TAGS = {
    "user": "",
    "dagster/schedule_name": "schedule ",
    "dagster/sensor_name": "sensor ",
    "dagster/backfill": "backfill ",
}


def cut_release(lake: Lake, connection: psycopg.Connection, sqlmesh: SqlmeshResource, *, run: str, author: str) -> Cut:
    """Cut a release of the resource's environment if the rule lets us. `connection` holds the environment's lock."""
    act = Act(run, author, code_version(connection, sqlmesh.environment))
    return cut(lake, connection, sqlmesh.environment, deployed_graph(sqlmesh), pipeline_of(), act, sqlmesh.audit)


def code_version(connection: psycopg.Connection, environment: str) -> str:
    """Which code was last deployed to an environment."""
    row = connection.execute(
        "SELECT coalesce(nullif(code_version, ''), left(content_key, 12)) FROM ledger.deployments "
        "WHERE environment = %s",
        [environment],
    ).fetchone()
    return str(row[0]) if row else "unknown"


def checked_out_version() -> str:
    """The project's commit, with `-dirty` behind it when files differ from it; empty outside of a git checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def author_of(tags: Mapping[str, str]) -> str:
    """Who asked for a run: a person, a schedule, a sensor, a backfill."""
    for tag, kind in AUTHOR_TAGS.items():
        if tag in tags:
            return f"{kind}{tags[tag]}"
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def readers_see(connection: psycopg.Connection, environment: str) -> str:
    """A sentence for the end of a failure's message."""
    pointer = log.pointer(connection, environment)
    if pointer is None:
        return f"Readers of {environment} see nothing yet."
    return f"Readers of {environment} still see release {pointer.number}."
