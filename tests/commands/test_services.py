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


@pytest.fixture(scope="module")
def bare_lakehouse(new_lakehouse: Callable[[], LakehouseInstance]) -> LakehouseInstance:
    """One in which nothing has been made yet: the services start on it all the same."""
    return new_lakehouse()


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


def test_up_serves_brings_a_dead_daemon_back_and_leaves_nothing_running(bare_lakehouse: LakehouseInstance) -> None:
    with running_services(bare_lakehouse) as services:
        for wanted in (
            services.url,
            services.query_url,
            services.dashboard_url,
            str(bare_lakehouse.data_dir / "logs"),
            "embedded, on a socket",
        ):
            assert wanted in services.printed.replace("\n", "")
        until(
            lambda: {"SENSOR", "SCHEDULER", "BACKFILL", "QUEUED_RUN_COORDINATOR"} <= healthy(services),
            120, lambda: f"The daemons' hearts don't beat: {healthy(services)}",
        )  # fmt: skip
        assert requests.get(f"{services.query_url}/healthz", timeout=10).json() == {"status": "ok"}
        assert requests.get(f"{services.dashboard_url}/_stcore/health", timeout=10).text == "ok"
        names = {process.info["name"] for process in bare_lakehouse.processes()}
        assert "postgres" in names, "the tests' own look at processes must see PostgreSQL, or it proves nothing"
        mutation = {"query": "mutation {reloadWorkspace {__typename}}"}
        address, stranger = f"{services.url}/graphql", {"Origin": "https://evil.example"}
        assert requests.post(address, params=mutation, headers=stranger, timeout=30).status_code == 403
        assert requests.get(address, params=mutation, timeout=30).status_code == 403
        assert listening(bare_lakehouse) == {"127.0.0.1"}
        assert ("You are root" in services.printed) == (os.geteuid() == 0)
        again = bare_lakehouse.lakehouse("up")
        assert again.returncode == 1
        assert "already up" in again.stderr
        (killed,) = daemons(bare_lakehouse)
        killed.kill()
        until(
            lambda: "the daemon ended (exit code -9); starting it again" in services.printed,
            120, lambda: f"Nobody noticed that the daemon is dead: {services.printed}",
        )  # fmt: skip
        until(lambda: daemons(bare_lakehouse) - {killed}, 120, lambda: "No new daemon came")
        assert services.end(signal.SIGINT) == 0
    assert "nothing is left running" in services.printed
    assert bare_lakehouse.processes() == []


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
def test_a_port_in_use_is_named_with_its_setting(bare_lakehouse: LakehouseInstance, setting: str) -> None:
    port = int(bare_lakehouse.variables[setting])
    with closing(socket.create_server(("127.0.0.1", port))):
        done = bare_lakehouse.lakehouse("up")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert setting in done.stderr
    assert "Traceback" not in done.stderr
    assert bare_lakehouse.processes() == []


def test_an_address_of_another_machine_is_named_with_its_setting(bare_lakehouse: LakehouseInstance) -> None:
    # 192.0.2.0/24 is nobody's.
    done = bare_lakehouse.lakehouse("up", webserver_host="192.0.2.1")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr
    assert "LAKEHOUSE_WEBSERVER_HOST" in done.stderr
    assert "Traceback" not in done.stderr
    assert bare_lakehouse.processes() == []


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
