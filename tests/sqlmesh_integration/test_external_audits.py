"""Audits of tables that are no models: checks of the asset that makes them, run as SQLMesh runs them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tests.sqlmesh_integration.sandbox import Sandbox

RAW = dg.AssetKey(["raw", "people"])
EXTERNAL = """
- name: raw.people
  columns: { id: INT, zip: TEXT }
  audits:
    - name: not_null
      columns: "[id]"
    - name: unique_values
      columns: "[id]"
      blocking: "false"
"""
PEOPLE = "MODEL (name a.people, kind FULL, cron '@hourly'); SELECT id FROM raw.people"
OTHER = "MODEL (name a.other, kind FULL, cron '@hourly'); SELECT COUNT(*) AS rows FROM raw.people"


@pytest.fixture
def made(tmp_path: Path) -> Sandbox:
    files = {"external_models.yaml": EXTERNAL, "models/people.sql": PEOPLE, "models/other.sql": OTHER}
    sandbox = Sandbox.with_models(tmp_path, files)
    sandbox.execute("CREATE SCHEMA raw; CREATE TABLE raw.people AS SELECT 1 AS id, 'a' AS zip")
    sandbox.deploy()
    return sandbox


def passed(sandbox: Sandbox, name: str) -> bool | None:
    """What the newest result of the check says."""
    key = dg.AssetCheckKey(RAW, name)
    record = sandbox.instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    if record is None or record.event is None or record.event.dagster_event is None:
        return None
    return bool(record.event.dagster_event.asset_check_evaluation_data.passed)


def test_they_are_checks_of_the_tables_asset_and_run_before_what_reads_it(made: Sandbox) -> None:
    assets = made.assets()
    assert {key.name for key in assets.check_keys if key.asset_key == RAW} == {"not_null", "unique_values"}
    assert RAW not in assets.keys
    assert made.run().success
    assert passed(made, "not_null") and passed(made, "unique_values")


def test_a_blocking_one_that_fails_stops_what_reads_the_table(made: Sandbox) -> None:
    made.execute("INSERT INTO raw.people VALUES (NULL, 'b')")
    ran = made.run("a.people")
    assert "raw.people: audit not_null found 1 row" in ran.failure
    assert ran.outcomes["a.people"].state == "skipped"
    assert passed(made, "not_null") is False
    assert made.resource.deployed()["a.people"].computed == ()
    made.execute("DELETE FROM raw.people WHERE id IS NULL; INSERT INTO raw.people VALUES (1, 'b')")
    ran = made.run()
    assert ran.success, ran.failure
    assert passed(made, "not_null") and passed(made, "unique_values") is False
    assert made.query("SELECT rows FROM a.other") == [(2,)]


def test_they_can_be_run_alone(made: Sandbox) -> None:
    made.execute("INSERT INTO raw.people VALUES (1, 'b')")
    key = dg.AssetCheckKey(RAW, "unique_values")
    result = dg.materialize(
        [made.assets()], resources={"sqlmesh": made.resource}, selection=dg.AssetSelection.checks(key)
    )
    assert [(e.check_name, e.passed) for e in result.get_asset_check_evaluations()] == [("unique_values", False)]
