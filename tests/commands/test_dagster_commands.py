"""Dagster's own commands, in the project's folder, with nothing exported by hand."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import requests
import yaml

from lakehouse.settings import PROJECT_ROOT
from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import until

RAW = ("ecommerce__events", "nyc_collisions__crashes", "nyc_taxi__trips", "wfp_food_prices__prices")
DAYS = "SELECT event_date::VARCHAR, computed_at FROM marts.daily_revenue"


def ran(lakehouse: LakehouseInstance, command: str) -> str:
    """What the command printed; it must end well."""
    done = lakehouse.activated(command)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def recomputed(lakehouse: LakehouseInstance, command: str) -> set[str]:
    """The days of daily_revenue that the command computed again."""
    before = dict(lakehouse.rows(DAYS))
    ran(lakehouse, command)
    after = dict(lakehouse.rows(DAYS))
    assert set(before) == set(after)
    return {day for day in after if after[day] != before[day]}


def test_every_command_reads_the_same_module() -> None:
    project: dict[str, Any] = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]
    workspace = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())
    module = project["dagster"]["module_name"]
    assert workspace == {"load_from": [{"python_module": module}]}
    assert project["dg"]["project"]["code_location_target_module"] == module
    named = re.findall(r"\w+_MODULE_NAME=([\w.]+)", (PROJECT_ROOT / "scripts" / "install.sh").read_text())
    assert len(named) == 3 and set(named) == {module}


@pytest.mark.proof  # `dg check defs` does so each time
def test_definitions_validate(demo_lakehouse: LakehouseInstance) -> None:
    assert "All code locations passed validation" in ran(demo_lakehouse, "dagster definitions validate")


def test_dg_check_defs(demo_lakehouse: LakehouseInstance) -> None:
    assert "All definitions loaded successfully" in ran(demo_lakehouse, "dg check defs")


def test_dg_list_defs(demo_lakehouse: LakehouseInstance) -> None:
    done = demo_lakehouse.activated("dg list defs --json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout[done.stdout.index("{") :])
    keys = {asset["asset_key"] for asset in listed["assets"]}
    assert {f"raw/{name}" for name in RAW} < keys
    assert {"catch_up", "ingest"} <= {job["name"] for job in listed["jobs"]}


@pytest.mark.proof  # `dg list defs` does so each time
def test_asset_list(demo_lakehouse: LakehouseInstance) -> None:
    listed = ran(demo_lakehouse, "dagster asset list").split()
    assert {*(f"raw/{name}" for name in RAW), "marts/daily_revenue", "staging/seed_example_events"} <= set(listed)


def test_a_file_of_ones_own_is_taken_where_the_environment_is_activated(demo_lakehouse: LakehouseInstance) -> None:
    mine = demo_lakehouse.root / "mine.py"
    mine.write_text("import dagster as dg\n\n@dg.asset\ndef mine(): ...\n\ndefs = dg.Definitions(assets=[mine])\n")
    assert ran(demo_lakehouse, f"dagster asset list -f {mine}").split()[-1] == "mine"
    # A program that starts it sees no function of the shell.
    assert "marts/daily_revenue" in ran(demo_lakehouse, "env dagster asset list").split()


def test_asset_materialize_loads_a_raw_table_again_without_a_change(demo_lakehouse: LakehouseInstance) -> None:
    sql = "SELECT COUNT(*), COUNT(DISTINCT _dlt_load_id) FROM raw.ecommerce__events"
    before = demo_lakehouse.rows(sql)
    assert "RUN_SUCCESS" in ran(demo_lakehouse, "dagster asset materialize --select raw/ecommerce__events")
    assert demo_lakehouse.rows(sql) == before


@pytest.mark.parametrize(
    "command",
    [
        "dagster asset materialize --select marts/top_pickup_locations",
        pytest.param("dg launch --assets marts/top_pickup_locations", marks=pytest.mark.proof),
    ],
    ids=["dagster", "dg"],
)
def test_a_mart_is_computed_anew(demo_lakehouse: LakehouseInstance, command: str) -> None:
    stamp = "SELECT MIN(computed_at) FROM marts.top_pickup_locations"
    before = demo_lakehouse.value(stamp)
    ran(demo_lakehouse, command)
    assert demo_lakehouse.value(stamp) > before


@pytest.mark.proof  # a range is each time
def test_a_partition_is_computed_anew_and_no_other(demo_lakehouse: LakehouseInstance) -> None:
    command = "dagster asset materialize --select marts/daily_revenue --partition 2009-12-24"
    assert recomputed(demo_lakehouse, command) == {"2009-12-24"}


def test_a_range_of_partitions_is_computed_anew_and_no_other(demo_lakehouse: LakehouseInstance) -> None:
    command = "dagster asset materialize --select marts/daily_revenue --partition-range 2010-01-05...2010-01-07"
    assert recomputed(demo_lakehouse, command) == {"2010-01-05", "2010-01-06", "2010-01-07"}


@pytest.mark.proof  # the demo executes its jobs so each time
def test_job_execute(demo_lakehouse: LakehouseInstance) -> None:
    assert "RUN_SUCCESS" in ran(demo_lakehouse, "dagster job execute -j catch_up")


def test_dagster_dev_serves_the_graph_and_ends(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    lakehouse = new_lakehouse()
    assert lakehouse.lakehouse("bootstrap").returncode == 0
    log = lakehouse.root / "dev.log"
    with open(log, "wb") as output:
        dev = lakehouse.started(f"exec dagster dev -p {lakehouse.port}", output)
    try:
        url = f"http://127.0.0.1:{lakehouse.port}/graphql"
        found = until(lambda: asset_keys(url) or dev.poll() is not None, 120, log.read_text)
        assert found is not True, log.read_text()
        assert ["raw", "nyc_taxi__trips"] in found
    finally:
        dev.send_signal(signal.SIGINT)
        dev.wait(60)
    until(lambda: not lakehouse.processes(), 60, lambda: f"left: {lakehouse.processes()}")


def asset_keys(url: str) -> list[list[str]]:
    """The assets that a webserver knows; none while it does not answer."""
    try:
        reply = requests.post(url, json={"query": "{assetNodes {assetKey {path}}}"}, timeout=30)
    except requests.ConnectionError:
        return []
    return [node["assetKey"]["path"] for node in reply.json()["data"]["assetNodes"]]
