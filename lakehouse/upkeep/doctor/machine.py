"""The machine: room on its disks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Finding, Level, Seen

GB = 1_000_000_000
FULL_BYTES, LOW_BYTES, LOW_SHARE = GB, 10 * GB, 0.1
FULL_INODES, LOW_INODES = 0.01, 0.05


def disks(examination: Examination) -> Seen:
    """There is room where files are written: bytes and inodes."""
    settings = examination.settings
    folders = {"data folder": settings.data_dir, "temporary folder": Path(tempfile.gettempdir())}
    if not settings.stores_on_s3:
        folders["storage"] = Path(settings.storage_uri)
    findings, free, seen = [], [], set[int]()
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        found = _room(name, there, os.statvfs(there))
        if found:
            findings.append(found)
        free.append(f"{_free_bytes(os.statvfs(there)) / GB:,.0f} GB free ({name})")
    return Seen(", ".join(free), tuple(findings))


def _free_bytes(disk: os.statvfs_result) -> int:
    return disk.f_bavail * disk.f_frsize


def _room(name: str, folder: Path, disk: os.statvfs_result) -> Finding | None:
    free, size = _free_bytes(disk), disk.f_blocks * disk.f_frsize
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0  # some file systems have no such limit
    level = (
        Level.WRONG
        if free < FULL_BYTES or inodes < FULL_INODES
        else Level.WARNING
        if (free < LOW_BYTES and free < size * LOW_SHARE) or inodes < LOW_INODES
        else Level.WELL
    )
    if level is Level.WELL:
        return None
    left = f"{free / GB:,.1f} GB" if inodes >= LOW_INODES else f"{inodes:.1%} of the inodes"
    return Finding(
        level,
        f"the disk of the {name} is nearly full: {left} left",
        where=f"{folder}, {size / GB:,.0f} GB in all",
        why="A full disk ends loads and PostgreSQL half-way, and nothing repairs itself before there is room.",
        do=f"Make room: du -xh -d 2 {folder} | sort -h | tail; fewer releases by LAKEHOUSE_RELEASES_KEPT; "
        "a bigger disk.",
    )
