"""Where files lie. The landing zone holds files as they arrived: one folder a dataset, one file a key."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lakehouse.settings import Settings

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class LandingFile:
    """A file of the landing zone: its key below the zone, where it can be read, what version it is."""

    key: str
    uri: str
    etag: str
    size_bytes: int
    modified_at: float  # seconds since 1970


def landing_files(settings: Settings, dataset: str) -> list[LandingFile]:
    """The files that lie in a dataset's folder, by key. Hidden and half-copied ones (`.part`, `.tmp`) are left out."""
    folder = settings.landing_dir / dataset
    if not folder.is_dir():
        return []
    return [
        _described(settings, path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in UNFINISHED and not _hidden(path.relative_to(folder))
    ]


def settled(files: list[LandingFile]) -> list[LandingFile]:
    """Those that nobody has written to for two seconds: a copy at work is left until it ends."""
    now = time.time()
    return [file for file in files if not 0 <= now - file.modified_at < SETTLE_SECONDS]


def _described(settings: Settings, path: Path) -> LandingFile:
    found = path.stat()
    return LandingFile(
        key=path.relative_to(settings.landing_dir).as_posix(),
        uri=str(path),
        # As good as a checksum for files that are replaced, and free. A file touched without a change is read
        # again and changes nothing.
        etag=f"{found.st_mtime_ns:x}-{found.st_size:x}",
        size_bytes=found.st_size,
        modified_at=found.st_mtime,
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
