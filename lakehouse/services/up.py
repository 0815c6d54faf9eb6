"""What `lakehouse up` runs: embedded PostgreSQL, Dagster's webserver and daemon, the query service, the dashboard."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lakehouse.child_environments import child_environment, dashboard_environment
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.services.supervisor import Service, ServiceError, stop_requests, supervise
from lakehouse.settings import (
    Settings,
    is_loopback,
    make_private,
    reachable,
)
from lakehouse.upkeep.alerts.hook import notify
from lakehouse.upkeep.alerts.message import Alert

DEFINITIONS = "lakehouse_assets.definitions"
AS_ROOT = (
    "[yellow]You are root: whatever runs here, every model's and source's code too, may then change anything on this "
    "machine. Nothing needs it: a user of its own is enough.[/yellow]"
)

NO_LOGIN = (
    "[yellow]The web UI listens on {settings.webserver_host} and has no login: whoever reaches port "
    "{settings.webserver_port} may launch runs and deploy. Put a proxy before it (docs/security.md).[/yellow]"
)


def run_services(lake: Lake, console: Console) -> None:
    """Run until Ctrl-C. Raises ServiceError when a port is taken, a service can't start, or this is already up."""
    settings = lake.settings
    make_private(settings.data_dir)
    make_private(settings.data_dir / "logs")
    with (
        stop_requests() as stopping,
        open(settings.data_dir / "up.lock", "w") as lock,
        tempfile.TemporaryDirectory(prefix="lakehouse-") as folder,  # nobody else's: who reaches the socket runs code
    ):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(f"It is already up: another process runs the services of {settings.data_dir}.") from None
        services = _services(settings, Path(folder))
        _, webserver, _, query, dashboard = services
        webserver.check_port("LAKEHOUSE_WEBSERVER_HOST", "LAKEHOUSE_WEBSERVER_PORT")
        query.check_port("LAKEHOUSE_QUERY_HOST", "LAKEHOUSE_QUERY_PORT")
        if settings.query_postgres_port:
            other = replace(query, host=settings.query_postgres_host, port=settings.query_postgres_port)
            other.check_port("LAKEHOUSE_QUERY_POSTGRES_HOST", "LAKEHOUSE_QUERY_POSTGRES_PORT")
        dashboard.check_port("LAKEHOUSE_QUERY_HOST", "LAKEHOUSE_DASHBOARD_PORT")
        if not is_loopback(settings.webserver_host):
            console.print(NO_LOGIN.format(settings=settings), highlight=False, soft_wrap=True)
        if os.geteuid() == 0:
            console.print(AS_ROOT, highlight=False, soft_wrap=True)
        console.print(f"Starting … (logs in {webserver.log.parent})", highlight=False, soft_wrap=True)
        lake.bootstrap()
        _fail_abandoned_runs(settings, console)
        if not stopping():
            try:
                supervise(
                    services,
                    stopping,
                    ready=lambda: _show_addresses(settings, console),
                    ended=lambda: _fail_abandoned_runs(settings, console),
                    say=lambda text: _say(settings, console, text),
                )
            except ServiceError as error:
                notify(settings, Alert("services", f"Everything ends. {error}", "error", settings.environment))
                raise
    console.print("Ended; nothing is left running.")


def _say(settings: Settings, console: Console, text: str) -> None:
    """A service died: in the terminal, and to the webhook beside the supervising, which must not wait for it."""
    console.print(text, highlight=False, soft_wrap=True)
    alert = Alert("services", f"{text}. Logs: {settings.data_dir / 'logs'}", "warning", settings.environment)
    threading.Thread(target=notify, args=(settings, alert), daemon=True).start()


def _services(settings: Settings, private: Path) -> tuple[Service, Service, Service, Service, Service]:
    """One code server for webserver and daemon, under the name that workspace.yaml gives it.

    With a code server of its own, dagster-daemon (1.13) starts it anew every minute: 7 s of a processor each time.
    """
    logs, tools = settings.data_dir / "logs", Path(sys.executable).parent
    code = private / "code.sock"
    server = {"socket": str(code), "host": "localhost", "location_name": DEFINITIONS}
    workspace_file = private / "workspace.yaml"
    workspace_file.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # JSON is YAML too
    workspace = ["-w", str(workspace_file)]
    address = ["-h", settings.webserver_host, "-p", str(settings.webserver_port)]
    variables = child_environment(settings)
    # Whoever exports it for Dagster's asset commands: beside a workspace file it is refused.
    variables.pop("DAGSTER_MODULE_NAME", None)
    # Dagster lets a .env of the working directory win over the environment: work where there is none.
    folder = settings.data_dir
    return (
        Service(
            "code server", [
                str(tools / "dagster"), "code-server", "start", "-m", DEFINITIONS, "-s", str(code),
                "--location-name", DEFINITIONS,
            ],
            logs / "code.log", variables, folder, socket=code,
        ),
        Service(
            "webserver", [sys.executable, "-m", "lakehouse_assets.instance.webserver", *address, *workspace],
            logs / "webserver.log", variables, folder, settings.webserver_host, settings.webserver_port,
        ),
        Service("daemon", [str(tools / "dagster-daemon"), "run", *workspace], logs / "daemon.log", variables, folder),
        Service(
            "query service", [sys.executable, "-m", "lakehouse.query.http.server"], logs / "query.log", variables,
            folder, settings.query_host, settings.query_port,
        ),
        Service(
            "dashboard", [
                sys.executable, "-m", "lakehouse.dashboard.server",
                "--host", settings.query_host, "--port", str(settings.dashboard_port),
            ],
            logs / "dashboard.log", dashboard_environment(settings),
            folder, settings.query_host, settings.dashboard_port,
        ),
    )  # fmt: skip


def _show_addresses(settings: Settings, console: Console) -> None:
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")
    embedded = not settings.postgres_url.get_secret_value()
    table.add_row("PostgreSQL", "embedded, on a socket" if embedded else "yours")
    table.add_row("Dagster web UI", f"http://{settings.webserver_host}:{settings.webserver_port}")
    table.add_row("Dagster daemon", "schedules, sensors and queued runs")
    table.add_row("Query service", f"http://{reachable(settings.query_host)}:{settings.query_port}")
    if settings.query_postgres_port:
        address = f"{reachable(settings.query_postgres_host)}:{settings.query_postgres_port}"
        table.add_row("  for PostgreSQL's clients", f"postgresql://{settings.environment}@{address}/lakehouse")
    table.add_row("Dashboard", f"http://{reachable(settings.query_host)}:{settings.dashboard_port}")
    table.add_row("Lake", settings.lake_uri)
    table.add_row("Landing zone", settings.landing_uri)
    console.print(table)
    console.print("[bold]Ctrl-C[/bold] ends them all.")


def _fail_abandoned_runs(settings: Settings, console: Console) -> None:
    """Runs that died with the services, now or the last time, must not count as started."""
    with closing(connect(settings)) as postgres:
        there = postgres.execute("SELECT to_regclass('dagster.runs')").fetchone()
        if not there or there[0] is None:
            return
        at_work = postgres.execute(
            "SELECT count(*) FROM dagster.runs WHERE status IN ('STARTING', 'STARTED', 'CANCELING')"
        ).fetchone()
    if at_work and at_work[0]:  # Dagster takes seconds to import
        done = subprocess.run(
            [sys.executable, "-m", "lakehouse_assets.instance.abandoned_runs"],
            env=child_environment(settings), cwd=settings.data_dir, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        console.print(done.stdout, end="", highlight=False, soft_wrap=True)
