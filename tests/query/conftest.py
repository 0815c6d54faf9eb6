"""A published release and the query service over it, as strangers reach it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lakehouse.settings import Settings
from tests import calls
from tests.databases import create_database, empty_lake
from tests.lakehouse.releases.conftest import Publisher, served
from tests.ports import free_ports

DAYS = 100
ROWS = 100_000
CHECK = {
    "name": "not_null", "audit": "not_null(columns := i)", "blocking": True, "result": "passed",
    "at": "2026-11-28T04:00:00Z",
}  # fmt: skip


@dataclass
class Service:
    """A running query service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    postgres_port: int = 0

    def ask(self, sql: str, accept: str = "application/json", token: str = "", **asked: Any) -> httpx.Response:
        """One call."""
        headers = {"accept": accept} | ({"authorization": f"Bearer {token}"} if token else {})
        return calls.post(f"{self.url}/query", json={"sql": sql, **asked}, headers=headers, timeout=300)

    def rows(self, sql: str, **asked: Any) -> list[list[Any]]:
        """The rows of an answer that must come."""
        reply = self.ask(sql, **asked)
        assert reply.status_code == 200, reply.text
        return list(reply.json()["rows"])


@contextmanager
def serving(settings: Settings, folder: Path, **variables: str) -> Iterator[Service]:
    """The service as a process, on a port of its own."""
    port, postgres_port = free_ports(2)
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {
        **own,
        "LAKEHOUSE_DATA_DIR": str(settings.data_dir),
        "LAKEHOUSE_QUERY_PORT": str(port),
        "LAKEHOUSE_QUERY_POSTGRES_PORT": str(postgres_port),
        "LAKEHOUSE_QUERY_WORKERS": "2",
        **variables,
    }
    log = folder / f"query-{port}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lakehouse.query.http.server"], env=environment, stdout=output, stderr=output
        )
    service = Service(f"http://127.0.0.1:{port}", process, log, postgres_port)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                if calls.get(f"{service.url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield service
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def publisher(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A lake with two served tables and one that is not served, released."""
    folder = tmp_path_factory.mktemp("query")
    publisher = Publisher(empty_lake(Settings(data_dir=folder / "data", postgres_url=create_database(server_url))))
    publisher.execute(
        f"CREATE TABLE marts.days AS SELECT DATE '2024-01-01' + (i % {DAYS})::INT AS day, i, i / 7.0 AS part "
        f"FROM range({ROWS}) t(i)",
        "CREATE TABLE marts.names AS SELECT * FROM (VALUES (1, 'one'), (2, NULL)) t(id, name)",
        "CREATE TABLE staging.secret AS SELECT 42 AS answer",
    )
    publisher.publish(
        served("marts.days", "1", partitioned_by=("day",), description="Numbers by day.", columns={"i": "A number."}),
        served("marts.names", "1"),
        told={"marts.days": {"owner": "analytics", "grain": ("i",), "cron": "@daily", "checks": (CHECK,)}},
        lineage={
            "marts.days": {"part": [["staging.numbers", "n"]]}, "staging.numbers": {"n": [["raw.numbers", "value"]]},
        },
    )  # fmt: skip
    return publisher


@pytest.fixture(scope="module")
def service(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with tight limits, so that what must be stopped is stopped soon."""
    with tightly_served(publisher.lake.settings, tmp_path_factory.mktemp("service"), seconds=6) as running:
        yield running


@contextmanager
def tightly_served(settings: Settings, folder: Path, seconds: int) -> Iterator[Service]:
    """The service with small limits. One thread a worker: what is to be stopped burns no second core until then."""
    with serving(
        settings, folder, LAKEHOUSE_QUERY_SECONDS=str(seconds), LAKEHOUSE_QUERY_MEMORY_MB="400",
        LAKEHOUSE_QUERY_MB="20", LAKEHOUSE_QUERY_ROWS="200000", LAKEHOUSE_THREADS="1",
    ) as running:  # fmt: skip
        yield running
