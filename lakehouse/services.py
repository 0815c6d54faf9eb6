"""What `lakehouse up` runs: PostgreSQL where it is embedded, the Dagster webserver and daemon."""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lakehouse.lake import Lake
from lakehouse.settings import PROJECT_ROOT, child_environment
from lakehouse.supervisor import Service, ServiceError, supervise


def run_services(lake: Lake, console: Console) -> None:
    """Run until Ctrl-C. Raises ServiceError when a port is taken, a service can't start, or this is already up."""
    settings = lake.settings
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with open(settings.data_dir / "up.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(f"It is already up: another process runs the services of {settings.data_dir}.") from None
        logs = settings.data_dir / "logs"
        workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
        tools = Path(sys.executable).parent
        variables = child_environment(settings)
        # An activated shell carries it for Dagster's asset commands; beside a workspace file it is refused.
        variables.pop("DAGSTER_MODULE_NAME", None)
        webserver = Service(
            "webserver",
            [str(tools / "dagster-webserver"), "-h", settings.webserver_host, "-p", str(settings.webserver_port),
             *workspace],
            logs / "webserver.log", variables, settings.webserver_host, settings.webserver_port,
        )  # fmt: skip
        daemon = Service("daemon", [str(tools / "dagster-daemon"), "run", *workspace], logs / "daemon.log", variables)
        webserver.check_port("LAKEHOUSE_WEBSERVER_PORT")
        console.print("Starting … (logs in " + str(logs) + ")", highlight=False)
        lake.bootstrap()

        def ready() -> None:
            table = Table(show_header=False, box=None)
            embedded = not settings.postgres_url.get_secret_value()
            table.add_row("PostgreSQL", "embedded, on a socket" if embedded else "yours")
            table.add_row("Dagster web UI", f"http://{settings.webserver_host}:{settings.webserver_port}")
            table.add_row("Dagster daemon", "schedules, sensors and queued runs")
            table.add_row("Lake", str(settings.lake_dir))
            table.add_row("Landing zone", str(settings.landing_dir))
            console.print(table)
            console.print("[bold]Ctrl-C[/bold] ends them all.")

        supervise([webserver, daemon], ready=ready, say=lambda text: console.print(text, highlight=False))
        console.print("Ended; nothing is left running.")
