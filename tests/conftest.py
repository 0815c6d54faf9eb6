"""What all tests share: one embedded PostgreSQL for the session, a database and a lake of its own for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake import Lake
from lakehouse.postgres import postgres_url
from lakehouse.settings import PROJECT_ROOT, Settings

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Tests see the defaults, whatever the developer's environment and .env say."""
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_") or name == "DAGSTER_HOME"]:
        patch.delenv(name)
    patch.setattr(settings_module, "ENV_FILE", PROJECT_ROOT / "no-such.env")
    patch.setitem(Settings.model_config, "env_file", None)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL server for the session. It ends with this process."""
    return postgres_url(Settings(data_dir=tmp_path_factory.mktemp("server")))


@pytest.fixture
def database_url(server_url: str) -> str:
    """An empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server_url.replace("/lakehouse?", f"/{name}?")


@pytest.fixture
def lakehouse_environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Environment variables that give a process a lakehouse of its own."""
    return {
        "LAKEHOUSE_DATA_DIR": str(tmp_path / "data"),
        "LAKEHOUSE_POSTGRES_URL": database_url,
        "LAKEHOUSE_LOCK_TIMEOUT_SECONDS": "60",
    }


@pytest.fixture
def settings(lakehouse_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The same lakehouse for this process."""
    for name, value in lakehouse_environment.items():
        monkeypatch.setenv(name, value)
    settings_module.load_settings.cache_clear()
    yield settings_module.load_settings()
    settings_module.load_settings.cache_clear()


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """An empty lake."""
    lake = Lake(settings)
    lake.bootstrap()
    return lake


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the project; tests on it fail without."""
    folder = PROJECT_ROOT.parent / "shared" / "data"
    assert folder.is_dir(), f"The real data are missing: {folder}. They are not part of the project; ask its maintainers."
    return folder
