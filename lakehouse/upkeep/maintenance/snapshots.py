"""Expiry: the lake forgets the states that nobody needs any more."""

from __future__ import annotations

from contextlib import closing

from lakehouse.lake.ducklake import Lake
from lakehouse.upkeep.maintenance.history import GRACE_SECONDS, expirable
from lakehouse.upkeep.maintenance.measures import measure
from lakehouse.upkeep.maintenance.outcome import HOLDER, Outcome, Report
from lakehouse.writing.locks import holding, maintenance_lock

AT_ONCE = 500


def expire(
    lake: Lake, *, dry_run: bool = False, grace_seconds: float = GRACE_SECONDS, report: Report = lambda _: None
) -> Outcome:
    """Forget the snapshots older than `history_days` that neither a release nor a repair needs.

    Their files are deleted later, by `files.delete_unused`.
    """
    days = lake.settings.history_days
    with holding(lake.settings, [maintenance_lock()], holder=HOLDER, waiting=report) as postgres:
        before = measure(postgres)
        versions = expirable(postgres, days, grace_seconds)
        if not dry_run and versions:
            with closing(lake.connect()) as connection:
                for start in range(0, len(versions), AT_ONCE):
                    some = ", ".join(map(str, versions[start : start + AT_ONCE]))
                    connection.execute(f"CALL ducklake_expire_snapshots('lakehouse', versions => [{some}])")
        after = measure(postgres)
    word = "would be" if dry_run else "are"
    return Outcome(
        f"{len(versions):,} of {before.snapshots:,} snapshots, older than {days:g} days and needed by nobody, {word} "
        "forgotten.",
        {
            "snapshots_before": before.snapshots,
            "snapshots_after": before.snapshots - len(versions) if dry_run else after.snapshots,
            "bytes_of_the_past_before": before.past_bytes,
            "bytes_of_the_past_after": after.past_bytes,
        },
    )  # fmt: skip
