"""Old releases: of every environment the newest stay, and the one that its readers get."""

from __future__ import annotations

from contextlib import closing

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log, publishing
from lakehouse.upkeep.maintenance.outcome import HOLDER, Outcome, Report
from lakehouse.wording import megabytes, plural


def prune(lake: Lake, *, dry_run: bool = False, report: Report = lambda _: None) -> Outcome:
    """Let go of the oldest releases beyond `releases_kept`, and of the files that killed publishers left."""
    keep = lake.settings.releases_kept
    with closing(connect(lake.settings)) as postgres:
        environments = {one.environment for one in log.history(postgres)}
    numbers: list[str] = []
    freed = 0
    for environment in sorted(environments):
        with publishing.publishing(lake, environment, run=HOLDER, report=report) as connection:
            gone, size = publishing.prune(lake, connection, environment, keep, dry_run=dry_run)
        numbers += [f"{number} of {environment}" for number in gone]
        freed += size
    word = "would be" if dry_run else "are"
    return Outcome(
        f"{plural(len(numbers), 'release')} beyond the {keep} kept of each environment {word} removed "
        f"({megabytes(freed)}).",
        {"removed": ", ".join(numbers) or "none", "kept": keep, "bytes": freed},
        0 if dry_run else freed,
    )
