"""Where backups lie: `backups/<stamp>/manifest.json`, and contents under their SHA-256, shared by all backups."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.settings import Settings
from lakehouse.storage import NotThereError, Storage, storage_at
from lakehouse.upkeep.backup.manifest import BackupError, BackupManifest, Content

BACKUPS, CONTENTS = "backups/", "files/"
STAMP = "%Y%m%dT%H%M%SZ"
LEFT_OVER_SECONDS = 24 * 3600
"""What no manifest names and is older was left by a backup that was killed."""


@dataclass(frozen=True)
class BackupPlace:
    """A folder or an S3 prefix that holds backups of one lakehouse."""

    storage: Storage

    @classmethod
    def at(cls, settings: Settings, address: str) -> BackupPlace:
        """`s3://bucket/prefix` in the store of the settings, or a folder.

        Raises:
            BackupError: it lies in the lakehouse that it shall save.
        """
        if "://" in address and not address.startswith("s3://"):
            raise BackupError(f"{address} is neither a folder nor s3://bucket/prefix.")
        uri = address.rstrip("/") if "://" in address else str(Path(address).expanduser().resolve())
        inside = [f"{settings.storage_uri}/{zone}" for zone in ("lake", "landing", "published", "quarantine")]
        if not settings.stores_on_s3:
            inside.append(str(settings.data_dir))
        for folder in inside:
            if uri == folder or uri.startswith(f"{folder}/") or folder.startswith(f"{uri}/"):
                raise BackupError(
                    f"{address} lies with the lakehouse itself ({folder}) and would be lost with it: name another "
                    "place."
                )
        return cls(storage_at(settings, uri))

    def new_stamp(self) -> str:
        """The time now, not taken yet."""
        taken = set(self.stamps())
        while (stamp := datetime.now(UTC).strftime(STAMP)) in taken:
            time.sleep(0.1)
        return stamp

    def stamps(self) -> list[str]:
        """Of every backup that was finished, the oldest first."""
        listed = (found.key.split("/") for found in self.storage.list(BACKUPS))
        return sorted(parts[1] for parts in listed if parts[2:] == ["manifest.json"])

    def read(self, stamp: str) -> BackupManifest:
        """Raises BackupError when there is none, or it is damaged."""
        key = f"{BACKUPS}{stamp}/manifest.json"
        try:
            content, _ = self.storage.read(key)
        except NotThereError:
            raise self._unknown(stamp) from None
        return BackupManifest.of(content, self.storage.uri_of(key))

    def choose(self, stamp: str = "") -> BackupManifest:
        """The backup of this stamp, or the newest. Raises BackupError when there is none."""
        stamps = self.stamps()
        if not stamps or (stamp and stamp not in stamps):
            raise self._unknown(stamp)
        return self.read(stamp or stamps[-1])

    def write(self, manifest: BackupManifest) -> None:
        """From now on it is a backup."""
        self.storage.write(f"{BACKUPS}{manifest.stamp}/manifest.json", manifest.to_json(), new=True)

    def contents(self) -> dict[str, int]:
        """The key of everything that is kept -> its bytes."""
        return {found.key: found.size_bytes for found in self.storage.list(CONTENTS)}

    def keep(self, newest: int) -> tuple[list[str], int]:
        """Remove all but the newest backups, and what only they and killed backups have left.

        Manifests go first: what is half removed is no backup. Gives the stamps that went, and the bytes.
        """
        stamps = self.stamps()
        doomed, kept = stamps[:-newest], stamps[-newest:]
        needed = {content.key for stamp in kept for content in self.read(stamp).kept()}
        theirs = {content.key for stamp in doomed for content in self.read(stamp).kept()}
        self.storage.delete([f"{BACKUPS}{stamp}/manifest.json" for stamp in doomed])
        old = time.time() - LEFT_OVER_SECONDS
        unneeded = [
            found
            for found in self.storage.list(CONTENTS)
            if found.key not in needed and (found.key in theirs or found.modified_at < old)
        ]
        self.storage.delete([found.key for found in unneeded])
        return doomed, sum(found.size_bytes for found in unneeded)

    def fetch(self, content: Content, target: Path) -> None:
        """Put a content into a file."""
        self.storage.download(content.key, target)

    def put(self, source: Path, content: Content, progress: Callable[[int], None] = lambda _: None) -> None:
        """Keep a content that is in a file."""
        self.storage.upload(source, content.key, progress)

    def _unknown(self, stamp: str) -> BackupError:
        stamps = self.stamps()
        what = f"no backup {stamp}" if stamp else "no backup"
        there = f"There are {', '.join(stamps)}." if stamps else "`lakehouse backup` makes one."
        return BackupError(f"There is {what} in {self.storage.uri}. {there}")
