"""Maintenance as assets: what each step did is on its page; checks warn when small files or dead bytes pile up."""

from collections.abc import Iterator
from contextlib import closing

import dagster as dg

from lakehouse.lake.postgres import connect
from lakehouse.settings import load_settings
from lakehouse.upkeep.maintenance.measures import LakeFiles, measure
from lakehouse.upkeep.maintenance.outcome import Outcome
from lakehouse_assets.resources import LakeResource

MAINTENANCE = "maintenance"
LAKE_HEALTH = "lake_health"
FEW_SMALL_FILES = "few_small_files"
FEW_DEAD_BYTES = "few_dead_bytes"
SMALL_FILES_A_TABLE = 200
DEAD_BYTES_AT_LEAST = 1_000_000_000


class MaintenanceConfig(dg.Config):
    """What a run of maintenance is told."""

    dry_run: bool = False
    """Show what would be done, and do nothing."""


def key(step: str) -> dg.AssetKey:
    """`[maintenance, step]`."""
    return dg.AssetKey([MAINTENANCE, step])


def maintenance_assets() -> dg.AssetsDefinition:
    """An asset a step, in one op that does those that are selected in their order. What fails holds up no other."""
    # Imported here, as everything that works: the graph is looked at more often than maintained.
    from lakehouse_assets.defs.maintenance.steps import STEPS, Work

    @dg.multi_asset(
        name="maintain",
        specs=[
            dg.AssetSpec(key(step.name), description=step.description, group_name=MAINTENANCE, skippable=True)
            for step in STEPS.values()
        ],
        can_subset=True,
        pool=MAINTENANCE,
        description="Keep the lake small and quick. No reader, writer or release loses anything by it.",
    )
    def maintenance(
        context: dg.AssetExecutionContext, config: MaintenanceConfig, lake: LakeResource
    ) -> Iterator[dg.MaterializeResult]:
        if set(context.job_def.asset_layer.executable_asset_keys) - {key(name) for name in STEPS}:
            context.log.info('Left out of a run over data ("Materialize all"): the schedule `maintenance` does it.')
            return
        work = Work(lake.lake, context.instance, config.dry_run, context.log.info)
        problems = []
        for step in STEPS.values():
            if key(step.name) not in context.selected_asset_keys:
                continue
            try:
                outcome = step.do(work)
            except Exception as error:  # the next steps don't need this one
                context.log.exception(f"{step.name} failed")
                problems.append(f"{step.name}: {error}")
                continue
            context.log.info(f"{step.name}: {outcome.summary}")
            for problem in outcome.problems:
                context.log.warning(problem)
            problems += outcome.problems
            if not config.dry_run:
                yield dg.MaterializeResult(key(step.name), metadata=_metadata(outcome))
        if problems:
            raise dg.Failure("\n".join(problems))

    return maintenance


def _metadata(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    figures = {
        name: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.text(value)
        for name, value in outcome.figures.items()
    }
    problems = {"problems": dg.MetadataValue.text("\n".join(outcome.problems))} if outcome.problems else {}
    return {
        "summary": dg.MetadataValue.text(outcome.summary),
        "bytes_freed": dg.MetadataValue.int(outcome.bytes_freed),
        **figures,
        **problems,
    }


@dg.multi_asset_check(
    name="measure_lake",
    can_subset=True,
    specs=[
        dg.AssetCheckSpec(
            FEW_SMALL_FILES, asset=key("compaction"),
            description=f"No table has more than {SMALL_FILES_A_TABLE} files that merging could take away.",
        ),
        dg.AssetCheckSpec(
            FEW_DEAD_BYTES, asset=key("snapshots"),
            description="Deleted rows and earlier states take less room than the lake as it is.",
        ),
    ],
)  # fmt: skip
def lake_health(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Warn when small files or dead bytes pile up: then the schedule `maintenance` is off, or can't keep up."""
    with closing(connect(load_settings())) as connection:
        measured = measure(connection)
    wanted = {key.name for key in context.selected_asset_check_keys}
    yield from (result for result in results(measured) if result.check_name in wanted)


def results(lake: LakeFiles) -> Iterator[dg.AssetCheckResult]:
    """The two checks on what was measured."""
    crowded = {table.table: table.small_files for table in lake.tables if table.small_files > SMALL_FILES_A_TABLE}
    yield dg.AssetCheckResult(
        asset_key=key("compaction"), check_name=FEW_SMALL_FILES, passed=not crowded,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"Queries open too many small files of {', '.join(crowded)}: materialize maintenance/compaction, and "
            "switch the schedule `maintenance` on."
            if crowded else f"{lake.small_files:,} of {lake.files:,} files could be merged."
        ),
        metadata={"small_files": lake.small_files, "files": lake.files, **crowded},
    )  # fmt: skip
    piled = lake.dead_bytes > max(lake.size_bytes, DEAD_BYTES_AT_LEAST)
    yield dg.AssetCheckResult(
        asset_key=key("snapshots"), check_name=FEW_DEAD_BYTES, passed=not piled,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{lake.dead_bytes:,} bytes are dead beside {lake.size_bytes:,} that the lake holds"
            + (": materialize the group maintenance, and look at LAKEHOUSE_HISTORY_DAYS." if piled else ".")
        ),
        metadata={"dead_bytes": lake.dead_bytes, "bytes": lake.size_bytes, "snapshots": lake.snapshots},
    )  # fmt: skip


def maintenance_job(assets: dg.AssetsDefinition) -> "dg.UnresolvedAssetJobDefinition":
    """Every step of maintenance in its order; `dry_run: true` shows what it would do."""
    return dg.define_asset_job(
        MAINTENANCE,
        dg.AssetSelection.assets(assets).without_checks(),
        executor_def=dg.in_process_executor,
        description=maintenance_job.__doc__,
    )


def lake_health_job() -> "dg.UnresolvedAssetJobDefinition":
    """Look whether small files or dead bytes pile up."""
    return dg.define_asset_job(
        LAKE_HEALTH,
        dg.AssetSelection.checks(lake_health),
        executor_def=dg.in_process_executor,
        description=lake_health_job.__doc__,
    )


def maintenance_schedules() -> list[dg.ScheduleDefinition]:
    """Every night; its need is looked at four times a day. On from the start: a lake that nobody tends grows slow."""
    return [
        dg.ScheduleDefinition(
            name=name, job_name=name, cron_schedule=cron, execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING, description=text,
        )
        for name, cron, text in (
            (MAINTENANCE, "30 3 * * *", maintenance_job.__doc__),
            (LAKE_HEALTH, "10 1,7,13,19 * * *", lake_health_job.__doc__),
        )
    ]  # fmt: skip
