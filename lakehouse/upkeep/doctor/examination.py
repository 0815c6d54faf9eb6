"""What the checks share: settings, one connection to PostgreSQL, the storage; each tried once, and the failure kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA
from lakehouse.lake.postgres import DATABASE, PostgresError, leave, postgres_url
from lakehouse.settings import Settings, SettingsError
from lakehouse.storage import Storage, StorageError, open_storage
from lakehouse.upkeep.doctor.embedded import EmbeddedServer, State, look_at

STATEMENT_TIMEOUT_SECONDS = 15
Made = TypeVar("Made")


class UnableError(Exception):
    """A check can't be made; the message says why, in a few words."""


class Examination:
    """One look at everything. `close` gives back what it opened."""

    def __init__(self, load: Callable[[], Settings]) -> None:
        self._known: dict[str, object] = {}
        self._load = load

    @classmethod
    def joining(cls, settings: Settings, postgres: psycopg.Connection) -> Examination:
        """For a single check, by whoever has joined the lake: not to be closed."""
        found = cls(lambda: settings)
        found._known["postgres"] = postgres
        return found

    @property
    def settings(self) -> Settings:
        """Raises UnableError when they are wrong."""
        return self._once("settings", self._settings)

    @property
    def server(self) -> EmbeddedServer | None:
        """The embedded server as it was before anybody joined it; None when the settings name another."""
        return self._once("server", self._server)

    @property
    def postgres(self) -> psycopg.Connection:
        """A connection that can't write. Raises UnableError when nothing answers, or nothing may be woken."""
        return self._once("postgres", self._postgres)

    @property
    def storage(self) -> Storage:
        """Raises UnableError when it can't be reached."""
        return self._once("storage", self._storage)

    def seconds(self) -> float:
        """This machine's clock, since 1970."""
        return time.time()

    def has(self, *tables: str) -> bool:
        """Whether these tables of the database exist."""
        rows = self.postgres.execute("SELECT to_regclass(name) IS NOT NULL FROM unnest(%s::text[]) name", [[*tables]])
        return all(there for (there,) in rows.fetchall())

    def require_lake(self) -> None:
        """Raises UnableError when there is no lake, or no ledger beside it."""
        if not self.has(f"{METADATA_SCHEMA}.ducklake_snapshot", "ledger.marks", "ledger.releases"):
            raise UnableError("there is no lake yet")

    def close(self) -> None:
        """Leave everything as it was."""
        connection = self._known.get("postgres")
        if isinstance(connection, psycopg.Connection):
            connection.close()
        server = self._known.get("server")
        if isinstance(server, EmbeddedServer):
            leave(server.folder.parent)

    def _once(self, name: str, make: Callable[[], Made]) -> Made:
        if name not in self._known:
            try:
                self._known[name] = make()
            except UnableError as error:
                self._known[name] = error
        found = self._known[name]
        if isinstance(found, UnableError):
            raise found
        return found  # type: ignore[return-value]

    def _settings(self) -> Settings:
        try:
            return self._load()
        except SettingsError:
            raise UnableError("the settings are wrong") from None

    def _server(self) -> EmbeddedServer | None:
        if self.settings.postgres_url.get_secret_value():
            return None
        return look_at(self.settings.data_dir.resolve() / "postgres")

    def _postgres(self) -> psycopg.Connection:
        server = self.server
        if server and server.state is State.ABSENT:
            raise UnableError("there is no embedded PostgreSQL yet")
        if server and server.state is State.KILLED:
            raise UnableError("the embedded PostgreSQL was killed, and is left as it is")
        try:
            if server and server.state is State.ORPHANED:  # who joins it would stop it on leaving
                url = f"postgresql://postgres@/{DATABASE}?host={quote(str(server.socket_dir), safe='/')}"
            else:
                url = postgres_url(self.settings)
            connection = psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="lakehouse doctor")
        except (PostgresError, psycopg.Error) as error:
            raise UnableError(f"PostgreSQL does not answer ({reason(error)})") from None
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'")
        return connection

    def _storage(self) -> Storage:
        try:
            storage = open_storage(self.settings)
            if self.settings.stores_on_s3:  # an object that is missing looks like a bucket that is
                next(storage.list("landing/"), None)
        except (StorageError, SettingsError) as error:
            raise UnableError(f"the storage can't be reached: {reason(error)}") from None
        return storage


def reason(error: Exception) -> str:
    """An error's last sentence that says something, without a password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = lines[0] if not isinstance(error, psycopg.Error) else lines[-1]
    return re.sub(r"://[^@\s/]*@", "://…@", line).rstrip(".")
