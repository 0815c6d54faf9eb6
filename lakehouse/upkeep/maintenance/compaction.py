"""Compaction: many small files of a table become few, deleted rows leave their files, inlined rows leave the catalog.

After DuckLake 1.0's compaction a table's past can't be believed (`lakehouse.upkeep.maintenance`): so each table is
compacted while its writers, and everybody who might cut a release, wait for that moment, and no release or repair needs
its past.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass

import duckdb
import psycopg

from lakehouse.lake.ducklake import Lake, identifier, quoted
from lakehouse.lake.feed import MAINTENANCE
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.upkeep.maintenance.flushed_deletions import FLUSH, flushed_alone, forget_flushed
from lakehouse.upkeep.maintenance.kept import NotKeptError, written_whole
from lakehouse.upkeep.maintenance.measures import REWRITE_SHARE, LakeFiles, TableFiles, measure
from lakehouse.upkeep.maintenance.outcome import HOLDER, Outcome, Report
from lakehouse.wording import megabytes, plural
from lakehouse.writing import marks
from lakehouse.writing.locks import (
    LockTimeoutError,
    environment_lock,
    holding,
    maintenance_lock,
    pipeline_lock,
    tables_lock,
    trying,
)

WAIT_SECONDS = 120.0
"""For writers, and for releases that are being published: all tables together."""
POLITE_SECONDS = 0.1
RETRY_SECONDS = 0.3
FILES_AT_ONCE = 10_000
NOT_INLINED = "CALL lakehouse.set_option('data_inlining_row_limit', 0, schema => {}, table_name => {})"
"""From now on a table's few rows are a file too."""


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
    wanted = [table for table in before.tables if table.needs_compaction]
    if dry_run:
        return _outcome(before, before, [], [], [f"{table.table} would be compacted" for table in wanted])
    left, problems = list[str](), list[str]()
    patience = Patience(wait_seconds)
    for table in wanted:
        try:
            _compact_when_free(lake, table, _pipelines(table.table, pipeline_of), patience, report)
        except InUseError as error:
            left.append(f"{table.table} is left for the next time: {error}")
            report(left[-1])
        except duckdb.Error as error:
            if "does not exist" in str(error) and not isinstance(error, duckdb.IOException):  # dropped meanwhile
                continue
            # DuckLake's reason is on the second line.
            problems.append(f"{table.table} was not compacted: {' '.join(str(error).split()[:60])}")
    with closing(connect(lake.settings)) as postgres:
        after = measure(postgres)
    return _outcome(before, after, left, problems, [table.table for table in wanted])


@dataclass
class Patience:
    """How long all tables together may still wait for others."""

    seconds: float

    def wait(self) -> bool:
        """Wait a moment; gives False when there is no patience left."""
        time.sleep(RETRY_SECONDS)
        self.seconds -= RETRY_SECONDS
        return self.seconds > 0


def _environments(postgres: psycopg.Connection) -> set[str]:
    """Whoever may cut a release."""
    rows = postgres.execute(
        "SELECT environment FROM ledger.deployments UNION SELECT environment FROM ledger.table_users "
        "UNION SELECT environment FROM ledger.releases"
    ).fetchall()
    return {name for (name,) in rows}


def _compact_when_free(
    lake: Lake, table: TableFiles, pipelines: Collection[str], patience: Patience, report: Report
) -> None:
    """Hold everybody for one table, when nobody is at it and no release or repair needs its past.

    Until patience ends, all locks are taken at once or none: to hold one while waiting for another holds others up.
    """
    told = set[str]()

    def once(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            report(sentence)

    while True:
        with closing(connect(lake.settings)) as postgres:
            environments = _environments(postgres)
        locks = [
            *(pipeline_lock(name) for name in pipelines),
            *(environment_lock(name) for name in environments),
            tables_lock(),  # no environment begins meanwhile
        ]
        hasty = lake.settings.model_copy(update={"lock_timeout_seconds": POLITE_SECONDS})
        try:
            with holding(hasty, locks, holder=HOLDER, waiting=once) as postgres:
                # Never waited for with the others held: a backup may take hours.
                with trying(postgres, maintenance_lock()) as held_by:
                    reason = f"{maintenance_lock()} is held by {held_by}." if held_by else ""
                    reason = reason or _needed_by(postgres, pipelines)
                    if not reason and _environments(postgres) <= environments:
                        _compact(lake, postgres, table, report)
                        return
        except LockTimeoutError as error:
            reason = str(error).split(" Nothing was changed")[0]
        if not patience.wait():
            raise InUseError(reason)


def _pipelines(table: str, pipeline_of: Mapping[str, str]) -> set[str]:
    """Whose loads write the table: its source's; all of them for dlt's own tables, none for a model's."""
    if table in pipeline_of:
        return {pipeline_of[table]}
    return set(pipeline_of.values()) if table.startswith(("raw.", "raw_")) else set()


def _needed_by(postgres: psycopg.Connection, pipelines: Collection[str]) -> str:
    """Who still reads the past: a release that is cut and not published, the repair of a load. Else nothing."""
    waiting = log.candidates(postgres)
    if waiting:
        return f"{waiting[0]} is cut and not published yet, and reads the lake as it was then."
    for mark in marks.read(postgres, "load"):
        if mark.scope in pipelines:
            return f"the repair of the {mark} reads what has changed since; the next load does it."
    return ""


def _compact(lake: Lake, postgres: psycopg.Connection, table: TableFiles, report: Report) -> None:
    """Each step all or nothing, and only when the table holds as many rows after it as before, in files that are there.

    A connection of its own for each: DuckDB shuts the whole database after an internal error.
    """
    schema, name = (quoted(part) for part in table.table.split(".", 1))
    where = f"'lakehouse', {name}, schema => {schema}"
    rewrite_share = REWRITE_SHARE
    if table.is_partitioned:
        if table.inlined_rows or table.foldered_files:
            with closing(lake.connect()) as connection:  # never retried, and with its commit it would be forgotten
                connection.execute(NOT_INLINED.format(schema, name))
            _step(lake, postgres, table, _moved(table.table), report)
            rewrite_share = 0.0  # also files with few deletions, that else would stay in the catalog
    elif table.inlined_rows:
        done = flushed_alone(lambda: _step(lake, postgres, table, FLUSH.format(schema, name), report))
        if not done:
            raise InUseError("others commit to the lake all the time.")
    for step in (
        f"CALL ducklake_rewrite_data_files({where}, delete_threshold => {rewrite_share})",
        f"CALL ducklake_merge_adjacent_files({where}, max_compacted_files => {FILES_AT_ONCE})",
    ):
        _step(lake, postgres, table, step, report)


def _moved(table: str) -> str:
    """Write a partitioned table's rows that lie in the catalog, or in a folder that is named by its partition, anew.

    DuckLake (1.0) flushes rows into such folders whatever `hive_file_pattern` says. A long value then is a name that no
    file system takes, and files of one partition in two folders are never merged ("different hive partition path").
    This can go with a DuckLake that has 664400c5 ("add hive_file_pattern option to flush").
    """
    name = ".".join(map(identifier, table.split(".", 1)))
    where = "starts_with(filename, 'ducklake_inlined') OR regexp_matches(filename, '=[^/]*/[^/]*$')"
    return f"INSERT INTO {name} SELECT * FROM {name} WHERE {where}; DELETE FROM {name} WHERE {where}"


def _step(lake: Lake, postgres: psycopg.Connection, table: TableFiles, step: str, report: Report) -> None:
    schema, name = table.table.split(".", 1)
    count = f"SELECT count(*) FROM lakehouse.{identifier(schema)}.{identifier(name)}"
    with closing(lake.connect()) as connection:
        if forget_flushed(postgres, connection, table.table):
            report(f"{table.table}: deletions that DuckLake had flushed and kept in its catalog too are out of it")
        rows = connection.execute(count).fetchone()
        check = written_whole(lake, postgres, table.table)
        connection.execute("BEGIN")
        connection.execute(f"CALL lakehouse.set_commit_message({quoted(MAINTENANCE)}, 'compaction')")
        connection.execute(step)
        try:
            check(connection)
        except NotKeptError as error:
            raise InUseError(str(error)) from None
        if connection.execute(count).fetchone() != rows:
            connection.execute("ROLLBACK")
            raise InUseError("it would have held another number of rows; this is a fault of the lakehouse")
        connection.execute("COMMIT")


def _outcome(before: LakeFiles, after: LakeFiles, left: list[str], problems: list[str], tables: list[str]) -> Outcome:
    return Outcome(
        f"{plural(len(tables), 'table')}; {plural(before.files, 'file')} ({megabytes(before.size_bytes)}) before, "
        f"{after.files:,} ({megabytes(after.size_bytes)}) after.",
        {
            "tables": ", ".join(tables) or "none", "left": "\n".join(left) or "none",
            "files_before": before.files, "files_after": after.files,
            "small_files_before": before.small_files, "small_files_after": after.small_files,
            "bytes_before": before.size_bytes, "bytes_after": after.size_bytes,
            "dead_bytes_before": before.dead_bytes, "dead_bytes_after": after.dead_bytes,
        },
        problems=tuple(problems),
    )  # fmt: skip
