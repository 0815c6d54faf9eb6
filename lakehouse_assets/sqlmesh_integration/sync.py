"""SQLMesh's intervals as Dagster's partitions, for work that no Dagster run did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse_assets.sqlmesh_integration import event_log
from lakehouse_assets.sqlmesh_integration.partitions import keys_within
from lakehouse_assets.sqlmesh_integration.translator import MODEL

if TYPE_CHECKING:
    from lakehouse_assets.sqlmesh_integration.deployed_model import DeployedModel
    from lakehouse_assets.sqlmesh_integration.resource import SqlmeshResource

VERSION = "sqlmesh/snapshot_version"


@dataclass
class Synced:
    """How many partitions, and which assets without partitions, changed in Dagster."""

    materialized: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.materialized or self.missing)


def sync_partitions(
    instance: dg.DagsterInstance,
    sqlmesh: SqlmeshResource,
    assets: Iterable[dg.AssetsDefinition],
    names: Sequence[str] | None = None,
) -> Synced:
    """Make Dagster show what SQLMesh's state holds, for the models `names` (`schema.table`) or all.

    After a deploy, a promotion or work with SQLMesh's own command line: computed intervals show as
    materialized, without a run; intervals that SQLMesh holds missing show as missing.
    """
    synced = Synced()
    newest = event_log.newest_event_id(instance)  # before the state is read: later events are left alone
    specs = {spec.metadata[MODEL]: spec for a in assets for spec in a.specs if MODEL in spec.metadata}
    manifest = sqlmesh.project.manifest()
    known = {
        name: instance.get_materialized_partitions(spec.key)
        for name, spec in specs.items()
        if spec.partitions_def is not None and (names is None or name in names)
    }
    for name, deployed in sqlmesh.deployed().items():
        if name in known and name in manifest.by_name:
            definition = specs[name].partitions_def
            assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
            computed = set(keys_within(manifest.by_name[name], definition, deployed.computed))
            _sync(instance, specs[name].key, name, computed, known[name], newest, synced)
        elif name in specs and (names is None or name in names):
            _sync_whole(instance, specs[name].key, deployed, synced)
    return synced


def _sync(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    name: str,
    computed: set[str],
    known: set[str],
    newest: int,
    synced: Synced,
) -> None:
    if appeared := sorted(computed - known):
        event_log.store_partitions(instance, key, dict.fromkeys(appeared), metadata={"sqlmesh/state": "synced"})
        synced.materialized[name] = len(appeared)
    if gone := known - computed:
        event_log.forget_partitions(instance, key, gone, until_event_id=newest)
        synced.missing[name] = len(gone)


def _sync_whole(instance: dg.DagsterInstance, key: dg.AssetKey, deployed: DeployedModel, synced: Synced) -> None:
    """A model without partitions: an event when SQLMesh wrote it after Dagster's newest one."""
    if not deployed.computed or deployed.altered_at is None:
        return
    event = instance.get_latest_materialization_event(key)
    seen = datetime.fromtimestamp(event.timestamp, deployed.altered_at.tzinfo) if event else None
    known = event.asset_materialization.metadata.get(VERSION) if event and event.asset_materialization else None
    is_another = known is not None and known.value != deployed.version  # deployed or promoted since
    if seen is None or seen < deployed.altered_at or is_another:
        metadata = {"sqlmesh/state": "synced", VERSION: deployed.version}
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))
        synced.materialized[deployed.name] = 1
