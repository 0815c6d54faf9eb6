"""Upload files into the landing zone: each is checked as a load would check it before a byte travels."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import duckdb

from dlt_sources.datasets import broken_declarations, dataset, dataset_names
from dlt_sources.landing.checking import check
from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.landed import Dataset
from dlt_sources.landing.tables import HEADER
from dlt_sources.landing.typed_parquet import UnusableFile
from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.landing import landed
from lakehouse.landing.zones import LANDING, QUARANTINE, is_loadable
from lakehouse.storage import Progress, StorageError
from lakehouse_assets.defs.ingestion.declared_types import differences, lake_types, refusal
from lakehouse_assets.defs.ingestion.sources import tables_of


class UploadError(LakehouseError):
    """Nothing can be uploaded; the message says why and what to do."""


class Result(StrEnum):
    """What became of a file."""

    uploaded = "uploaded"
    unchanged = "unchanged"
    refused = "refused"
    quarantined = "quarantined"
    failed = "failed"


@dataclass(frozen=True)
class Candidate:
    """A file to upload, and its name below the dataset's folder."""

    path: Path
    name: str
    size_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What became of one file, and why."""

    candidate: Candidate
    result: Result
    reason: str = ""
    rows: int | None = None


def candidates(paths: Sequence[Path]) -> list[Candidate]:
    """The files that `paths` name. A folder stands for every file below it, hidden and half-copied ones left out.

    Raises:
        UploadError: a path leads nowhere, a folder is empty, or two files would get the same name.
    """
    found: dict[str, Candidate] = {}
    for path in paths:
        if path.is_dir():
            below = [(file, file.relative_to(path).as_posix()) for file in sorted(path.rglob("*")) if file.is_file()]
            named = [(file, name) for file, name in below if is_loadable(name)]
            if not named:
                raise UploadError(f"The folder {path} holds no file.")
        elif path.is_file():
            named = [(path, path.name)]
        else:
            raise UploadError(f"There is no file or folder {path}.")
        for file, name in named:
            if name in found and found[name].path.resolve() != file.resolve():
                raise UploadError(f"{found[name].path} and {file} would both be {name}: upload them one at a time.")
            found[name] = Candidate(file, name, file.stat().st_size)
    return list(found.values())


@dataclass
class Upload:
    """An upload into one dataset, as a context manager. `send` may be called from several threads."""

    lake: Lake
    dataset: Dataset
    known_columns: Mapping[str, str]
    headers: Mapping[str, str]
    loaded_rows: Mapping[str, int | None]
    force: bool
    by: str
    # One file takes every core and up to a gigabyte to read: checks take turns, transfers don't.
    _checking: threading.Lock = field(default_factory=threading.Lock)
    _reader: FileReader = field(default_factory=FileReader)

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def send(self, candidate: Candidate, progress: Progress = lambda _: None) -> Outcome:
        """Check a file and put it where it belongs. Never raises for what is wrong with this one file."""
        try:
            key = f"{LANDING}/{self.dataset.name}/{candidate.name}"
            if self._is_there(candidate, key):
                return Outcome(candidate, Result.unchanged)
            try:
                rows = self._check(candidate)
            except UnusableFile as error:
                return self._refused(candidate, str(error), progress)
            self.lake.storage.upload(candidate.path, key, progress)
            return Outcome(candidate, Result.uploaded, rows=rows)
        except (StorageError, OSError) as error:
            return Outcome(candidate, Result.failed, str(error))

    def _check(self, candidate: Candidate) -> int:
        before = self.loaded_rows.get(f"{self.dataset.name}/{candidate.name}")
        with self._checking:
            return check(
                self._reader, self.dataset, candidate.path, candidate.name, self.known_columns, before, self.headers
            )

    def _refused(self, candidate: Candidate, reason: str, progress: Progress) -> Outcome:
        reason += _other_dataset(self.dataset, candidate.name)
        if not self.force or not _is_text(candidate.name):
            return Outcome(candidate, Result.refused, reason)
        key = f"{QUARANTINE}/{self.dataset.name}/{candidate.name}"
        if not self._is_there(candidate, key):
            self.lake.storage.upload(candidate.path, key, progress)
        with closing(connect(self.lake.settings)) as connection:
            landed.quarantine(connection, f"{self.dataset.name}/{candidate.name}", reason, by=self.by)
        return Outcome(candidate, Result.quarantined, reason)

    def _is_there(self, candidate: Candidate, key: str) -> bool:
        """Whether the storage has this very content under this key: by its SHA-256, not by its time."""
        found = self.lake.storage.find(key)
        if found is None or found.size_bytes != candidate.size_bytes:
            return False
        with candidate.path.open("rb") as file:
            return self.lake.storage.checksum(key) == hashlib.file_digest(file, "sha256").hexdigest()


def open_upload(lake: Lake, name: str, *, force: bool, by: str) -> Upload:
    """Get ready to upload into a dataset.

    Raises LakeError, PostgresError or StorageError when that can't be, UploadError when a load would refuse them all.
    """
    declared = dataset(name)
    for _ in lake.storage.list(f"{LANDING}/{name}/"):  # a storage that can't be reached says so once, not per file
        break
    with closing(lake.connect(read_only=True)) as connection:
        if told := refusal(differences(connection, tables_of(name))):
            raise UploadError(told)
        there = lake_types(connection, declared.table.name)
        headers = _headers(connection, declared)
    declared_types = declared.table.column_types  # of columns that earlier files brought the types are settled, too
    known = declared_types | {
        column: kind for column, kind in there.items() if column not in declared_types and not column.startswith("_dlt")
    }
    return Upload(lake, declared, known, headers, _loaded_rows(lake, name), force, by)


def _headers(connection: duckdb.DuckDBPyConnection, declared: Dataset) -> dict[str, str]:
    """What files called the columns that nobody declared: dlt's schema, which lies in the lake, has it."""
    try:
        row = connection.execute(
            "SELECT schema FROM raw._dlt_version WHERE schema_name = ? ORDER BY inserted_at DESC LIMIT 1",
            [declared.name],
        ).fetchone()
    except duckdb.CatalogException:
        return {}  # nothing was loaded yet
    columns = json.loads(row[0])["tables"].get(declared.table.name, {}).get("columns", {}) if row else {}
    return {name: hints[HEADER] for name, hints in columns.items() if HEADER in hints}


def _loaded_rows(lake: Lake, name: str) -> dict[str, int | None]:
    with closing(connect(lake.settings)) as connection:
        return {key: state.rows for key, state in landed.states(connection, name).items()}


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: neither an object store nor the ledger takes another."""
    return name == name.encode(errors="replace").decode()


def _other_dataset(mine: Dataset, name: str) -> str:
    """A hint for whoever named the wrong dataset."""
    if mine.refusal(name) is None:
        return ""
    usable = set(dataset_names()) - set(broken_declarations()) - {mine.name}
    others = [other for other in sorted(usable) if dataset(other).refusal(name) is None]
    return f"; it looks like a file of {' or '.join(others)}" if others else ""
