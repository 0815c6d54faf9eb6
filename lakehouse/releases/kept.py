"""Whether the store has the files of a release: one may confirm a write and keep nothing, or a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lakehouse.releases.manifest import Manifest, PublishedTable, data_folder, table_folder
from lakehouse.releases.tables import PublishError
from lakehouse.storage import Storage
from lakehouse.wording import plural


def require_kept(storage: Storage, environment: str, tables: Sequence[PublishedTable]) -> None:
    """Raises PublishError, which names a table and its first file that is missing or of another size."""
    for table, problems in _lost(storage, environment, tables).items():
        raise PublishError(
            f"{table}: the store confirmed its files and does not have them: {problems[0]}"
            + (f", and {plural(len(problems) - 1, 'more file')}" if len(problems) > 1 else ""),
            table,
        )


def with_kept_tables(storage: Storage, manifest: Manifest | None) -> Manifest | None:
    """Without the tables that have lost a file since: they are written anew, not shared."""
    if manifest is None:
        return None
    lost = _lost(storage, manifest.environment, manifest.tables)
    return replace(manifest, tables=tuple(table for table in manifest.tables if table.name not in lost))


def _lost(storage: Storage, environment: str, tables: Sequence[PublishedTable]) -> dict[str, list[str]]:
    """By table what is wrong with its files. One listing, a request for a thousand files."""
    sizes = {found.key: found.size_bytes for found in storage.list(data_folder(environment))}
    lost: dict[str, list[str]] = {}
    for table in tables:
        for file in table.files:
            key = f"{table_folder(environment, table.name)}{file.path}"
            size = sizes.get(key)
            if size != file.size_bytes:
                what = "is missing" if size is None else f"has {size:,} bytes instead of {file.size_bytes:,}"
                lost.setdefault(table.name, []).append(f"{key} {what}")
    return lost
