"""A lake with the dashboard's marts, released; the query service over it; the dashboard, asking through a proxy."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from lakehouse.child_environments import dashboard_environment
from lakehouse.query.client import LakehouseClient
from lakehouse.settings import PROJECT_ROOT, Settings
from tests.browser.conftest import browser, images, page  # noqa: F401
from tests.dashboard import marts
from tests.dashboard.counting_proxy import CountingProxy, counting_proxy
from tests.databases import create_database, empty_lake
from tests.lakehouse.releases.conftest import Publisher, served
from tests.lakehouse_instance import bare_environment
from tests.ports import free_ports
from tests.running_services import until

START_SECONDS = 400
DEMO_PAGES = PROJECT_ROOT / "sqlmesh_project" / "pages"


@dataclass
class Dashboard:
    """A dashboard at work, and what stands behind it."""

    url: str
    publisher: Publisher
    proxy: CountingProxy
    client: LakehouseClient
    """Asks the service itself, past the proxy."""

    def publish(self, *tables: str) -> int:
        """Release these tables as the lake holds them; gives the release's number."""
        content = f"content {time.monotonic_ns()}"
        self.publisher.publish(*(served(name, content) for name in tables))
        return self.served(int(self.client.releases()["releases"][0]["release"]))

    def served(self, number: int) -> int:
        """Wait until the service gives its readers this release: it looks for a new one twice a second."""
        until(lambda: self.client.newest() == number, 60, lambda: f"release {self.client.newest()} instead of {number}")
        return number


@pytest.fixture(scope="package")
def dashboard(server_url: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """One for all tests here; the first release holds every mart."""
    folder = tmp_path_factory.mktemp("dashboard")
    query_port, dashboard_port = free_ports(2)
    settings = Settings(
        data_dir=folder, postgres_url=create_database(server_url), threads=2, query_workers=2,
        query_port=query_port, dashboard_port=dashboard_port,
    )  # fmt: skip
    publisher = Publisher(empty_lake(settings))
    publisher.execute(*marts.statements(shared_data))
    publisher.pages = {file.stem: file.read_text() for file in DEMO_PAGES.glob("*.md")}
    publisher.publish(*(served(name, "first") for name in marts.ALL))
    service_environment = {
        **bare_environment(),
        "LAKEHOUSE_DATA_DIR": str(folder), "LAKEHOUSE_QUERY_PORT": str(query_port),
        "LAKEHOUSE_QUERY_POSTGRES_PORT": "0",
        "LAKEHOUSE_QUERY_WORKERS": "2", "LAKEHOUSE_THREADS": "2",
    }  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(_process(folder, "lakehouse.query.http.server", environment=service_environment))
        service = settings.query_service_url
        _wait(f"{service}/readyz", folder / "lakehouse.query.http.server.log")
        proxy = stack.enter_context(counting_proxy(service))
        environment = dashboard_environment(settings.model_copy(update={"query_url": proxy.url}))
        options = ("--port", str(dashboard_port))
        stack.enter_context(_process(folder, "lakehouse.dashboard.server", *options, environment=environment))
        url = f"http://127.0.0.1:{dashboard_port}"
        _wait(f"{url}/_stcore/health", folder / "lakehouse.dashboard.server.log")
        yield Dashboard(url, publisher, proxy, LakehouseClient(service))


@contextmanager
def _process(folder: Path, module: str, *options: str, environment: dict[str, str]) -> Iterator[None]:
    with open(folder / f"{module}.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options], env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, f"{url} does not answer: {log.read_text()}"
        time.sleep(0.2)
