"""A release of prod may need a second person before readers get it."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import psycopg

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.releases.log import Release, ReleaseError
from lakehouse.releases.pointer import swap_pointer


def waiting(connection: psycopg.Connection, environment: str) -> list[Release]:
    """The published releases that readers may not have yet, the oldest first."""
    row = connection.execute("SELECT allowed FROM ledger.pointers WHERE environment = %s", [environment]).fetchone()
    allowed = row[0] if row else 0
    published = [one for one in log.history(connection, environment) if one.state == "published"]
    return sorted((one for one in published if one.number > allowed), key=lambda one: one.number)


def given(connection: psycopg.Connection) -> dict[tuple[str, int], tuple[str, datetime]]:
    """By environment and number, who approved a release, and when (UTC, without a zone)."""
    rows = connection.execute(
        "SELECT environment, number, approved_by, approved_at AT TIME ZONE 'UTC' FROM ledger.approvals"
    ).fetchall()
    return {(environment, number): (by, at) for environment, number, by, at in rows}


def approve(lake: Lake, environment: str, number: int | None, *, by: str) -> Release:
    """Let readers have a release that waits for a second person, and with it what those before it brought.

    Raises:
        ReleaseError: it doesn't wait, or `by` made it or one that waits before it.
    """
    with closing(connect(lake.settings)) as connection:
        with connection.transaction():
            connection.execute("SELECT FROM ledger.pointers WHERE environment = %s FOR UPDATE", [environment])
            found = waiting(connection, environment)
            if not found:
                raise ReleaseError(f"No release of {environment} waits for an approval.")
            release = next((one for one in found if one.number == (number or found[-1].number)), None)
            if release is None:
                numbers = ", ".join(str(one.number) for one in found)
                raise ReleaseError(f"Release {number} of {environment} doesn't wait for an approval; {numbers} do.")
            # A schedule may have released what somebody deployed.
            deployed = connection.execute(
                "SELECT run, code_version FROM ledger.deployments WHERE environment = %s", [environment]
            ).fetchone()
            for one in found:
                deployer = deployed[0] if deployed and deployed[1] == one.code_version else ""
                if one.number <= release.number and (one.author == by or deployer.endswith(f" by {by}")):
                    raise ReleaseError(f"{str(one).capitalize()} is by {by}: somebody else has to approve it.")
            connection.execute(
                "INSERT INTO ledger.approvals (environment, number, approved_by) VALUES (%s, %s, %s)",
                [environment, release.number, by],
            )
            log.allow(connection, release)
        swap_pointer(lake.storage, connection, environment)
    return release
