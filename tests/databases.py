"""Databases in the tests' PostgreSQL, and empty lakes, which are copies of one."""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from lakehouse.lake import METADATA_SCHEMA, Lake
from lakehouse.postgres import connect
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


def empty_lake(settings: Settings) -> Lake:
    """What `Lake.bootstrap` makes of an empty database, in a fraction of the time: the database becomes a copy of one
    that was bootstrapped before, with an identity of its own and this lake's data path."""
    lake = Lake(settings)
    url = settings.postgres_url.get_secret_value()
    database, server = urlsplit(url).path.strip("/"), at_database(url, "lakehouse")
    _execute(server, f'DROP DATABASE "{database}"', f'CREATE DATABASE "{database}" TEMPLATE "{_template(server)}"')
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


@cache
def _template(server: str) -> str:
    url = create_database(server, "empty_lake")
    with tempfile.TemporaryDirectory(prefix="lakehouse-tests-") as folder:
        Lake(Settings(data_dir=Path(folder), postgres_url=url)).bootstrap()  # type: ignore[arg-type]
    return urlsplit(url).path.strip("/")


def _execute(server: str, *statements: str) -> None:
    with closing(psycopg.connect(server, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]
