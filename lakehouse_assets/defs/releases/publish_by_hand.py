"""Publishing by hand: what a command has cut reaches readers without waiting for a daemon's sensor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from rich.console import Console

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import approval, log, publishing
from lakehouse.settings import load_settings
from lakehouse_assets.defs.job_progress import JobFailedError, run_job
from lakehouse_assets.defs.releases.cutting import PUBLISH_JOB


def publish_waiting(lake: Lake, environment: str, console: Console) -> None:
    """Publish the environment's releases that were cut and wait, and say what readers get.

    What can't be published now is left to the daemon, and said.
    """
    while waiting := _waiting(lake, environment):
        try:
            run_job(lake.settings, PUBLISH_JOB, console, {"LAKEHOUSE_ENVIRONMENT": environment})
        except JobFailedError as error:
            console.print(
                f"{str(waiting[0]).capitalize()} is cut but not published: the daemon's release_sensor tries again, "
                f"or `dagster job execute -j {PUBLISH_JOB}`.\n{error}",
                highlight=False, soft_wrap=True, markup=False,
            )  # fmt: skip
            break
        if [one.number for one in _waiting(lake, environment)] == [one.number for one in waiting]:
            break  # somebody else is at it
    with closing(connect(lake.settings)) as connection:
        pointer, unapproved = log.pointer(connection, environment), approval.waiting(connection, environment)
    if unapproved:
        console.print(f"{str(unapproved[-1]).capitalize()} waits: `lakehouse release approve`.", highlight=False)
    if pointer:
        said = f"are {pointer.hold}" if pointer.hold else f"get release {pointer.number}"
        console.print(f"Readers of {environment} {said}.", highlight=False)


def publish_elsewhere(lake: Lake, environment: str, say: Callable[[str], None]) -> None:
    """The same from a run of a code location that shows another environment: no sensor of its own looks there."""
    if environment == load_settings().environment or not _waiting(lake, environment):
        return
    console = Console(quiet=True)
    publish_waiting(lake, environment, console)
    left = _waiting(lake, environment)
    say(f"{left[0]} waits to be published" if left else f"readers of {environment} get its new release")


def publish_waiting_elsewhere(lake: Lake, say: Callable[[str], None]) -> None:
    """Publish what waits in any other environment: a developer's, whose code location runs nowhere just now."""
    with closing(connect(lake.settings)) as connection:
        environments = {release.environment for release in log.candidates(connection)}
    for environment in sorted(environments):
        publish_elsewhere(lake, environment, say)


def resume_readers(lake: Lake, environment: str) -> None:
    """End a hold, when there is one."""
    with closing(connect(lake.settings)) as connection:
        pointer = log.pointer(connection, environment)
    if pointer and pointer.hold:
        publishing.resume(lake, environment)


def _waiting(lake: Lake, environment: str) -> list[log.Release]:
    with closing(connect(lake.settings)) as connection:
        return log.candidates(connection, environment)
