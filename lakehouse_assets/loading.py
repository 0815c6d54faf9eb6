"""One load of one source into the zone `raw`, as Dagster events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.lake import Lake
from lakehouse.pipelines import lake_pipeline
from lakehouse.settings import make_private
from lakehouse.storage import StorageError
from lakehouse.writing.loads import Load, loading
from lakehouse.zones import LandingFolder
from lakehouse_assets.declared_types import differences, follow, lake_types, refusal
from lakehouse_assets.files_load import FilesLoad
from lakehouse_assets.source_load import SourceLoad
from lakehouse_assets.sources import RawTable, tables_of

if TYPE_CHECKING:
    from dlt.extract.source import DltSource

RECONCILED = "reconciled_with_portal"


class PortalLoad(SourceLoad):
    """An open-data portal: what it changed since the last load."""

    def __init__(self, lake: Lake, source: str) -> None:
        super().__init__(lake, source)
        self.report = self.module.PortalReport()
        settings = lake.settings
        self.where = {
            "base_url": settings.nyc_collisions_url,
            "app_token": settings.nyc_collisions_app_token.get_secret_value() or None,
        }
        self.since = settings.nyc_collisions_since or None

    def dlt_source(self) -> DltSource:
        source = getattr(self.module, self.source)(since=self.since, report=self.report)
        for resource in source.resources.values():
            resource.bind(**self.where)
        return source  # type: ignore[no-any-return]

    def metadata(self) -> dict[str, Any]:
        return {
            "rows_received": self.report.rows,
            "pages": self.report.pages,
            "portal": self.where["base_url"],
            **({"warnings": "\n".join(self.report.warnings)} if self.report.warnings else {}),
        }

    def checks(self, tables: list[RawTable]) -> Iterator[dg.AssetCheckResult]:
        (table,) = tables
        theirs = self.module.portal_count(**self.where, since=self.since)
        window = f" WHERE crash_date >= '{self.since}T00:00:00.000'" if self.since else ""
        with closing(self.lake.connect(read_only=True)) as connection:
            ours = connection.execute(f"SELECT count(*) FROM {table.full_name}{window}").fetchone()
        count = ours[0] if ours else 0
        yield dg.AssetCheckResult(
            asset_key=asset_key(table),
            check_name=RECONCILED,
            passed=count == theirs,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"The portal counts {theirs:,} rows, the lake holds {count:,}."
            + (
                ""
                if count == theirs
                else " Rows that the portal deleted or added meanwhile; the next load brings the latter."
            ),
            metadata={"portal_rows": theirs, "lake_rows": count},
        )


def asset_key(table: RawTable) -> dg.AssetKey:
    """`[raw, table]`: what SQLMesh's models name as their external table."""
    return dg.AssetKey(["raw", table.name])


def load(
    context: dg.AssetExecutionContext, dlt_resource: Any, lake: Lake, source: str, folder: LandingFolder | None = None
) -> Iterator[Any]:
    """Load what is new in `source`, whose files lie in `folder` if it has any.

    Yields a MaterializeResult for each of its tables, then its checks.

    Raises:
        dagster.Failure: something could not be loaded. What could be is loaded, the rest stays as it was.
    """
    tables = tables_of(source)
    if broken := [table.problem for table in tables if table.problem]:
        raise dg.Failure("\n".join(broken), allow_retries=False)
    work = FilesLoad(lake, folder) if folder else PortalLoad(lake, source)
    make_private(lake.settings.pipelines_dir)
    event_times = {table.full_name: table.event_time for table in tables}
    run = f"run {context.run.run_id[:8]}"
    _follow_declarations(context, lake, work, tables, run)
    try:
        _make_missing_tables(lake, work, tables)
        with loading(lake, source, event_times, run=run, report=context.log.info) as done:
            results = list(_run_dlt(context, dlt_resource, lake, work))
            work.complete()
    except Exception as error:
        reason = _reason_outside(error)
        if reason is None:
            raise
        raise dg.Failure(f"{source}: {reason}\nThe rows that were there stay as they are.") from error
    work.record(run)
    for result in results:
        yield _enriched(result, lake, done, work)
    problem = work.problem()
    yield from work.checks(tables)
    if problem:
        raise problem


def _follow_declarations(
    context: dg.AssetExecutionContext, lake: Lake, work: SourceLoad, tables: list[RawTable], run: str
) -> None:
    """Widen what is declared wider now. Raises Failure, before anything is written, where that would lose something."""
    with closing(lake.connect(read_only=True)) as connection:
        found = differences(connection, tables)
        for table in tables:
            work.types |= lake_types(connection, table.name)
    if told := refusal(found):
        raise dg.Failure(f"{work.source}: {told}\nNothing was loaded.", allow_retries=False)
    if found:
        follow(lake, work.source, found, run=run, report=context.log.info)


def _make_missing_tables(lake: Lake, work: SourceLoad, tables: list[RawTable]) -> None:
    """A source that was declared after the lake's bootstrap needs none: what it changes is read from its tables."""
    with closing(lake.connect(read_only=True)) as connection:
        there = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = 'lakehouse' AND table_schema = 'raw'"
        ).fetchall()
    if not {table.name for table in tables} <= {name for (name,) in there}:
        from dlt_sources.tables import create_tables

        create_tables(lake_pipeline(lake, work.source), getattr(work.module, work.source)())


def _run_dlt(
    context: dg.AssetExecutionContext, dlt_resource: Any, lake: Lake, work: SourceLoad
) -> Iterator[dg.MaterializeResult[Any]]:
    """Official dagster-dlt, inside the op. Its specs come from our manifest, so it gets a translator for the keys."""
    from lakehouse_assets.dlt_translator import RawTranslator

    pipeline = lake_pipeline(lake, work.source, log=context.log)
    yield from dlt_resource.run(
        context, dlt_source=work.dlt_source(), dlt_pipeline=pipeline, dagster_dlt_translator=RawTranslator()
    )


def _enriched(result: dg.MaterializeResult[Any], lake: Lake, done: Load, work: SourceLoad) -> dg.MaterializeResult[Any]:
    """What dagster-dlt says, without what it gets wrong for DuckLake, and with what a load's page should show."""
    assert result.asset_key is not None
    table = ".".join(result.asset_key.path)
    change = done.touched[table]
    with closing(lake.connect(read_only=True)) as connection:
        count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    jobs = (result.metadata or {}).get("jobs")
    kept = {
        name: value
        for name, value in (result.metadata or {}).items()
        if name in ("first_run", "started_at", "finished_at")
    }
    return result._replace(
        metadata={
            **kept,
            **(
                {"load_ids": sorted({str(job["load_id"]) for job in jobs if job.get("load_id")})}
                if isinstance(jobs, list)
                else {}
            ),
            **work.metadata(),
            "rows_inserted": change.rows_inserted,
            "rows_deleted": change.rows_deleted,
            "touched": dg.MetadataValue.text(
                ", ".join(
                    f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M}"
                    for start, end in change.ranges[:20]
                    if start and end
                )
                + (f" and {len(change.ranges) - 20} more" if len(change.ranges) > 20 else "")
                or "nothing"
            ),
            "dagster/row_count": count[0] if count else 0,
        }
    )


def _reason_outside(error: BaseException | None) -> str | None:
    """The portal's or the storage's own sentence, somewhere in dlt's chain of causes."""
    from dlt_sources.soda import SodaError

    while error is not None:
        if isinstance(error, SodaError | StorageError):
            return str(error)
        error = error.__cause__ or error.__context__
    return None
