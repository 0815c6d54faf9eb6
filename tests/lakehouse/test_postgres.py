"""The embedded PostgreSQL lives as long as a process uses it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.lake import ducklake as lake_module
from lakehouse.lake import postgres
from lakehouse.lake.ducklake import Lake, LakeError
from lakehouse.lake.postgres import PostgresError
from lakehouse.settings import Settings
from lakehouse.writing.locks import holding, pipeline_lock
from tests.databases import create_database

HOLD = """
import sys
from pathlib import Path
from lakehouse.lake.postgres import join
print(join(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def postmaster(folder: Path) -> psutil.Process | None:
    """The server's process, if it runs."""
    try:
        return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that uses the server until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None and process.stdout.readline().strip()
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate()
    assert process.returncode == 0


def test_the_last_process_to_leave_stops_the_server(tmp_path: Path) -> None:
    first, second = hold(tmp_path / "pg"), hold(tmp_path / "pg")
    leave(first)
    assert postmaster(tmp_path / "pg")
    leave(second)
    assert postmaster(tmp_path / "pg") is None


def test_a_killed_process_does_not_keep_the_server_running(tmp_path: Path) -> None:
    killed, other = hold(tmp_path / "pg"), hold(tmp_path / "pg")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    leave(other)
    assert postmaster(tmp_path / "pg") is None


def test_a_killed_server_recovers_with_what_was_committed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with postgres.connect(settings) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    server = postmaster(tmp_path / "postgres")
    assert server
    for process in [server, *server.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs([server])
    with postgres.connect(settings) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
    postgres.leave(tmp_path / "postgres")


def test_no_server_at_the_address_is_one_sentence_without_the_password() -> None:
    settings = Settings(postgres_url="postgresql://someone:hunter2@127.0.0.1:1/x")
    with pytest.raises(PostgresError, match="PostgreSQL does not answer") as caught:
        postgres.connect(settings)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_can_not_start_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "START_TIMEOUT_SECONDS", 0.0)
    settings = Settings(data_dir=tmp_path)
    postgres.connect(settings).close()
    postgres.leave(tmp_path / "postgres")
    with open(tmp_path / "postgres" / "data" / "postgresql.conf", "a") as configuration:
        configuration.write("no_such_parameter = on\n")
    with pytest.raises(PostgresError, match="did not start.*log says why"):
        postgres.connect(settings)


def test_a_deep_folder_works_though_socket_paths_are_short(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("deep" * 20) / ("deeper" * 10))
    settings.data_dir.mkdir(parents=True)
    with postgres.connect(settings) as connection:
        assert isinstance(connection, psycopg.Connection)
    postgres.leave(settings.data_dir / "postgres")


def test_another_server_is_never_sent_the_lakes_password(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Settings(postgres_url="postgresql://lake:ours%27@db/lake?sslmode=require")
    assert postgres.postgres_url(ours) == "postgresql://lake@db/lake?sslmode=require"
    assert (os.environ["PGPASSWORD"], os.environ["PGSSLMODE"]) == ("ours'", "require")
    with postgres.libpq_environment("postgresql://bi@elsewhere/x") as address:
        assert address == "postgresql://bi@elsewhere/x"
        assert not {"PGPASSWORD", "PGSSLMODE"} & os.environ.keys()
    with postgres.libpq_environment("postgresql://bi:theirs@elsewhere:5433/x") as address:
        assert (address, os.environ["PGPASSWORD"]) == ("postgresql://bi@elsewhere:5433/x", "theirs")
    assert os.environ["PGPASSWORD"] == "ours'"
    postgres.postgres_url(Settings(postgres_url="postgresql://lake@db/lake"))
    assert not {"PGPASSWORD", "PGSSLMODE"} & os.environ.keys()
    monkeypatch.setenv("PGPASSWORD", "exported by its user")
    with postgres.libpq_environment("postgresql://bi@elsewhere/x"):
        assert os.environ["PGPASSWORD"] == "exported by its user"


POLISH = """DO $$ BEGIN RAISE division_by_zero USING MESSAGE =
CASE current_setting('lc_messages') WHEN 'C' THEN 'division by zero' ELSE 'dzielenie przez zero' END; END $$"""


def test_a_server_whose_messages_are_not_english_is_found_by_bootstrap(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckLake reads them. The embedded server knows no other language: its error is made up."""
    monkeypatch.setattr(lake_module, "FAILING_SQL", POLISH)
    url = create_database(server_url, "polish")
    name = urlsplit(url).path.strip("/")
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute(f"""ALTER DATABASE "{name}" SET lc_messages TO 'POSIX'""")
        administrator.execute(f'CREATE ROLE "{name}" LOGIN; GRANT CREATE ON DATABASE "{name}" TO "{name}"')
    theirs = urlsplit(url)._replace(netloc=f"{name}@").geturl()
    with pytest.raises(LakeError, match="not in English.*ALTER DATABASE"):
        Lake(Settings(data_dir=tmp_path, postgres_url=SecretStr(theirs))).bootstrap()
    lake = Lake(Settings(data_dir=tmp_path, postgres_url=SecretStr(url)))
    lake.bootstrap()
    with postgres.connect(lake.settings) as connection:
        assert connection.execute("SHOW lc_messages").fetchone() == ("C",)
        connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM "{name}"; DROP OWNED BY "{name}" CASCADE')


def test_a_server_that_restarts_or_is_full_is_waited_for(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    postgres.connect(settings).close()
    data = tmp_path / "postgres" / "data"
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), how)
        with holding(settings, [pipeline_lock("p")], holder="test") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    with postgres.connect(settings) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 5")
        connection.execute("ALTER SYSTEM SET superuser_reserved_connections = 0")
        connection.execute("ALTER SYSTEM SET max_wal_senders = 0")
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
    full = [postgres.connect(settings) for _ in range(5)]
    timer = threading.Timer(1, full[0].close)
    timer.start()
    postgres.connect(settings).close()
    timer.join()
    for connection in full:
        connection.close()
    postgres.leave(tmp_path / "postgres")
