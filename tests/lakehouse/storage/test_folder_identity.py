"""A changed file of the landing zone has another etag, whatever was done to its time, its size and its inode."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.storage.folder import FolderStorage

TIME_NS = 1_700_000_000_000_000_000


def _rewritten(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(TIME_NS, TIME_NS))


def _replaced(path: Path, content: bytes) -> None:
    """Gone and made again: ext4 gives the inode that has just become free."""
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(TIME_NS, TIME_NS))


def _renamed_over(path: Path, content: bytes) -> None:
    aside = path.with_suffix(".part")
    aside.write_bytes(content)
    os.utime(aside, ns=(TIME_NS, TIME_NS))
    aside.rename(path)


def _unpacked(path: Path, content: bytes) -> None:
    source, archive = path.with_suffix(".source"), path.with_suffix(".tar")
    source.write_bytes(content)
    os.utime(source, ns=(TIME_NS, TIME_NS))
    with tarfile.open(archive, "w") as tar:
        tar.add(source, arcname=path.name)
    subprocess.run(["tar", "-C", path.parent, "-xf", archive], check=True)


@pytest.mark.parametrize("change", [_rewritten, _replaced, _renamed_over, _unpacked])
def test_a_change_is_seen_although_time_size_and_inode_may_be_the_old_ones(
    tmp_path: Path, change: Callable[[Path, bytes], None]
) -> None:
    storage = FolderStorage(tmp_path)
    path = tmp_path / "landing" / "shop" / "t.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"11111")
    os.utime(path, ns=(TIME_NS, TIME_NS))
    seen = set()
    for number in range(20):
        found = storage.find("landing/shop/t.csv")
        assert found is not None and found.size_bytes == 5
        seen.add(found.etag)
        again = storage.find("landing/shop/t.csv")
        assert again is not None and again.etag == found.etag, "a file that lies there has one identity"
        change(path, f"{number:05}".encode())
        assert path.stat().st_mtime_ns == TIME_NS
    assert len(seen) == 20
