"""A small lake with two releases, and a query service over it on a real port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from lakehouse import settings as settings_module
from lakehouse.query.engine import tokens
from lakehouse.query.http.app import create_app
from lakehouse.query.http.server import options
from lakehouse.settings import Settings
from lakehouse.storage import open_storage
from tests.databases import create_database, empty_lake
from tests.lakehouse.releases.conftest import Publisher, served
from tests.ports import free_ports

TRIPS = """
    CREATE TABLE marts.trips AS
    SELECT DATE '2024-01-01' + (i % 10)::INTEGER AS d, i::BIGINT AS id, (i * 0.25)::DECIMAL(9, 2) AS fare,
        CASE WHEN i % 7 > 0 THEN 'zone ' || i % 3 END AS zone, to_days((i % 4)::INTEGER) AS lasted
    FROM range(1000) AS r(i)
"""


@pytest.fixture(scope="package")
def released(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Release 1 holds 1000 trips over ten days, release 2, which readers get, 1001."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("asking"),
        postgres_url=create_database(server_url),
        query_workers=2, query_rows=400_000, query_memory_mb=512, threads=1,
    )  # fmt: skip
    publisher = Publisher(empty_lake(settings))
    publisher.execute(TRIPS)
    publisher.publish(served("marts.trips", "v1"))
    publisher.execute("INSERT INTO marts.trips VALUES ('2024-01-10', 1000, 0.5, 'late', INTERVAL 1 MONTH)")
    publisher.publish(served("marts.trips", "v2"))
    return settings


@pytest.fixture(scope="package")
def service_url(released: Settings) -> Iterator[str]:
    """The query service, as `lakehouse serve` runs it."""
    (port,) = free_ports(1)
    settings = released.model_copy(update={"query_port": port})
    server = uvicorn.Server(uvicorn.Config(**options(settings, create_app(settings))))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="package")
def token(released: Settings) -> str:
    """A token for prod with small limits."""
    return tokens.create(open_storage(released), "reader", ["prod"], by="tester", rows=100)


@pytest.fixture
def command_environment(released: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """This process's environment names the lake: for commands and for Lambda's handler."""
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", str(released.data_dir))
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_URL", released.postgres_url.get_secret_value())
    monkeypatch.setenv("LAKEHOUSE_THREADS", "1")
    monkeypatch.setenv("LAKEHOUSE_QUERY_MEMORY_MB", "512")
    settings_module.load_settings.cache_clear()
    yield released
    settings_module.load_settings.cache_clear()
