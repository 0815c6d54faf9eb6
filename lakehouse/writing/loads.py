"""A load: holds its pipeline's lock, leaves a mark while it works, records what it touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg

from lakehouse.lake import Lake
from lakehouse.pipelines import lake_pipeline
from lakehouse.writing import marks, touched
from lakehouse.writing.locks import holding, pipeline_lock
from lakehouse.writing.touched import Touched

Report = Callable[[str], None]


@dataclass
class Load:
    """A load at work. `touched` is filled when the block that holds it ends well."""

    touched: dict[str, Touched] = field(default_factory=dict)


@contextmanager
def loading(
    lake: Lake, pipeline: str, event_times: Mapping[str, str | None], *, run: str, report: Report = lambda _: None
) -> Iterator[Load]:
    """Everything that `pipeline` commits inside this block is either finished, recorded and unmarked, or marked.

    `event_times` names the pipeline's tables (`schema.table`) with the column that says when a row happened. What a
    killed predecessor left behind is finished first. An error inside the block that left nothing half done (a portal
    that is down) leaves no mark either.
    """
    with holding(lake.settings, [pipeline_lock(pipeline)], holder=run, waiting=report) as connection:
        _finish_predecessor(lake, connection, pipeline, run=run, report=report)
        marks.write(
            connection,
            "load",
            pipeline,
            run=run,
            snapshot=lake.newest_snapshot(),
            details={"tables": dict(event_times)},
        )
        load = Load()
        try:
            yield load
        except Exception:
            if not lake_pipeline(lake, pipeline).has_pending_data:
                _finish(lake, connection, pipeline, run=run)
            raise
        load.touched = _finish(lake, connection, pipeline, run=run)


def repair(lake: Lake, pipelines: list[str], *, run: str, report: Report = lambda _: None) -> None:
    """Finish the loads that killed processes left unfinished, where there are any."""
    for pipeline in sorted(pipelines):
        with holding(lake.settings, [pipeline_lock(pipeline)], holder=run, waiting=report) as connection:
            _finish_predecessor(lake, connection, pipeline, run=run, report=report)


def _finish_predecessor(lake: Lake, connection: psycopg.Connection, pipeline: str, *, run: str, report: Report) -> None:
    for mark in marks.read(connection, "load", pipeline):
        report(f"repairing {mark}")
        unfinished = lake_pipeline(lake, pipeline)
        while unfinished.has_pending_data:
            # With pending packages dlt loads only those and ignores any data that it is given.
            unfinished.run().raise_on_failed_jobs()
        _finish(lake, connection, pipeline, run=run)


def _finish(lake: Lake, connection: psycopg.Connection, pipeline: str, *, run: str) -> dict[str, Touched]:
    """Record what was touched since the mark's snapshot and remove the mark, in one transaction."""
    (mark,) = marks.read(connection, "load", pipeline)
    with closing(lake.connect(read_only=True)) as reader:
        changes = {
            table: touched.changes_since(reader, table, event_time, mark.snapshot)
            for table, event_time in mark.details["tables"].items()
        }
    snapshot = lake.newest_snapshot()
    with connection.transaction():
        for change in changes.values():
            if not change.nothing:
                touched.record(connection, change, pipeline=pipeline, run=run, snapshot=snapshot)
        marks.clear(connection, "load", pipeline)
    return changes
