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

RAW = (
    "ecommerce__events", "nyc_collisions__crashes", "nyc_taxi__trips", "nyc_taxi_zones__zones",
    "wfp_food_prices__prices",
)  # fmt: skip
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


@pytest.mark.proof  # `dg list defs` does so each time
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("dagster definitions validate", "All code locations passed validation"),
        ("dg check defs", "All definitions loaded successfully"),
    ],
)
def test_definitions_are_checked(demo_at_rest: LakehouseInstance, command: str, sentence: str) -> None:
    assert sentence in ran(demo_at_rest, command)


def test_dg_list_defs(demo_at_rest: LakehouseInstance) -> None:
    done = demo_at_rest.activated("dg list defs --json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout[done.stdout.index("{") :])
    keys = {asset["asset_key"] for asset in listed["assets"]}
    assert {*(f"raw/{name}" for name in RAW), "marts/daily_revenue", "staging/seed_example_events"} <= keys
    assert {"catch_up", "ingest"} <= {job["name"] for job in listed["jobs"]}


@pytest.mark.proof  # `dagster asset materialize` finds its module the same way
def test_asset_list(demo_at_rest: LakehouseInstance) -> None:
    listed = ran(demo_at_rest, "dagster asset list").split()
    assert {*(f"raw/{name}" for name in RAW), "marts/daily_revenue", "staging/seed_example_events"} <= set(listed)
    # A program that starts it sees no function of the shell.
    assert "marts/daily_revenue" in ran(demo_at_rest, "env dagster asset list").split()


@pytest.mark.slow
def test_a_file_of_ones_own_is_taken_where_the_environment_is_activated(demo_lakehouse: LakehouseInstance) -> None:
    mine = demo_lakehouse.root / "mine.py"
    mine.write_text("import dagster as dg\n\n@dg.asset\ndef mine(): ...\n\ndefs = dg.Definitions(assets=[mine])\n")
    told = ran(demo_lakehouse, f"dagster asset list -f {mine} && env")
    assert told.split()[0] == "mine"
    # Who names none, also a program that sees no function of the shell, gets the project's.
    assert "DAGSTER_CLI_ASSET_LIST_MODULE_NAME=lakehouse_assets.definitions" in told


@pytest.mark.proof  # a range is each time
@pytest.mark.parametrize("command", ["dagster asset materialize --select", "dg launch --assets"])
def test_a_mart_is_computed_anew(demo_at_rest: LakehouseInstance, command: str) -> None:
    stamp = "SELECT MIN(computed_at) FROM marts.top_pickup_locations"
    before = demo_at_rest.value(stamp)
    ran(demo_at_rest, f"{command} marts/top_pickup_locations")
    assert demo_at_rest.value(stamp) > before


@pytest.mark.proof  # a second demo does so, too
def test_asset_materialize_loads_a_raw_table_again_without_a_change(demo_at_rest: LakehouseInstance) -> None:
    sql = "SELECT COUNT(*), COUNT(DISTINCT _dlt_load_id) FROM raw.ecommerce__events"
    before = demo_at_rest.rows(sql)
    assert "RUN_SUCCESS" in ran(demo_at_rest, "dagster asset materialize --select raw/ecommerce__events")
    assert demo_at_rest.rows(sql) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "days"),
    [
        pytest.param("--partition 2009-12-24", {"2009-12-24"}, marks=pytest.mark.proof),
        ("--partition-range 2010-01-05...2010-01-07", {"2010-01-05", "2010-01-06", "2010-01-07"}),
    ],
)
def test_these_partitions_are_computed_anew_and_no_other(
    demo_at_rest: LakehouseInstance, options: str, days: set[str]
) -> None:
    command = f"dagster asset materialize --select marts/daily_revenue {options}"
    assert recomputed(demo_at_rest, command) == days


@pytest.mark.proof  # the demo executes its jobs so each time
def test_job_execute(demo_at_rest: LakehouseInstance) -> None:
    assert "RUN_SUCCESS" in ran(demo_at_rest, "dagster job execute -j catch_up")


@pytest.mark.proof  # `lakehouse up` starts Dagster's webserver and daemon each time
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
