"""OpenLineage events of a Dagster run that has ended: a START and an end for each load, model and released table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg
from openlineage.client import facet_v2 as facets
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)

from lakehouse.lake.ducklake import Lake
from lakehouse_assets.defs.alerts.failed_runs import first_sentence
from lakehouse_assets.defs.documentation.known import Column, Table, declared_lineage, declared_tables
from lakehouse_assets.defs.documentation.lineage import Lineage, Place
from lakehouse_assets.defs.ingestion.sources import sources
from lakehouse_assets.defs.releases.assets import published_key
from lakehouse_assets.models import PUBLISHED, Translator, project

PRODUCER = "urn:lakehouse"
JOBS = "lakehouse"
"""The namespace of jobs; that of datasets is the lake's storage."""
KINDS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_FAILURE,
}
ROWS, SECONDS = "dagster/row_count", "sqlmesh/duration_seconds"
INTEGRATIONS = {"raw table": ("DLT", "LOAD"), "file": ("DAGSTER", "RELEASE")}
set_producer(PRODUCER)


@dataclass(frozen=True)
class Catalogue:
    """What is known of the tables of an environment, by their names in the lineage: `raw.x`, `marts.y`, `file.marts.y`.

    `nodes` says which asset makes which.
    """

    namespace: str
    nodes: Mapping[dg.AssetKey, str]
    tables: Mapping[str, Table]
    lineage: Lineage

    @classmethod
    def read(cls, lake: Lake, environment: str) -> Catalogue:
        """Of the checked-out models and sources; raw tables are those of prod."""
        models, found = project().manifest(), sources()
        tables, lineage = declared_tables(models, found), declared_lineage(models, found)
        nodes = {Translator().asset_key(model.ref, environment): model.name for model in models.models}
        if environment == "prod":
            nodes |= {dg.AssetKey(name.split(".")): name for name, table in tables.items() if table.is_raw}
        for model in models.models:
            if PUBLISHED in model.tags:
                lineage.add(f"file.{model.name}", {c.name: [(model.name, c.name)] for c in model.columns}, [model.name])
                nodes[published_key(model.name, environment)] = f"file.{model.name}"
        where = lake.storage.uri_of("").rstrip("/")
        return cls(where if "://" in where else f"file://{where}", nodes, tables, lineage)

    def table(self, name: str) -> Table | None:
        """What is told of it; of a released table what is told of its model."""
        return self.tables.get(name.removeprefix("file."))

    def dataset_name(self, name: str) -> str:
        """As its asset is named, `dev_ann.marts.y` say; sources, which are no assets, as in the lineage."""
        return self._names.get(name, name)

    @cached_property
    def columns(self) -> Mapping[str, Mapping[str, list[Place]]]:
        """What each column of each table is directly computed from."""
        return self.lineage.edges()

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return {name: ".".join(key.path) for key, name in self.nodes.items()}


@dataclass
class _Told:
    """What a run's log says of one asset."""

    step: str
    made_at: float | None = None
    seconds: float | None = None
    rows: int | None = None


@dataclass
class _Log:
    assets: dict[dg.AssetKey, _Told] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    failed: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    """By step: why, and of which models where it says so."""


def events_of(
    instance: dg.DagsterInstance, record: dg.RunRecord, known: Catalogue, hide: Callable[[str], str] = str
) -> Iterator[RunEvent]:
    """START and COMPLETE, FAIL or ABORT for each asset that the run made or should have made.

    Run ids follow from the run and the asset: the same events, told again, are no others. `hide` takes secrets out of
    the reason of a failure.
    """
    run, log = record.dagster_run, _read(instance, record.dagster_run.run_id)
    ended = record.end_time or record.update_timestamp.timestamp()
    for key, told in log.assets.items():
        name = known.nodes.get(key)
        if name is None:
            continue
        began = log.began.get(told.step, record.start_time or ended)
        why, names = log.failed.get(told.step, ("", frozenset()))
        if told.made_at is not None:
            state, at = RunState.COMPLETE, told.made_at
            began = max(began, at - told.seconds) if told.seconds is not None else began
        elif told.step in log.failed and (not names or name in names):
            state, at = RunState.FAIL, ended
        elif run.status is dg.DagsterRunStatus.CANCELED:
            state, at = RunState.ABORT, ended
        else:  # nothing of it was due, or it waits for what failed
            continue
        yield _event(RunState.START, began, run, key, known)
        yield _event(state, at, run, key, known, told, hide(why))


def _read(instance: dg.DagsterInstance, run_id: str) -> _Log:
    log = _Log()
    for record in instance.get_records_for_run(run_id, of_type=KINDS).records:
        event, at = record.event_log_entry.dagster_event, record.event_log_entry.timestamp
        if event is None:
            continue
        step = event.step_key or ""
        if event.event_type is dg.DagsterEventType.STEP_START:
            log.began[step] = at
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            said = data.user_failure_data
            why = (said.description if said else None) or (data.error.message if data.error else "")
            log.failed[step] = first_sentence(why), frozenset(said.metadata if said else ())
        elif event.asset_key is not None:
            told = log.assets.setdefault(event.asset_key, _Told(step))
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
                told.made_at, told.step = at, step or told.step
                metadata = event.step_materialization_data.materialization.metadata
                values = {name: getattr(metadata.get(name), "value", None) for name in (ROWS, SECONDS)}
                told.rows = values[ROWS] if values[ROWS] is not None else told.rows
                told.seconds = values[SECONDS] if values[SECONDS] is not None else told.seconds
    return log


def _event(
    state: RunState, at: float, run: dg.DagsterRun, key: dg.AssetKey, known: Catalogue, told: _Told | None = None,
    why: str = "",
) -> RunEvent:  # fmt: skip
    name = known.nodes[key]
    job, own = ".".join(key.path), uuid.uuid5(uuid.UUID(run.run_id), key.to_string())
    parent = facets.parent_run.ParentRunFacet(
        facets.parent_run.Run(run.run_id), facets.parent_run.Job(JOBS, run.job_name)
    )
    of_run: dict[str, facets.RunFacet] = {"parent": parent}
    if state is RunState.FAIL:
        of_run["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(why, "PYTHON")
    inputs = [
        InputDataset(known.namespace, known.dataset_name(up), facets=_schema(known.table(up)))
        for up in sorted(known.lineage.above.get(name, ()))
    ]
    output = OutputDataset(
        known.namespace,
        known.dataset_name(name),
        facets={**_schema(known.table(name)), **_told_of(known.table(name)), **_columns(known, name)},
    )
    if told is not None and told.rows is not None:
        counted = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=told.rows)
        output.outputFacets = {"outputStatistics": counted}
    return RunEvent(
        eventTime=datetime.fromtimestamp(at, UTC).isoformat(),
        eventType=state,
        run=Run(str(own), of_run),
        job=Job(JOBS, job, _of_job(known, name)),
        inputs=inputs,
        outputs=[output],
        producer=PRODUCER,
    )


def _of_job(known: Catalogue, name: str) -> dict[str, facets.JobFacet]:
    table = known.table(name)
    kind = "file" if name.startswith("file.") else table.kind if table else ""
    integration, job = INTEGRATIONS.get(kind, ("SQLMESH", "MODEL"))
    found: dict[str, facets.JobFacet] = {"jobType": facets.job_type_job.JobTypeJobFacet("BATCH", integration, job)}
    if table and table.query and job == "MODEL":
        found["sql"] = facets.sql_job.SQLJobFacet(table.query)
    return found


def _schema(table: Table | None) -> dict[str, facets.DatasetFacet]:
    if table is None or not table.columns:
        return {}
    return {"schema": facets.schema_dataset.SchemaDatasetFacet([_field(column) for column in table.columns])}


def _field(column: Column) -> facets.schema_dataset.SchemaDatasetFacetFields:
    told = " ".join(filter(None, (column.meaning, column.unit and f"[{column.unit}]")))
    return facets.schema_dataset.SchemaDatasetFacetFields(column.name, column.type, told or None)


def _told_of(table: Table | None) -> dict[str, facets.DatasetFacet]:
    found: dict[str, facets.DatasetFacet] = {}
    if table and table.description:
        found["documentation"] = facets.documentation_dataset.DocumentationDatasetFacet(table.description)
    if table and table.owner:
        owner = facets.ownership_dataset.Owner(table.owner)
        found["ownership"] = facets.ownership_dataset.OwnershipDatasetFacet([owner])
    return found


def _columns(known: Catalogue, name: str) -> dict[str, facets.DatasetFacet]:
    module = facets.column_lineage_dataset
    fields = {
        column: module.Fields([module.InputField(known.namespace, known.dataset_name(of), up) for of, up in places])
        for column, places in known.columns.get(name, {}).items()
    }
    return {"columnLineage": module.ColumnLineageDatasetFacet(fields)} if fields else {}
