"""Everything that needs no models: files, releases, states. Loads and runs go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from lakehouse.lake.ducklake import Lake
from lakehouse.upkeep.backup import checksums
from lakehouse.upkeep.backup.named_files import catalog_files
from lakehouse.upkeep.verify.files import check_files, check_orphans
from lakehouse.upkeep.verify.finding import Findings, Progress
from lakehouse.upkeep.verify.releases import check_releases
from lakehouse.upkeep.verify.states import check_states
from lakehouse.writing.environments import require_ledger
from lakehouse.writing.locks import holding, maintenance_lock

Check = Callable[[psycopg.Connection, Findings], None]


def verify(
    lake: Lake,
    *,
    fast: bool,
    run: str,
    also: Check = lambda _, __: None,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _, __: None,
) -> Findings:
    """Look at everything; unless `fast`, read every file whole. `also` is asked at the end.

    Nothing is deleted meanwhile: maintenance waits until this ends. Nothing is changed but the record of checksums.
    """
    require_ledger(lake)
    findings = Findings()
    with holding(lake.settings, [maintenance_lock(shared=True)], holder=run, waiting=report) as connection:
        recorded = checksums.read(connection)
        # Before the names are read: who is listed and has no name then was not named while it was written either.
        listed = {file.key: file for zone in ("lake/", "published/", "landing/") for file in lake.storage.list(zone)}
        files = catalog_files(connection, lake)
        check_orphans(connection, files, listed, findings)
        files += check_releases(lake, connection, findings, fast=fast)
        check_files(lake, connection, files, listed, recorded, findings, fast=fast, progress=progress)
        check_states(lake, connection, listed, findings)
        also(connection, findings)
        checksums.forget_others(connection, [file.key for file in files if file.key])
    return findings
