"""What a release says of its tables beyond their rows: owner, grain, cron, checks with their results, lineage.

It comes from the project's models where they are what was deployed, else from the release before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import psycopg

from lakehouse.releases.log import Release
from lakehouse.releases.manifest import Lineage, PublishedTable
from lakehouse.releases.manifest import Manifest as Published
from lakehouse_assets.models import Translator
from lakehouse_assets.sqlmesh_integration.manifest import Manifest, ModelSpec


def described(
    instance: dg.DagsterInstance, connection: psycopg.Connection, release: Release, tables: Sequence[PublishedTable],
    models: Manifest, before: Published | None,
) -> tuple[tuple[PublishedTable, ...], Lineage]:  # fmt: skip
    """The tables with all that, and where their columns come from."""
    is_deployed = _is_deployed(connection, release.environment, models.key)
    held = {table.name for table in release.tables if table.snapshot}
    known = {table.name: table for table in before.tables} if before else {}
    found = []
    for table in tables:
        model = models.by_name.get(table.name)
        last = known.get(table.name)
        if model and is_deployed and table.name not in held:
            checks = _checks(instance, release, model)
            grain = _grain(model, [name for name, *_ in table.columns])
            found.append(replace(table, owner=model.owner or "", grain=grain, cron=model.cron, checks=checks))
        elif last:
            found.append(replace(table, owner=last.owner, grain=last.grain, cron=last.cron, checks=last.checks))
        else:
            found.append(table)
    if is_deployed:
        return tuple(found), _lineage(models, [table.name for table in tables])
    return tuple(found), before.lineage if before else {}


def _grain(model: ModelSpec, columns: Sequence[str]) -> tuple[str, ...]:
    """Its first grain, where that is columns and no expression."""
    named = {name.lower(): name for name in columns}
    wanted = [one.strip(' "').lower() for grain in model.grains[:1] for one in grain.strip("() ").split(",")]
    return tuple(named[one] for one in wanted) if set(wanted) <= named.keys() else ()


def _is_deployed(connection: psycopg.Connection, environment: str, key: str) -> bool:
    row = connection.execute(
        "SELECT content_key FROM ledger.deployments WHERE environment = %s", [environment]
    ).fetchone()
    return row is not None and row[0] == key


def _checks(instance: dg.DagsterInstance, release: Release, model: ModelSpec) -> tuple[dict[str, Any], ...]:
    """Blocking ones have passed, else there were no release; what the others said last is in Dagster's history."""
    asset = Translator().asset_key(model.ref, release.environment)
    keys = {audit.check_name: dg.AssetCheckKey(asset, audit.check_name) for audit in model.audits}
    asked = [keys[audit.check_name] for audit in model.audits if not audit.blocking]
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(asked) if asked else {}
    found = []
    for audit in model.audits:
        result, at = "passed", f"{release.cut_at:%Y-%m-%dT%H:%M:%SZ}"
        if not audit.blocking:
            record = newest.get(keys[audit.check_name])
            result = {"SUCCEEDED": "passed", "FAILED": "failed"}.get(record.status.value if record else "", "unknown")
            at = f"{datetime.fromtimestamp(record.create_timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}" if record else ""
        call = f"{audit.audit}({audit.arguments})"
        found.append(
            {"name": audit.check_name, "audit": call, "blocking": audit.blocking, "result": result, "at": at}
        )  # fmt: skip
    return tuple(found)


def _lineage(models: Manifest, served: Sequence[str]) -> dict[str, dict[str, list[list[str]]]]:
    """Of the served models and all that they are made of."""
    found: dict[str, dict[str, list[list[str]]]] = {}
    left = list(served)
    while left:
        model = models.by_name.get(left.pop())
        if model is None or model.name in found:
            continue
        found[model.name] = {
            column.name: [[f"{schema}.{table}", source] for schema, table, source in column.sources]
            for column in model.columns
            if column.sources
        }
        left += [table.name for table in model.depends_on]
    return found
