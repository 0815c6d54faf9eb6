"""`lakehouse doctor` names each trouble that is planted here, says nothing of a healthy lake, and changes nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from typer.testing import CliRunner

from lakehouse import settings as settings_module
from lakehouse.cli.doctor import app
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.settings import Settings, load_settings
from lakehouse.upkeep.doctor import checks, machine
from lakehouse.upkeep.doctor.embedded import State, look_at
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Level, Result
from lakehouse.writing import marks
from lakehouse.writing.locks import holding, pipeline_lock
from tests.databases import create_database, empty_lake
from tests.object_store import READER_KEY, READER_SECRET, ObjectStore
from tests.ports import free_ports

HOLD = """
import sys
from pathlib import Path
from lakehouse.lake.postgres import join
print(join(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def look(settings: Settings, *names: str, later_seconds: float = 0.0) -> dict[str, Result]:
    """What these checks say, all of them when none is named; the clock may be ahead."""

    class Later(Examination):
        def seconds(self) -> float:
            return super().seconds() + later_seconds

    wanted = [check for check in checks.CHECKS if not names or check.name in names]
    with closing(Later(lambda: settings)) as examination:
        return {result.name: result for result in checks.examine(examination, wanted)}


def finding(settings: Settings, name: str, level: Level = Level.WRONG, **options: float) -> str:
    """The whole text of the one finding of a check."""
    result = look(settings, name, **options)[name]
    assert result.level is level, result
    (found,) = result.findings
    assert found.where and found.why and found.do
    return f"{found.what} | {found.where} | {found.why} | {found.do}"


@pytest.fixture(scope="module")
def shared_lake(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a table of files, and ports that nobody else uses."""
    web, query, dashboard = free_ports(3)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("doctor") / "data",
        postgres_url=create_database(server_url),
        webserver_port=web, query_port=query, dashboard_port=dashboard,
    )  # fmt: skip
    lake = empty_lake(settings)
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.numbers AS SELECT range AS n FROM range(1000)")
    return lake


@pytest.fixture
def healthy(shared_lake: Lake) -> Iterator[Settings]:
    """The shared lake's settings; what a test plants in the ledger goes with the test."""
    yield shared_lake.settings
    with closing(connect(shared_lake.settings)) as connection:
        connection.execute("TRUNCATE ledger.marks, ledger.releases, ledger.pointers")


def test_a_healthy_lake_has_no_finding_and_every_check_can_look(healthy: Settings) -> None:
    found = look(healthy)
    assert {name: result.line for name, result in found.items() if result.level is not Level.WELL} == {}
    assert "1 of the 1 files" in found["files"].line


def test_it_changes_nothing(healthy: Settings, tmp_path: Path) -> None:
    snapshot = Lake(healthy).newest_snapshot()
    before = sorted(healthy.data_dir.rglob("*"))
    look(healthy)
    assert sorted(healthy.data_dir.rglob("*")) == before
    assert Lake(healthy).newest_snapshot() == snapshot
    nowhere = Settings(data_dir=tmp_path / "nowhere", postgres_url="")
    assert look(nowhere, "server", "lakes")["lakes"].level is Level.UNKNOWN
    assert "no lake yet" in finding(nowhere, "server", Level.WARNING)
    assert not nowhere.data_dir.exists()


def test_wrong_settings_are_named_and_the_checks_without_them_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_MEMORY_LIMIT", "lots")
    monkeypatch.setattr(checks, "entry_points", lambda group: [])
    load_settings.cache_clear()
    done = CliRunner().invoke(app, ["--json"])
    load_settings.cache_clear()
    assert done.exit_code == 1
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert "LAKEHOUSE_MEMORY_LIMIT" in found["settings"]["findings"][0]["what"]
    assert found[".env"]["state"] == "ok"
    assert found["lakes"]["line"] == "not looked at: the settings are wrong"


def test_secrets_that_others_may_read_are_named_by_their_setting(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("LAKEHOUSE_S3_SECRET_ACCESS_KEY=hunter2hunter2\n")
    file.chmod(0o644)
    monkeypatch.setattr(settings_module, "ENV_FILE", file)
    said = finding(settings, ".env", Level.WARNING)
    assert "LAKEHOUSE_S3_SECRET_ACCESS_KEY" in said and "chmod 600" in said and "hunter2" not in said
    file.chmod(0o600)
    assert look(settings, ".env")[".env"].level is Level.WELL


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [(0.001, 0.5, Level.WRONG), (0.05, 0.5, Level.WARNING), (0.5, 0.005, Level.WRONG), (0.5, 0.5, Level.WELL)],
)
def test_a_disk_that_is_nearly_full(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free: float, inodes: float, level: Level
) -> None:
    blocks = 25_000_000  # of 4 kB: 100 GB
    disk = os.statvfs_result((4096, 4096, blocks, 0, int(blocks * free), 1000, 0, int(1000 * inodes), 0, 255))
    monkeypatch.setattr(machine.os, "statvfs", lambda _: disk)
    assert look(settings, "disks")["disks"].level is level


@contextmanager
def serving(reply: dict[str, Any]) -> Iterator[int]:
    """A web server that answers everything with this JSON; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_an_orphaned_and_a_killed_server_are_found_and_not_healed(tmp_path: Path) -> None:
    folder, settings = tmp_path / "postgres", Settings(data_dir=tmp_path)
    user = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=-1, stdout=-1)
    assert user.stdout is not None and user.stdout.readline()
    assert look_at(folder).state is State.RUNNING
    assert look(settings, "server")["server"].level is Level.WELL
    user.kill()
    user.communicate()
    said = finding(settings, "server", Level.WARNING)
    assert "nobody uses it" in said and f"kill -INT {look_at(folder).pid}" in said
    # The other checks look into it, and leave it as it is.
    assert look(settings, "database", "lakes")["database"].level is Level.WELL
    orphan = look_at(folder)
    assert orphan.state is State.ORPHANED and orphan.pid is not None
    postmaster = psutil.Process(orphan.pid)
    for process in [postmaster, *postmaster.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs([postmaster])
    assert "postmaster.pid without a process" in finding(settings, "server", Level.WARNING)
    assert "was killed" in look(settings, "database")["database"].line
    assert look_at(folder).state is State.KILLED


def test_no_postgresql_is_one_finding_without_the_password_and_the_rest_goes_on(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, postgres_url="postgresql://someone:hunter2@127.0.0.1:1/x")
    found = look(settings, "database", "lakes", "marks", "storage")
    assert found["database"].level is Level.WRONG and found["storage"].level is Level.WELL
    assert found["lakes"].level is found["marks"].level is Level.UNKNOWN
    assert "hunter2" not in str(found)


def test_a_clock_that_is_a_minute_off(healthy: Settings) -> None:
    said = finding(healthy, "clocks", later_seconds=60)
    assert "the clock of PostgreSQL is 60 seconds behind" in said


def test_a_second_lake_in_the_database(healthy: Settings) -> None:
    lake = Lake(healthy)
    import duckdb

    with closing(duckdb.connect(config=lake.duckdb_config())) as connection:
        connection.execute(f"ATTACH 'ducklake:{lake.catalog}' AS other (DATA_PATH '{healthy.data_dir}/other/')")
    said = finding(healthy, "lakes")
    with closing(connect(healthy)) as postgres:
        postgres.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert "2 lakes are in one database" in said and "public" in said and "METADATA_SCHEMA 'lakehouse'" in said


def test_a_moved_folder_and_files_that_are_gone(healthy: Settings) -> None:
    moved = healthy.model_copy(update={"storage": str(healthy.data_dir / "elsewhere")})
    said = finding(moved, "data path")
    assert "elsewhere/lake/" in said and f"LAKEHOUSE_STORAGE={healthy.storage_uri}" in said
    file = next(Path(healthy.lake_uri).rglob("*.parquet"))
    file.rename(file.with_suffix(".gone"))
    assert "raw.numbers" in finding(healthy, "files")
    file.with_suffix(".gone").rename(file)


def test_a_storage_that_is_no_folder(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    Path(settings.storage_uri).write_text("not a folder")
    assert "is no folder" in finding(settings, "storage")


def test_an_object_store_without_versions_rights_bucket_or_at_all(
    settings: Settings, object_store: ObjectStore
) -> None:
    bucket = object_store.new_bucket()
    values = {
        name.removeprefix("LAKEHOUSE_").lower(): value for name, value in object_store.environment(bucket).items()
    }
    store = Settings(data_dir=settings.data_dir, postgres_url=settings.postgres_url, **values)
    assert "keeps no versions" in finding(store, "storage", Level.WARNING)
    Lake(store).bootstrap()
    found = look(store, "storage", "clocks", "files")
    assert {result.level for result in found.values()} == {Level.WELL}, found
    assert "the object store" in found["clocks"].line
    assert object_store.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    missing = store.model_copy(update={"storage": "s3://no-such-bucket/lake"})
    assert "there is no such bucket" in finding(missing, "storage")
    reader = Settings(data_dir=settings.data_dir, **{
        **values, "s3_access_key_id": READER_KEY, "s3_secret_access_key": READER_SECRET
    })  # fmt: skip
    assert "may not do that" in finding(reader, "storage")


def test_a_mark_that_nobody_repairs_and_one_that_is_worked_on(healthy: Settings) -> None:
    with holding(healthy, [pipeline_lock("shop")], holder="run 1") as connection:
        marks.write(connection, "load", "shop", run="run 1", snapshot=1)
        assert look(healthy, "marks", later_seconds=3600)["marks"].level is Level.WELL
    said = finding(healthy, "marks")  # nobody holds its lock: whoever loaded is dead
    assert "unfinished load of shop" in said and "left by run 1" in said and "lakehouse load abandon shop" in said


def test_a_lock_that_is_held_for_hours(healthy: Settings) -> None:
    with holding(healthy, [pipeline_lock("shop")], holder="run 7") as connection:
        marks.write(connection, "load", "shop", run="run 7", snapshot=1)
        said = finding(healthy, "locks", Level.WARNING, later_seconds=4 * 3600)
    assert "pipeline shop held for 4 hours" in said and "run 7" in said


@pytest.fixture
def released(healthy: Settings) -> Iterator[tuple[Settings, psycopg.Connection]]:
    """One published release of raw.numbers, its pointer written."""
    from lakehouse.releases.pointer import pointer_key
    from lakehouse.storage import open_storage

    table = log.ServedTable("marts.numbers", "raw.numbers", "raw.numbers", "x")
    with closing(connect(healthy)) as connection:
        snapshot = Lake(healthy).newest_snapshot()
        release = log.write(connection, "prod", snapshot, [table], code_version="1", run="r", author="a", changed=[])
        log.published(connection, release)
        content = {"environment": "prod", "release": 1, "newest": 1, "held": None}
        open_storage(healthy).write(pointer_key("prod"), json.dumps(content).encode())
        yield healthy, connection


def test_releases_that_wait_holds_that_are_forgotten_and_readers_left_behind(
    released: tuple[Settings, psycopg.Connection],
) -> None:
    settings, connection = released
    found = look(settings, "releases", "pointer", later_seconds=3 * 86400)
    assert found["releases"].level is found["pointer"].level is Level.WELL, found
    with closing(Lake(settings).connect()) as lake:
        lake.execute("INSERT INTO raw.numbers SELECT range FROM range(1000)")
    said = finding(settings, "releases", Level.WARNING, later_seconds=2 * 3600)
    assert "release 1 of prod is older than 1 of its tables" in said and "marts.numbers" in said
    log.write(connection, "prod", 99, [], code_version="2", run="r", author="a", changed=[])
    assert "release 2 of prod waits to be published" in finding(settings, "releases", later_seconds=3600)
    log.hold(connection, "prod", 1, held_by="ann")
    result = look(settings, "releases", later_seconds=3 * 86400)["releases"]
    assert any("held at 1 by ann for 3 days" in one.what for one in result.findings)


def test_a_pointer_that_is_not_what_the_log_says_and_a_service_that_is_behind(
    released: tuple[Settings, psycopg.Connection],
) -> None:
    settings, connection = released
    with serving({"environment": "prod", "release": 1}) as port:
        asked = settings.model_copy(update={"query_url": f"http://127.0.0.1:{port}"})
        assert look(asked, "query service")["query service"].level is Level.WELL
    with serving({"environment": "prod", "release": 7}) as port:
        asked = settings.model_copy(update={"query_url": f"http://127.0.0.1:{port}"})
        assert "answers from release 7" in finding(asked, "query service", Level.WARNING)
    connection.execute("UPDATE ledger.pointers SET number = 5")
    assert "follow current.json to release 1, and the log says release 5" in finding(settings, "pointer")


def test_a_check_that_breaks_does_not_stop_the_others(settings: Settings) -> None:
    def broken(_: Examination) -> Any:
        raise RuntimeError("boom")

    with closing(Examination(lambda: settings)) as examination:
        first, second = checks.examine(examination, [checks.Check("x", broken), checks.CHECKS[0]])
    assert first.level is Level.WARNING and "RuntimeError: boom" in first.line
    assert second.level is Level.WELL
