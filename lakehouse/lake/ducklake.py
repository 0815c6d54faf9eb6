"""The lake: one DuckLake, attached everywhere under the same alias and the same metadata schema."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import psycopg
import psycopg.sql

from lakehouse.errors import LakehouseError
from lakehouse.lake import ledger
from lakehouse.lake.connections import ONLY_AT_CONNECT, Config, duckdb_config
from lakehouse.lake.postgres import connect as connect_postgres
from lakehouse.lake.postgres import postgres_url
from lakehouse.settings import Settings, make_private
from lakehouse.storage import ConflictError, NotThereError, Storage, open_storage
from lakehouse.storage.s3 import S3Storage, duckdb_secret

ALIAS = "lakehouse"
"""SQLMesh writes the catalog's alias into every view, so every client attaches under this one."""
METADATA_SCHEMA = "lakehouse"
"""dlt passes its `ducklake_name` as this; where the two differ they see two different lakes."""
ZONES = ("raw", "staging", "marts")
BOOTSTRAP_LOCK = "bootstrap"
FAILING_SQL, ENGLISH = "SELECT 1 / 0", "division by zero"
IDENTITY_KEY = "lakehouse.json"
"""In the storage: which lake's files lie there."""


class LakeError(LakehouseError):
    """The lake can't be reached or isn't there yet; the message says what to do."""


@dataclass(frozen=True)
class Lake:
    """How to reach the lake. Holds no connection."""

    settings: Settings

    def duckdb_config(self) -> Config:
        """Configuration of every DuckDB connection that touches the lake, for `duckdb.connect`."""
        return duckdb_config(self.settings)

    def duckdb_settings(self) -> Config:
        """What of it can be SET on a connection that is open: for SQLMesh (0.236), which does so."""
        return {name: value for name, value in self.duckdb_config().items() if name != ONLY_AT_CONNECT}

    @property
    def postgres_url(self) -> str:
        """The catalog's address as a URL; starts the embedded server where there is none."""
        return postgres_url(self.settings)

    @property
    def catalog(self) -> str:
        """The catalog's address as DuckLake wants it: `postgres:` and libpq keywords."""
        return "postgres:" + libpq_keywords(self.postgres_url)

    @property
    def data_path(self) -> str:
        """Absolute, since DuckLake remembers it and refuses another spelling."""
        return f"{self.settings.lake_uri}/"

    @cached_property
    def storage(self) -> Storage:
        """Where the files lie."""
        return open_storage(self.settings)

    def duckdb_secrets(self) -> list[dict[str, str | bool]]:
        """The options of each CREATE SECRET that a connection needs before it attaches: none for a folder."""
        return [duckdb_secret(self.settings)] if self.settings.stores_on_s3 else []

    def connect(self, *, read_only: bool = False, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the lake, `lakehouse` being the current database, in UTC.

        `snapshot` pins every table and view to that version of the lake, whatever is written meanwhile.

        Raises:
            LakeError: there is no lake yet, or no such snapshot.
        """
        connection = duckdb.connect(config=self.duckdb_config())
        try:
            self.attach(connection, read_only=read_only, snapshot=snapshot)
        except duckdb.Error as error:
            connection.close()
            reason = str(error).splitlines()[0]
            if "does not exist - and creating" in reason:
                raise LakeError("There is no lake yet: `make demo` or `lakehouse bootstrap` creates it.") from None
            raise LakeError(
                f"The lake can't be attached: {reason}\n"
                "`lakehouse status` says what runs; .env.example says what each setting means."
            ) from None
        return connection

    def bootstrap(self, *, create_bucket: bool = False) -> None:
        """Create the lake and its zones. Safe to call again and from several processes at once.

        A bucket that is missing is an error, unless it is to be created: a name misspelt would be a second, empty lake.
        The first attach that creates a DuckLake is racy (one of four processes wins), so it happens under a lock.
        """
        if isinstance(self.storage, S3Storage):
            self.storage.make_ready(create=create_bucket)
        else:
            for folder in (self.settings.data_dir, Path(self.settings.storage_uri), Path(self.settings.lake_uri)):
                make_private(folder)
        with closing(connect_postgres(self.settings)) as postgres:
            postgres.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [BOOTSTRAP_LOCK])
            try:
                ledger.bootstrap(postgres)
            except ledger.LedgerError as error:
                raise LakeError(str(error)) from None
            self._claim_storage(postgres)
            _let_speak_english(postgres)
            with closing(duckdb.connect(config=self.duckdb_config())) as connection:
                self.attach(connection, create=True)
                for zone in ZONES:
                    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {zone}")
                _name_files_plainly(connection)
            postgres.execute(ledger.WATCH_SQL)

    def _claim_storage(self, postgres: psycopg.Connection) -> None:
        """Raises LakeError when the storage is another lake's."""
        own = ledger.lake_id(postgres)
        content = json.dumps({"lake": own}).encode()
        owner = self.storage_owner()
        if owner is None:
            try:
                self.storage.write(IDENTITY_KEY, content, new=True)
                return
            except ConflictError:  # another process was quicker
                owner = self.storage_owner()
        if owner != own:
            raise LakeError(
                f"{self.settings.storage_uri} holds the files of another lake: its catalog is not in this PostgreSQL. "
                "Give this lake a LAKEHOUSE_STORAGE of its own. If the catalog was lost, `lakehouse restore` brings a "
                f"backup of it back; to begin anew over old files, delete {IDENTITY_KEY} there."
            )

    def storage_owner(self) -> str | None:
        """The identity of the lake whose files lie in the storage; None where none has claimed it yet."""
        try:
            content, _ = self.storage.read(IDENTITY_KEY)
        except NotThereError:
            return None
        return str(json.loads(content)["lake"])

    def newest_snapshot(self) -> int:
        """The number of the lake's newest snapshot."""
        with closing(connect_postgres(self.settings)) as postgres:
            row = postgres.execute(f"SELECT max(snapshot_id) FROM {METADATA_SCHEMA}.ducklake_snapshot").fetchone()
        assert row is not None
        return int(row[0])

    def has_snapshot(self, snapshot: int) -> bool:
        """Whether the lake can still be read as it was then."""
        with closing(connect_postgres(self.settings)) as postgres:
            row = postgres.execute(
                f"SELECT EXISTS (SELECT FROM {METADATA_SCHEMA}.ducklake_snapshot WHERE snapshot_id = %s)", [snapshot]
            ).fetchone()
        return bool(row and row[0])

    def attach(
        self,
        connection: duckdb.DuckDBPyConnection,
        *,
        read_only: bool = False,
        snapshot: int | None = None,
        create: bool = False,
    ) -> None:
        """Attach the lake to a connection that has `duckdb_config`, and make it current."""
        options = [f"METADATA_SCHEMA '{METADATA_SCHEMA}'", f"CREATE_IF_NOT_EXISTS {str(create).lower()}"]
        if create:
            options.append(f"DATA_PATH {quoted(self.data_path)}")
        else:  # else the columns of every table in the database are read, SQLMesh's and Dagster's too
            options.append(f"META_SCHEMA '{METADATA_SCHEMA}'")
        if read_only or snapshot is not None:
            options.append("READ_ONLY")
        if snapshot is not None:
            options.append(f"SNAPSHOT_VERSION {snapshot:d}")
        connection.execute("SET TimeZone = 'UTC'")
        for secret in self.duckdb_secrets():
            connection.execute(create_secret(secret))
        connection.execute(f"ATTACH {quoted('ducklake:' + self.catalog)} AS {ALIAS} ({', '.join(options)})")
        connection.execute(f"USE {ALIAS}")


def _let_speak_english(postgres: psycopg.Connection) -> None:
    """By PostgreSQL's message, in English, DuckLake (1.0) knows that a commit has lost a race and is to be tried again.

    Raises LakeError where the server speaks another language and this login may not change that.
    """
    if _speaks_english(postgres):
        return
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
        name = psycopg.sql.Identifier(postgres.info.dbname)
        postgres.execute(psycopg.sql.SQL("ALTER DATABASE {} SET lc_messages TO 'C'").format(name))
        postgres.execute("SET lc_messages TO 'C'")
        if _speaks_english(postgres):
            return
    raise LakeError(
        "PostgreSQL's messages are not in English, and by them alone DuckLake knows which commits to try again: two "
        f"writers at once would fail. Its administrator changes that for this database, others stay as they are: ALTER "
        f"DATABASE \"{postgres.info.dbname}\" SET lc_messages TO 'C'. Then start this again."
    )


def _speaks_english(postgres: psycopg.Connection) -> bool:
    try:
        postgres.execute(FAILING_SQL)
    except psycopg.errors.DivisionByZero as error:
        return error.diag.message_primary == ENGLISH
    return False


def _name_files_plainly(connection: duckdb.DuckDBPyConnection) -> None:
    """No folder `column=value` for a partition: a long value is a name that no file system takes, and neither writing
    nor compaction would get past it. DuckLake's catalog knows which file holds which value."""
    known = connection.execute(
        f"SELECT value FROM ducklake_options('{ALIAS}') WHERE option_name = 'hive_file_pattern'"
    ).fetchone()
    if known != ("false",):
        connection.execute(f"CALL {ALIAS}.set_option('hive_file_pattern', false)")


def create_secret(options: Mapping[str, str | bool]) -> str:
    """DuckDB's CREATE SECRET: never to be logged."""
    words = ", ".join(
        f"{name} {str(value).lower() if isinstance(value, bool) else quoted(value)}" for name, value in options.items()
    )
    return f"CREATE OR REPLACE SECRET storage ({words})"


def libpq_keywords(url: str) -> str:
    """`postgresql://…` as libpq's `key=value` words, which is what DuckLake's ATTACH takes."""
    parts = urlsplit(url)
    words = {
        "dbname": unquote(parts.path.strip("/")),
        "host": unquote(parts.hostname or ""),
        "port": str(parts.port or ""),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        **{key: values[-1] for key, values in parse_qs(parts.query).items()},
    }
    return " ".join(f"{key}={_libpq_value(value)}" for key, value in words.items() if value)


def _libpq_value(value: str) -> str:
    if value and not set(value) & set(" '\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A SQL name, quoted."""
    return '"' + name.replace('"', '""') + '"'
