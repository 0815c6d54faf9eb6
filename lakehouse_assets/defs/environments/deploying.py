"""Bootstrap and deploy: the two acts that come before any run, under the rules of who may write."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg

from dlt_sources.datasets import dataset
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import pages
from lakehouse.settings import make_private
from lakehouse.writing import marks, timings
from lakehouse.writing.environments import checked_name, require_ledger
from lakehouse.writing.locks import holding, pipeline_lock
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse.writing.runs import deploying
from lakehouse.writing.timings import Timing
from lakehouse_assets.defs.ingestion.sources import RawTable, file_of, raw_tables, source_names, tables_of
from lakehouse_assets.defs.releases.cutting import author_of, checked_out_version, cut_release
from lakehouse_assets.defs.releases.pages import changes, checked_out
from lakehouse_assets.models import deployed_graph, project, resource
from lakehouse_assets.sqlmesh_integration.deploy import Deployed, apply_plan, summarize_plan
from lakehouse_assets.sqlmesh_integration.plan import PlanSummary

Report = Callable[[str], None]


def bootstrap(lake: Lake, *, create_bucket: bool = False, report: Report = lambda _: None) -> list[str]:
    """Create the lake and every declared raw table, empty, where they are missing. Names the new tables.

    `report` is told whom this waits for.
    """
    lake.bootstrap(create_bucket=create_bucket)
    lacking = _lacking(lake)
    if not lacking:
        return []
    with holding(lake.settings, map(pipeline_lock, lacking), holder="bootstrap", waiting=report):
        # Another bootstrap may have made them meanwhile.
        return [table for source in _lacking(lake) for table in _create_tables(lake, source)]


def _lacking(lake: Lake) -> list[str]:
    """The sources with a declared table or column that the lake does not have."""
    with lake.connect(read_only=True) as connection:
        there = set(
            connection.execute(
                "SELECT table_name, column_name FROM information_schema.columns "
                "WHERE table_catalog = 'lakehouse' AND table_schema = 'raw'"
            ).fetchall()
        )
    return sorted(
        {
            table.source
            for table in raw_tables()
            for name, *_ in table.columns
            if _is_declared(table) and (table.name, name) not in there
        }
    )


def _is_declared(table: RawTable) -> bool:
    """Whether the source says all that dlt will put into it; another table is made by its first load."""
    return any(name == "_dlt_load_id" for name, *_ in table.columns)


def _create_tables(lake: Lake, source: str) -> list[str]:
    from dlt_sources.landing.tables import create_tables

    make_private(lake.settings.pipelines_dir)
    pipeline = lake_pipeline(lake, source)
    if tables_of(source)[0].from_files:
        from dlt_sources.landing.resource import landing_source

        return create_tables(pipeline, landing_source(dataset(source)))
    from lakehouse_assets.defs.ingestion.source_files import read
    from lakehouse_assets.defs.ingestion.source_settings import settings_of

    with settings_of(source, lake.settings):
        found = read(file_of(source))
    return create_tables(pipeline, found.source) if found else []


def plan(environment: str) -> PlanSummary:
    """What deploying the checked-out models to the environment would change."""
    return summarize_plan(project(), checked_name(environment), resource().ownership)


def deploy(
    lake: Lake,
    environment: str,
    *,
    backfill: bool,
    run: str,
    author: str = "",
    release: bool = True,
    report: Report = lambda _: None,
) -> Deployed:
    """Apply the checked-out models and pages to the environment, with no load and no run of it beside; cut its
    `release`.

    Raises:
        DeployError: a unit test or a model failed, or the project does not parse. Nothing changed, or the message says.
    """
    sqlmesh = resource().model_copy(update={"environment": checked_name(environment)})
    require_ledger(lake)
    content_key, texts = project().content_key(), checked_out()
    others = plan(environment).takes_over_from

    def ended(connection: psycopg.Connection) -> None:
        _note(connection, environment, content_key, run)
        pages.note(connection, environment, texts)
        if release:
            report(str(cut_release(lake, connection, sqlmesh, run=run, author=author or author_of({}))))

    with deploying(
        lake,
        environment,
        source_names(),
        lambda: deployed_graph(sqlmesh),
        others=others,
        run=run,
        report=report,
        ended=ended,
    ) as held:
        with without_warnings():
            done = apply_plan(project(), environment, backfill=backfill, ownership=sqlmesh.ownership)
        known = sqlmesh.deployed() if done.measured else {}
        timings.record(
            held, {known[name].physical_table: Timing(*one) for name, one in done.measured.items() if name in known}
        )
    return done


def _note(connection: psycopg.Connection, environment: str, content_key: str, run: str) -> None:
    connection.execute(
        """
        INSERT INTO ledger.deployments (environment, content_key, code_version, plan_id, run)
        SELECT name, %s, %s, plan_id, %s FROM sqlmesh._environments WHERE name = %s
        ON CONFLICT (environment) DO UPDATE SET content_key = excluded.content_key,
            code_version = excluded.code_version, plan_id = excluded.plan_id, run = excluded.run,
            source = excluded.source, deployed_at = now()
        """,
        [content_key, checked_out_version() or content_key[:12], run, environment],
    )


@contextmanager
def without_warnings() -> Iterator[None]:
    """SQLMesh 0.236 reads seeds with pandas arguments that pandas 2 deprecates: nothing that its user can mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"sqlmesh\..*")
        yield


def is_unfinished(lake: Lake, environment: str) -> bool:
    """Whether a deploy or promotion of the environment was cut off; another one repairs it."""
    with closing(connect(lake.settings)) as connection:
        return bool(marks.read(connection, "deploy", environment))


def is_deployed(lake: Lake, environment: str) -> bool:
    """Whether the environment has the checked-out models and pages. Says so without importing SQLMesh."""
    with closing(connect(lake.settings)) as connection:
        state = connection.execute("SELECT to_regclass('sqlmesh._environments') IS NOT NULL").fetchone()
        if not state or not state[0]:
            return False
        known = connection.execute(
            """
            SELECT content_key FROM ledger.deployments JOIN sqlmesh._environments USING (plan_id)
            WHERE environment = %s AND name = %s AND finalized_ts IS NOT NULL
            """,
            [environment, environment],
        ).fetchone()
        unfinished = marks.read(connection, "deploy", environment)
    is_same = known is not None and known[0] == project().content_key()
    return is_same and not unfinished and not changes(lake, environment)
