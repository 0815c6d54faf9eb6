"""What all tests share: one embedded PostgreSQL for the session, a database and a lake of its own for each test."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import importlib_metadata
import psycopg
import pytest
from xdist.scheduler import LoadScopeScheduling

import lakehouse.cli.console  # noqa: F401 - made where a test has set COLUMNS, it would keep that width for good
from lakehouse import settings as settings_module
from lakehouse.garbage import collect_seldom
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import leave, postgres_url
from lakehouse.settings import PROJECT_ROOT, Settings
from tests import forking
from tests import object_store as object_store_module
from tests.databases import create_database, empty_lake
from tests.shared_cache import link_cache

pytest_plugins = ["tests.lakehouse_fixtures", "tests.arrivals"]

SHARED = {
    "what `lakehouse demo` fills": r"(browser|commands)/",
    "a deployed lakehouse": r"lakehouse_assets/test_(?!alerts|comp|definitions|doctor|io_man|pages|publish_f|workers)",
    "the models' lakes": "sqlmesh_project/",
    "the dashboard": "dashboard/",
    "a lake with two releases": "query/asking/",
}
"""What takes long to make, and whose tests (below tests/) use it: one worker runs them all. Longest first."""
LONG_FILES = r"sqlmesh_integration/test_ways_to_ask|security/|faults/|dlt_sources/|lakehouse/(releases|maintenance)"
"""Files that begin before the others, so that none of them ends alone."""

# A few examples here; `make prove` says --hypothesis-profile=many.
hypothesis.settings.register_profile("few", max_examples=15, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("many", max_examples=300, deadline=None, database=None)
hypothesis.settings.load_profile("few")

# SQLMesh's plans ask which package gives which module: 0.4 s of a processor each, and nothing is installed meanwhile.
importlib_metadata.packages_distributions = cache(importlib_metadata.packages_distributions)

# SQLMesh's own command line and contexts fork their process, which in these tests has threads: the child may die of it.
os.environ.setdefault("MAX_FORK_WORKERS", "1")

# Nobody is told of the tests' runs.
os.environ.setdefault("SQLMESH__DISABLE_ANONYMIZED_ANALYTICS", "true")
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")


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


def scope_of(nodeid: str) -> str:
    """Tests of one scope are run by one worker: those of a file, or of all files that share something."""
    file = nodeid.split("::")[0]
    below = file.removeprefix("tests/")
    return next((scope for scope, files in SHARED.items() if re.match(files, below)), file)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers what takes longest begins first, else it ends alone."""
    # What uses the demo's lakehouse while nobody else is at work on it comes before its services start.
    items.sort(key=lambda item: not {"demo_services", "arrivals"}.isdisjoint(getattr(item, "fixturenames", ())))
    if not hasattr(config, "workerinput"):
        return
    order = {scope: place for place, scope in enumerate(SHARED)}

    def place(item: pytest.Item) -> int:
        is_long = re.match(f"tests/({LONG_FILES})", item.nodeid)
        return order.get(scope_of(item.nodeid), len(order) + (not is_long))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Each worker holds Dagster, dlt, SQLMesh and all tests: a million objects to look at in vain."""
    collect_seldom()


class SharedScheduling(LoadScopeScheduling):
    """A worker for each scope.

    xdist's own groups (3.8) change an item's id in a way that pytest 9.2 no longer sees.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With `-n`, in the order of collection."""
    return SharedScheduling(config, log)


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


@pytest.fixture(scope="session", autouse=True)
def _source_files_are_read_without_delay() -> Iterator[None]:
    """In a process of their own, as ever, that need not import dlt first: each new lake would wait five seconds."""

    def describe(folder: Path, paths: list[Path]) -> str:
        return forking.run("python", "-m", describe_sources, str(folder), *map(str, paths)).stderr[-500:]

    describe_sources = "lakehouse_assets.defs.ingestion.describe_sources"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lakehouse_assets.defs.ingestion.sources._describe", describe)
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_settings_of_other_tests() -> None:
    """Who sets variables for longer than a test takes them back before the next file begins."""
    left = sorted(name for name in os.environ if name.startswith("LAKEHOUSE_") or name == "DAGSTER_HOME")
    assert left == [], f"Tests that ran before left {', '.join(left)} in the environment."


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for the session, which nobody needs after a power cut."""
    folder = tmp_path_factory.mktemp("server")
    url = postgres_url(Settings(data_dir=folder))
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")
    yield url
    leave(folder / "postgres")


@pytest.fixture
def database_url(server_url: str) -> str:
    """An empty database."""
    return create_database(server_url)


@pytest.fixture
def lakehouse_environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Environment variables that give a process a lakehouse of its own."""
    link_cache(tmp_path / "data", "extensions", "sources")
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
    return empty_lake(settings)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the project; tests on it fail without."""
    folder = PROJECT_ROOT.parent / "shared" / "data"
    assert folder.is_dir(), (
        f"The real data are missing: {folder}. They are not part of the project; ask its maintainers."
    )
    return folder


@pytest.fixture(scope="session")
def object_store() -> Iterator[object_store_module.ObjectStore]:
    """An S3 server for the session."""
    with object_store_module.serve() as store:
        yield store


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.proof)])
def storage_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of each kind of storage: `make test` runs who uses this on a folder, `make prove` on S3.

    Who is about what S3 does otherwise says `ON_BOTH`.
    """
    if request.param == "folder":
        return {}
    store: object_store_module.ObjectStore = request.getfixturevalue("object_store")
    return store.environment(store.new_bucket())
