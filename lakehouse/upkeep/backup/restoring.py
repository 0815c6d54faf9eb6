"""A lakehouse from a backup, where there is none yet: in the same place or in another one."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg

from lakehouse.lake import roles
from lakehouse.lake.ducklake import IDENTITY_KEY, Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log
from lakehouse.releases.pointer import swap_pointer
from lakehouse.storage import NotThereError, Storage
from lakehouse.storage.folder import FolderStorage
from lakehouse.storage.s3 import S3Storage
from lakehouse.upkeep.backup import checksums, database, relocation
from lakehouse.upkeep.backup.checking import check, contents_checked, fetch, is_immutable
from lakehouse.upkeep.backup.manifest import BackupError, BackupFile, BackupManifest, Content
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.upkeep.backup.taking import AT_ONCE, Progress

AT_WORK = "restoring.json"
"""In the storage while a restore is under way: the same one again goes on where it was killed."""
ZONES = ("lake/", "landing/", "published/", "quarantine/")


def restore(
    lake: Lake,
    place: BackupPlace,
    manifest: BackupManifest,
    *,
    create_bucket: bool = False,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _, __: None,
) -> str:
    """Make the lakehouse of the settings what the backup holds. Nothing is changed before all of it has been checked.

    Gives a sentence when PostgreSQL's roles could not be made, and nobody but this login has rights; else nothing.

    Raises:
        BackupError: the target is not empty, or the backup is damaged.
    """
    if isinstance(lake.storage, S3Storage):
        lake.storage.make_ready(create=create_bucket)
    _require_empty(lake, place, manifest)
    report("Checking the backup …")
    check(place, manifest, progress)
    if not manifest.with_files:
        _check_files_there(lake.storage, manifest, progress)
    lake.storage.write(AT_WORK, json.dumps({"from": place.storage.uri, "stamp": manifest.stamp}).encode())
    report("Copying the files …")
    etags = _copy(lake.storage, place, manifest, progress) if manifest.with_files else {}
    with tempfile.TemporaryDirectory(prefix="lakehouse-restore-") as aside:
        _unpack_working_files(lake, place, manifest, Path(aside))
        report("Restoring the database …")
        _restore_database(lake, place, manifest, Path(aside) / "database.dump")
    report("Settling in …")
    with closing(connect(lake.settings)) as connection:
        relocation.relocate(lake, connection, manifest, etags)
        for environment in sorted({release.environment for release in log.history(connection)}):
            swap_pointer(lake.storage, connection, environment)
    if manifest.with_files:  # it was empty, whoever had claimed it before
        lake.storage.delete([IDENTITY_KEY])
    lake.bootstrap()  # what a newer version of ours has beyond the backup's
    with closing(connect(lake.settings)) as connection:
        checksums.record(connection, {file.name: file for file in manifest.files if is_immutable(file.name)})
        without_roles = _make_roles(connection)
    lake.storage.delete([AT_WORK])
    return without_roles


def _make_roles(connection: psycopg.Connection) -> str:
    """A dump has no rights in it: its roles may not be this server's."""
    try:
        roles.make(connection)
    except roles.RolesError as error:
        return str(error)
    return ""


def _require_empty(lake: Lake, place: BackupPlace, manifest: BackupManifest) -> None:
    try:
        begun = json.loads(lake.storage.read(AT_WORK)[0])
    except NotThereError:
        begun = {}
    if begun:
        if begun["stamp"] != manifest.stamp:
            raise BackupError(
                f"A restore of {begun['stamp']} from {begun['from']} was cut off here: finish it with `lakehouse "
                f"restore {begun['from']} --at {begun['stamp']}`, or empty the database, the storage and the data "
                "folder."
            )
        return
    found = []
    with closing(connect(lake.settings)) as connection:
        if schemas := database.used_schemas(connection):
            found.append(f"the database has tables in {', '.join(schemas)}")
    zones = [zone for zone in ZONES if next(iter(lake.storage.list(zone)), None)] if manifest.with_files else []
    if zones:
        found.append(f"{lake.storage.uri} has files in {', '.join(zones)}")
    if any(lake.settings.pipelines_dir.glob("*")):
        found.append(f"{lake.settings.pipelines_dir} has dlt's working files")
    if found:
        raise BackupError(
            f"A restore wants an empty lakehouse, and here is one: {'; '.join(found)}. Nothing was changed. Name "
            "another LAKEHOUSE_DATA_DIR, LAKEHOUSE_STORAGE and LAKEHOUSE_POSTGRES_URL, or empty these first "
            "(`make reset` empties the default ones)."
        )


def _copy(storage: Storage, place: BackupPlace, manifest: BackupManifest, progress: Progress) -> dict[str, str]:
    """Every file into the storage. Gives the etags that they have now."""
    total, done = sum(file.size_bytes for file in manifest.files), 0

    def one(file: BackupFile) -> tuple[BackupFile, str]:
        there = storage.find(file.name)
        if there and there.size_bytes == file.size_bytes and storage.checksum(file.name) == file.sha256:
            return file, there.etag
        with tempfile.TemporaryDirectory(prefix="lakehouse-restore-") as aside:
            if isinstance(place.storage, FolderStorage):
                copy = place.storage.root / file.key
            else:
                copy = fetch(place, file, Path(aside) / "file")
            return file, storage.upload(copy, file.name).etag

    etags = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for file, etag in pool.map(one, manifest.files):
            etags[file.name] = etag
            done += file.size_bytes
            progress(done, total)
    return etags


def _check_files_there(storage: Storage, manifest: BackupManifest, progress: Progress) -> None:
    pairs: list[tuple[Content, str]] = [(file, file.name) for file in manifest.files if is_immutable(file.name)]
    broken = [getattr(file, "name", "") for file, good in contents_checked(storage, pairs, progress) if not good]
    if broken:
        raise BackupError(
            f"The backup {manifest.stamp} was made without files, and {storage.uri} lacks {len(broken)} of them or "
            f"holds others, the first is {broken[0]}. Bring the files back first; nothing was changed."
        )


def _unpack_working_files(lake: Lake, place: BackupPlace, manifest: BackupManifest, aside: Path) -> None:
    for working in manifest.working_files:
        archive = fetch(place, working, aside / "working.tar")
        lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(lake.settings.pipelines_dir, filter="data")


def _restore_database(lake: Lake, place: BackupPlace, manifest: BackupManifest, dumped: Path) -> None:
    with closing(connect(lake.settings)) as connection:
        if database.used_schemas(connection):
            return  # by the restore that was cut off: it came whole or not at all
    fetch(place, manifest.database, dumped)
    database.restore(lake.settings, dumped, manifest.postgres_version)
