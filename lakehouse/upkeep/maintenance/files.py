"""Deletion of files that the lake no longer names, or never did.

However long somebody's transaction lasts, what it writes or reads stays: DuckLake (1.0) keeps one of PostgreSQL open
meanwhile, and its clock, PostgreSQL's, is the one that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime

import duckdb
import psycopg

from lakehouse.lake.ducklake import Lake, quoted
from lakehouse.lake.ledger import lake_id
from lakehouse.lake.postgres import connect
from lakehouse.upkeep.maintenance.outcome import HOLDER, Outcome, Report
from lakehouse.wording import megabytes, plural
from lakehouse.writing.locks import holding, maintenance_lock

UNUSED_HOURS = 24.0
"""A query that began before a file was let go may still read it for so long."""
ORPHAN_HOURS = 48.0
"""A file that no catalog names may be a writer's at work, which names it when it commits."""


def delete_unused(
    lake: Lake, *, dry_run: bool = False, hours: float = UNUSED_HOURS, report: Report = lambda _: None
) -> Outcome:
    """Delete the files that compaction and expiry have let go, once no running query can need them."""
    return _delete(lake, "ducklake_cleanup_old_files", "let go", hours, dry_run, report)


def delete_orphans(
    lake: Lake, *, dry_run: bool = False, hours: float = ORPHAN_HOURS, report: Report = lambda _: None
) -> Outcome:
    """Delete the files that no snapshot names and that are too old to be a running writer's: killed writers left them.

    Nothing is deleted where the storage does not say that it is this lake's.
    """
    with closing(connect(lake.settings)) as postgres:
        own = lake_id(postgres)
    if lake.storage_owner() != own:
        return Outcome(
            "No file was deleted.",
            problems=(
                f"{lake.settings.storage_uri} does not say that it is this lake's: files that its catalog does not "
                "name may be another lake's. `lakehouse bootstrap` says whose it is, or claims it.",
            ),
        )
    return _delete(lake, "ducklake_delete_orphaned_files", "named by no snapshot", hours, dry_run, report)


def _delete(lake: Lake, function: str, which: str, hours: float, dry_run: bool, report: Report) -> Outcome:
    with holding(lake.settings, [maintenance_lock()], holder=HOLDER, waiting=report) as postgres:
        sizes = {found.key: found.size_bytes for found in lake.storage.list("lake/")}
        with closing(lake.connect()) as connection:
            before = _oldest(postgres, hours)
            paths = _call(connection, function, before, dry_run=dry_run)
        freed = _bytes_of(lake, paths, sizes)
    word = "would be" if dry_run else "are"
    return Outcome(
        f"{plural(len(paths), 'file')} ({megabytes(freed)}) {which} for {hours:g} hours {word} deleted.",
        {
            "files_before": len(sizes), "files_after": len(sizes) - len(paths),
            "bytes_before": sum(sizes.values()), "bytes_after": sum(sizes.values()) - freed,
            "before": f"{before:%Y-%m-%d %H:%M:%S} UTC",
        },
        0 if dry_run else freed,
    )  # fmt: skip


def _oldest(postgres: psycopg.Connection, hours: float) -> datetime:
    """So many hours before now, or before the oldest transaction that is open: nobody at work needs what is older."""
    row = postgres.execute(
        """
        SELECT least(now(), (
            SELECT min(xact_start) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        )) - make_interval(secs => %s)
        """,
        [hours * 3600],
    ).fetchone()
    assert row is not None
    oldest: datetime = row[0]
    return oldest


def _call(connection: duckdb.DuckDBPyConnection, function: str, before: datetime, *, dry_run: bool) -> list[str]:
    rows = connection.execute(
        f"CALL {function}('lakehouse', dry_run => {str(dry_run).lower()}, "
        f"older_than => {quoted(before.isoformat())}::TIMESTAMPTZ)"
    ).fetchall()
    return [str(path) for path, *_ in rows]


def _bytes_of(lake: Lake, paths: list[str], sizes: Mapping[str, int]) -> int:
    base = f"{lake.storage.uri.rstrip('/')}/"
    return sum(sizes.get(path.removeprefix(base), 0) for path in paths)
