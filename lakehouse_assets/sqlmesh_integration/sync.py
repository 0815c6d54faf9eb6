"""SQLMesh's intervals as Dagster's partitions, for work that no Dagster run did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse_assets.sqlmesh_integration import event_log
from lakehouse_assets.sqlmesh_integration.partitions import keys_within
from lakehouse_assets.sqlmesh_integration.translator import MODEL, SNAPSHOT_VERSION

if TYPE_CHECKING:
    from lakehouse_assets.sqlmesh_integration.deployed_model import DeployedModel
    from lakehouse_assets.sqlmesh_integration.resource import SqlmeshResource


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
    assets = list(assets)
    specs = {spec.metadata[MODEL]: spec for a in assets for spec in a.specs if MODEL in spec.metadata}
    checks = [key for a in assets for key in a.check_keys]
    manifest = sqlmesh.project.manifest()
    known = {
        name: instance.get_materialized_partitions(spec.key)
        for name, spec in specs.items()
        if spec.partitions_def is not None and (names is None or name in names)
    }
    for name, deployed in sqlmesh.deployed().items():
        if name not in specs or (names is not None and name not in names):
            continue
        key, definition = specs[name].key, specs[name].partitions_def
        is_newer = _is_newer(instance, key, deployed)
        if isinstance(definition, dg.TimeWindowPartitionsDefinition) and name in manifest.by_name:
            computed = keys_within(manifest.by_name[name], definition, deployed.computed)
            appeared, gone = _changes(computed, known[name], is_newer)
            if appeared:
                event_log.store_partitions(instance, key, dict.fromkeys(appeared), metadata=_metadata(deployed))
                synced.materialized[name] = len(appeared)
            if gone:
                event_log.forget_partitions(instance, key, gone, until_event_id=newest)
                synced.missing[name] = len(gone)
        elif is_newer and deployed.computed:
            instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=_metadata(deployed)))
            synced.materialized[name] = 1
        if is_newer and not deployed.computed:
            event_log.set_results_aside(instance, [check for check in checks if check.asset_key == key])
    return synced


def _changes(computed: Sequence[str], known: set[str], is_newer: bool) -> tuple[list[str], set[str]]:
    """Which partitions to tell Dagster of: as materialized, as missing."""
    appeared = [partition for partition in computed if partition not in known]
    if is_newer and not appeared:  # which days were computed again, nobody says: the newest one tells that some were
        appeared = list(computed[-1:])
    return appeared, known - set(computed)


def _is_newer(instance: dg.DagsterInstance, key: dg.AssetKey, deployed: DeployedModel) -> bool:
    """Whether the table has other content than when Dagster's newest event was written."""
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return True
    version = event.asset_materialization.metadata.get(SNAPSHOT_VERSION)
    if version is not None and version.value != deployed.version:
        return True  # deployed or promoted since
    return deployed.altered_at is not None and event.timestamp < deployed.altered_at.timestamp()


def _metadata(deployed: DeployedModel) -> dict[str, str]:
    return {"sqlmesh/state": "synced", SNAPSHOT_VERSION: deployed.version}
