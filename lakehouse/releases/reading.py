"""Reading releases: a DuckDB session over a frozen catalog. Read rights on the published zone are all it needs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import duckdb

from lakehouse.lake.connections import duckdb_config
from lakehouse.lake.ducklake import ALIAS, create_secret
from lakehouse.releases.frozen import CATALOG, attach_statement
from lakehouse.releases.log import ReleaseError, release_folder
from lakehouse.releases.manifest import Manifest, read_manifest
from lakehouse.releases.pointer import read_pointer
from lakehouse.settings import Settings
from lakehouse.storage import Storage, open_storage
from lakehouse.storage.s3 import duckdb_secret

ATTEMPTS = 3


@dataclass(frozen=True)
class Reading:
    """What readers of an environment get, or one release that they asked for."""

    environment: str
    number: int
    folder: str
    pointer: dict[str, Any]

    @property
    def held(self) -> str:
        """`held at N by …`, or nothing."""
        held = self.pointer.get("held")
        return f"held at {self.pointer['release']} by {held['by']}" if held else ""


def find_release(storage: Storage, environment: str, number: int | None = None) -> Reading:
    """The release that readers of `environment` get now, or the one with this number.

    Raises:
        ReleaseError: nothing was released there, or there is no such release (any more).
    """
    pointer = read_pointer(storage, environment)
    if pointer is None:
        raise ReleaseError(
            f"{environment} has no release yet: `make demo` makes the first, `lakehouse releases` lists all. "
            "`lakehouse query --head` reads what is there, finished or not."
        )
    wanted = number if number is not None else int(pointer["release"])
    folder = release_folder(environment, wanted)
    if number is not None and storage.find(f"{folder}/{CATALOG}") is None:
        raise ReleaseError(
            f"There is no release {number} of {environment} (any more): `lakehouse releases {environment}` lists them."
        )
    return Reading(environment, wanted, folder, pointer)


def manifest_of(storage: Storage, reading: Reading) -> Manifest:
    """What the release holds."""
    found = read_manifest(storage, reading.folder)
    if found is None:
        raise ReleaseError(f"Release {reading.number} of {reading.environment} is no longer kept.")
    return found


def attach_release(connection: duckdb.DuckDBPyConnection, storage: Storage, reading: Reading) -> None:
    """Attach the release as `lakehouse` and make it current."""
    connection.execute(attach_statement(storage, reading.folder, ALIAS))
    connection.execute(f"USE {ALIAS}")


def connect_release(
    settings: Settings, environment: str, number: int | None = None
) -> tuple[duckdb.DuckDBPyConnection, Reading]:
    """A session of its own over a release, in UTC.

    Raises:
        ReleaseError: there is no such release.
        duckdb.Error: it can't be read.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _connect(settings, environment, number)
        except duckdb.Error:
            # The release may have been let go of between the pointer and the catalog: follow the pointer again.
            time.sleep(0.1)
    return _connect(settings, environment, number)


def _connect(settings: Settings, environment: str, number: int | None) -> tuple[duckdb.DuckDBPyConnection, Reading]:
    storage = open_storage(settings)
    reading = find_release(storage, environment, number)
    connection = duckdb.connect(config=duckdb_config(settings))
    try:
        connection.execute("SET TimeZone = 'UTC'")
        if settings.stores_on_s3:
            connection.execute(create_secret(duckdb_secret(settings)))
        attach_release(connection, storage, reading)
    except BaseException:
        connection.close()
        raise
    return connection, reading
