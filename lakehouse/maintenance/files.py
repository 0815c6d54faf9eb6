"""Deletion of files that the lake no longer names, or never did."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta

import duckdb

from lakehouse.lake import METADATA_SCHEMA, Lake, quoted
from lakehouse.maintenance.outcome import HOLDER, Outcome, Report, counted, megabytes
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

    When most files are such, the storage is another lake's as well: nothing is deleted, and a problem says so.
    """
    with closing(lake.connect()) as connection:  # DuckLake refuses the call, dry or not, where it may only read
        orphans = _call(connection, "ducklake_delete_orphaned_files", hours, dry_run=True)
    with holding(lake.settings, [maintenance_lock()], holder=HOLDER, waiting=report) as postgres:
        row = postgres.execute(f"SELECT count(*) FROM {METADATA_SCHEMA}.ducklake_data_file").fetchone()
    named = row[0] if row else 0
    if len(orphans) > max(named, 1000):
        return Outcome(
            f"{len(orphans):,} files that the catalog does not name were left alone.",
            {"orphans": len(orphans), "files_named": named},
            problems=(
                f"{lake.settings.lake_uri} holds {len(orphans):,} files that this lake's catalog does not name, more "
                f"than the {named:,} that it does: another lake may store its files there. Nothing was deleted. Give "
                "each lake a storage of its own, or delete these files by hand.",
            ),
        )
    return _delete(lake, "ducklake_delete_orphaned_files", "named by no snapshot", hours, dry_run, report)


def _delete(lake: Lake, function: str, which: str, hours: float, dry_run: bool, report: Report) -> Outcome:
    with holding(lake.settings, [maintenance_lock()], holder=HOLDER, waiting=report):
        sizes = {found.key: found.size_bytes for found in lake.storage.list("lake/")}
        with closing(lake.connect()) as connection:
            paths = _call(connection, function, hours, dry_run=dry_run)
        freed = _bytes_of(lake, paths, sizes)
    word = "would be" if dry_run else "are"
    return Outcome(
        f"{counted(len(paths), 'file')} ({megabytes(freed)}) {which} for {hours:g} hours {word} deleted.",
        {
            "files_before": len(sizes), "files_after": len(sizes) - len(paths),
            "bytes_before": sum(sizes.values()), "bytes_after": sum(sizes.values()) - freed,
        },
        0 if dry_run else freed,
    )  # fmt: skip


def _call(connection: duckdb.DuckDBPyConnection, function: str, hours: float, *, dry_run: bool) -> list[str]:
    before = datetime.now(UTC) - timedelta(hours=hours)
    rows = connection.execute(
        f"CALL {function}('lakehouse', dry_run => {str(dry_run).lower()}, "
        f"older_than => {quoted(before.isoformat())}::TIMESTAMPTZ)"
    ).fetchall()
    return [str(path) for path, *_ in rows]


def _bytes_of(lake: Lake, paths: list[str], sizes: Mapping[str, int]) -> int:
    base = f"{lake.storage.uri.rstrip('/')}/"
    return sum(sizes.get(path.removeprefix(base), 0) for path in paths)
