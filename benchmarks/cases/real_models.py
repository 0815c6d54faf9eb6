"""All models over the real data: our catch-up beside `sqlmesh run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.cases.loads import BARE, land, load_source, portal_of
from benchmarks.measurement import Measured, Sample, in_turns, timed
from benchmarks.model_project import bare
from benchmarks.section import Section
from benchmarks.throwaway import CaseError, throwaway


def measure(options: Options) -> Section:
    """Load once, then compute everything in turns."""
    with throwaway() as lakehouse, portal_of(options.data) as variables:
        answer = lakehouse.call(
            "benchmarks.cases.real_models:inside", variables, data=str(options.data), runs=options.runs
        )
    ours, peer = (Measured.of(plain) for plain in answer)
    section = Section()
    section.comparison([ours, peer], peer=peer)
    return section


def inside(data: str, runs: int) -> list[dict[str, Any]]:
    """In a child: both compute every interval of every model, which were marked missing before."""
    import dagster as dg
    from sqlmesh import Context

    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings
    from lakehouse_assets import definitions
    from lakehouse_assets.defs.environments import deploying
    from lakehouse_assets.models import PROJECT_DIR, resource

    lake = Lake(load_settings())
    land(lake, Path(data))
    for source in BARE:
        load_source(source)
    deploying.deploy(lake, "prod", backfill=False, run="benchmark")
    sqlmesh = resource()
    job = definitions.defs.resolve_job_def("catch_up")
    with dg.DagsterInstance.from_config(str(load_settings().dagster_home)) as instance:

        def catch_up() -> None:
            job.execute_in_process(instance=instance)

        catch_up()
        models = [name for name, model in sqlmesh.deployed().items() if model.kind != "SEED"]

        def after_forgetting(work: Callable[[], object]) -> Sample:
            sqlmesh.mark_missing(dict.fromkeys(models))
            deployed = sqlmesh.deployed()
            if done := [name for name in models if not deployed[name].missing]:
                raise CaseError(f"{', '.join(done)} could not be marked missing: the two would not do the same work.")
            return timed(work)

        context = Context(paths=str(PROJECT_DIR))
        ours = Measured("our catch-up", "defs.resolve_job_def('catch_up').execute_in_process(instance=…)")
        peer = Measured("bare SQLMesh", "Context(paths=…).run('prod')")
        in_turns(
            runs,
            (ours, lambda: after_forgetting(catch_up)),
            (peer, lambda: after_forgetting(lambda: bare(context, "run"))),
        )
    return [ours.plain(), peer.plain()]


CASE = Case(
    "models",
    "All models over the real data",
    "Every interval of every model, in process, contexts loaded: the job `catch_up` (with counts, checks, previews, "
    "partitions in Dagster's log, locks and marks) beside SQLMesh's own run from the same state.",
    measure,
)
