"""What all tests share: one embedded PostgreSQL for the session, a database and a lake of its own for each test."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lakehouse import settings as settings_module
from lakehouse.lake import Lake
from lakehouse.postgres import leave, postgres_url
from lakehouse.settings import PROJECT_ROOT, Settings

pytest_plugins = ["tests.lakehouse_fixtures"]

_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A folder of its own for each test run.

    pytest's common parent is made private by whichever run starts last, and an embedded PostgreSQL, which does not run
    as root, could then no longer reach its files.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="lakehouse-tests-", ignore_cleanup_errors=True)
        Path(folder.name).chmod(0o755)
        config.option.basetemp = str(Path(folder.name) / "run")
        config.add_cleanup(folder.cleanup)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests share servers and lakehouses, so one worker runs them all."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        # These two share the lakehouse that `lakehouse demo` fills.
        item.add_marker(pytest.mark.xdist_group("instance" if folder in ("browser", "commands") else folder))


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
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for the session."""
    folder = tmp_path_factory.mktemp("server")
    yield postgres_url(Settings(data_dir=folder))
    leave(folder / "postgres")


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
    assert folder.is_dir(), (
        f"The real data are missing: {folder}. They are not part of the project; ask its maintainers."
    )
    return folder
