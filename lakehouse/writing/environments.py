"""Environments that come, go and are promoted: which tables each uses, and the locks under which that changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager

import psycopg

from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake, LakeError
from lakehouse.lake.postgres import connect
from lakehouse.writing import marks
from lakehouse.writing.locks import environment_lock, holding, tables_lock

Report = Callable[[str], None]
NAME = re.compile(r"prod|qa|dev|dev_[a-z0-9_]{1,36}|pr_[0-9]{1,9}")


class EnvironmentNameError(LakehouseError, ValueError):
    """A name that no environment can have; the message says which it can."""

    exit_code = 2


def checked_name(name: str) -> str:
    """The name itself.

    Raises:
        EnvironmentNameError: it has other characters, which SQLMesh would silently replace, or another form.
    """
    if not NAME.fullmatch(name):
        raise EnvironmentNameError(
            f"{name!r} is no name for an environment: prod, qa, dev, dev_<name> or pr_<number> is, of small letters, "
            "digits and underscores, 40 at most."
        )
    return name


def require_ledger(lake: Lake) -> None:
    """Raises LakeError where there is no lake yet, or one from before environments had tables of their own here.

    And where this login may only read, in one sentence rather than in SQLMesh's words.
    """
    with closing(connect(lake.settings)) as connection:
        row = connection.execute(
            """
            SELECT tablename IS NOT NULL, has_table_privilege('ledger.' || tablename, 'INSERT')
            FROM (VALUES ('held_back')) AS wanted (name)
            LEFT JOIN pg_tables ON schemaname = 'ledger' AND tablename = name
            """
        ).fetchone()
        user = connection.info.user
    if not row or not row[0]:
        raise LakeError("The lake's ledger is missing or older than this: `lakehouse bootstrap` makes what is missing.")
    if not row[1]:
        raise LakeError(f"{user} may only read the lake: this wants a login of the writer's role (docs/security.md).")


def claim(connection: psycopg.Connection, environment: str, tables: Collection[str]) -> None:
    """The environment uses exactly these physical tables from now on. Call in the transaction that says it is done."""
    connection.execute(
        "UPDATE ledger.table_users SET used = false WHERE environment = %s AND physical_table <> ALL(%s)",
        [environment, list(tables)],
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.table_users (physical_table, environment) VALUES (%s, %s)
            ON CONFLICT (physical_table, environment) DO UPDATE
            SET used = true, since = CASE WHEN ledger.table_users.used THEN ledger.table_users.since ELSE now() END
            """,
            [(table, environment) for table in sorted(tables)],
        )


def first_users(connection: psycopg.Connection) -> dict[str, list[str]]:
    """By physical table the environments that use it, first user first; none in a ledger that is older than this."""
    there = connection.execute("SELECT to_regclass('ledger.table_users') IS NOT NULL").fetchone()
    if not there or not there[0]:
        return {}
    rows = connection.execute(
        """
        SELECT physical_table, array_agg(environment ORDER BY since, environment)
        FROM ledger.table_users WHERE used GROUP BY physical_table
        """
    ).fetchall()
    return dict(rows)


def ever_used(connection: psycopg.Connection, environment: str) -> set[str]:
    """Every physical table that the environment uses or has moved on from."""
    rows = connection.execute(
        "SELECT physical_table FROM ledger.table_users WHERE environment = %s", [environment]
    ).fetchall()
    return {table for (table,) in rows}


def forget(connection: psycopg.Connection, environment: str, dropped_tables: Collection[str]) -> None:
    """Remove every row about an environment that is gone, and about the tables that went with it."""
    with connection.transaction():
        connection.execute("DELETE FROM ledger.table_users WHERE environment = %s", [environment])
        connection.execute("DELETE FROM ledger.deployments WHERE environment = %s", [environment])
        connection.execute("DELETE FROM ledger.marks WHERE kind <> 'load' AND scope = %s", [environment])
        for table in ("watermarks", "timings"):
            connection.execute(f"DELETE FROM ledger.{table} WHERE physical_table = ANY(%s)", [list(dropped_tables)])


def forget_tables(connection: psycopg.Connection, dropped: Collection[str]) -> None:
    """Remove every row about physical tables that were dropped."""
    with connection.transaction():
        for table in ("table_users", "watermarks", "timings"):
            connection.execute(f"DELETE FROM ledger.{table} WHERE physical_table = ANY(%s)", [list(dropped)])


class Change:
    """What an environment `target` becomes: the models of `source`, which others have computed."""

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.held: set[str] = set()
        """The environments that may not compute meanwhile, beside the target."""

    def others(self) -> Collection[str]:
        """Asked with their locks held, all of them: whoever owns a table that `target` takes over, too."""
        return self.held

    def check(self, connection: psycopg.Connection) -> None:
        """With all locks held it may refuse by an error, which leaves nothing behind."""

    def tables(self) -> Collection[str]:
        """The physical tables that `target` uses from then on."""
        raise NotImplementedError

    def done(self, connection: psycopg.Connection) -> None:
        """All is done and the mark is gone, the locks still held."""


@contextmanager
def promoting(lake: Lake, change: Change, *, run: str, report: Report = lambda _: None) -> Iterator[None]:
    """Make the change inside this block, with no run beside it.

    A kill inside the block leaves the mark of a deploy: the next promotion or deploy of the target does its work again
    and removes it.
    """
    target, names = change.target, {change.target, *change.held}
    while True:
        locks = [*(environment_lock(name) for name in names), tables_lock(shared=True)]
        with holding(lake.settings, locks, holder=run, waiting=report) as connection:
            if (wanted := {target, *change.others()}) <= names:
                change.check(connection)
                snapshot = lake.newest_snapshot()
                marks.write(connection, "deploy", target, run=run, snapshot=snapshot, details={"from": change.source})
                yield
                tables = change.tables()
                with connection.transaction():
                    claim(connection, target, tables)
                    marks.clear(connection, "deploy", target)
                change.done(connection)
                return
        names |= wanted


@contextmanager
def dropping(
    lake: Lake, environment: str, *, run: str, report: Report = lambda _: None
) -> Iterator[psycopg.Connection]:
    """Delete an environment inside this block: nobody computes in it, and nobody begins to use a table meanwhile."""
    locks = [environment_lock(environment), tables_lock()]
    with holding(lake.settings, locks, holder=run, waiting=report) as connection:
        yield connection
