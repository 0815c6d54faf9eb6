"""What `lakehouse up` does by itself, what it does with the runs that others queue, and what becomes of them."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import Any

import pytest

from lakehouse.lake.postgres import connect
from lakehouse.writing.locks import environment_lock, holding
from tests.arrivals import KNOWN_DAY, LONG_AGO, Arrivals, computed_at, other_marts, settle
from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import RunningServices, until

pytestmark = pytest.mark.slow

LOCATION = "lakehouse_assets.definitions"


def test_sensors_run_without_being_switched_on(demo_services: RunningServices) -> None:
    selector = f'{{repositoryName: "__repository__", repositoryLocationName: "{LOCATION}"}}'
    reply = demo_services.graphql(
        f"{{repositoryOrError(repositorySelector: {selector}) {{"
        "... on Repository {sensors {name sensorState {status}}}}}"
    )["repositoryOrError"]
    states = {sensor["name"]: sensor["sensorState"]["status"] for sensor in reply["sensors"]}
    assert {"catch_up_sensor", "ecommerce_landing_sensor", "nyc_taxi_landing_sensor"} <= set(states)
    assert [name for name, status in states.items() if status != "RUNNING"] == []


def test_the_web_ui_takes_its_definitions_anew_after_a_deploy(
    demo_lakehouse: LakehouseInstance, demo_services: RunningServices
) -> None:
    def loaded() -> Any:
        entries = "{workspaceOrError {... on Workspace {locationEntries {updatedTimestamp loadStatus}}}}"
        ((entry,),) = demo_services.graphql(entries)["workspaceOrError"].values()
        return entry["updatedTimestamp"] if entry["loadStatus"] == "LOADED" else None

    before = until(loaded, 60, lambda: "the code location is not loaded")
    # What every deploy and promotion writes at its end.
    with closing(connect(demo_lakehouse.lake.settings)) as postgres:
        postgres.execute("UPDATE ledger.deployments SET deployed_at = now() WHERE environment = 'prod'")
    until(lambda: (now := loaded()) and now != before, 120, lambda: f"still loaded at {before}")


def test_a_late_file_recomputes_its_days_unaided(demo_lakehouse: LakehouseInstance, arrivals: Arrivals) -> None:
    after = computed_at(demo_lakehouse)
    assert {day for day in after if after[day] != arrivals.days.get(day)} == {LONG_AGO, KNOWN_DAY}
    assert set(arrivals.days) <= set(after)
    assert demo_lakehouse.rows(
        f"SELECT unique_users, purchases, total_revenue FROM marts.daily_revenue WHERE event_date = '{LONG_AGO}'"
    ) == [(1, 2, 20)]
    assert other_marts(demo_lakehouse) == arrivals.others
    ours = "SELECT SUM(revenue) FROM raw.ecommerce__events"
    assert demo_lakehouse.value("SELECT SUM(net_revenue) FROM marts.daily_revenue") == demo_lakehouse.value(ours)


@pytest.mark.proof
def test_a_job_is_backfilled_day_by_day(demo_lakehouse: LakehouseInstance, demo_services: RunningServices) -> None:
    before = computed_at(demo_lakehouse)
    done = demo_lakehouse.activated(
        "dagster job backfill -j recompute_daily_revenue --partitions 2009-12-24,2010-01-12 --noprompt"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"2009-12-24", "2010-01-12"}
    until(
        lambda: all(computed_at(demo_lakehouse)[day] > before[day] for day in wanted)
        and not demo_services.unfinished_runs(),
        240, lambda: f"The days were not computed; unfinished: {demo_services.unfinished_runs()}",
    )  # fmt: skip
    after = computed_at(demo_lakehouse)
    assert {day for day in after if after[day] != before[day]} == wanted


@pytest.mark.proof
def test_a_run_that_ends_with_the_services_does_not_count_as_started(
    demo_lakehouse: LakehouseInstance, demo_services: RunningServices
) -> None:
    # A lock that somebody else holds keeps the run at work until the services end.
    settings = demo_lakehouse.lake.settings
    with holding(settings, [environment_lock("prod")], holder="test") as postgres:
        done = demo_lakehouse.activated("dagster job launch -j catch_up")
        assert done.returncode == 0, done.stdout + done.stderr
        # The sensors' own runs may be at work beside it.
        at_work = "SELECT run_id FROM dagster.runs WHERE status = 'STARTED' AND pipeline_name = 'catch_up'"
        ((run_id,),) = until(
            lambda: postgres.execute(at_work).fetchall(), 120, lambda: f"{demo_services.unfinished_runs()}"
        )
        assert demo_services.end() == 0
        status = postgres.execute("SELECT status FROM dagster.runs WHERE run_id = %s", [run_id]).fetchone()
    assert f"run {run_id[:8]} of catch_up was at work when the services ended: marked failed" in demo_services.printed
    assert status == ("FAILURE",)
    assert [process for process in demo_lakehouse.processes() if process.info["name"] != "postgres"] == []


def test_ctrl_c_ends_them_and_leaves_nothing_running(demo_services: RunningServices) -> None:
    names = {process.info["name"] for process in demo_services.instance.processes()}
    assert "postgres" in names, "the tests' own look at processes must see PostgreSQL, or it proves nothing"
    settle(demo_services)
    assert demo_services.end(signal.SIGINT) == 0
    assert "nothing is left running" in demo_services.printed
    demo_services.instance.close()  # this process may have asked the lake and kept PostgreSQL
    assert demo_services.instance.processes() == []
