"""Dagster's event log in PostgreSQL, with the planned materializations of a backfill written at once.

Dagster 1.13 announces every partition of a run with an event of its own, one transaction and one connection each:
a backfill of 365 days of three models waits longer for that than for its models. Name `BatchingStorage` in
dagster.yaml (`storage: {custom: {module, class, config: {postgres_url}}}`), and set DAGSTER_EVENT_BATCH_SIZE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Executions
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import pg_url_from_config

AT_ONCE = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}


class BatchingEventLogStorage(PostgresEventLogStorage):
    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        at_once = [event for event in events if event.dagster_event_type in AT_ONCE]
        one_by_one = [event for event in events if event.dagster_event_type not in AT_ONCE]
        if one_by_one:
            super().store_event_batch(one_by_one)
        if not at_once:
            return
        statement = Events.insert().returning(Events.c.id, sort_by_parameter_order=True)
        with self._connect() as connection:
            inserted = connection.execute(statement, [self._event_to_row(event) for event in at_once])
            ids = [int(row[0]) for row in inserted.fetchall()]
        newest: dict[Any, tuple[EventLogEntry, int]] = {}
        for event, event_id in zip(at_once, ids, strict=True):
            newest[event.get_dagster_event().asset_key] = (event, event_id)
        with self.index_transaction() as connection:
            self._store_asset_event_tags(connection, at_once, ids)
            for event, event_id in newest.values():
                self._store_asset_event(connection, event, event_id)

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """Dagster's, which packs the event, with all the partitions in it, again for each of them."""
        storage: Any = self
        planned: Any = event.get_dagster_event().event_specific_data
        partitions = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        same = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": storage._event_insert_timestamp(event),
            "evaluation_event_storage_id": event_id,
        }
        with self.index_connection() as connection:
            connection.execute(Executions.insert(), [{**same, "partition": partition} for partition in partitions])


class BatchingStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` with such an event log."""

    def __init__(self, postgres_url: str, *args: Any, **settings: Any):
        super().__init__(postgres_url, *args, **settings)  # creates the tables where they are missing
        self._event_log_storage = BatchingEventLogStorage(postgres_url, should_autocreate_tables=False)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchingStorage:
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
