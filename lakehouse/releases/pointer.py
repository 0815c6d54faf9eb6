"""`current.json`: what readers follow. It is swapped last, and follows the release log, which is the truth."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from lakehouse.releases import log
from lakehouse.releases.docs_index import write_docs_index
from lakehouse.releases.frozen import CATALOG, attach_statement
from lakehouse.releases.log import Release, environment_folder
from lakehouse.releases.manifest import data_folder
from lakehouse.storage import ConflictError, NotThereError, Storage

ATTEMPTS = 20


def pointer_key(environment: str) -> str:
    """Its key in the storage."""
    return f"{environment_folder(environment)}/current.json"


def read_pointer(storage: Storage, environment: str) -> dict[str, Any] | None:
    """What `current.json` says; None before the first release."""
    try:
        content, _ = storage.read(pointer_key(environment))
    except NotThereError:
        return None
    found: dict[str, Any] = json.loads(content)
    return found


def swap_pointer(storage: Storage, connection: psycopg.Connection, environment: str) -> int | None:
    """Make `current.json`, and the documentation's index, say what the log says; give that release's number.

    The log's row is locked meanwhile, and the write is conditional: of two that swap at once the later one reads what
    the earlier one wrote, and a writer that lost its lock can't put an older release back.
    """
    for _ in range(ATTEMPTS):
        with connection.transaction():
            connection.execute("SELECT FROM ledger.pointers WHERE environment = %s FOR UPDATE", [environment])
            pointer = log.pointer(connection, environment)
            if pointer is None:
                return None
            release = log.find(connection, environment, pointer.number)
            newest = log.newest(connection, environment, "published")
            try:
                content, etag = storage.read(pointer_key(environment))
            except NotThereError:
                content, etag = b"", ""
            wanted = _content(storage, release, pointer, newest)
            try:
                if content != wanted and etag:
                    storage.write(pointer_key(environment), wanted, replacing=etag)
                elif content != wanted:
                    storage.write(pointer_key(environment), wanted, new=True)
            except ConflictError:
                continue
            write_docs_index(storage, release, pointer, newest)
            return pointer.number
    raise ConflictError(f"{storage.uri_of(pointer_key(environment))} is written by others all the time.")


def _content(storage: Storage, release: Release, pointer: log.Pointer, newest: Release | None) -> bytes:
    assert release.published_at is not None
    held = (
        {"by": pointer.held_by, "at": f"{pointer.held_at:%Y-%m-%dT%H:%M:%SZ}"}
        if pointer.held_by and pointer.held_at
        else None
    )
    folder = f"releases/{release.number:05d}"
    value = {
        "environment": release.environment,
        "release": release.number,
        "newest": newest.number if newest else release.number,
        "held": held,
        "snapshot": release.snapshot,
        "code_version": release.code_version,
        "cut_at": f"{release.cut_at:%Y-%m-%dT%H:%M:%SZ}",
        "published_at": f"{release.published_at:%Y-%m-%dT%H:%M:%SZ}",
        "catalog": f"{folder}/{CATALOG}",
        "manifest": f"{folder}/manifest.json",
        "attach": attach_statement(storage, release.folder),
        "attach_elsewhere": (
            f"ATTACH 'ducklake:<copy or address of {folder}/{CATALOG}>' AS lakehouse "
            "(READ_ONLY, DATA_PATH '<copy or address of data/>', OVERRIDE_DATA_PATH true)"
        ),
        "data": storage.uri_of(data_folder(release.environment)),
    }
    return json.dumps(value, indent=1).encode()
