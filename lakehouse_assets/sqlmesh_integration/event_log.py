"""Partitions in Dagster's event log: many at a time, and taken back. Dagster's public API has neither.

With automation.py, definition.py and postgres_event_log.py this holds every call into Dagster that its documentation
does not promise, for the SQL storages of dagster 1.13 (SQLite, PostgreSQL); tests/sqlmesh_integration/
test_event_log.py says what a newer one breaks.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._time import get_current_timestamp

if TYPE_CHECKING:
    from dagster._core.storage.dagster_run import DagsterRun

BATCH = 1000
PARTITION_ROWS = "dagster/partition_row_count"
TABLE, ROWS, COLUMNS = "sqlmesh/physical_table", "dagster/row_count", "sqlmesh/columns"
"""What an event says of the whole table that was computed."""
_NAME, _COUNT = "\0 a partition", -7_777_777_777_777
"""What no partition is called and no partition has, to be found again in a packed event."""


def store_partitions(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    rows: Mapping[str, int | None],
    run: DagsterRun | None = None,
    step_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Record these partitions as materialized, with their rows; without `run` they belong to no run.

    Packing an event takes Dagster a millisecond, and a model of years has thousands: one is packed, and of the others
    only what tells them apart is put in.
    """
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events

    def entry(partition: str, count: int | None) -> Any:
        said = {**(metadata or {}), **({} if count is None else {PARTITION_ROWS: count})}
        event = dg.AssetMaterialization(key, partition=partition, metadata=said)
        return _entry(DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event, []), run, step_key)

    if not rows:
        return
    storage = _sql_storage(instance)
    *others, (newest, newest_count) = rows.items()
    last = entry(newest, newest_count)
    counted, uncounted = (storage._event_to_row(entry(_NAME, count)) for count in (_COUNT, None))

    def row(partition: str, count: int | None) -> dict[str, Any]:
        like = uncounted if count is None else counted
        event = like["event"].replace(json.dumps(_NAME), json.dumps(partition)).replace(str(_COUNT), str(count))
        return {**like, "event": event, "partition": partition}

    with storage.index_transaction() as connection:
        for first in range(0, len(others), BATCH):
            connection.execute(Events.insert(), [row(*other) for other in others[first : first + BATCH]])
        (event_id,) = connection.execute(storage.prepare_insert_event(last)).inserted_primary_key
        storage._store_asset_event(connection, last, event_id)


def add_partition_metadata(
    context: dg.AssetExecutionContext, key: dg.AssetKey, metadata: Mapping[str, Mapping[str, Any]]
) -> None:
    """`context.add_asset_metadata`, for many partitions at once.

    That one copies all that it holds, and lists the run's partitions, for every partition: 0.6 s for a thousand.
    """
    from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator

    step = context.op_execution_context.get_step_execution_context()
    held = dict(step._metadata_accumulator.per_output_metadata)
    for partition, entries in metadata.items():
        handle = AssetMetadataHandle(asset_key=key, partition_key=partition)
        held[handle] = {**held.get(handle, {}), **entries}
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=held)


def mark(context: dg.AssetExecutionContext, name: str, *, is_end: bool) -> None:
    """Draw a model into the run's chart of times, beside the step that computes them all: from mark to mark."""
    from dagster._core.events import EngineEventData

    step = context.op_execution_context.get_step_execution_context()
    data = EngineEventData(marker_end=name) if is_end else EngineEventData(marker_start=name)
    DagsterEvent.engine_event(step, f"{name} {'ends' if is_end else 'begins'}", data)


def omit_unmade_checks(context: dg.AssetExecutionContext) -> None:
    """Keep a line of Dagster's out of the run's log: the names of all checks that were chosen and not made.

    Those of a model that is up to date are not made, and that is no fault: their earlier results stay in sight.
    """
    step = context.op_execution_context.get_step_execution_context()
    step.log.addFilter(_says_no_outputs_are_missing)


def _says_no_outputs_are_missing(record: logging.LogRecord) -> bool:
    return "did not yield or return expected outputs" not in record.getMessage()


def newest_event_id(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_maximum_record_id() or 0


def forget_partitions(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partitions: Collection[str],
    until_event_id: int | None = None,
    run_id: str | None = None,
) -> None:
    """Show these partitions as missing again; the events themselves stay in the asset's history.

    With `until_event_id` an event written after it keeps its partition: a run that finishes meanwhile. With `run_id`
    only that run's events lose theirs.
    """
    if not partitions:
        return
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events

    storage = _sql_storage(instance)
    names = sorted(partitions)
    with storage.index_connection() as connection:
        for first in range(0, len(names), BATCH):
            statement = (
                Events.update()
                .where(Events.c.asset_key == key.to_string())
                .where(Events.c.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value)
                .where(Events.c.partition.in_(names[first : first + BATCH]))
            )
            if until_event_id is not None:
                statement = statement.where(Events.c.id <= until_event_id)
            if run_id is not None:
                statement = statement.where(Events.c.run_id == run_id)
            connection.execute(statement.values(partition=None))
    storage.wipe_asset_cached_status(key)


def withdraw_planned_checks(instance: dg.DagsterInstance, run_id: str, keys: Collection[dg.AssetKey]) -> None:
    """Forget that this run announced checks of these assets, where it has not made them.

    Dagster shows a check's newest announcement, made or not: one never made would hide the result before it.
    """
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Executions

    names = sorted(key.to_string() for key in keys)
    with _sql_storage(instance).index_connection() as connection:
        for first in range(0, len(names), BATCH):
            connection.execute(
                Executions.delete()
                .where(Executions.c.run_id == run_id)
                .where(Executions.c.execution_status == AssetCheckExecutionRecordStatus.PLANNED.value)
                .where(Executions.c.asset_key.in_(names[first : first + BATCH]))
            )


def set_results_aside(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]) -> None:
    """Show these checks as not made: what they found was of content that is no longer there. Their history stays.

    A check that is announced for a run which there is not is one that was skipped.
    """
    from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    storage = instance.event_log_storage
    for key, record in storage.get_latest_asset_check_execution_by_key(list(keys)).items():
        if record.status is not AssetCheckExecutionRecordStatus.PLANNED:
            planned = AssetCheckEvaluationPlanned(asset_key=key.asset_key, check_name=key.name)
            storage.store_event(_entry(DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned, None, None))


def _sql_storage(instance: dg.DagsterInstance) -> Any:
    storage: Any = instance.event_log_storage
    return getattr(storage, "_storage", storage)


def note_newest_events(context: dg.AssetExecutionContext, keys: Iterable[dg.AssetKey]) -> None:
    """Let a run without partitions materialize and check assets that are, or read, partitioned ones.

    Dagster notes the data version of what an asset reads, and the materialization that a check looked at; for
    a partitioned asset it asks for the run's partitions and raises when there are none. Here it finds the
    asset's newest event noted already.
    """
    from dagster._core.definitions.data_version import extract_data_version_from_entry
    from dagster._core.execution.context.data_version_cache import InputAssetVersionInfo

    step = context.op_execution_context.get_step_execution_context()
    layer, noted = step.job_def.asset_layer, step._data_version_cache.input_asset_version_info
    wanted = [key for key in keys if key not in noted and layer.has(key) and layer.get(key).partitions_def is not None]
    for record in context.instance.get_asset_records(wanted) if wanted else ():
        event = record.asset_entry.last_materialization_record
        noted[record.asset_entry.asset_key] = event and InputAssetVersionInfo(
            event.storage_id,
            DagsterEventType.ASSET_MATERIALIZATION,
            extract_data_version_from_entry(event.event_log_entry),
            event.run_id,
            event.timestamp,
        )
    for key in wanted:
        noted.setdefault(key, None)


def told_of_tables(
    instance: dg.DagsterInstance, keys: Mapping[str, dg.AssetKey]
) -> dict[str, tuple[str, int, dict[str, str]]]:
    """By name the physical table, its rows and its columns as each asset's newest event has them, if it does."""
    names = {key: name for name, key in keys.items()}
    found = {}
    for record in instance.get_asset_records(list(names)):
        event = record.asset_entry.last_materialization
        told = event.asset_materialization.metadata if event and event.asset_materialization else {}
        if TABLE in told and ROWS in told:
            columns: Any = told[COLUMNS].value if COLUMNS in told else {}
            name = names[record.asset_entry.asset_key]
            found[name] = (str(told[TABLE].value), int(str(told[ROWS].value)), columns)
    return found


def _entry(kind: DagsterEventType, content: Any, run: DagsterRun | None, step_key: str | None) -> Any:
    job_name = run.job_name if run else RUNLESS_JOB_NAME
    new_entry: Any = EventLogEntry  # its constructor has no types
    return new_entry(
        user_message="",
        level=20,
        job_name=job_name,
        run_id=run.run_id if run else RUNLESS_RUN_ID,
        error_info=None,
        timestamp=get_current_timestamp(),
        step_key=step_key,
        dagster_event=DagsterEvent(
            event_type_value=kind.value,
            job_name=job_name,
            step_key=step_key,
            event_specific_data=content,
        ),
    )
