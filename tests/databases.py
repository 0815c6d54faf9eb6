"""Databases in the tests' PostgreSQL, and empty lakes, which are copies of one."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.lake.postgres import connect
from lakehouse.settings import Settings, make_private
from lakehouse.storage.s3 import S3Storage

_numbers = itertools.count(1)


def create_database(server_url: str, name: str = "test", template: str = "template1") -> str:
    """The address of a new database. Its name begins with `name` and is nobody else's."""
    database = f"{name}_{os.getpid()}_{next(_numbers)}"
    _execute(server_url, f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
    return at_database(server_url, database)


def at_database(server_url: str, database: str) -> str:
    """The same server's address, at another database."""
    return urlsplit(server_url)._replace(path=f"/{database}").geturl()


def empty_lake(settings: Settings, prepare: Callable[[Lake], None] | None = None) -> Lake:
    """What `Lake.bootstrap`, and then `prepare`, make of an empty database, in a fraction of the time.

    The database becomes a copy of one in which they ran before, with an identity of its own and this lake's data path.
    `prepare` may leave dlt's working folders and no more than a few rows in any table, for which DuckLake writes no
    file.
    """
    lake = Lake(settings)
    url = settings.postgres_url.get_secret_value()
    database, server = urlsplit(url).path.strip("/"), at_database(url, "lakehouse")
    template = _template(server, prepare)
    _execute(server, f'DROP DATABASE "{database}"', f'CREATE DATABASE "{database}" TEMPLATE "{template.database}"')
    if template.pipelines.exists():
        shutil.copytree(template.pipelines, settings.pipelines_dir, dirs_exist_ok=True)
    if isinstance(lake.storage, S3Storage):
        lake.storage.make_ready(create=False)
    else:
        for folder in (settings.data_dir, Path(settings.storage_uri), Path(settings.lake_uri)):
            make_private(folder)
    with closing(connect(settings)) as postgres:
        postgres.execute(
            f"UPDATE {METADATA_SCHEMA}.ducklake_metadata SET value = %s WHERE key = 'data_path'", [lake.data_path]
        )
        postgres.execute("UPDATE ledger.identity SET id = gen_random_uuid()")
        lake._claim_storage(postgres)
    return lake


@dataclass(frozen=True)
class Template:
    """A lake to be copied."""

    database: str
    folder: tempfile.TemporaryDirectory[str]
    """Goes when the tests end."""
    pipelines: Path


@cache
def _template(server: str, prepare: Callable[[Lake], None] | None) -> Template:
    url, folder = create_database(server, "template"), tempfile.TemporaryDirectory(prefix="lakehouse-tests-")
    # A folder, whatever storage the test that needs it first is for.
    storage = str(Path(folder.name) / "storage")
    settings = Settings(data_dir=Path(folder.name), storage=storage, postgres_url=url)  # type: ignore[arg-type]
    lake = Lake(settings)
    lake.bootstrap()
    if prepare is not None:
        prepare(lake)
    database = urlsplit(url).path.strip("/")
    # Who still holds a connection to it, as dlt does, keeps it from being copied.
    _execute(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    return Template(database, folder, settings.pipelines_dir)


def _execute(server: str, *statements: str) -> None:
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]
