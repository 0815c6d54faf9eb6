"""One load of one source into the zone `raw`, as Dagster events."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb

from lakehouse.lake.ducklake import Lake, identifier
from lakehouse.lake.ledger import LedgerError
from lakehouse.landing.zones import LandingFolder
from lakehouse.settings import make_private
from lakehouse.storage import StorageError
from lakehouse.writing import extracted
from lakehouse.writing.loads import Load, loading
from lakehouse.writing.lost import LostWriteError
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse_assets.defs.ingestion import drift
from lakehouse_assets.defs.ingestion.declared_types import differences, follow, lake_columns, lake_types, refusal
from lakehouse_assets.defs.ingestion.files_load import FilesLoad
from lakehouse_assets.defs.ingestion.source_load import SourceLoad
from lakehouse_assets.defs.ingestion.sources import RawTable, file_of, is_key, learn, source_named

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.extract.source import DltSource

    from lakehouse_assets.defs.ingestion.source_settings import SourceSettings

COUNTED = "counted_by_source"
RETRIES, RETRY_SECONDS = 3, 2
"""Of a load whose connection died, or which lost against another writer. What it had written is undone before."""


class LoadConfig(dg.Config):
    """How a source is loaded. `full_refresh` deletes the chosen tables' rows and the source's progress first."""

    full_refresh: bool = False


class FileSourceLoad(SourceLoad):
    """A source that stands in `dlt_sources/NAME.py`."""

    def __init__(self, lake: Lake, source: str, settings: SourceSettings) -> None:
        super().__init__(lake, source)
        self.settings = settings
        self.resources: set[str] = set()
        self.days: tuple[datetime, datetime] | None = None
        self.fields: dict[str, drift.Fields] = {}
        self.warnings: list[str] = []
        self.failures: list[str] = []

    def dlt_source(self) -> DltSource:
        from lakehouse_assets.defs.ingestion.source_files import SourceFileError, limit_to, read

        found = read(file_of(self.source))
        if found is None:
            raise SourceFileError(f"dlt_sources/{self.source}.py has no dlt source or resource that could be loaded.")
        self.declaration = found.declaration
        source = found.source
        known = self.resources & source.resources.keys()
        source = source.with_resources(*known) if known else source
        if self.days:
            for resource in source.selected_resources.values():
                limit_to(resource, *self.days)
        return source

    @property
    def is_asked_once(self) -> bool:
        return self.declaration.asked_once

    def before(self, pipeline: Pipeline) -> None:
        self.columns = drift.columns_of(pipeline)

    def extract(self, pipeline: Pipeline, source: DltSource, options: dict[str, Any]) -> None:
        """All or nothing; with `keep_rest` a resource that fails is left out, unless all do."""
        for name, resource in source.selected_resources.items():
            resource.add_map(self.fields.setdefault(name, drift.Fields()).note)
        if not self.declaration.keep_rest:
            return super().extract(pipeline, source, options)
        for name in list(source.selected_resources):
            try:
                super().extract(pipeline, source.with_resources(name), options)
            except Exception as error:
                self.failures.append(innermost(error))
                if len(self.failures) == len(source.selected_resources):
                    raise
        return None

    def problem(self) -> dg.Failure | None:
        if not self.failures:
            return None
        return dg.Failure(
            self.settings.without_secrets(
                f"{self.source}: {len(self.failures)} resources could not be read, the others are loaded:\n  "
                + "\n  ".join(self.failures)
            )
        )

    def look(self, pipeline: Pipeline) -> None:
        drift.check(self.lake, pipeline, self.columns, self.fields)

    def record(self, run: str) -> None:
        drift.forget(self.lake, self.source)

    def metadata(self) -> dict[str, Any]:
        return {"warnings": "\n".join(self.warnings)} if self.warnings else {}

    def checks(self) -> Iterator[dg.AssetCheckResult]:
        for table in self.tables:
            count = self.declaration.count.get(table.name)
            counted = count() if count and table.is_counted else None
            if counted is None:
                continue
            theirs, where = counted if isinstance(counted, tuple) else (counted, "true")
            row = self.reader.execute(f"SELECT count(*) FROM {_quoted(table)} WHERE {where}").fetchone()
            ours = row[0] if row else 0
            yield dg.AssetCheckResult(
                asset_key=asset_key(table),
                check_name=COUNTED,
                passed=ours == theirs,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"The source counts {theirs:,} rows, the lake holds {ours:,}."
                + ("" if ours == theirs else " Rows that went or came meanwhile; the next load brings the latter."),
                metadata={"source_rows": theirs, "lake_rows": ours},
            )


def asset_key(table: RawTable) -> dg.AssetKey:
    """`[raw, table]`: what SQLMesh's models name as their external table."""
    return dg.AssetKey(["raw", table.name])


def _quoted(table: RawTable) -> str:
    return f"lakehouse.raw.{identifier(table.name)}"


def load_files(context: dg.AssetExecutionContext, lake: Lake, folder: LandingFolder) -> Iterator[Any]:
    """Load what is new in a dataset's landing folder; see `load`."""
    if problem := source_named(folder.dataset).problem:
        raise dg.Failure(problem, allow_retries=False)
    with closing(FilesLoad(lake, folder)) as work:
        _follow_declarations(context, work)
        try:
            _make_missing_tables(lake, work)
            done, pipeline = _load(context, work, LoadConfig())
        except Exception as error:
            _retry(context, error)
            reason = _reason_outside(error, lake)
            if reason is None:
                raise
            raise dg.Failure(f"{work.source}: {reason}\nThe rows that were there stay as they are.") from error
        yield from _results(context, work, done, pipeline)


def load(context: dg.AssetExecutionContext, lake: Lake, source: str, config: LoadConfig) -> Iterator[Any]:
    """Load what is new in `source`, or in the resources behind the selected tables.

    Yields a MaterializeResult for each selected table, then its checks. Tables that came along or are new are told too.

    Raises:
        dagster.Failure: something could not be loaded. The tables are as before.
    """
    from lakehouse_assets.defs.ingestion.source_settings import missing_setting, settings_of

    with ExitStack() as stack:
        settings = stack.enter_context(settings_of(source, lake.settings))
        work = stack.enter_context(closing(FileSourceLoad(lake, source, settings)))
        selected = {key.path[-1] for key in context.selected_asset_keys}
        if selected < {table.name for table in work.tables}:
            work.resources = {table.resource for table in work.tables if table.name in selected}
        if context.has_partition_key or context.has_partition_key_range:
            work.days = context.partition_time_window.start, context.partition_time_window.end
        stack.enter_context(_heard(context, work))
        problem = ""
        try:
            done, pipeline = _load(context, work, config)
        except Exception as error:
            _retry(context, error)
            said = missing_setting(source, error) or _reason_outside(error, lake) or innermost(error)
            context.log.debug(settings.without_secrets("".join(traceback.format_exception(error))))
            problem = settings.without_secrets(f"{source}: {said}\nIts tables are as they were before this load.")
        if problem:  # raised outside the handler: the chain of causes may quote secrets
            raise dg.Failure(problem)
        yield from _results(context, work, done, pipeline)


def _load(context: dg.AssetExecutionContext, work: SourceLoad, config: LoadConfig) -> tuple[Load, Pipeline]:
    make_private(work.lake.settings.pipelines_dir)
    event_times = {table.full_name: table.event_time for table in work.tables}
    run = f"run {context.run.run_id[:8]}"
    with loading(
        work.lake, work.source, event_times, run=run, report=context.log.info, reader=lambda: work.reader
    ) as done:
        is_kept = extracted.bring_back(work.lake, work.source)
        pipeline = lake_pipeline(work.lake, work.source, log=context.log)
        source = work.dlt_source()
        if is_kept:
            context.log.info("what an earlier load extracted is loaded now; the next load asks the source again")
        if config.full_refresh and not is_kept:
            names = sorted(table.name for table in work.tables if table.resource in source.selected_resources)
            context.log.warning(f"full refresh: the rows of {', '.join(names)} are deleted and loaded anew")
        anew: Any = {"refresh": "drop_data"} if config.full_refresh else {}
        if not is_kept:
            pipeline.sync_destination()
        work.before(pipeline)
        if not is_kept:
            work.extract(pipeline, source, anew)
        if work.is_asked_once and not is_kept:
            extracted.keep(work.lake, pipeline)
        pipeline.normalize()
        work.look(pipeline)
        info = pipeline.load()
        if info is not None:
            info.raise_on_failed_jobs()
        work.complete()
    extracted.drop(work.lake, work.source)
    work.record(run)
    return done, pipeline


@contextmanager
def _heard(context: dg.AssetExecutionContext, work: FileSourceLoad) -> Iterator[None]:
    """What a source's modules log goes to the run's page; their warnings to the asset's too."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = work.settings.without_secrets(record.getMessage())
            context.log.log(record.levelno, text)
            if record.levelno >= logging.WARNING:
                work.warnings.append(text)

    logger, handler = logging.getLogger("dlt_sources"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _follow_declarations(context: dg.AssetExecutionContext, work: SourceLoad) -> None:
    """Widen what is declared wider now. Raises Failure, before anything is written, where that would lose something."""
    with closing(work.lake.connect(read_only=True)) as connection:
        found = differences(connection, work.tables)
        for table in work.tables:
            work.types |= lake_types(connection, table.name)
    if told := refusal(found):
        raise dg.Failure(f"{work.source}: {told}\nNothing was loaded.", allow_retries=False)
    if found:
        make_private(work.lake.settings.pipelines_dir)
        follow(work.lake, work.source, found, run=f"run {context.run.run_id[:8]}", report=context.log.info)


def _make_missing_tables(lake: Lake, work: SourceLoad) -> None:
    """A dataset that was declared after the lake's bootstrap needs none: what it changes is read from its tables."""
    with closing(lake.connect(read_only=True)) as connection:
        there = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = 'lakehouse' AND table_schema = 'raw'"
        ).fetchall()
    if not {table.name for table in work.tables} <= {name for (name,) in there}:
        from dlt_sources.landing.tables import create_tables

        create_tables(lake_pipeline(lake, work.source), work.dlt_source())


def _results(context: dg.AssetExecutionContext, work: SourceLoad, done: Load, pipeline: Pipeline) -> Iterator[Any]:
    columns = lake_columns(work.reader)
    tables = work.tables if isinstance(work, FilesLoad) else _learned(work, pipeline, columns)
    common = {**work.metadata(), **_told_by_dlt(pipeline)}
    held = {table.name: _metadata(work.reader, table, columns.get(table.name, {}), done) for table in tables}
    for table in tables:
        key = asset_key(table)
        metadata = {**common, **held[table.name]}
        if key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        elif table.full_name in done.touched and not done.touched[table.full_name].nothing:
            # Came along with what was asked for, or is new: the code location shows it when it is next loaded.
            context.log_event(dg.AssetMaterialization(key, metadata=metadata))
    known = {asset_key(table) for table in tables}
    for key in sorted(context.selected_asset_keys - known):  # it stood for tables that nobody knew before this load
        yield dg.MaterializeResult(asset_key=key, metadata=common)
    yield from (check for check in work.checks() if check.asset_key in context.selected_asset_keys)
    problem = work.problem()
    if problem:
        raise problem


def _learned(work: SourceLoad, pipeline: Pipeline, columns: Mapping[str, Mapping[str, str]]) -> list[RawTable]:
    """What is known of the source's tables now, kept for the code location: their columns as the lake has them."""
    from dlt.common.schema.utils import get_root_table

    schema = pipeline.default_schema
    known = {table.name: table for table in work.tables}
    found: dict[str, RawTable] = {}
    for name in (name for name in columns if name.startswith(f"{work.source}__")):
        hints: Any = schema.tables.get(name, {"columns": {}})
        parent = hints.get("parent")
        resource = get_root_table(schema.tables, name).get("resource") if name in schema.tables else ""
        text = hints.get("description") or (f"What {parent} holds in a list. One row per item." if parent else "")
        base = known.get(name) or RawTable(work.source, name, text)
        described = [
            (column, kind, hints["columns"].get(column, {}).get("description", ""))
            for column, kind in columns[name].items()
        ]
        key = base.key or (["_dlt_id"] if parent else _key(hints))
        found[name] = replace(base, columns=described, resource=resource or base.resource, key=key, is_complete=True)
    tables = [*found.values(), *(table for name, table in known.items() if name not in found)]
    learn(work.source, list(found.values()))
    return tables


def _key(table: Any) -> list[str]:
    return [name for name, column in table.get("columns", {}).items() if is_key(table, column)]


def _told_by_dlt(pipeline: Pipeline) -> dict[str, Any]:
    trace = pipeline.last_trace
    info = trace.last_load_info if trace else None
    if info is None:
        return {"load_ids": []}
    changes = {
        f"{table}.{column}": str(hints.get("data_type"))
        for package in info.load_packages
        for table, update in package.schema_update.items()
        for column, hints in update["columns"].items()
        if not table.startswith("_dlt_")
    }
    return {
        "load_ids": info.loads_ids,
        **({"schema_changes": dg.MetadataValue.json(changes)} if changes else {}),
    }


def _metadata(
    connection: duckdb.DuckDBPyConnection, table: RawTable, held: Mapping[str, str], done: Load
) -> dict[str, Any]:
    """What a load's page should show of one table, whose columns the lake holds so."""
    change = done.touched.get(table.full_name)
    count = connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone() if held else (0,)
    declared = {name for name, *_ in table.columns}
    learned = [(name, kind, "") for name, kind in held.items() if name not in declared and not name.startswith("_dlt_")]
    ranges = change.ranges if change else []
    return {
        "rows_inserted": change.rows_inserted if change else 0,
        "rows_deleted": change.rows_deleted if change else 0,
        "touched": dg.MetadataValue.text(
            ", ".join(f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M}" for start, end in ranges[:20] if start and end)
            + (f" and {len(ranges) - 20} more" if len(ranges) > 20 else "")
            or ("everything" if ranges else "nothing")
        ),
        "dagster/row_count": count[0] if count else 0,
        "dagster/column_schema": dg.TableSchema(
            [dg.TableColumn(name, type=kind, description=text) for name, kind, text in [*table.columns, *learned]]
        ),
    }


def innermost(error: BaseException) -> str:
    """What really went wrong, without dlt's frames around it, and which resource it was reading."""
    resource = ""
    while True:
        resource = getattr(error, "pipe_name", "") or resource
        below = error.__cause__ or error.__context__
        if below is None or isinstance(below, StopIteration):  # of the iterator that dlt was at before
            break
        error = below
    lines = [line for line in str(error).strip().splitlines() if line.strip()][:10]
    where = f"resource {resource}: " if resource else ""
    return f"{where}{type(error).__name__}: " + "\n".join(lines)


def _retry(context: dg.AssetExecutionContext, error: BaseException | None) -> None:
    """Begin a load anew that only met a passing fault; `dlt` would write the same rows again."""
    from dlt.load.exceptions import LoadClientJobRetry

    while error is not None:
        if isinstance(error, LoadClientJobRetry | LostWriteError) and context.retry_number < RETRIES:
            told = error if isinstance(error, LostWriteError) else error.failed_message
            context.log.warning(f"undone, and begun anew: {told}")
            raise dg.RetryRequested(RETRIES, RETRY_SECONDS) from None
        error = error.__cause__ or error.__context__


def _reason_outside(error: BaseException | None, lake: Lake) -> str | None:
    """What is no fault of the data, in a sentence: the storage's, the ledger's, of memory, somewhere in the causes."""
    while error is not None:
        if isinstance(error, (StorageError, LedgerError)):
            return str(error)
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in str(error):
            return (
                f"the load needs more memory than LAKEHOUSE_MEMORY_LIMIT ({lake.settings.memory_limit}) lets DuckDB "
                "have. Raise it, or load fewer or smaller files at once."
            )
        error = error.__cause__ or error.__context__
    return None
