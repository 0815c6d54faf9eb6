"""Whether what lies somewhere is what a backup says that it is: the bytes are read, whatever a store says of them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lakehouse.storage import NotThereError, Storage
from lakehouse.storage.folder import FolderStorage
from lakehouse.upkeep.backup.manifest import BackupError, BackupManifest, Content, listed
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.upkeep.backup.taking import AT_ONCE, Progress


def check(place: BackupPlace, manifest: BackupManifest, progress: Progress = lambda _, __: None) -> None:
    """Read everything that a backup names. Raises BackupError naming what is missing or differs."""
    sizes = place.contents()
    kept = list({content.key: content for content in manifest.kept()}.values())
    broken = [f"{_named(content)} is missing" for content in kept if content.key not in sizes]
    kept = [content for content in kept if content.key in sizes]
    for content, good in contents_checked(place.storage, [(content, content.key) for content in kept], progress):
        if not good:
            broken.append(f"{_named(content)} is damaged")
    if broken:
        raise BackupError(
            f"The backup {manifest.stamp} in {place.storage.uri} is not whole:\n{listed(broken)}\n"
            "Nothing was changed. `--at` takes another one; `lakehouse backups` lists them."
        )


def contents_checked(
    storage: Storage, contents: list[tuple[Content, str]], progress: Progress
) -> Iterable[tuple[Content, bool]]:
    """Each content with whether the object of its key holds it."""
    total, done = sum(content.size_bytes for content, _ in contents), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for content, good in pool.map(lambda pair: (pair[0], holds(storage, pair[1], pair[0])), contents):
            done += content.size_bytes
            progress(done, total)
            yield content, good


def holds(storage: Storage, key: str, content: Content) -> bool:
    """Whether the storage's object is this content."""
    try:
        if isinstance(storage, FolderStorage):
            return storage.checksum(key) == content.sha256
        with tempfile.TemporaryDirectory(prefix="lakehouse-check-") as aside:
            copy = Path(aside) / "file"
            storage.download(key, copy)
            with open(copy, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256
    except NotThereError:
        return False


def fetch(place: BackupPlace, content: Content, target: Path) -> Path:
    """A content in a file. Raises BackupError when it is damaged."""
    place.fetch(content, target)
    with open(target, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != content.sha256:
            raise BackupError(f"{place.storage.uri_of(content.key)} is damaged.")
    return target


def is_immutable(key: str) -> bool:
    """Whether nothing ever writes to this file of the storage again."""
    parts = key.split("/")
    return key.endswith(".parquet") and (parts[0] == "lake" or (parts[0] == "published" and parts[2:3] == ["data"]))


def _named(content: Content) -> str:
    """What a content is, as a message names it."""
    name = getattr(content, "name", "") or getattr(content, "pipeline", "") or "the database's dump"
    return f"{name} ({content.key})"
