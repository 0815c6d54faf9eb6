"""`lakehouse up`, as `make up` runs it: addresses, heartbeats, and an end that leaves nothing running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress

import psutil
import pytest
import requests
from pydantic import SecretStr

from lakehouse.child_environments import dashboard_environment
from lakehouse.settings import Settings
from tests.lakehouse_instance import TOOLS, LakehouseInstance
from tests.running_services import RunningServices, running_services, until

HEALTH = "{instance {daemonHealth {allDaemonStatuses {daemonType healthy required}}}}"


def daemons(lakehouse: LakehouseInstance) -> set[psutil.Process]:
    """The Dagster daemons of this lakehouse."""
    found = lakehouse.processes()
    return {p for p in found if any(word.endswith("/dagster-daemon") for word in p.info["cmdline"] or ())}


def listening(lakehouse: LakehouseInstance) -> set[str]:
    """The addresses on which any process of this lakehouse accepts connections."""
    found = []
    for process in lakehouse.processes():
        with suppress(psutil.NoSuchProcess):  # one of PostgreSQL's own may just have ended
            found += process.net_connections("inet")
    assert len({one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}) >= 3
    return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN}


def healthy(services: RunningServices) -> set[str]:
    """The daemons whose heart beats."""
    statuses = services.graphql(HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
    return {status["daemonType"] for status in statuses if status["healthy"] and status["required"]}


def test_up_serves_what_it_names_to_this_machine_alone(demo_services: RunningServices) -> None:
    lakehouse = demo_services.instance
    for wanted in (
        demo_services.url,
        demo_services.query_url,
        demo_services.dashboard_url,
        str(lakehouse.data_dir / "logs"),
        "embedded, on a socket",
    ):
        assert wanted in demo_services.printed.replace("\n", "")
    until(
        lambda: {"SENSOR", "SCHEDULER", "BACKFILL", "QUEUED_RUN_COORDINATOR"} <= healthy(demo_services),
        120, lambda: f"The daemons' hearts don't beat: {healthy(demo_services)}",
    )  # fmt: skip
    assert requests.get(f"{demo_services.query_url}/healthz", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{demo_services.dashboard_url}/_stcore/health", timeout=10).text == "ok"
    mutation = {"query": "mutation {reloadWorkspace {__typename}}"}
    address, stranger = f"{demo_services.url}/graphql", {"Origin": "https://evil.example"}
    assert requests.post(address, params=mutation, headers=stranger, timeout=30).status_code == 403
    assert requests.get(address, params=mutation, timeout=30).status_code == 403
    assert listening(lakehouse) == {"127.0.0.1"}
    assert ("You are root" in demo_services.printed) == (os.geteuid() == 0)
    again = lakehouse.command("up")
    assert again.returncode == 1
    assert "already up" in again.stderr


def test_a_dead_daemon_is_brought_back(demo_services: RunningServices) -> None:
    lakehouse = demo_services.instance
    (killed,) = daemons(lakehouse)
    killed.kill()
    until(
        lambda: "the daemon ended (exit code -9); starting it again" in demo_services.printed,
        120, lambda: f"Nobody noticed that the daemon is dead: {demo_services.printed}",
    )  # fmt: skip
    until(lambda: daemons(lakehouse) - {killed}, 120, lambda: "No new daemon came")


def test_a_dead_code_server_is_brought_back(demo_services: RunningServices) -> None:
    """The one that holds the definitions, whose parent Dagster leaves without."""
    lakehouse = demo_services.instance
    locations = "{locationStatusesOrError {... on WorkspaceLocationStatusEntries {entries {name loadStatus}}}}"

    def servers() -> set[psutil.Process]:
        return {p for p in lakehouse.processes() if "grpc" in (p.info["cmdline"] or ())}

    (killed,) = servers()
    killed.kill()
    until(lambda: servers() - {killed}, 120, lambda: "No new code server came")
    sensors = '{sensorsOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: '
    sensors += '"lakehouse_assets.definitions"}) {... on Sensors {results {name}} ... on PythonError {message}}}'
    until(
        lambda: demo_services.graphql(sensors)["sensorsOrError"].get("results"),
        120, lambda: str(demo_services.graphql(locations)),
    )  # fmt: skip


@pytest.mark.proof  # the demo's are started and ended each time
def test_up_makes_what_is_missing(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    lakehouse = new_lakehouse()
    with running_services(lakehouse) as services:
        assert services.end(signal.SIGINT) == 0
    assert lakehouse.processes() == []


def test_the_dashboard_is_given_no_credential() -> None:
    secrets = {
        "LAKEHOUSE_POSTGRES_URL": "postgresql://lake:hunter2@db/lake",
        "LAKEHOUSE_S3_SECRET_ACCESS_KEY": "hunter2",
        "LAKEHOUSE_QUERY_S3_SECRET_ACCESS_KEY": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)
        settings = Settings(query_port=8011, query_token=SecretStr("token"))
        given = dashboard_environment(settings)
    assert "hunter2" not in str(given)
    ours = {name: value for name, value in given.items() if name.startswith("LAKEHOUSE_")}
    assert ours == {
        "LAKEHOUSE_QUERY_URL": "http://127.0.0.1:8011",
        "LAKEHOUSE_QUERY_TOKEN": "token",
        "LAKEHOUSE_WEBSERVER_NAMES": "127.0.0.1",
    }


@pytest.mark.parametrize("setting", ["LAKEHOUSE_WEBSERVER_PORT", "LAKEHOUSE_QUERY_PORT", "LAKEHOUSE_DASHBOARD_PORT"])
def test_a_port_in_use_is_named_with_its_setting(new_lakehouse: Callable[[], LakehouseInstance], setting: str) -> None:
    lakehouse = new_lakehouse()
    port = int(lakehouse.variables[setting])
    with closing(socket.create_server(("127.0.0.1", port))):
        done = lakehouse.command("up")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert setting in done.stderr
    assert lakehouse.processes() == []


def test_an_address_of_another_machine_is_named_with_its_setting(
    new_lakehouse: Callable[[], LakehouseInstance],
) -> None:
    lakehouse = new_lakehouse()
    # 192.0.2.0/24 is nobody's.
    done = lakehouse.command("up", webserver_host="192.0.2.1")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr
    assert "LAKEHOUSE_WEBSERVER_HOST" in done.stderr
    assert lakehouse.processes() == []


@pytest.mark.slow
def test_sigterm_while_it_starts_leaves_nothing_running(new_lakehouse: Callable[[], LakehouseInstance]) -> None:
    lakehouse = new_lakehouse()
    with open(lakehouse.root / "up.log", "wb") as output:
        up = subprocess.Popen([str(TOOLS / "lakehouse"), "up"], env=lakehouse.environment, stdout=output, stderr=output)
    until(
        lambda: any(process.info["name"] == "postgres" for process in lakehouse.processes()) or up.poll() is not None,
        60, lambda: "PostgreSQL was not started",
    )  # fmt: skip
    up.terminate()
    assert up.wait(60) == 0
    assert lakehouse.processes() == []
    assert "Traceback" not in (lakehouse.root / "up.log").read_text()
