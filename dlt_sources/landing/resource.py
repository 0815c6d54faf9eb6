"""The dlt resource over landed files: new and changed ones only, each file's rows replaced as a whole."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import pyarrow.parquet
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns
from dlt.extract import DltResource
from dlt.extract.source import DltSource

from dlt_sources.landing.confirmed_loads import confirmed_loads, current_load_id
from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.landed import Dataset, LandedFile, LandedFileError, LandingReport, local_name
from dlt_sources.landing.tables import HEADER, learned_columns, learned_headers
from dlt_sources.landing.typed_parquet import UnusableFile, concatenate, connect, link_local_file

Fetch = Callable[[str, Path], None]
"""Put the content of an address at a local path."""

STAGING = "raw_staging"
"""dlt's merge area beside the dataset `raw`, which every pipeline loads into."""
NO_TYPES: Mapping[str, str] = {}
NAMING = {"naming": "dlt_sources.landing.dlt_naming", "allow_identifier_change_on_table_with_data": True}
"""What earlier versions loaded has names that this naming leaves as they are."""
# A load job costs 0.2 s whatever its size: small files share one.
BATCH_BYTES = 64 * 1024 * 1024


def landing_source(
    dataset: Dataset,
    files: Sequence[LandedFile] = (),
    report: LandingReport | None = None,
    fetch: Fetch = link_local_file,
    types: Mapping[str, str] = NO_TYPES,
    in_table: Container[str] | None = None,
) -> DltSource:
    """The dlt source of a dataset, named as it: its one resource is `landing_resource`."""

    # In dlt's configuration, since a pipeline keeps the naming of its stored schema whatever its source's schema says.
    for setting, value in NAMING.items():
        dlt.config[f"sources.{dataset.name}.schema.{setting}"] = value

    @dlt.source(name=dataset.name, section=dataset.name)
    def source() -> DltResource:
        return landing_resource(dataset, files, report, fetch, types, in_table)

    return source()


def landing_resource(
    dataset: Dataset,
    files: Sequence[LandedFile] = (),
    report: LandingReport | None = None,
    fetch: Fetch = link_local_file,
    types: Mapping[str, str] = NO_TYPES,
    in_table: Container[str] | None = None,
) -> DltResource:
    """A resource that loads `files` into the dataset's table and tells `report` what became of each.

    `files` are all that lie in the dataset's landing folder. One whose etag or content was loaded before is left
    alone. One that can't be read is in `report.failures`; the others load. Which etags are loaded is kept in dlt's
    state, and believed only where the destination's own `_dlt_loads` confirms the load. `types` are those that the
    destination's columns have, where dlt's schema may say otherwise. `in_table` are the files of which the table has
    rows (None: any may be): where none of those that load is among them, there is nothing to replace.
    """
    table = dataset.table
    told = report if report is not None else LandingReport()

    def rows() -> Iterator[Any]:
        loaded = dlt.current.resource_state().setdefault("files", {})
        confirmed = confirmed_loads({entry["load_id"] for entry in loaded.values()})
        reader = FileReader()
        schema = dlt.current.source_schema()
        known = table.column_types | learned_columns(schema, table)
        known |= {name: kind for name, kind in types.items() if name in known.keys() - table.column_types.keys()}
        load = _Load(dataset, loaded, confirmed, told, fetch, reader, known, learned_headers(schema, table))
        load.forget_deleted(files)
        arrived = load.arrived(files)
        if not arrived:
            return
        replaces = in_table is None or any(file.name in in_table for file in arrived)
        with reader, tempfile.TemporaryDirectory(prefix="landing_") as folder:
            batch: list[Path] = []
            for number, file in enumerate(arrived):
                path = load.typed(file, Path(folder) / str(number))
                if path and batch and not _fits(batch, path):
                    yield _import(batch, load.headers, replaces=replaces)
                    batch = []
                if path:
                    batch.append(path)
            if batch:
                yield _import(batch, load.headers, replaces=replaces)

    rows.__doc__ = dataset.description
    resource: DltResource = dlt.resource(
        rows,
        name=table.name,
        table_name=table.name,
        columns=table.dlt_columns(),
        primary_key=table.key,
        write_disposition=_replace_whole_files(table.name),
    )
    return resource


def _replace_whole_files(table: str) -> Any:
    """The rows of a file that is loaded again go, whatever their number.

    A file is staged by one commit: of one that was staged twice (killed between DuckLake's commit and dlt's mark) only
    the later commit's rows count. dlt's own way, to number all rows by their key, holds them in memory: 15,000,000 rows
    were too many for 1 GB.
    """
    return {
        "disposition": "merge",
        "strategy": "delete-insert",
        "deduplicated": True,
        "source_filter": "(source_file, snapshot_id) IN "
        f'(SELECT source_file, max(snapshot_id) FROM {STAGING}."{table}" GROUP BY source_file)',
        # Where DuckDB takes the staged rows for more than the table's it holds the table in memory, to look them up.
        "destination_scope": "source_file IN (SELECT unnest(list(DISTINCT source_file)) FROM {staging_table})",
    }


@dataclass(frozen=True)
class _Load:
    """One load: what was loaded before (by file name), and which of those loads are confirmed.

    What a file brings that is new, `types` by column and `headers`, holds for the files after it.
    """

    dataset: Dataset
    loaded: dict[str, dict[str, Any]]
    confirmed: set[str]
    report: LandingReport
    fetch: Fetch
    reader: FileReader
    types: dict[str, str]
    headers: dict[str, str]

    def before(self, file: LandedFile) -> dict[str, Any]:
        """What is known of the file's last load; nothing when it isn't confirmed."""
        entry = self.loaded.get(file.name, {})
        return entry if entry.get("load_id") in self.confirmed else {}

    def arrived(self, files: Sequence[LandedFile]) -> list[LandedFile]:
        """The files whose etag is new."""
        new = [file for file in files if self.before(file).get("etag") != file.etag]
        names = {file.name for file in new}
        self.report.unchanged |= {file.name: self.before(file)["rows"] for file in files if file.name not in names}
        return new

    def forget_deleted(self, files: Sequence[LandedFile]) -> None:
        """A file whose rows go with it is new when it comes back. Said before its rows go: see FilesLoad."""
        if self.dataset.when_deleted == "delete_rows":
            names = {file.name for file in files}
            for name in [name for name in self.loaded if name not in names]:
                del self.loaded[name]

    def typed(self, file: LandedFile, folder: Path) -> Path | None:
        """A Parquet file of the file's rows as the table has them; None when there is nothing to load."""
        local = folder / local_name(file.name)
        try:
            if refusal := self.dataset.refusal(file.name):
                raise UnusableFile(refusal)
            folder.mkdir()
            self.fetch(file.uri, local)
            before = _identity(local)
            digest = _digest(local)
            if digest == self.before(file).get("digest"):
                self.loaded[file.name] = self.before(file) | {"etag": file.etag}
                self.report.unchanged[file.name] = self.before(file)["rows"]
                return None
            target = folder / "typed.out"
            count = self._write(local, target, file.name)
            if count == 0 and self.before(file).get("rows"):
                raise UnusableFile(self.dataset.refusal_of_emptied())
            if _identity(local) != before:
                raise OSError("it was changed while it was being loaded")
        except (UnusableFile, OSError) as error:
            self.report.failures.append(self._failure(file, local, error))
            return None
        entry = {"etag": file.etag, "digest": digest, "rows": count, "load_id": current_load_id()}
        self.loaded[file.name] = entry
        self.report.loaded[file.name] = count
        return target if count else None

    def _failure(self, file: LandedFile, local: Path, error: Exception) -> LandedFileError:
        refused = isinstance(error, UnusableFile)
        if isinstance(error, FileNotFoundError) or (refused and local.is_symlink() and not local.exists()):
            return LandedFileError(file, "it was deleted while it was being loaded", unreachable=True)
        return LandedFileError(file, str(error), unreachable=not refused)

    def _write(self, local: Path, target: Path, source_file: str) -> int:
        written = self.reader.write(
            self.dataset,
            local,
            target,
            source_file,
            known_columns=self.types,
            headers=self.headers,
            load_id=current_load_id(),
        )
        if written.rows:
            self.types.update(written.types)
            self.headers.update(written.headers | self.headers)
            if written.lacking:
                self.report.lacking[source_file] = written.lacking
        return written.rows


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _identity(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _fits(batch: list[Path], path: Path) -> bool:
    same_columns = pyarrow.parquet.read_schema(batch[0]).equals(pyarrow.parquet.read_schema(path))
    return same_columns and sum(part.stat().st_size for part in (*batch, path)) <= BATCH_BYTES


def _import(batch: list[Path], headers: Mapping[str, str], *, replaces: bool) -> Any:
    """Hand Parquet files to dlt as one, as they are. Without the hints dlt makes no table for it.

    What replaces nothing is written once, not into the merge area first and from there into the table.
    """
    path = batch[0]
    if len(batch) > 1:
        path = path.with_name("batch.out")
        with connect(path.parent) as connection:
            concatenate(connection, batch, path)
    columns: dict[str, Any] = dict(py_arrow_to_table_schema_columns(pyarrow.parquet.read_schema(path)))
    for name in columns.keys() & headers:
        columns[name] = columns[name] | {HEADER: headers[name]}
    return dlt.mark.with_file_import(
        str(path),
        "parquet",
        items_count=pyarrow.parquet.read_metadata(path).num_rows,
        hints=dlt.mark.make_hints(columns=columns, write_disposition=None if replaces else "append"),
    )
