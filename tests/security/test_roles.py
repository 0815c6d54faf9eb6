"""The roles of a lake in PostgreSQL, with real logins: each may do its work and nothing beyond."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.lake import roles
from lakehouse.lake.ducklake import Lake, LakeError
from lakehouse.lake.postgres import PostgresError, connect
from lakehouse.lake.roles import Roles, RolesError
from lakehouse.settings import Settings
from lakehouse.upkeep.backup import taking
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.writing.environments import require_ledger
from tests.security.logins import address, ask_logins_for_passwords, create_login

# What SQLMesh and Dagster make there themselves; test_secrets.py has the real ones.
STAND_INS = """
CREATE SCHEMA IF NOT EXISTS sqlmesh;
CREATE TABLE IF NOT EXISTS sqlmesh._environments (name text);
CREATE TABLE IF NOT EXISTS sqlmesh._snapshots (name text);
CREATE SCHEMA IF NOT EXISTS dagster;
CREATE TABLE IF NOT EXISTS dagster.runs (id serial, run_body text);
INSERT INTO dagster.runs (run_body) VALUES ('a run');
"""


@dataclass(frozen=True)
class Secured:
    """A lake with its roles, and a login of each."""

    url: str
    folder: Path
    names: Roles

    def lake(self, login: str = "") -> Lake:
        """The lake as a login sees it; without one, as the server's administrator."""
        url = address(self.url, f"login_{os.getpid()}_{login}") if login else self.url
        return Lake(Settings(data_dir=self.folder, postgres_url=SecretStr(url)))

    @contextmanager
    def postgres(self, login: str) -> Iterator[psycopg.Connection]:
        """Its direct connection."""
        with closing(connect(self.lake(login).settings)) as connection:
            yield connection


@pytest.fixture(scope="module")
def secured(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Secured:
    """A lake with one table of two rows, and the logins reader, writer, writer2 and owner."""
    ask_logins_for_passwords(server_url)
    database = f"secured-{os.getpid()}"
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    url = server_url.replace("/lakehouse?", f"/{database}?")
    made = Secured(url, tmp_path_factory.mktemp("secured"), Roles.of(database))
    lake = made.lake()
    lake.bootstrap()
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.t AS SELECT * FROM range(2) t (a)")
    with closing(connect(lake.settings)) as postgres:
        postgres.execute(STAND_INS)
        assert roles.make(postgres) == (made.names, made.names.names)
        for login, role in (("reader", "reader"), ("writer", "writer"), ("writer2", "writer"), ("owner", "owner")):
            name = create_login(server_url, f"login_{os.getpid()}_{login}")
            for statement in made.names.login(getattr(made.names, role), name)[1:]:
                postgres.execute(statement)  # type: ignore[arg-type]
    return made


def test_a_reader_reads_the_head_and_nothing_else(secured: Secured) -> None:
    lake = secured.lake("reader")
    with closing(lake.connect(read_only=True)) as connection:
        assert connection.execute("SELECT count(*) FROM raw.t").fetchone() == (2,)
    with secured.postgres("reader") as postgres:
        for allowed in ("SELECT * FROM ledger.marks", "SELECT * FROM sqlmesh._environments"):
            postgres.execute(allowed)
        for forbidden in (
            "SELECT * FROM dagster.runs",
            "SELECT * FROM sqlmesh._snapshots",
            "INSERT INTO ledger.postponed VALUES ('prod', '[]')",
            "DELETE FROM lakehouse.ducklake_snapshot",
            "ALTER TABLE ledger.marks ADD COLUMN x int",
            "CREATE TABLE lakehouse.x (a int)",
            "DROP SCHEMA ledger CASCADE",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                postgres.execute(forbidden)
    with closing(lake.connect()) as connection, pytest.raises(duckdb.Error, match="permission denied"):
        connection.execute("INSERT INTO raw.t VALUES (3)")
    with pytest.raises(LakeError, match=r"may only read the lake: this wants a login of the writer's role"):
        require_ledger(lake)


def test_a_writer_writes_what_every_other_writer_and_reader_then_has(secured: Secured) -> None:
    # Rows this few are inlined: DuckLake makes a table for them in PostgreSQL, whoever is writing.
    for login, wanted in (("writer", 1), ("writer2", 2)):
        with closing(secured.lake(login).connect()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS raw.few (a int)")
            connection.execute("INSERT INTO raw.few VALUES (1)")
        with closing(secured.lake("reader").connect(read_only=True)) as connection:
            assert connection.execute("SELECT count(*) FROM raw.few").fetchone() == (wanted,)
    with closing(secured.lake("writer2").connect()) as connection:
        connection.execute("CALL ducklake_flush_inlined_data('lakehouse')")
        connection.execute("ALTER TABLE raw.few ADD COLUMN b int; DELETE FROM raw.few; DROP TABLE raw.few")
    with secured.postgres("writer") as postgres:
        postgres.execute("INSERT INTO dagster.runs (run_body) VALUES ('another')")
        postgres.execute("DELETE FROM ledger.marks")


def test_a_writer_starts_the_services_and_cannot_drop_or_make_what_is_the_owners(secured: Secured) -> None:
    secured.lake("writer").bootstrap()  # what `lakehouse up` begins with
    with secured.postgres("writer") as postgres:
        for forbidden in (
            "DROP SCHEMA lakehouse CASCADE",
            "DROP TABLE ledger.releases",
            "ALTER TABLE dagster.runs ADD COLUMN x int",
            "CREATE SCHEMA mine",
            "CREATE ROLE x",
            f'DROP ROLE "{secured.names.reader}"',
            f'GRANT "{secured.names.owner}" TO CURRENT_USER',
            f'SET ROLE "{secured.names.owner}"',
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                postgres.execute(forbidden)  # type: ignore[arg-type]


def test_a_writer_makes_a_backup(secured: Secured, tmp_path: Path) -> None:
    lake = secured.lake("writer")
    with secured.postgres("owner") as postgres:  # what an upgrade of Dagster brings is the writers' too
        postgres.execute("CREATE TABLE dagster.newer (id serial)")
    taken = taking.take(lake, BackupPlace.at(lake.settings, str(tmp_path / "backups")), run="test")
    assert taken.manifest.database.size_bytes


def test_an_owner_bootstraps_and_alters_though_it_may_make_no_role(secured: Secured) -> None:
    secured.lake("owner").bootstrap()
    with secured.postgres("owner") as postgres:
        assert roles.make(postgres) == (secured.names, [])
        postgres.execute("ALTER TABLE ledger.marks ADD COLUMN x int; ALTER TABLE ledger.marks DROP COLUMN x")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            postgres.execute("CREATE ROLE x")


def test_a_writer_of_an_older_ledger_is_told_who_can_renew_it(secured: Secured) -> None:
    with secured.postgres("owner") as postgres:
        postgres.execute("COMMENT ON SCHEMA ledger IS 'lakehouse before'")
    with pytest.raises(LakeError, match="of another version.*run `lakehouse bootstrap` once as a login that owns it"):
        secured.lake("writer").bootstrap()
    secured.lake("owner").bootstrap()
    secured.lake("writer").bootstrap()


def test_a_login_that_may_make_no_roles_gets_a_sentence_and_a_lake(server_url: str, tmp_path: Path) -> None:
    ask_logins_for_passwords(server_url)
    database = f"managed_{os.getpid()}"
    login = create_login(server_url, f"login_{os.getpid()}_managed")
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        connection.execute(f'CREATE DATABASE "{database}" OWNER "{login}"')
    url = address(server_url.replace("/lakehouse?", f"/{database}?"), login)
    lake = Lake(Settings(data_dir=tmp_path, postgres_url=SecretStr(url)))
    lake.bootstrap()
    with closing(lake.connect()) as connection:  # its rows are inlined, in a table that becomes the writers'
        connection.execute("CREATE TABLE raw.before AS SELECT 1 AS a")
    with closing(connect(lake.settings)) as postgres:
        with pytest.raises(RolesError, match=f"{login} may not .permission denied to create role.*The lake works"):
            roles.make(postgres)
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        connection.execute(f'ALTER ROLE "{login}" CREATEROLE')
    with closing(connect(lake.settings)) as postgres:  # as on a managed server: no superuser, owner of its database
        assert roles.make(postgres)[1] == Roles.of(database).names
        assert roles.make(postgres)[1] == []
    with closing(lake.connect()) as connection:
        connection.execute("CREATE TABLE raw.t AS SELECT 1 AS a")


def test_a_writer_of_one_lake_reaches_no_other_on_the_server(secured: Secured, database_url: str) -> None:
    lake = Lake(Settings(data_dir=secured.folder / "other", postgres_url=SecretStr(database_url)))
    lake.bootstrap()
    with closing(connect(lake.settings)) as postgres:
        others, _ = roles.make(postgres)
    assert not set(others.names) & set(secured.names.names)
    elsewhere = address(database_url, f"login_{os.getpid()}_writer")
    with closing(connect(Settings(postgres_url=SecretStr(elsewhere)))) as postgres:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            postgres.execute("SELECT * FROM ledger.marks")


def test_a_wrong_password_is_a_sentence_without_it(secured: Secured) -> None:
    wrong = address(secured.url, f"login_{os.getpid()}_reader", "wr0ng'one")
    with pytest.raises(PostgresError, match="PostgreSQL refuses this login: password authentication failed") as caught:
        connect(Settings(postgres_url=SecretStr(wrong)))
    assert "wr0ng" not in str(caught.value)


def test_a_password_of_its_own_goes_with_an_address_that_has_none(secured: Secured) -> None:
    bare = address(secured.url, f"login_{os.getpid()}_reader", None)
    own = secured.lake("reader").settings.model_copy(update={"postgres_url": SecretStr(bare)})
    with pytest.raises(PostgresError, match="no password supplied"):
        connect(own)
    from tests.security.logins import PASSWORD

    with closing(connect(own.model_copy(update={"postgres_password": SecretStr(PASSWORD)}))) as postgres:
        assert postgres.execute("SELECT 1").fetchone() == (1,)


def test_a_login_that_is_made_has_its_role_and_may_be_given_another(secured: Secured) -> None:
    name = f"login_{os.getpid()}_made"
    with closing(connect(secured.lake().settings)) as postgres:
        roles.make_login(postgres, name, "writer", "first 'one")
        with closing(connect(Settings(postgres_url=SecretStr(address(secured.url, name, "first 'one"))))) as writer:
            writer.execute("DELETE FROM ledger.marks")
        roles.make_login(postgres, name, "reader", "second")
        for taken in ("postgres", secured.names.owner):
            with pytest.raises(RolesError, match=f"{taken} is a role or an administrator"):
                roles.make_login(postgres, taken, "reader", "second")
    with pytest.raises(PostgresError, match="password authentication failed"):
        connect(Settings(postgres_url=SecretStr(address(secured.url, name, "first 'one"))))
    with closing(connect(Settings(postgres_url=SecretStr(address(secured.url, name, "second"))))) as reader:
        reader.execute("SELECT * FROM ledger.marks")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM ledger.marks")


def test_names_that_postgresql_would_cut_to_the_same_stay_apart() -> None:
    one, other = Roles.of("x" * 60 + "one"), Roles.of("x" * 60 + "two")
    assert len({*one.names, *other.names}) == 6
    assert max(len(name) for name in one.names) <= 63
