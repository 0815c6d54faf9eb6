"""The processes that are killed: each does one kind of the product's work again and again, by the product's code."""

from __future__ import annotations

import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lakehouse import settings as settings_module
from lakehouse.lake.ducklake import Lake
from lakehouse.writing.loads import loading
from lakehouse.writing.pipelines import lake_pipeline
from tests.faults import steps
from tests.releases_proof import feed
from tests.releases_proof.loader import loaded, say

LIBRARIES = (
    "tests.releases_proof.loader", "tests.releases_proof.processes", "sqlmesh",
    "lakehouse_assets.defs.environments.lifecycle",
    "lakehouse.upkeep.maintenance.compaction",
)  # fmt: skip
"""What they need, imported once for all of them."""
GRACE_HOURS = 180 / 3600
"""What the product leaves alone for a day is deleted after three minutes: longer than any query of this suite takes."""
BACKFILL = "backfill"
LOAD_PAUSE_SECONDS = 8.0
"""Between two loads of one loader, on average: a developer's environment comes to rest only between loads."""


def main(environment: Mapping[str, str], kind: str, folder: Path, project: Path, output: Path, loaders: int) -> None:
    """Work until somebody kills this. Forked; what it says goes to `output`.out and .err."""
    os.setsid()
    os.environ.update(environment)
    for stream, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(output.with_name(output.name + suffix), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    if kind == steps.LOADER:
        load(folder, loaders)
        return
    work = {
        steps.RUN: run_models, BACKFILL: backfill, steps.TEND: tend, steps.ENVIRONMENTS: environments,
        steps.READERS: roll,
    }[kind]  # fmt: skip
    work(folder, project)


def load(folder: Path, loaders: int) -> None:
    """Load after load, with a pause in which the environments may come to rest."""
    steps.arm(steps.LOADER, folder)
    again({"load": partial(load_once, Lake(settings_module.load_settings()))}, pause=2 * LOAD_PAUSE_SECONDS * loaders)


def load_once(lake: Lake) -> None:
    """The next load, or what a killed one has left."""
    with loading(lake, feed.SOURCE, feed.EVENT_TIMES, run="loader"):
        number = loaded(lake) + 1
        lake_pipeline(lake, feed.SOURCE).run(feed.source(number)).raise_on_failed_jobs()


def run_models(folder: Path, project: Path) -> None:
    """Catch up, cut and publish."""
    from tests.releases_proof.processes import switch_the_rule_off, use_project

    use_project(project)
    steps.arm(steps.RUN, folder)
    if (folder / "no-rule").exists():
        switch_the_rule_off()
    from lakehouse_assets.defs.releases.cutting import PUBLISH_JOB

    with jobs() as run:
        again({"catch-up": lambda: run("catch_up"), "publish": lambda: run(PUBLISH_JOB)}, pause=0.2)


def backfill(folder: Path, project: Path) -> None:
    """Compute days of prod again."""
    from tests.releases_proof.processes import use_project

    use_project(project)
    days = [f"2024-01-{day:02d}" for day in range(1, 29)]
    with jobs() as run:
        again({"backfill": lambda: run("recompute_orders_per_day", partition_key=random.choice(days))}, pause=5.0)


@contextmanager
def jobs() -> Iterator[Callable[..., None]]:
    """The product's jobs over the proof's models, on an instance of their own. What they say in failing is raised."""
    import dagster as dg

    from tests.releases_proof.processes import definitions, failure_sentence

    found = definitions()
    with dg.DagsterInstance.ephemeral() as instance:

        def run(name: str, **options: Any) -> None:
            job = found.resolve_job_def(name)
            done = job.execute_in_process(instance=instance, raise_on_error=False, **options)
            if not done.success:
                failures = [event for event in done.all_events if event.is_step_failure]
                raise JobFailedError("\n".join(failure_sentence(event.step_failure_data) for event in failures))

        yield run


class JobFailedError(Exception):
    """What the run's page says."""


def tend(folder: Path, project: Path) -> None:
    """Bootstrap again, compact, forget, delete."""
    from lakehouse.upkeep.maintenance import compaction, files, releases, snapshots

    lake = Lake(settings_module.load_settings())
    steps.arm(steps.TEND, folder)
    again(
        {
            "bootstrap": lake.bootstrap,
            "compaction": lambda: compaction.compact(lake, feed.PIPELINE_OF, wait_seconds=8),
            "expiry": lambda: snapshots.expire(lake, grace_seconds=GRACE_HOURS * 3600 / 6),
            "clean-up": lambda: files.delete_unused(lake, hours=GRACE_HOURS),
            "orphans": lambda: files.delete_orphans(lake, hours=GRACE_HOURS),
            "old releases": lambda: releases.prune(lake),
        },
        pause=1.0,
    )


def environments(folder: Path, project: Path) -> None:
    """Make an environment of prod, promote prod to it, drop it."""
    from lakehouse_assets.defs.environments import lifecycle as acts
    from tests.releases_proof.processes import use_project

    use_project(project)
    steps.arm(steps.ENVIRONMENTS, folder)
    lake, name = Lake(settings_module.load_settings()), "dev_passing"
    again(
        {
            "environment made": lambda: acts.create(lake, name, source="prod", run="create"),
            "promotion": lambda: acts.promote(lake, "prod", name, run="promote"),
            "environment dropped": lambda: acts.drop(lake, name, run="drop"),
        },
        pause=8.0,
    )


def roll(folder: Path, project: Path) -> None:
    """Give prod's readers the release before, and the newest again."""
    from lakehouse.releases import publishing

    lake = Lake(settings_module.load_settings())
    steps.arm(steps.READERS, folder)
    again(
        {
            "rollback": lambda: publishing.rollback(lake, "prod", None, by="tester"),
            "resume": lambda: publishing.resume(lake, "prod"),
        },
        pause=4.0,
    )


def again(acts: Mapping[str, Callable[[], Any]], *, pause: float) -> None:
    """One after the other for ever; what fails is told, and done again in its turn."""
    parent = os.getppid()
    while os.getppid() == parent:
        for name, act in acts.items():
            began = time.monotonic()
            try:
                done, problem = act(), ""
                problem = "\n".join(getattr(done, "problems", ()))
            except Exception as error:
                problem = f"{error!r}\n{traceback.format_exc(limit=-3)}"
            say(act=name, seconds=time.monotonic() - began, problem=problem[-3000:])
            time.sleep(random.uniform(0, pause))
