"""What the product asks of a storage, and what may go wrong with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lakehouse.errors import LakehouseError

Progress = Callable[[int], None]
"""Told how many bytes have just been moved."""


class StorageError(LakehouseError):
    """The storage can't be reached, or refuses; the message names it, the reason and what to check."""


class NotThereError(StorageError):
    """No object has this key."""


class ConflictError(StorageError):
    """Somebody else wrote the object meanwhile: a conditional write was refused."""


@dataclass(frozen=True)
class StoredObject:
    """An object, or an earlier version of one. `etag` changes whenever its content does."""

    key: str
    size_bytes: int
    etag: str
    modified_at: float  # seconds since 1970
    version: str = ""
    is_latest: bool = True
    is_deletion: bool = False


class Storage(Protocol):
    """What the product asks of a storage. Every method raises StorageError."""

    uri: str

    def uri_of(self, key: str) -> str:
        """An absolute address that DuckDB reads and writes."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects below a prefix that ends in `/`, by key."""
        ...

    def find(self, key: str) -> StoredObject | None:
        """The object with this key, if there is one."""
        ...

    def read(self, key: str) -> tuple[bytes, str]:
        """A small object's content and its etag. Raises NotThereError."""
        ...

    def write(self, key: str, content: bytes, *, replacing: str | None = None, new: bool = False) -> str:
        """Write a small object whole and give its etag.

        `replacing` writes only over the version with that etag, `new` only where there is none: else ConflictError.
        """
        ...

    def upload(self, source: Path, key: str, progress: Progress = lambda _: None) -> StoredObject:
        """Put a file's content there, whole or not at all; what arrived is verified."""
        ...

    def checksum(self, key: str) -> str:
        """The SHA-256 of an object, as hexadecimal digits; empty where nobody kept it. Raises NotThereError."""
        ...

    def download(self, key: str, target: Path, version: str = "") -> None:
        """Put an object's content, or that of an earlier version, into a file."""
        ...

    def copy(self, source: str, target: str, version: str = "") -> None:
        """Copy inside the storage: no byte passes through this process where the storage can help it."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete what is there of `keys`."""
        ...

    def versions(self, prefix: str) -> Iterator[StoredObject]:
        """Every version of the objects below a prefix, by key, the newest first; deletions too."""
        ...
