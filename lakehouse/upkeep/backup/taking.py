"""Taking a backup while loads and runs go on: one moment of the database, and every file that it names."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psycopg

from lakehouse.lake.ducklake import METADATA_SCHEMA, Lake
from lakehouse.releases.manifest import read_manifest
from lakehouse.storage import ConflictError, NotThereError, Storage, StoredObject
from lakehouse.storage.folder import FolderStorage
from lakehouse.upkeep.backup import checksums, database, named_files
from lakehouse.upkeep.backup.manifest import BackupError, BackupFile, BackupManifest, Content, WorkingFiles
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.writing import marks
from lakehouse.writing.environments import require_ledger
from lakehouse.writing.locks import backup_lock, holding, maintenance_lock, pipeline_lock, trying

DUMP_ATTEMPTS = 3
READ_ATTEMPTS = 3
AT_ONCE = 4
Report = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Told how many bytes of how many are done."""


@dataclass
class Moment:
    """What the database says at the moment of the backup."""

    snapshot: int
    postgres_version: int
    unfinished: tuple[str, ...]
    immutable: dict[str, int]
    """Key -> bytes of each Parquet file that the catalog or a release names."""
    descriptions: list[str]
    outside: list[str]
    working_files: dict[str, Path]
    pipelines_at_work: tuple[str, ...]


@dataclass(frozen=True)
class Taken:
    """A backup that is done, and what it cost."""

    manifest: BackupManifest
    files_copied: int
    bytes_copied: int
    damaged: tuple[str, ...] = ()
    """Files that no longer hold what they held: the backup names an earlier, whole copy of them."""


@dataclass
class _Counts:
    files: int = 0
    bytes: int = 0
    done: int = 0
    damaged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def take(
    lake: Lake,
    place: BackupPlace,
    *,
    with_files: bool = True,
    run: str,
    report: Report = lambda _: None,
    progress: Progress = lambda _, __: None,
) -> Taken:
    """Make a backup. What the place holds already of an earlier one is not copied again.

    Raises:
        BackupError: it could not be made; what was copied helps the next one.
    """
    require_ledger(lake)
    locks = [maintenance_lock(shared=True), backup_lock()]
    with (
        holding(lake.settings, locks, holder=run, waiting=report) as connection,
        tempfile.TemporaryDirectory(prefix="lakehouse-backup-") as aside,
    ):
        dumped = Path(aside) / "database.dump"
        moment = _look(lake, connection, Path(aside), dumped)
        return _Taking(lake, place, connection, moment, with_files, Path(aside), progress).take(dumped)


def _look(lake: Lake, connection: psycopg.Connection, aside: Path, dumped: Path) -> Moment:
    """Dump the database and note which files belong to it."""
    for attempt in range(1, DUMP_ATTEMPTS + 1):
        with ExitStack() as held:
            working_files, at_work = _archive_working_files(lake, connection, held, aside)
            with database.one_moment(lake.settings) as (reader, name):
                held.close()  # loads go on
                try:
                    database.dump(lake.settings, reader, name, dumped)
                except BackupError:
                    if attempt == DUMP_ATTEMPTS:
                        raise
                    continue  # a table was dropped between the moment and the dump
                return _moment(lake, reader, working_files, at_work)
    raise AssertionError


def _archive_working_files(
    lake: Lake, connection: psycopg.Connection, held: ExitStack, aside: Path
) -> tuple[dict[str, Path], list[str]]:
    """The working folders of the pipelines that rest, each as it belongs to the moment that comes next.

    One at work is left out: a folder that is ahead of the database would make the restored pipeline skip rows. dlt
    then takes its state from the lake and loads again what came after it.
    """
    archives, at_work = {}, []
    folder = lake.settings.pipelines_dir
    for working in sorted(path for path in folder.glob("*") if path.is_dir()):
        if held.enter_context(trying(connection, pipeline_lock(working.name, shared=True))) is not None:
            at_work.append(working.name)
            continue
        archives[working.name] = aside / f"{working.name}.tar"
        # Files of the landing zone are linked into a load's folder: as links they would lead nowhere.
        with tarfile.open(archives[working.name], "w", dereference=True) as tar:
            tar.add(working, working.name)
    return archives, at_work


def _moment(lake: Lake, reader: psycopg.Connection, working_files: dict[str, Path], at_work: list[str]) -> Moment:
    immutable, outside, descriptions = {}, [], []
    for file in named_files.catalog_files(reader, lake):
        if file.key is None:
            outside.append(file.address)
        else:
            immutable[file.key] = file.size_bytes
    for release in named_files.published(reader):
        descriptions += named_files.release_descriptions(release)
        if manifest := read_manifest(lake.storage, release.folder):
            immutable |= {file.address: file.size_bytes for file in named_files.release_files(release, manifest)}
    snapshot = reader.execute(f"SELECT max(snapshot_id) FROM {METADATA_SCHEMA}.ducklake_snapshot").fetchone()
    assert snapshot is not None
    return Moment(
        int(snapshot[0]), reader.info.server_version // 10000, tuple(str(mark) for mark in marks.read(reader)),
        immutable, descriptions, outside, working_files, tuple(at_work),
    )  # fmt: skip


def _newest_files(place: BackupPlace) -> tuple[BackupFile, ...]:
    """What the newest backup knows of files. When it is damaged all are read again."""
    try:
        return place.choose().files if place.stamps() else ()
    except BackupError:
        return ()


class _Taking:
    """Copies what a moment names to a place."""

    def __init__(
        self,
        lake: Lake,
        place: BackupPlace,
        connection: psycopg.Connection,
        moment: Moment,
        with_files: bool,
        aside: Path,
        progress: Progress,
    ) -> None:
        self.storage: Storage = lake.storage
        self.place, self.connection, self.moment, self.with_files = place, connection, moment, with_files
        self.aside, self.progress = aside, progress
        self.lake = lake
        self.there = set(place.contents())
        self.recorded = checksums.read(connection)
        before = _newest_files(place)
        self.known = {(file.name, file.size_bytes, file.etag): file.sha256 for file in before}
        self.counts = _Counts(missing=list(moment.outside))
        self.counting = threading.Lock()
        self.total = 0

    def take(self, dumped: Path) -> Taken:
        """Everything, the manifest last."""
        found = list(self._found())
        self.total = sum(file.size_bytes for file in found)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            files = [file for file in pool.map(self._file, found) if file is not None]
        checksums.record(self.connection, {file.name: file for file in files if file.name in self.moment.immutable})
        working = [
            WorkingFiles(content.sha256, content.size_bytes, pipeline=name)
            for name, path in self.moment.working_files.items()
            for content in [self._content(path, keep=True)]
        ]
        manifest = BackupManifest(
            self.place.new_stamp(), version("lakehouse"), self.moment.postgres_version, self.lake.settings.storage_uri,
            self.moment.snapshot, self.moment.unfinished, self.moment.pipelines_at_work,
            tuple(sorted(self.counts.missing)), self.with_files, self._content(dumped, keep=True), tuple(working),
            tuple(sorted(files, key=lambda file: file.name)),
        )  # fmt: skip
        self.place.write(manifest)
        return Taken(manifest, self.counts.files, self.counts.bytes, tuple(sorted(self.counts.damaged)))

    def _found(self) -> Iterator[StoredObject]:
        """What there is of what was named, and what else there is."""
        listed = {file.key: file for zone in ("lake/", "published/") for file in self.storage.list(zone)}
        for key in sorted({*self.moment.immutable, *self.moment.descriptions}):
            if key in listed:
                yield listed[key]
            else:
                self.counts.missing.append(key)
        yield from named_files.other_files(self.lake)

    def _file(self, found: StoredObject) -> BackupFile | None:
        """Keep one file; None when it has gone."""
        sha256 = self.known.get((found.key, found.size_bytes, found.etag))
        if sha256 and (not self.with_files or Content(sha256, 0).key in self.there):
            content, etag = Content(sha256, found.size_bytes), found.etag
        else:
            try:
                content, etag = self._read(found)
            except NotThereError:  # another program has just deleted it
                if found.key in self.moment.immutable:
                    self.counts.missing.append(found.key)
                return None
        with self.counting:
            self.counts.done += found.size_bytes
            self.progress(self.counts.done, self.total)
        return BackupFile(content.sha256, content.size_bytes, name=found.key, etag=etag)

    def _read(self, found: StoredObject) -> tuple[Content, str]:
        """A file's content, and the etag that belongs to it."""
        key = found.key
        if isinstance(self.storage, FolderStorage) and key in self.moment.immutable:
            try:
                return self._content(self.storage.root / key, keep=self.with_files, key=key), found.etag
            except FileNotFoundError as error:
                raise NotThereError(str(error)) from None
        # What may change meanwhile is read once, so that the checksum and the bytes belong together.
        with tempfile.TemporaryDirectory(dir=self.aside) as folder:
            copy = Path(folder) / "file"
            etag = self._download(found, copy)
            return self._content(copy, keep=self.with_files, key=key), etag

    def _download(self, found: StoredObject, copy: Path) -> str:
        """Read a file into `copy`, anew when it was replaced since it was listed. Gives the etag of what was read.

        One that is replaced all the time gets none: a restored lakehouse then takes it for a file that it does not
        know, and loads it, rather than for one whose rows it has.
        """
        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                self.storage.download(found.key, copy)
            except ConflictError:
                if attempt == READ_ATTEMPTS:
                    raise
            else:
                if found.key in self.moment.immutable:
                    return found.etag
                now = self.storage.find(found.key)
                if now is None:
                    raise NotThereError(f"There is no {self.storage.uri_of(found.key)}.")
                if now.etag == found.etag:
                    return now.etag
                found = now
        return ""

    def _content(self, path: Path, *, keep: bool, key: str = "") -> Content:
        """A file's checksum; its bytes go to the place, unless they are there.

        One that once held something else is damaged: what it held is named instead where the place has it.
        """
        with open(path, "rb") as file:
            content = Content(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
        recorded = self.recorded.get(key) if key in self.moment.immutable else None
        if recorded and recorded.sha256 != content.sha256:
            self.counts.damaged.append(key)
            if not keep or recorded.key in self.there:
                return recorded
            raise BackupError(
                f"{self.storage.uri_of(key)} no longer holds what it held, and {self.place.storage.uri} has no earlier "
                f"copy of it. Put it back from another backup: `lakehouse restore PLACE --file {key}`."
            )
        if keep and content.key not in self.there:
            self.place.put(path, content)
            self.there.add(content.key)
            with self.counting:
                self.counts.files += 1
                self.counts.bytes += content.size_bytes
        return content
