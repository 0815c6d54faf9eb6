"""A lakehouse from a backup, where there is none yet: in the same place or in another one."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from lakehouse.backup import checksums, database, relocation
from lakehouse.backup.manifest import BackupError, BackupFile, BackupManifest, Content, listed
from lakehouse.backup.place import BackupPlace
from lakehouse.backup.taking import AT_ONCE, Progress
from lakehouse.lake import Lake
from lakehouse.postgres import connect
from lakehouse.releases import log
from lakehouse.releases.frozen import CATALOG, write_catalog
from lakehouse.releases.manifest import read_manifest
from lakehouse.releases.pointer import swap_pointer
from lakehouse.storage import NotThereError, Storage
from lakehouse.storage.folder import FolderStorage
from lakehouse.storage.s3 import S3Storage

AT_WORK = "restoring.json"
"""In the storage while a restore is under way: the same one again goes on where it was killed."""
MANIFEST = "manifest.json"
ZONES = ("lake/", "landing/", "published/", "quarantine/")


def restore(
    lake: Lake,
    place: BackupPlace,
    manifest: BackupManifest,
    *,
    create_bucket: bool = False,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _, __: None,
) -> None:
    """Make the lakehouse of the settings what the backup holds. Nothing is changed before all of it has been checked.

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
    lake.bootstrap()  # what a newer version of ours has beyond the backup's
    with closing(connect(lake.settings)) as connection:
        checksums.record(connection, {file.name: file for file in manifest.files if _is_immutable(file.name)})
    lake.storage.delete([AT_WORK])


def check(place: BackupPlace, manifest: BackupManifest, progress: Progress = lambda _, __: None) -> None:
    """Read everything that a backup names. Raises BackupError naming what is missing or differs."""
    sizes = place.contents()
    kept = list({content.key: content for content in manifest.kept()}.values())
    broken = [f"{_named(content)} is missing" for content in kept if content.key not in sizes]
    kept = [content for content in kept if content.key in sizes]
    for content, good in _checked(place.storage, [(content, content.key) for content in kept], progress):
        if not good:
            broken.append(f"{_named(content)} is damaged")
    if broken:
        raise BackupError(
            f"The backup {manifest.stamp} in {place.storage.uri} is not whole:\n{listed(broken)}\n"
            "Nothing was changed. `--at` takes another one; `lakehouse backups` lists them."
        )


def put_back(lake: Lake, place: BackupPlace, keys: Iterable[str]) -> list[str]:
    """Give a lakehouse single files back that it has lost or that were damaged. Gives those that it had not whole.

    Only immutable files: they are the same in every backup that names them. A release's frozen catalog, which knows
    where it lies, is built again.

    Raises:
        BackupError: no backup has it whole, or it is a file that may change.
    """
    wanted, done = [], []
    for key in keys:
        folder, _, name = key.rpartition("/")
        if name == CATALOG and (release := read_manifest(lake.storage, folder)):
            write_catalog(lake, folder, release)
            done.append(key)
        elif _is_immutable(key) or name == MANIFEST:
            wanted.append(key)
        else:
            raise BackupError(
                f"{key} is no file of the lake or of a release, as `lakehouse verify` names them. `lakehouse files restore` and `upload` "
                "bring landed files back."
            )
    with closing(connect(lake.settings)) as connection:
        recorded = checksums.read(connection)
    manifests = [place.read(stamp) for stamp in reversed(place.stamps())]
    there = place.contents()
    for key in wanted:
        copies = [file for manifest in manifests if manifest.with_files for file in manifest.files if file.name == key]
        fitting = [file for file in copies if key not in recorded or recorded[key].sha256 == file.sha256]
        if not fitting or fitting[0].key not in there:
            raise BackupError(f"No backup in {place.storage.uri} holds {key} as it was.")
        if _holds(lake.storage, key, fitting[0]):
            continue
        with tempfile.TemporaryDirectory(prefix="lakehouse-restore-") as aside:
            copy = _fetch(place, fitting[0], Path(aside) / "file")
            lake.storage.upload(copy, key)
        done.append(key)
    return done


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
                copy = _fetch(place, file, Path(aside) / "file")
            return file, storage.upload(copy, file.name).etag

    etags = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for file, etag in pool.map(one, manifest.files):
            etags[file.name] = etag
            done += file.size_bytes
            progress(done, total)
    return etags


def _check_files_there(storage: Storage, manifest: BackupManifest, progress: Progress) -> None:
    pairs: list[tuple[Content, str]] = [(file, file.name) for file in manifest.files if _is_immutable(file.name)]
    broken = [getattr(file, "name", "") for file, good in _checked(storage, pairs, progress) if not good]
    if broken:
        raise BackupError(
            f"The backup {manifest.stamp} was made without files, and {storage.uri} lacks {len(broken)} of them or "
            f"holds others, the first is {broken[0]}. Bring the files back first; nothing was changed."
        )


def _checked(
    storage: Storage, contents: list[tuple[Content, str]], progress: Progress
) -> Iterable[tuple[Content, bool]]:
    total, done = sum(content.size_bytes for content, _ in contents), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for content, good in pool.map(lambda pair: (pair[0], _holds(storage, pair[1], pair[0])), contents):
            done += content.size_bytes
            progress(done, total)
            yield content, good


def _holds(storage: Storage, key: str, content: Content) -> bool:
    """Whether the storage's object is this content: its bytes are read, whatever the store says of them."""
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


def _fetch(place: BackupPlace, content: Content, target: Path) -> Path:
    """A content, checked."""
    place.fetch(content, target)
    with open(target, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != content.sha256:
            raise BackupError(f"{place.storage.uri_of(content.key)} is damaged.")
    return target


def _unpack_working_files(lake: Lake, place: BackupPlace, manifest: BackupManifest, aside: Path) -> None:
    for working in manifest.working_files:
        archive = _fetch(place, working, aside / "working.tar")
        lake.settings.pipelines_dir.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(lake.settings.pipelines_dir, filter="data")


def _restore_database(lake: Lake, place: BackupPlace, manifest: BackupManifest, dumped: Path) -> None:
    with closing(connect(lake.settings)) as connection:
        if database.used_schemas(connection):
            return  # by the restore that was cut off: it came whole or not at all
    _fetch(place, manifest.database, dumped)
    database.restore(lake.settings, dumped, manifest.postgres_version)


def _is_immutable(key: str) -> bool:
    parts = key.split("/")
    return key.endswith(".parquet") and (parts[0] == "lake" or (parts[0] == "published" and parts[2:3] == ["data"]))


def _named(content: Content) -> str:
    """What a content is, as a message names it."""
    name = getattr(content, "name", "") or getattr(content, "pipeline", "") or "the database's dump"
    return f"{name} ({content.key})"
