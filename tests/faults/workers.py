"""The processes that are killed: each does one kind of the product's work again and again, by the product's code.

Run as `python -c "from tests.faults.workers import main; main(kind, folder, project)"`.
"""

from __future__ import annotations

import os
import random
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lakehouse import settings as settings_module
from lakehouse.lake import Lake
from lakehouse.pipelines import lake_pipeline
from lakehouse.writing.loads import loading
from tests.faults import steps
from tests.releases_proof import feed
from tests.releases_proof.loader import loaded, say

GRACE_HOURS = 180 / 3600
"""What the product leaves alone for a day is deleted after three minutes: longer than any query of this suite takes."""
LOAD_PAUSE_SECONDS = 3.0
"""Between two loads, on average."""


def main(kind: str, folder: str, project: str) -> None:
    """Work until somebody kills this."""
    work = {steps.RUN: run_models, steps.TEND: tend, steps.ENVIRONMENTS: environments, steps.READERS: roll}[kind]
    work(Path(folder), Path(project))


def load(environment: Mapping[str, str], folder: Path, output: Path) -> None:
    """Load after load, with a pause in which the environments may come to rest. Forked: it is killed most often."""
    os.environ.update(environment)
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    steps.arm(steps.LOADER, folder)
    again(partial(load_once, Lake(settings_module.load_settings())), pause=2 * LOAD_PAUSE_SECONDS)


def load_once(lake: Lake) -> None:
    """The next load, or what a killed one has left."""
    with loading(lake, feed.SOURCE, feed.EVENT_TIMES, run="loader"):
        number = loaded(lake) + 1
        lake_pipeline(lake, feed.SOURCE).run(feed.source(number)).raise_on_failed_jobs()


def run_models(folder: Path, project: Path) -> None:
    """Catch up, cut and publish."""
    from tests.releases_proof.processes import use_project, work_forever

    use_project(project)
    steps.arm(steps.RUN, folder)
    work_forever(project, with_rule=not (folder / "no-rule").exists())


def tend(folder: Path, project: Path) -> None:
    """Bootstrap again, compact, forget, delete."""
    from lakehouse.maintenance import compaction, files, releases, snapshots

    lake = Lake(settings_module.load_settings())
    steps.arm(steps.TEND, folder)
    again(
        lake.bootstrap,
        lambda: compaction.compact(lake, feed.PIPELINE_OF, wait_seconds=10),
        lambda: snapshots.expire(lake),
        lambda: files.delete_unused(lake, hours=GRACE_HOURS),
        lambda: files.delete_orphans(lake, hours=GRACE_HOURS),
        lambda: releases.prune(lake),
        pause=0.5,
    )


def environments(folder: Path, project: Path) -> None:
    """Make an environment of prod, promote prod to it, drop it."""
    from lakehouse_assets import environments as acts
    from tests.releases_proof.processes import use_project

    use_project(project)
    steps.arm(steps.ENVIRONMENTS, folder)
    lake, name = Lake(settings_module.load_settings()), "dev_passing"
    again(
        lambda: acts.create(lake, name, source="prod", run="create"),
        lambda: acts.promote(lake, "prod", name, run="promote"),
        lambda: acts.drop(lake, name, run="drop"),
        pause=2.0,
    )


def roll(folder: Path, project: Path) -> None:
    """Give prod's readers the release before, and the newest again."""
    from lakehouse.releases import publishing

    lake = Lake(settings_module.load_settings())
    steps.arm(steps.READERS, folder)
    again(
        lambda: publishing.rollback(lake, "prod", None, by="tester"),
        lambda: publishing.resume(lake, "prod"),
        pause=2.0,
    )


def again(*acts: Callable[[], Any], pause: float) -> None:
    """One after the other for ever; what fails is told, and done again in its turn."""
    parent = os.getppid()
    while os.getppid() == parent:
        for act in acts:
            try:
                done = act()
                say(success=True, said=str(getattr(done, "problems", "")))
            except Exception:
                say(success=False, said=traceback.format_exc()[-2000:])
            time.sleep(random.uniform(0, pause))
