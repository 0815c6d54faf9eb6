"""Whether the code location loads, and whether what is deployed is what is checked out."""

from __future__ import annotations

import os
import subprocess
import sys

from lakehouse.child_environments import child_environment
from lakehouse.upkeep.doctor.embedded import State
from lakehouse.upkeep.doctor.examination import Examination, UnableError, reason
from lakehouse.upkeep.doctor.findings import Seen, warning, wrong

LOAD_SECONDS = 120
LOAD = """
from lakehouse_assets.definitions import defs
from lakehouse_assets.models import project
errors = project().manifest().errors
assert not errors, errors[0]
"""


def location(examination: Examination) -> Seen:
    """The code location loads, in a process of its own."""
    settings = examination.settings
    server = examination.server
    if server and server.state in (State.ABSENT, State.KILLED, State.ORPHANED):
        raise UnableError("it would start or join the embedded PostgreSQL")
    _ = examination.postgres
    # Our own folder's .env is read by the settings; Dagster's would be that of the working directory.
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=child_environment(settings),
        cwd=os.path.expanduser("~"),
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return Seen("lakehouse_assets.definitions loads")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    files = [line.strip() for line in lines if line.lstrip().startswith("File ") and "site-packages" not in line]
    said = next((line for line in reversed(lines) if line[:1] != " "), "it ended without a word")
    return Seen(
        "",
        (
            wrong(
                f"the code location fails to load: {reason(ValueError(said))}",
                where=files[-1] if files else "lakehouse_assets/definitions.py",
                why="The web UI shows no assets, no schedule and no sensor ticks.",
                do="python -c 'import lakehouse_assets.definitions' shows where; then reload it in the "
                "web UI (Deployment).",
            ),
        ),
    )


def deployed(examination: Examination) -> Seen:
    """What is deployed is what is checked out."""
    environment = examination.settings.environment
    if not examination.has("ledger.deployments"):
        raise UnableError("there is no lake yet")
    row = examination.postgres.execute(
        "SELECT content_key, code_version, deployed_at AT TIME ZONE 'UTC' FROM ledger.deployments "
        "WHERE environment = %s",
        [environment],
    ).fetchone()
    if row is None:
        return Seen(
            "",
            (
                warning(
                    f"nothing is deployed to {environment}",
                    where="ledger.deployments",
                    why="Runs have no models to compute, and readers get nothing.",
                    do=f"lakehouse deploy {environment}",
                ),
            ),
        )
    from lakehouse_assets.models import project

    key, version, at = row
    if not key:
        return Seen(f"{environment} has what was promoted to it at {at:%Y-%m-%d %H:%M} UTC")
    if key == project().content_key():
        return Seen(f"{environment} has the checked-out models ({version})")
    return Seen(
        "",
        (
            warning(
                f"the checked-out models differ from what {environment} has ({version or key[:12]})",
                where=f"sqlmesh_project/; deployed at {at:%Y-%m-%d %H:%M} UTC",
                why="Runs compute what is deployed: a model that you changed stays as it was.",
                do=f"lakehouse plan {environment} shows what differs, lakehouse deploy {environment} applies it.",
            ),
        ),
    )


def declarations(examination: Examination) -> Seen:
    """Each declaration of a source can be used, and the lake has the types that it says."""
    from contextlib import closing

    from dlt_sources.datasets import broken_declarations
    from lakehouse.lake.ducklake import Lake
    from lakehouse_assets.defs.ingestion.declared_types import differences
    from lakehouse_assets.defs.ingestion.sources import raw_tables

    why = "Nothing of this source is loaded, by uploads, loads and the sensor alike; everything else goes on."
    findings = [
        wrong(problem, where=f"dlt_sources/datasets/{name}.toml", why=why, do="Correct the file.")
        for name, problem in broken_declarations().items()
    ]
    examination.require_lake()
    _ = examination.postgres
    with closing(Lake(examination.settings).connect(read_only=True)) as connection:
        for one in differences(connection, raw_tables()):
            if one.can_follow:
                reads = "Until then it has the type that it had."
                findings.append(warning(str(one), where=one.table.full_name, why=reads, do="Load it once."))
            else:
                do = f"Declare it {one.there} again, or another column with this one's name as an alias."
                findings.append(wrong(str(one), where=one.table.full_name, why=why, do=do))
    return Seen("the raw tables have the types that their sources declare", tuple(findings))
