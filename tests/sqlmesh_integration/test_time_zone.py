"""The time zone of the process that computes changes no result."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lakehouse_assets.sqlmesh_integration.engine.connections import pin_utc
from lakehouse_assets.sqlmesh_integration.engine.sessions import session
from tests import forking
from tests.sqlmesh_integration.sandbox import CONFIG, Sandbox

DUCKLAKE = """
gateways:
  local:
    connection:
      type: duckdb
      catalogs: { lake: { type: ducklake, path: catalog.ducklake, data_path: files/ } }
      extensions: []
    state_connection: { type: duckdb, database: state.db }
default_gateway: local
model_defaults: { dialect: duckdb, start: 2024-01-01, cron: "@daily" }
"""
MOMENTS = "VALUES (TIMESTAMPTZ '2024-01-01 02:00:00+00'), (TIMESTAMPTZ '2024-01-01 20:00:00+00')"
MODELS = {
    "models/days.sql": f"MODEL (name marts.days, kind FULL);\nSELECT moment::DATE AS day FROM ({MOMENTS}) AS t(moment)",
    "models/python_days.py": f'''
from sqlmesh import model

@model("marts.python_days", columns={{"day": "date", "hour": "int"}}, kind="FULL")
def execute(context, **kwargs):
    frame = context.fetchdf("SELECT moment, moment::DATE AS day FROM ({MOMENTS}) AS t(moment)")
    return frame.assign(hour=frame["moment"].dt.hour)[["day", "hour"]]
''',
    "tests/test_days.yaml": '''
test_day:
  model: marts.of_source
  inputs:
    marts.days: { rows: [{ day: "2024-01-01" }] }
  outputs: { query: { rows: [{ began: "2024-01-01 00:00:00" }] } }
''',
    "models/of_source.sql": (
        "MODEL (name marts.of_source, kind FULL);\nSELECT day::TIMESTAMPTZ AT TIME ZONE 'UTC' AS began FROM marts.days"
    ),
}  # fmt: skip


def compute(sandbox: Sandbox, zone: str) -> None:
    command = "from tests.sqlmesh_integration.computing_in_zone import main; main()"
    words = ("python", "-c", command, str(sandbox.folder))
    done = forking.run(*words, environment={**os.environ, "TZ": zone}, now=datetime.now(UTC))
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_days_of_moments_are_those_of_utc(tmp_path: Path, zone: str) -> None:
    """In SQL, in Python models, and in unit tests."""
    sandbox = Sandbox.with_models(tmp_path, MODELS)
    compute(sandbox, zone)
    assert sandbox.query("SELECT DISTINCT day::TEXT FROM marts.days") == [("2024-01-01",)]
    assert sandbox.query("SELECT day::TEXT, hour FROM marts.python_days ORDER BY 2") == [
        ("2024-01-01", 2),
        ("2024-01-01", 20),
    ]
    assert sandbox.query("SELECT DISTINCT began::TEXT FROM marts.of_source") == [("2024-01-01 00:00:00",)]


def zone_of(sandbox: Sandbox) -> str:
    with session(sandbox.project) as opened:
        return str(opened.context.engine_adapter.fetchone("SELECT current_setting('TimeZone')")[0])


def test_every_kind_of_duckdb_connection_is_pinned_and_a_zone_of_the_users_own_stays(tmp_path: Path) -> None:
    own = CONFIG.replace(
        "database: warehouse.db }", "database: warehouse.db, connector_config: { timezone: Asia/Tokyo } }"
    )
    assert zone_of(Sandbox.with_models(tmp_path / "plain", {})) == "UTC"
    assert zone_of(Sandbox.with_models(tmp_path / "own", {"config.yaml": own})) == "Asia/Tokyo"


def test_engines_that_ask_the_client_for_its_zone_are_told_utc() -> None:
    from sqlmesh.core.config.connection import SnowflakeConnectionConfig, TrinoConnectionConfig

    trino = TrinoConnectionConfig.model_construct(type_="trino", timezone=None)
    pin_utc(trino)
    assert trino.timezone == "UTC"
    snowflake = SnowflakeConnectionConfig.model_construct(type_="snowflake", session_parameters={"timezone": "CET"})
    pin_utc(snowflake)
    assert snowflake.session_parameters == {"timezone": "CET"}


def test_relative_files_of_a_ducklake_lie_in_the_projects_folder(tmp_path: Path) -> None:
    sandbox = Sandbox.with_models(tmp_path, {"config.yaml": DUCKLAKE})
    with session(sandbox.project) as opened:
        (options,) = opened.context.connection_config.catalogs.values()
        assert options.path == str(sandbox.folder / "catalog.ducklake")
        assert options.data_path == str(sandbox.folder / "files") + "/"
        assert opened.context.connection_config.connector_config == {"TimeZone": "UTC"}
