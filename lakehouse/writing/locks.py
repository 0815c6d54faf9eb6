"""Advisory locks in PostgreSQL: one writer per pipeline and per environment, given back when its process dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from lakehouse.errors import LakehouseError
from lakehouse.lake.postgres import connect
from lakehouse.settings import Settings

ATTEMPTS = 5


class LockTimeoutError(LakehouseError):
    """Somebody else held a lock for longer than LAKEHOUSE_LOCK_TIMEOUT_SECONDS; the message says who."""


@dataclass(frozen=True, order=True)
class Lock:
    """What is locked. Taken in this class's sort order everywhere, so that two writers can't wait for each other."""

    kind: str  # publishing, then pipelines, environments, physical tables, maintenance, backup, runs: "2 environment"
    name: str
    shared: bool = False

    def __str__(self) -> str:
        return f"{self.kind.split(maxsplit=1)[-1]} {self.name}".strip()


def pipeline_lock(name: str, *, shared: bool = False) -> Lock:
    """A load holds its pipeline; those who read its tables hold it shared."""
    return Lock("1 pipeline", name, shared)


def environment_lock(name: str, *, shared: bool = False) -> Lock:
    """A run, deploy or promotion holds its environment; those who read its tables hold it shared."""
    return Lock("2 environment", name, shared)


def tables_lock(*, shared: bool = False) -> Lock:
    """Who deletes physical tables that nobody uses holds it; who may begin to use one holds it shared."""
    return Lock("3 physical tables", "", shared)


def maintenance_lock(*, shared: bool = False) -> Lock:
    """Who deletes files or forgets snapshots holds it; who needs all of them to stay for a while holds it shared."""
    return Lock("4 maintenance", "", shared)


def backup_lock() -> Lock:
    """One backup at a time."""
    return Lock("5 backup", "")


def run_lock(run_id: str) -> Lock:
    """The process that executes a run for a worker holds it as long as it lives."""
    return Lock("6 run", run_id)


@contextmanager
def holding(
    settings: Settings, locks: Iterable[Lock], *, holder: str, waiting: Callable[[str], None] = lambda _: None
) -> Iterator[psycopg.Connection]:
    """Hold all locks on one connection, which is handed out: work on it dies with the locks.

    `waiting` is told, in a sentence, whom this waits for.

    Raises:
        LockTimeoutError: one of them stayed taken.
    """
    with closing(_holding(settings, sorted(set(locks)), holder, waiting)) as connection:
        yield connection


def _holding(
    settings: Settings, locks: Iterable[Lock], holder: str, waiting: Callable[[str], None]
) -> psycopg.Connection:
    for attempt in range(1, ATTEMPTS + 1):
        connection = connect(settings)
        try:
            connection.execute("SELECT set_config('application_name', %s, false)", [f"lakehouse {holder}"[:63]])
            timeout = f"{settings.lock_timeout_seconds:.3f}s"
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [timeout])
            for lock in locks:
                _acquire(connection, lock, settings, waiting)
            connection.execute("SET lock_timeout = 0")
            return connection
        except BaseException as error:
            lost = isinstance(error, psycopg.OperationalError) and connection.broken
            connection.close()
            if not lost or attempt == ATTEMPTS:  # nothing was done yet: a server that restarts is asked again
                raise
    raise AssertionError


def try_lock(connection: psycopg.Connection, lock: Lock) -> str | None:
    """Take one more lock on a connection that holds some, without waiting: None when taken, else who holds it.

    Without waiting there is no order to keep.
    """
    suffix = "_shared" if lock.shared else ""
    row = connection.execute(f"SELECT pg_try_advisory_lock{suffix}(hashtextextended(%s, 0))", [str(lock)]).fetchone()
    return None if row and row[0] else _holders(connection, lock)


@contextmanager
def trying(connection: psycopg.Connection, lock: Lock) -> Iterator[str | None]:
    """Hold one more lock inside this block, if nobody has it: gives None, or who does, and then it is not held."""
    holders = try_lock(connection, lock)
    try:
        yield holders
    finally:
        if holders is None:
            suffix = "_shared" if lock.shared else ""
            connection.execute(f"SELECT pg_advisory_unlock{suffix}(hashtextextended(%s, 0))", [str(lock)])


def _acquire(connection: psycopg.Connection, lock: Lock, settings: Settings, waiting: Callable[[str], None]) -> None:
    holders = try_lock(connection, lock)
    if holders is None:
        return
    waiting(f"waiting for {lock}, held by {holders}")
    suffix = "_shared" if lock.shared else ""
    try:
        connection.execute(f"SELECT pg_advisory_lock{suffix}(hashtextextended(%s, 0))", [str(lock)])
    except psycopg.errors.LockNotAvailable:
        raise LockTimeoutError(
            f"{lock} was held by {_holders(connection, lock)} for {settings.lock_timeout_seconds:g} seconds. "
            "Nothing was changed. Try again when it has ended, or raise LAKEHOUSE_LOCK_TIMEOUT_SECONDS."
        ) from None


def _holders(connection: psycopg.Connection, lock: Lock) -> str:
    rows = connection.execute(
        """
        SELECT DISTINCT coalesce(nullif(activity.application_name, ''), 'process ' || held.pid)
        FROM pg_locks AS held
        JOIN pg_stat_activity AS activity USING (pid)
        WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
          AND ((held.classid::bigint << 32) | held.objid::bigint) = hashtextextended(%s, 0)
        """,
        [str(lock)],
    ).fetchall()
    return ", ".join(sorted(name for (name,) in rows)) or "a writer that has just ended"


@dataclass(frozen=True)
class Held:
    """A lock that somebody holds."""

    lock: str
    shared: bool
    holder: str
    pid: int  # of PostgreSQL's process
    client: str  # where the holder is
    since: datetime  # UTC, without a zone: when the connection that holds it was opened


def held(connection: psycopg.Connection, locks: Iterable[Lock]) -> list[Held]:
    """Who holds which of these locks. Takes none."""
    rows = connection.execute(
        """
        SELECT wanted.name, held.mode = 'ShareLock', coalesce(nullif(application_name, ''), 'process ' || held.pid),
            held.pid, coalesce(host(client_addr), 'this machine'), backend_start AT TIME ZONE 'UTC'
        FROM unnest(%s::text[]) AS wanted (name)
        JOIN pg_locks AS held ON held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
            AND ((held.classid::bigint << 32) | held.objid::bigint) = hashtextextended(wanted.name, 0)
        JOIN pg_stat_activity AS activity USING (pid)
        WHERE held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ORDER BY backend_start, wanted.name
        """,
        [sorted({str(lock) for lock in locks})],
    ).fetchall()
    return [Held(*row) for row in rows]
