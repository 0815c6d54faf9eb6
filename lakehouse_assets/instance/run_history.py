"""Dagster's own history: old runs go, but never one that an asset's page or a partition's status still needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.event_api import EventRecordsFilter

from lakehouse.upkeep.maintenance.outcome import Outcome

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


def prune_runs(instance: dg.DagsterInstance, days: float, *, dry_run: bool = False) -> Outcome:
    """Delete the runs that ended more than `days` ago, with their events and logs.

    A run stays while it holds the newest materialization of an asset or of a partition, or the newest result of a
    check: deleting it would show computed days as missing.
    """
    before = instance.get_runs_count()
    newest = _Newest(instance)
    ended = dg.RunsFilter(statuses=FINISHED, created_before=datetime.now(UTC) - timedelta(days=days))
    old = instance.get_run_ids(ended)
    doomed = 0
    for run_id in old:
        if newest.is_in(run_id):
            continue
        doomed += 1
        if not dry_run:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
    word = "would be" if dry_run else "are"
    return Outcome(
        f"{doomed:,} of {before:,} runs {word} deleted; {len(old) - doomed:,} older than {days:g} days hold the newest "
        "word on an asset and stay.",
        {"runs_before": before, "runs_after": before - doomed, "old_runs_needed": len(old) - doomed},
    )


class _Newest:
    """What the newest events of assets, partitions and checks are."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.events: dict[tuple[dg.AssetKey, dg.DagsterEventType], set[int]] = {}

    def is_in(self, run_id: str) -> bool:
        """Whether the run holds one of them."""
        for record in self.instance.event_log_storage.get_records_for_run(run_id, of_type=EVENTS).records:
            event = record.event_log_entry.get_dagster_event()
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                if self._checked_last(event.asset_check_evaluation_data.asset_check_key, run_id):
                    return True
            elif event.asset_key and record.storage_id in self._of(event.asset_key, event.event_type):
                return True
        return False

    def _checked_last(self, key: dg.AssetCheckKey, run_id: str) -> bool:
        last = self.instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
        return last is not None and last.run_id == run_id

    def _of(self, key: dg.AssetKey, kind: dg.DagsterEventType) -> set[int]:
        if (key, kind) not in self.events:
            storage = self.instance.event_log_storage
            by_partition = storage.get_latest_storage_id_by_partition(key, kind)
            last = storage.get_event_records(EventRecordsFilter(kind, asset_key=key), limit=1)
            self.events[key, kind] = {*by_partition.values(), *(record.storage_id for record in last)}
        return self.events[key, kind]
