"""The published zone as assets: an asset per served model, and the release that makes them readers' truth at once."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import psycopg

from lakehouse.lake.postgres import connect
from lakehouse.releases import approval, held, log, publishing
from lakehouse.releases.frozen import attach_statement
from lakehouse.releases.kept import with_kept_tables
from lakehouse.releases.manifest import Lineage, PublishedTable
from lakehouse.releases.pointer import swap_pointer
from lakehouse.releases.rule import locks_of_others
from lakehouse.releases.tables import publish_table
from lakehouse.settings import load_settings
from lakehouse.writing.locks import LockTimeoutError, environment_lock, holding
from lakehouse_assets.defs.ingestion.sources import pipeline_of
from lakehouse_assets.defs.releases.cutting import PUBLISH_JOB, author_of, cut_release
from lakehouse_assets.defs.releases.describing import described
from lakehouse_assets.io_managers import ToPublish, explaining, handed
from lakehouse_assets.models import PUBLISHED, Translator, deployed_graph, resource
from lakehouse_assets.resources import LakeResource, StorageResource
from lakehouse_assets.sqlmesh_integration.manifest import Manifest, ModelSpec

PUBLISHED_IO = "published_io"
RELEASE = "release"
RELEASE_DESCRIPTION = """What readers of this environment get: a frozen catalog over the published files, all served
tables at once, taken at one snapshot of the lake after their checks. The pointer `current.json` is swapped last."""
RETRY_SECONDS = 60
POSTPONED = "postponed"
POSTPONED_SECONDS = 15
# The store may be away for a moment, a commit may lose its race.
RETRIES = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def published_key(model: str, environment: str) -> dg.AssetKey:
    """`[published, table]`, with the environment's name in front outside prod."""
    return dg.AssetKey([*([] if environment == "prod" else [environment]), PUBLISHED, model.split(".")[-1]])


def release_key(environment: str) -> dg.AssetKey:
    """The asset that stands for what readers get."""
    return published_key(RELEASE, environment)


def served_models(manifest: Manifest) -> list[ModelSpec]:
    """The models that are tagged for readers."""
    return [model for model in manifest.models if PUBLISHED in model.tags]


def published_assets(manifest: Manifest) -> dg.AssetsDefinition:
    """Files for every served model, then the release of them all: never some without the others."""
    environment = load_settings().environment
    translator = Translator()
    marts = {model.name: translator.asset_key(model.ref, environment) for model in served_models(manifest)}
    names = {_output(model): model for model in marts}
    outs = {
        name: dg.AssetOut(
            key=published_key(model, environment),
            description=f"What readers get of {model}: immutable Parquet files in the published zone.",
            io_manager_key=PUBLISHED_IO,
            kinds={"parquet"},
            group_name=PUBLISHED,
            is_required=False,  # a model that is not deployed yet is in no release
        )
        for name, model in names.items()
    }

    @dg.multi_asset(
        name="publish",
        outs={
            **outs,
            RELEASE: dg.AssetOut(
                key=release_key(environment),
                description=RELEASE_DESCRIPTION,
                dagster_type=dg.Nothing,
                kinds={"ducklake"},
                group_name=PUBLISHED,
                is_required=False,  # a cut that was put off may find nothing to release
            ),
        },
        deps=sorted(set(marts.values())),
        internal_asset_deps={
            **{name: {marts[model]} for name, model in names.items()},
            RELEASE: {published_key(model, environment) for model in marts},
        },
        can_subset=False,
        pool=f"publish_{environment}",
        retry_policy=RETRIES,
        description=publish_job.__doc__,
    )  # fmt: skip
    def publish(context: dg.AssetExecutionContext, lake: LakeResource, storage: StorageResource) -> Iterator[dg.Output]:
        run = f"run {context.run.run_id[:8]}"
        with (
            explaining(lake.lake),
            publishing.publishing(lake.lake, environment, run=run, report=context.log.info) as connection,
        ):
            release = _next(context, lake, connection, environment)
            if release is None:
                return
            with explaining(lake.lake, release):
                before = publishing.last_manifest(lake.lake, connection, environment)
                elsewhere = publishing.same_content_elsewhere(lake.lake, connection, release)
                shared = before if release.state == "published" else with_kept_tables(lake.lake.storage, before)
                elsewhere = with_kept_tables(lake.lake.storage, elsewhere)
                tables = []
                for table in release.tables:
                    work = ToPublish(release, table, shared, elsewhere, let_go=connection.close)
                    name = _output(table.name)
                    if name in names:
                        # Written by the IO manager before this goes on.
                        yield dg.Output(work, name)
                        key = published_key(table.name, environment)
                        tables.append(handed(storage.open(), environment, key).table)
                    else:  # deployed, but not in the code that this code location was loaded from
                        tables.append(publish_table(lake.lake, release, table, shared, elsewhere).table)
                told = described(context.instance, connection, release, tables, manifest, before)
                shown = _finish(context, lake, connection, release, *told)
            yield dg.Output(None, RELEASE, metadata=shown)
        if lake.lake.settings.release_docs:
            _carry_docs(context, lake, release)

    return publish


def _carry_docs(context: dg.AssetExecutionContext, lake: LakeResource, release: log.Release) -> None:
    """Readers have the release already: what goes wrong here stops nothing."""
    from lakehouse_assets.defs.documentation.carrying import carry

    try:
        context.log.info(f"Its documentation: {carry(lake.lake, context.instance, release)}")
    except Exception as error:
        context.log.warning(f"{str(release).capitalize()} has no documentation site: {type(error).__name__}: {error}")


def _finish(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    connection: psycopg.Connection,
    release: log.Release,
    tables: tuple[PublishedTable, ...],
    lineage: Lineage,
) -> dict[str, Any]:
    """Catalog, log, pointer; then let go of the oldest releases. What the release's page shows."""
    environment = release.environment
    if release.state == "cut":
        publishing.complete(lake.lake, connection, release, tables, lineage)
    else:
        context.log.info(f"{str(release).capitalize()} is the newest: nothing that readers see has changed.")
        swap_pointer(lake.lake.storage, connection, environment)
    gone, freed = publishing.prune(lake.lake, connection, environment, lake.lake.settings.releases_kept)
    pointer = log.pointer(connection, environment)
    hold = pointer.hold if pointer else ""
    if hold:
        context.log.warning(f"Readers of {environment} are {hold}: {release} waits for `lakehouse release resume`.")
    waits = bool(approval.waiting(connection, environment))
    if waits:
        context.log.warning(
            f"{str(release).capitalize()} waits for `lakehouse release approve`, or the job release_approve."
        )
    return {
        "release": release.number,
        "waits_for_approval": waits,
        "readers": dg.MetadataValue.text(hold or f"get release {pointer.number if pointer else '?'}"),
        "snapshot": release.snapshot,
        "code_version": release.code_version,
        "run": release.run,
        "author": release.author,
        "changed": dg.MetadataValue.md("\n".join(f"- {word}" for word in release.changed)),
        "held_back": dg.MetadataValue.md("\n\n".join(map(str, held.read(connection, environment))) or "nothing"),
        "tables": dg.MetadataValue.md(_tables_markdown(tables)),
        "attach": dg.MetadataValue.md(f"```sql\n{attach_statement(lake.lake.storage, release.folder)};\n```"),
        "releases_removed": dg.MetadataValue.text(", ".join(map(str, gone)) or "none"),
        "bytes_freed": freed,
    }


def _next(
    context: dg.AssetExecutionContext, lake: LakeResource, connection: psycopg.Connection, environment: str
) -> log.Release | None:
    """The oldest release that waits to be published, one cut now, or the newest when nothing has changed.

    None when the sensor only looked whether a cut that was put off can be made, and it can't.
    """
    waiting = publishing.next_candidate(lake.lake, connection, environment, context.log.warning)
    if waiting:
        return waiting
    run = f"run {context.run.run_id[:8]}"
    graph = deployed_graph(resource())
    mine = environment_lock(environment)
    with ExitStack() as stack:
        try:
            locks = [*locks_of_others(environment, graph, pipeline_of()), mine]
            locked = stack.enter_context(holding(lake.lake.settings, locks, holder=run, waiting=context.log.info))
        except LockTimeoutError as error:  # then their groups are held back
            context.log.info(str(error))
            locked = stack.enter_context(holding(lake.lake.settings, [mine], holder=run, waiting=context.log.info))
        cut = cut_release(lake.lake, locked, resource(), run=run, author=author_of(context.run.tags))
        if cut.release:
            context.log.info(str(cut))
            return cut.release
        newest = log.newest(locked, environment, "published")
    if context.run.tags.get(RELEASE) == POSTPONED:
        context.log.info(str(cut))
        return None
    if cut.reasons or newest is None:
        raise dg.Failure(str(cut), allow_retries=False)
    return newest


def _output(model: str) -> str:
    return model.replace(".", "__").replace("-", "_")


def _tables_markdown(tables: tuple[PublishedTable, ...]) -> str:
    lines = ["| table | rows | files | MB | as of (UTC) |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {table.name} | {table.rows:,} | {len(table.files)} | {table.size_bytes / 1e6:,.2f} | {table.as_of} |"
        for table in sorted(tables, key=lambda table: table.name)
    ]
    return "\n".join(lines)


def publish_job(assets: dg.AssetsDefinition) -> "dg.UnresolvedAssetJobDefinition":
    """Publish the oldest release that waits; cut one first when none does and the rule lets us."""
    return dg.define_asset_job(
        PUBLISH_JOB,
        dg.AssetSelection.assets(assets),
        executor_def=dg.in_process_executor,
        description=publish_job.__doc__,
    )  # fmt: skip


@dg.sensor(
    job_name=PUBLISH_JOB,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    name="release_sensor",
    description="Publish the release that waits, and cut one when the rule lets us.",
)
def release_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Publish what was cut, and keep `current.json` at what the release log says."""
    settings = load_settings()
    with closing(connect(settings)) as connection:
        waiting = log.candidates(connection, settings.environment)
        postponed = log.is_postponed(connection, settings.environment, POSTPONED_SECONDS)
        if not waiting and not postponed:
            number = swap_pointer(StorageResource().open(), connection, settings.environment)
            return dg.SkipReason(f"readers get release {number}" if number else "nothing was released yet")
    latest = context.instance.get_run_records(dg.RunsFilter(job_name=PUBLISH_JOB), limit=1)
    if latest:
        run = latest[0].dagster_run
        if not run.is_finished:
            return dg.SkipReason("a release is being published")
        ended = datetime.fromtimestamp(latest[0].end_time or 0, UTC)
        if run.status == dg.DagsterRunStatus.FAILURE and datetime.now(UTC) - ended < timedelta(seconds=RETRY_SECONDS):
            return dg.SkipReason(f"publishing failed; it is tried again after {RETRY_SECONDS} seconds")
    wanted = str(waiting[0].number) if waiting else POSTPONED
    return dg.SensorResult(run_requests=[dg.RunRequest(tags={RELEASE: wanted})])
