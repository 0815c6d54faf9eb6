"""A load: holds its pipeline's lock, leaves a mark while it works, records what it touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import duckdb
import psycopg

from lakehouse.lake import ledger
from lakehouse.lake.ducklake import Lake
from lakehouse.writing import marks, touched
from lakehouse.writing.locks import holding, pipeline_lock
from lakehouse.writing.lost import require_kept
from lakehouse.writing.touched import Touched
from lakehouse.writing.undo import drop_tables, tables_of, undo, written_tables

Report = Callable[[str], None]
Reader = Callable[[], duckdb.DuckDBPyConnection]
ABANDON_SECONDS = 1.0


@dataclass
class Load:
    """A load at work. `touched` is filled when the block that holds it ends well."""

    touched: dict[str, Touched] = field(default_factory=dict)


@contextmanager
def loading(
    lake: Lake,
    pipeline: str,
    event_times: Mapping[str, str | None],
    *,
    run: str,
    report: Report = lambda _: None,
    reader: Reader | None = None,
) -> Iterator[Load]:
    """Everything that `pipeline` commits inside this block is either finished, recorded and unmarked, or marked.

    `event_times` names tables (`schema.table`) with the column that says when a row happened; of the pipeline's other
    tables a change touches everything. `reader` gives a connection that the caller closes, for what is looked up at the
    end; without, one is opened. An error inside the block is undone, and so is what a killed predecessor left: the load
    begins as if neither had been. What the block has written must be in the store: else LostWriteError, and undone too.
    """
    with holding(lake.settings, [pipeline_lock(pipeline)], holder=run, waiting=report) as connection:
        ledger.require(connection)
        _undo_predecessor(lake, connection, pipeline, report)
        before = lake.newest_snapshot()
        marks.write(connection, "load", pipeline, run=run, snapshot=before, details={"tables": dict(event_times)})
        # dlt's state and schema come from the lake: what lies here may be of a lake that was restored or made anew.
        shutil.rmtree(lake.settings.pipelines_dir / pipeline, ignore_errors=True)
        load = Load()
        try:
            yield load
            require_kept(lake, connection, written_tables(connection, pipeline, before), before)
        except Exception:
            try:  # it may have failed over a file that was lost
                require_kept(lake, connection, written_tables(connection, pipeline, before), before)
            finally:
                _undo_predecessor(lake, connection, pipeline, lambda _: None)
            raise
        with ExitStack() as stack:
            found = reader() if reader else stack.enter_context(closing(lake.connect(read_only=True)))
            load.touched = _finish(lake, connection, pipeline, found, run=run)


def repair(lake: Lake, pipelines: Iterable[str], *, run: str, report: Report = lambda _: None) -> None:
    """Undo the loads that killed processes left unfinished, where there are any: the next load brings their rows."""
    for pipeline in sorted(pipelines):
        with holding(lake.settings, [pipeline_lock(pipeline)], holder=run, waiting=report) as connection:
            _undo_predecessor(lake, connection, pipeline, report)


def abandon(lake: Lake, pipeline: str, *, run: str) -> list[str]:
    """Undo the pipeline's unfinished load; names what was undone, nothing where none is unfinished.

    Raises:
        LockTimeoutError: the load is at work.
    """
    hasty = lake.settings.model_copy(update={"lock_timeout_seconds": ABANDON_SECONDS})
    told: list[str] = []
    with holding(hasty, [pipeline_lock(pipeline)], holder=run) as connection:
        _undo_predecessor(lake, connection, pipeline, told.append)
    return told


def drop(lake: Lake, pipeline: str, *, run: str) -> list[str]:
    """Drop the pipeline's tables for good, and its progress; names the tables. Releases keep what they hold."""
    with holding(lake.settings, [pipeline_lock(pipeline)], holder=run) as connection:
        _undo_predecessor(lake, connection, pipeline, lambda _: None)
        return drop_tables(lake, pipeline)


def _undo_predecessor(lake: Lake, connection: psycopg.Connection, pipeline: str, report: Report) -> None:
    found = marks.read(connection, "load", pipeline)
    marks.take_over(connection, found)
    for mark in found:
        tables = undo(lake, pipeline, mark.snapshot)
        require_kept(lake, connection, written_tables(connection, pipeline, mark.snapshot), mark.snapshot)
        marks.clear(connection, "load", pipeline)
        report(f"undone: {mark}; {', '.join(tables) or 'no table'} had changed")


def _finish(
    lake: Lake, connection: psycopg.Connection, pipeline: str, reader: duckdb.DuckDBPyConnection, *, run: str
) -> dict[str, Touched]:
    """Record what was touched since the mark's snapshot and remove the mark, in one transaction."""
    (mark,) = marks.read(connection, "load", pipeline)
    changes = {
        table: touched.changes_since(reader, table, event_time, mark.snapshot)
        for table, event_time in (dict.fromkeys(tables_of(connection, pipeline)) | mark.details["tables"]).items()
    }
    snapshot = lake.newest_snapshot()
    with connection.transaction():
        for change in changes.values():
            if not change.nothing:
                touched.record(connection, change, pipeline=pipeline, run=run, snapshot=snapshot)
        marks.clear(connection, "load", pipeline)
    return changes
