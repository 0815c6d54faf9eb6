"""`lakehouse up` as a test runs it: started, asked, ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests.lakehouse_instance import TOOLS, LakehouseInstance

READY = "Ctrl-C ends them all"
START_TIMEOUT_SECONDS = 400
SLOW = 4
"""So many times slower a machine may be than one on which a time-out was chosen."""
Found = TypeVar("Found")


@dataclass
class RunningServices:
    """A supervisor at work and what it printed."""

    instance: LakehouseInstance
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """The web UI."""
        return f"http://127.0.0.1:{self.instance.port}"

    @property
    def query_url(self) -> str:
        """The query service."""
        return f"http://127.0.0.1:{self.instance.query_port}"

    @property
    def dashboard_url(self) -> str:
        """The dashboard."""
        return f"http://127.0.0.1:{self.instance.dashboard_port}"

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def graphql(self, query: str) -> Any:
        """The webserver's answer to a query, without its outer layer."""
        reply = requests.post(f"{self.url}/graphql", json={"query": query}, timeout=60).json()
        assert "errors" not in reply, reply["errors"]
        return reply["data"]

    def unfinished_runs(self) -> list[Any]:
        """Runs that are queued or at work."""
        statuses = "[QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING]"
        reply = self.graphql(
            f"{{runsOrError(filter: {{statuses: {statuses}}}) {{... on Runs {{results {{runId jobName status}}}}}}}}"
        )
        results: list[Any] = reply["runsOrError"]["results"]
        return results

    def end(self, number: signal.Signals = signal.SIGINT, timeout_seconds: float = 240) -> int:
        """Ask it to end and wait; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_seconds)


@contextmanager
def running_services(instance: LakehouseInstance) -> Iterator[RunningServices]:
    """Start `lakehouse up` and wait until it says that it is ready; end it afterwards."""
    log = instance.root / "up.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [str(TOOLS / "lakehouse"), "up"], env=instance.environment, cwd=instance.root, stdout=output, stderr=output
        )
    services = RunningServices(instance, process, log)
    try:
        until(
            lambda: READY in services.printed or process.poll() is not None,
            START_TIMEOUT_SECONDS, lambda: f"`lakehouse up` is not ready: {services.printed}",
        )  # fmt: skip
        assert process.poll() is None, services.printed
        yield services
    finally:
        services.end()


def until(condition: Callable[[], Found], timeout_seconds: float, otherwise: Callable[[], str]) -> Found:
    """Wait until the condition holds and give what it gave; fail with `otherwise` when it does not in time."""
    deadline, pause = time.monotonic() + SLOW * timeout_seconds, 0.1
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{otherwise()} (waited {SLOW * timeout_seconds:.0f} s)"
        time.sleep(pause)
        pause = min(1.3 * pause, 2)  # what takes long is not asked all the time
    return found
