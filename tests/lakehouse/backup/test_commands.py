"""`lakehouse backup`, `backups` and `restore` say what they did, and what is wrong in sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse import settings as settings_module
from lakehouse.cli.backup import app
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.lake.roles import Roles
from tests.lakehouse.releases.conftest import Publisher


@pytest.mark.parametrize("storage_environment", ["folder"], indirect=True)
def test_the_commands_from_backup_to_restore(
    publisher: Publisher, elsewhere: Callable[[], Lake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.execute("CREATE TABLE raw.numbers AS FROM range(5000)")
    place = str(tmp_path / "saved")
    run = CliRunner().invoke

    said = run(app, ["backup", place])
    assert (said.exit_code, said.stderr) == (0, "")
    assert "1 file and the database" in said.stdout
    made = run(app, ["backup", place, "--keep", "1", "--json"])
    record = json.loads(made.stdout)
    assert (record["files"], record["files_copied"], len(record["removed"])) == (1, 1, 1)
    (listed,) = json.loads(run(app, ["backups", place, "--json"]).stdout)
    assert listed["stamp"] == record["stamp"]
    assert record["stamp"] in run(app, ["backups", place]).stdout
    assert f"Backup {record['stamp']} is whole" in run(app, ["restore", place, "--check"]).stdout

    (file,) = publisher.lake.storage.list("lake/")
    publisher.lake.storage.delete([file.key])
    lost = run(app, ["backup", place])
    assert lost.exit_code == 1
    assert f"{file.key} is missing" in lost.stderr
    assert "1 file put back, 0 were whole." in run(app, ["restore", place, "--file", file.key]).stdout

    refused = run(app, ["restore", place])
    assert refused.exit_code == 1
    assert "A restore wants an empty lakehouse" in refused.stderr
    assert "There is no backup 2020" in run(app, ["restore", place, "--at", "2020"]).stderr
    assert run(app, ["restore", place, "--at", "2020", "--file", "x"]).exit_code == 2
    assert "is no file of the lake or of a release" in run(app, ["restore", place, "--file", "landing/x"]).stderr

    lake = elsewhere()
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_URL", lake.settings.postgres_url.get_secret_value())
    monkeypatch.setenv("LAKEHOUSE_DATA_DIR", str(lake.settings.data_dir))
    settings_module.load_settings.cache_clear()
    restored = run(app, ["restore", place, "--at", record["stamp"]])
    assert restored.exit_code == 0, restored.stderr
    assert "Restored" in restored.stdout
    with closing(connect(lake.settings)) as connection:  # a dump has no rights in it
        writer = Roles.of(connection.info.dbname).writer
        right = connection.execute("SELECT has_table_privilege(%s, 'ledger.marks', 'INSERT')", [writer]).fetchone()
    assert right == (True,)


def test_a_newer_server_than_the_tools_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse.upkeep.backup import database
    from lakehouse.upkeep.backup.manifest import BackupError

    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        BackupError, match=r"needs pg_dump of PostgreSQL 99 or newer, and the newest pg_dump here is \d+"
    ):
        database._tool("pg_dump", 99)
