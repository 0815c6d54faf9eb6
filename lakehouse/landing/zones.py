"""Where files lie. The landing zone holds files as they arrived: one folder a dataset, one file a key."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lakehouse.storage import Storage, StoredObject
from lakehouse.storage.folder import FolderStorage

LANDING = "landing"
QUARANTINE = "quarantine"
"""Beside the landing zone, with the same folders: neither the loader nor a sensor ever lists it."""
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class LandingFolder:
    """A dataset's folder in the landing zone. Lists when asked: what lay there earlier may be gone or replaced."""

    storage: Storage
    dataset: str

    def files(self) -> list[StoredObject]:
        """What lies there now."""
        return landing_files(self.storage, self.dataset)


def landing_files(storage: Storage, dataset: str) -> list[StoredObject]:
    """The files that lie in a dataset's folder, by key. Hidden and half-copied ones (`.part`, `.tmp`) are left out."""
    folder = f"{LANDING}/{dataset}/"
    return [file for file in storage.list(folder) if is_loadable(file.key.removeprefix(folder))]


def is_loadable(name: str) -> bool:
    """Whether a file of this name, below its dataset's folder, is looked at by loads: neither hidden nor half-copied.

    A name that ends in a slash is a folder's mark, which consoles of object stores leave.
    """
    path = Path(name)
    return (
        path.suffix not in UNFINISHED
        and not any(part.startswith((".", "_")) for part in path.parts)
        and (not name.endswith("/"))
    )


def landing_key(file: StoredObject) -> str:
    """`dataset/file`: what a landed file is called in the ledger and in messages.

    A folder's file may have a name that is no UTF-8, which no database takes: it gets backslashes, and is refused.
    """
    return file.key.removeprefix(f"{LANDING}/").encode(errors="backslashreplace").decode()


def settled(storage: Storage, files: list[StoredObject]) -> list[StoredObject]:
    """Those that nobody has written to for two seconds: a copy at work is left until it ends.

    An object store shows an object when it is whole, so nothing is compared with its clock.
    """
    if not isinstance(storage, FolderStorage):
        return files
    now = time.time()
    return [file for file in files if not 0 <= now - file.modified_at < SETTLE_SECONDS]
