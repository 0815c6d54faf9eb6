"""Compaction: many small files of a table become few, deleted rows leave their files, inlined rows leave the catalog.

After DuckLake 1.0's compaction a table's past can't be believed (`lakehouse.maintenance`): so each table is compacted
while its writers, and everybody who might cut a release, wait for that moment, and no release or repair needs its past.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import closing

import duckdb
import psycopg

from lakehouse.lake import Lake, identifier, quoted
from lakehouse.maintenance.measures import REWRITE_SHARE, LakeFiles, TableFiles, measure
from lakehouse.maintenance.outcome import HOLDER, Outcome, Report, counted, megabytes
from lakehouse.postgres import connect
from lakehouse.releases import log
from lakehouse.writing import marks
from lakehouse.writing.locks import (
    Lock,
    LockTimeoutError,
    environment_lock,
    holding,
    maintenance_lock,
    pipeline_lock,
    trying,
)

WAIT_SECONDS = 120.0
"""For one table's writers, and for releases that are being published."""
POLITE_SECONDS = 0.1
RETRY_SECONDS = 0.3
FILES_AT_ONCE = 10_000


class InUseError(Exception):
    """The table's past is still needed; the message says by whom."""


def compact(
    lake: Lake,
    pipeline_of: Mapping[str, str],
    *,
    dry_run: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    report: Report = lambda _: None,
) -> Outcome:
    """Compact every table that needs it. `pipeline_of` names the pipeline behind each raw table."""
    with closing(connect(lake.settings)) as postgres:
        before = measure(postgres)
        environments = _environments(postgres)
    wanted = [table for table in before.tables if table.needs_compaction]
    if dry_run:
        return _outcome(before, before, [], [f"{table.table} would be compacted" for table in wanted])
    problems = []
    for table in wanted:
        try:
            _compact_when_free(lake, table, pipeline_of, environments, wait_seconds, report)
        except (InUseError, duckdb.Error) as error:
            problems.append(f"{table.table} was not compacted: {str(error).splitlines()[0]}")
            report(problems[-1])
    with closing(connect(lake.settings)) as postgres:
        after = measure(postgres)
    return _outcome(before, after, problems, [table.table for table in wanted])


def _environments(postgres: psycopg.Connection) -> set[str]:
    """Whoever may cut a release."""
    rows = postgres.execute(
        "SELECT environment FROM ledger.deployments UNION SELECT environment FROM ledger.table_users "
        "UNION SELECT environment FROM ledger.releases"
    ).fetchall()
    return {name for (name,) in rows}


def _compact_when_free(
    lake: Lake,
    table: TableFiles,
    pipeline_of: Mapping[str, str],
    environments: Collection[str],
    wait_seconds: float,
    report: Report,
) -> None:
    """Wait for releases that are being published without holding anybody up, then hold everybody for one table."""
    pipelines = _pipelines(table.table, pipeline_of)
    locks: list[Lock] = [
        *(pipeline_lock(name) for name in pipelines),
        *(environment_lock(name) for name in environments),
    ]
    deadline = time.monotonic() + wait_seconds
    politely_until = time.monotonic() + wait_seconds / 2
    reason = ""
    told = set[str]()

    def once(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            report(sentence)

    while time.monotonic() < deadline or not reason:
        # At first only when all are free at once: to hold one while waiting for another would hold others up.
        left = max(deadline - time.monotonic(), POLITE_SECONDS)
        seconds = POLITE_SECONDS if time.monotonic() < politely_until else left
        patient = lake.settings.model_copy(update={"lock_timeout_seconds": seconds})
        try:
            with holding(patient, locks, holder=HOLDER, waiting=once) as postgres:
                # Never waited for with the others held: a backup may take hours.
                with trying(postgres, maintenance_lock()) as held_by:
                    needed_by = _needed_by(postgres, pipelines)
                    if held_by is None and needed_by is None:
                        _compact(lake, table)
                        return
                reason = needed_by or f"{maintenance_lock()} is held by {held_by}."
        except LockTimeoutError as error:
            reason = str(error)
        time.sleep(RETRY_SECONDS)
    raise InUseError(reason)


def _pipelines(table: str, pipeline_of: Mapping[str, str]) -> set[str]:
    """Whose loads write the table: its source's; all of them for dlt's own tables, none for a model's."""
    if table in pipeline_of:
        return {pipeline_of[table]}
    return set(pipeline_of.values()) if table.startswith(("raw.", "raw_")) else set()


def _needed_by(postgres: psycopg.Connection, pipelines: Collection[str]) -> str | None:
    """Who still reads the past: a release that is cut and not published, the repair of a load."""
    waiting = log.candidates(postgres)
    if waiting:
        return f"{waiting[0]} is cut and not published yet, and reads the lake as it was then."
    for mark in marks.read(postgres, "load"):
        if mark.scope in pipelines:
            return f"the repair of the {mark} reads what has changed since; the next load does it."
    return None


def _compact(lake: Lake, table: TableFiles) -> None:
    """Each step all or nothing, and only when the table holds as many rows after it as before.

    A connection of its own: DuckDB shuts the whole database after an internal error.
    """
    schema, name = table.table.split(".", 1)
    where = f"'lakehouse', {quoted(name)}, schema => {quoted(schema)}"
    steps = [
        f"CALL ducklake_rewrite_data_files({where}, delete_threshold => {REWRITE_SHARE})",
        f"CALL ducklake_merge_adjacent_files({where}, max_compacted_files => {FILES_AT_ONCE})",
    ]
    if table.inlined_rows:
        flush = f"schema_name => {quoted(schema)}, table_name => {quoted(name)}"
        steps.insert(0, f"CALL ducklake_flush_inlined_data('lakehouse', {flush})")
    count = f"SELECT count(*) FROM lakehouse.{identifier(schema)}.{identifier(name)}"
    with closing(lake.connect()) as connection:
        rows = connection.execute(count).fetchone()
        for step in steps:
            connection.execute("BEGIN")
            connection.execute(step)
            if connection.execute(count).fetchone() != rows:
                connection.execute("ROLLBACK")
                raise InUseError("it would have held another number of rows; this is a fault of the lakehouse")
            connection.execute("COMMIT")


def _outcome(before: LakeFiles, after: LakeFiles, problems: list[str], tables: list[str]) -> Outcome:
    return Outcome(
        f"{counted(len(tables), 'table')}; {counted(before.files, 'file')} ({megabytes(before.size_bytes)}) before, "
        f"{after.files:,} ({megabytes(after.size_bytes)}) after.",
        {
            "tables": ", ".join(tables) or "none", "files_before": before.files, "files_after": after.files,
            "small_files_before": before.small_files, "small_files_after": after.small_files,
            "bytes_before": before.size_bytes, "bytes_after": after.size_bytes,
            "dead_bytes_before": before.dead_bytes, "dead_bytes_after": after.dead_bytes,
        },
        problems=tuple(problems),
    )  # fmt: skip
