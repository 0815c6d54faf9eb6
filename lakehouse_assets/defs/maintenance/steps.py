"""The steps of maintenance in their order, whoever asks for them: the schedule, the web UI, `lakehouse maintain`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from lakehouse.lake.ducklake import Lake
from lakehouse.upkeep.maintenance import compaction, files, releases, snapshots
from lakehouse.upkeep.maintenance.outcome import HOLDER, Outcome, Report
from lakehouse.wording import plural
from lakehouse.writing import environments as ledger
from lakehouse.writing.locks import holding, tables_lock


@dataclass(frozen=True)
class Work:
    """What a step may need."""

    lake: Lake
    instance: dg.DagsterInstance
    dry_run: bool
    report: Report


@dataclass(frozen=True)
class Step:
    """One step of maintenance: an asset, and a word of `lakehouse maintain`."""

    name: str
    description: str
    do: Callable[[Work], Outcome]


def _environments(work: Work) -> Outcome:
    from lakehouse_assets.defs.environments import lifecycle as environments
    from lakehouse_assets.models import project
    from lakehouse_assets.sqlmesh_integration import environments as sqlmesh

    ledger.require_ledger(work.lake)
    expired = [name for name in environments.expired(work.lake) if name not in environments.STAYS]
    dropped = 0
    half_dropped = environments.half_dropped(work.lake)
    if not work.dry_run:
        for name in expired:
            dropped += environments.drop(work.lake, name, run=HOLDER, report=work.report)
        for name in half_dropped:
            environments.drop_releases(work.lake, name, run=HOLDER, report=work.report)
    with holding(work.lake.settings, [tables_lock()], holder=HOLDER, waiting=work.report) as connection:
        unused = sqlmesh.drop_expired_tables(project(), dry_run=work.dry_run)
        if not work.dry_run:
            ledger.forget_tables(connection, unused)
    word = "would be" if work.dry_run else "are"
    return Outcome(
        f"{plural(len(expired) + len(half_dropped), 'environment')} past their time and "
        f"{plural(len(unused), 'table')} unused for a week {word} dropped.",
        {
            "environments": ", ".join([*expired, *half_dropped]) or "none", "tables": ", ".join(unused) or "none",
            "tables_dropped": 0 if work.dry_run else dropped + len(unused),
        },
    )  # fmt: skip


def _releases(work: Work) -> Outcome:
    return releases.prune(work.lake, dry_run=work.dry_run, report=work.report)


def _compaction(work: Work) -> Outcome:
    from lakehouse_assets.defs.ingestion.sources import pipeline_of
    from lakehouse_assets.defs.releases.publish_by_hand import publish_waiting_elsewhere

    if not work.dry_run:  # a release that waits needs the past that compaction spoils
        publish_waiting_elsewhere(work.lake, work.report)
    return compaction.compact(work.lake, pipeline_of(), dry_run=work.dry_run, report=work.report)


def _snapshots(work: Work) -> Outcome:
    return snapshots.expire(work.lake, dry_run=work.dry_run, report=work.report)


def _unused_files(work: Work) -> Outcome:
    return files.delete_unused(work.lake, dry_run=work.dry_run, report=work.report)


def _orphans(work: Work) -> Outcome:
    return files.delete_orphans(work.lake, dry_run=work.dry_run, report=work.report)


def _run_history(work: Work) -> Outcome:
    from lakehouse_assets.instance.run_history import prune_runs

    return prune_runs(work.instance, work.lake.settings.runs_kept_days, dry_run=work.dry_run)


STEPS = {
    step.name: step
    for step in (
        Step("environments", "Drop environments past their time, and tables that no environment uses.", _environments),
        Step("releases", "Let go of the oldest releases of each environment.", _releases),
        Step("compaction", "Merge small files, write files anew that hold many deleted rows.", _compaction),
        Step("snapshots", "Forget the lake's earlier states that nobody needs.", _snapshots),
        Step("unused_files", "Delete the files that compaction and expiry have let go.", _unused_files),
        Step("orphans", "Delete the files that killed writers left and no state names.", _orphans),
        Step("run_history", "Delete Dagster's old runs that no asset's page needs.", _run_history),
    )
}
"""In the order in which each finds what the one before has left."""
