"""Loops that compute, cut and publish an environment, each a process of its own.

The models are the proof's, everything else is the product's: its assets, its jobs, its locks, marks and cut.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import dagster as dg

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.releases import rule
from lakehouse.writing import runs
from lakehouse.writing.pipelines import lake_pipeline
from lakehouse_assets import models as models_module
from lakehouse_assets.defs.environments import deploying
from lakehouse_assets.defs.jobs import recompute_jobs
from lakehouse_assets.defs.releases import assets as releases
from lakehouse_assets.defs.releases import cutting
from lakehouse_assets.defs.transformation import assets as transformation
from lakehouse_assets.io_managers import ZoneIOManagerFactory
from lakehouse_assets.resources import LakeResource, StorageResource
from lakehouse_assets.sqlmesh_integration.automation import catch_up_job
from tests.releases_proof import feed
from tests.releases_proof.loader import say


def use_project(project: Path) -> None:
    """Let the product's code find the proof's models and its one source."""
    models_module.PROJECT_DIR = project
    deploying.source_names = lambda: [feed.SOURCE]
    for module in (transformation, cutting, releases):
        module.pipeline_of = lambda: feed.PIPELINE_OF  # type: ignore[attr-defined]


def switch_the_rule_off() -> None:
    """Cut whenever a run has ended well: no look at marks, loads at work, failed checks or what is behind."""
    rule._others_at_work = lambda *_: []  # type: ignore[assignment]
    rule._blocked = lambda *_: []  # type: ignore[assignment]
    rule._unchecked = lambda *_, **__: []  # type: ignore[assignment]
    runs._pipelines = lambda *_: set()  # type: ignore[assignment]


def definitions() -> dg.Definitions:
    """The product's assets over the proof's models."""
    models = transformation.model_assets()
    published = releases.published_assets(models_module.project().manifest())
    storage = StorageResource()
    resources: dict[str, Any] = {
        "lake": LakeResource(),
        "sqlmesh": models_module.resource(),
        "storage": storage,
        releases.PUBLISHED_IO: ZoneIOManagerFactory(
            storage=storage, environment=settings_module.load_settings().environment
        ),
    }
    catch_up = catch_up_job(models, resources=resources)
    return dg.Definitions(
        assets=[models, published],
        jobs=[releases.publish_job(published), catch_up, *recompute_jobs(models)],
        resources=resources,
    )


def deploy(projects: dict[str, str]) -> None:
    """The lake, its raw tables, and each environment with the models of its folder."""
    from dlt_sources.landing.tables import create_tables

    lake = Lake(settings_module.load_settings())
    lake.bootstrap()
    lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
    create_tables(lake_pipeline(lake, feed.SOURCE), feed.source())
    for environment, project in projects.items():
        use_project(Path(project))
        deploying.deploy(lake, environment, backfill=False, run="proof", author="proof")


def work_forever(project: Path, *, with_rule: bool) -> None:
    """Catch up, cut, publish; again and again."""
    use_project(project)
    if not with_rule:
        switch_the_rule_off()
    jobs, parent = definitions(), os.getppid()
    with dg.DagsterInstance.ephemeral() as instance:
        while os.getppid() == parent:  # the tests may be killed themselves
            for name in ("catch_up", releases.PUBLISH_JOB):
                try:
                    done = jobs.resolve_job_def(name).execute_in_process(instance=instance, raise_on_error=False)
                    failures = [event for event in done.all_events if event.is_step_failure]
                    said = [failure_sentence(event.step_failure_data) for event in failures]
                    say(event=name, success=done.success, said="\n".join(said))
                except Exception:
                    say(event=name, success=False, said=traceback.format_exc())


def failure_sentence(failure: Any) -> str:
    """What the run's page shows of a failed step: the failure's own words, or the error."""
    told = failure.user_failure_data
    return str((told and told.description) or failure.error_display_string)


def main(project: str, rule: str) -> None:
    """`rule` or `no-rule`."""
    work_forever(Path(project), with_rule=rule == "rule")
