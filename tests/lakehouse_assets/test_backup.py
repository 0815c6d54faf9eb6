"""A whole lakehouse is saved, restored elsewhere by the command line, verified, and goes on as an ordinary one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.settings import Settings
from lakehouse.upkeep.verify.everything import verify
from lakehouse.upkeep.verify.finding import Findings
from lakehouse.writing import marks
from tests.databases import create_database
from tests.lakehouse_assets.conftest import House
from tests.lakehouse_assets.next_run import REVENUE

TOOLS = Path(sys.executable).parent
EVENTS = "SELECT 7000000 + i, i % 9, 'purchase', TIMESTAMP '2009-12-05' + INTERVAL (i) MINUTE, 3 FROM range(500) t(i)"


def views(lake: Lake, schemas: tuple[str, ...] = ("raw", "marts")) -> dict[str, list[Any]]:
    """Every row of every table that somebody may ask."""
    with closing(lake.connect(read_only=True)) as connection:
        names = connection.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables "
            "WHERE table_catalog = 'lakehouse' AND list_contains(?, table_schema)",
            [list(schemas)],
        ).fetchall()
        return {name: sorted(connection.execute(f"FROM {name}").fetchall(), key=repr) for (name,) in names}


@pytest.mark.proof
def test_a_restored_lakehouse_gives_the_same_rows_and_goes_on(house: House, server_url: str, tmp_path: Path) -> None:
    house.land_events("ecommerce_events_saved.parquet", EVENTS)
    house.load_events()
    house.run("catch_up", asset_selection=REVENUE)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((Path(house.instance.root_directory) / "dagster.yaml").read_text())
    there = {
        **house.environment,
        "LAKEHOUSE_DATA_DIR": str(tmp_path / "data"),
        "LAKEHOUSE_POSTGRES_URL": create_database(server_url),
        "DAGSTER_HOME": str(home),
    }

    def command(*arguments: str, environment: dict[str, str] = there) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(TOOLS / "lakehouse"), *arguments], env={**os.environ, **environment, "COLUMNS": "80"},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    made = command("backup", str(tmp_path / "backups"), "--json", environment=house.environment)
    assert made.returncode == 0, made.stderr
    done = command("restore", str(tmp_path / "backups"))
    assert (done.returncode, done.stderr) == (0, "")

    lake = Lake(Settings(data_dir=tmp_path / "data", postgres_url=there["LAKEHOUSE_POSTGRES_URL"]))
    assert views(lake) == views(house.lake)
    verified = command("verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["looked_at"]["model"] > 10

    # An ordinary load and run, with one more file: what was loaded before is not loaded again.
    program = "from tests.lakehouse_assets.next_run import main; main()"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env={**os.environ, **there}, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == {"files_loaded": 1, "rows_inserted": 1}
    before, after = views(house.lake), views(lake)
    assert len(after["raw.ecommerce__events"]) == len(before["raw.ecommerce__events"]) + 1
    assert len(after["marts.daily_revenue"]) == len(before["marts.daily_revenue"]) + 1


@pytest.mark.slow
def test_models_that_the_lake_does_not_have_are_named(house: House) -> None:
    from lakehouse_assets.defs.maintenance.verifying import check_models

    with closing(connect(house.lake.settings)) as connection:
        with connection.transaction(force_rollback=True):
            connection.execute("UPDATE lakehouse.ducklake_view SET end_snapshot = 1 WHERE view_name = 'daily_revenue'")
            connection.execute("INSERT INTO ledger.table_users VALUES ('some.table', 'dev_gone')")
            marks.write(connection, "load", "no_such_source", run="test", snapshot=1)
            marks.write(connection, "model", "prod", ["marts.no_such_model"], run="test", snapshot=1)
            marks.write(connection, "model", "prod", ["marts.daily_revenue"], run="test", snapshot=1)
            findings = Findings()
            check_models(connection, findings)
    wrong = {finding.where: finding for finding in findings.problems}
    assert "`lakehouse deploy prod`" in wrong["marts.daily_revenue"].advice
    assert "`lakehouse env drop dev_gone`" in wrong["environment dev_gone"].advice
    unrepaired = [finding.problem for finding in findings.problems if finding.where == "ledger.marks"]
    assert len(unrepaired) == 2, unrepaired
    assert [finding.problem for finding in findings.found if finding.is_note] != []
    assert verify(house.lake, fast=True, run="test", also=check_models).problems == []
