"""The storage: one folder or one S3 prefix that holds the lake's files, the landing and the published zone.

Keys are the same on both: `landing/<dataset>/<file>`, `lake/…`, `published/<environment>/…`.
"""

from __future__ import annotations

from pathlib import Path

from lakehouse.settings import Settings
from lakehouse.storage.protocol import ConflictError, NotThereError, Progress, Storage, StorageError, StoredObject

__all__ = [
    "ConflictError",
    "NotThereError",
    "Progress",
    "Storage",
    "StorageError",
    "StoredObject",
    "open_storage",
    "storage_at",
]


def open_storage(settings: Settings) -> Storage:
    """The storage that the settings name. Opens no connection."""
    return storage_at(settings, settings.storage_uri)


def storage_at(settings: Settings, uri: str) -> Storage:
    """Another folder, or another bucket or prefix of the store that the settings name. Opens no connection."""
    if uri.startswith("s3://"):
        from lakehouse.storage.s3 import S3Storage, s3_client

        return S3Storage(uri, s3_client(settings))
    from lakehouse.storage.folder import FolderStorage

    return FolderStorage(Path(uri))
