"""A load of the files in a dataset's landing folder: new and changed ones, and what follows from deleted ones."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import psycopg

from dlt_sources.datasets import dataset
from dlt_sources.landing.landed import SOURCE_FILE, LandedFile, LandedFilesError, LandingReport
from dlt_sources.landing.typed_parquet import link_local_file
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.landing import landed
from lakehouse.landing.landed import LandedVersion
from lakehouse.landing.zones import LandingFolder, landing_key
from lakehouse.storage import NotThereError, StorageError
from lakehouse.storage.folder import FolderStorage
from lakehouse.upkeep.alerts.hook import send
from lakehouse.upkeep.alerts.message import Alert
from lakehouse.upkeep.alerts.open import close_alert, open_alert
from lakehouse_assets.defs.ingestion.source_load import SourceLoad

if TYPE_CHECKING:
    from dlt.extract.source import DltSource


class FilesLoad(SourceLoad):
    """The files of a landing folder."""

    def __init__(self, lake: Lake, folder: LandingFolder) -> None:
        super().__init__(lake, folder.dataset)
        self.folder = folder
        self.dataset = dataset(folder.dataset)
        self.report = LandingReport()
        self.files: list[LandedFile] = []
        self.deleted: list[str] = []

    def dlt_source(self) -> DltSource:
        """The dataset's source, given every file that lies there now."""
        self.files = [LandedFile(landing_key(file), file.key, file.etag) for file in self.folder.files()]
        from dlt_sources.landing.resource import landing_source

        return landing_source(self.dataset, self.files, self.report, self._fetch, self.types, self._in_table())

    def _in_table(self) -> set[str]:
        """The files of which the table has rows."""
        with closing(self.lake.connect(read_only=True)) as connection:
            try:
                found = connection.execute(f"SELECT DISTINCT {SOURCE_FILE.name} FROM {self._table}").fetchall()
            except duckdb.CatalogException:  # it is yet to be made
                return set()
        return {name for (name,) in found}

    @property
    def _table(self) -> str:
        return f'lakehouse.raw."{self.dataset.table.name}"'

    def complete(self) -> None:
        """Where the dataset says so, delete the rows of files that are gone: the table has what the folder holds.

        dlt's state has forgotten these files by now. The other way round, a file that comes back after a kill
        between the two would count as loaded. The table itself says which files it has rows of, so whatever a killed
        load left is found by the next one.
        """
        if self.dataset.when_deleted != "delete_rows":
            return
        self.deleted = sorted(self._in_table() - {file.name for file in self.files})
        if self.deleted:
            with closing(self.lake.connect()) as connection:
                connection.execute(
                    f"DELETE FROM {self._table} WHERE {SOURCE_FILE.name} IN (SELECT unnest(?))", [self.deleted]
                )

    def metadata(self) -> dict[str, Any]:
        """What became of the files."""
        return {
            "files_loaded": len(self.report.loaded),
            "files_unchanged": len(self.report.unchanged),
            "files_failed": len(self.report.failures),
            "files_deleted": len(self.deleted),
            "files": dg.MetadataValue.json(dict(self.report.loaded)),
            **({"columns_lacking": dg.MetadataValue.json(self.report.lacking)} if self.report.lacking else {}),
        }

    def record(self, run: str) -> None:
        """So that the sensor knows which versions of which files need no load."""
        allowed = {column.name for column in self.dataset.columns if column.required is False}
        refused = {failure.file.key: failure.reason for failure in self.report.failures}
        unreachable = {failure.file.key for failure in self.report.failures if failure.unreachable}
        rows = {**self.report.unchanged, **self.report.loaded}
        lying = {file.key for file in self.files}
        with closing(connect(self.lake.settings)) as connection:
            known = landed.states(connection, self.source)
            lacking = {key: [name for name in state.lacking if name not in allowed] for key, state in known.items()}
            loaded = [file for file in self.files if file.name in self.report.loaded]
            lacking |= {file.key: self.report.lacking.get(file.name, []) for file in loaded}
            met = [
                LandedVersion(file.key, file.etag, rows.get(file.name), refused.get(file.key), lacking.get(file.key))
                for file in self.files
                if file.key not in unreachable
            ]
            gone = [key for key in known if key not in lying]
            landed.record(connection, met, deleted=gone if self.dataset.when_deleted == "delete_rows" else (), run=run)
            alert = _alert_of_lacking(connection, self.lake.settings.environment, self.source)
        if alert:
            send(self.lake.settings, alert)

    def problem(self) -> dg.Failure | None:
        """The files that could not be loaded. Another try helps only where one could not be reached."""
        try:
            self.report.raise_failures()
        except LandedFilesError as error:
            return dg.Failure(str(error), allow_retries=any(failure.unreachable for failure in error.failures))
        return None

    def _fetch(self, key: str, target: Path) -> None:
        """A file in a folder needs no copy; one in an object store is fetched, and goes with the load."""
        try:
            if isinstance(self.folder.storage, FolderStorage):
                link_local_file(self.folder.storage.uri_of(key), target)
            else:
                self.folder.storage.download(key, target)
        except NotThereError as error:
            raise FileNotFoundError(str(error)) from error
        except StorageError as error:
            raise OSError(str(error)) from error


def _alert_of_lacking(connection: psycopg.Connection, environment: str, source: str) -> Alert | None:
    """What to tell of declared columns that whole files lack, when that has changed."""
    subject, found = f"columns of {source}", landed.lacking(connection, source)
    if not found:
        closed = close_alert(connection, environment, subject)
        return Alert(subject, "No file lacks a column any more.", "recovered", environment) if closed else None
    lines = "\n".join(map(str, found))
    text = (
        f"{lines}\nModels that need the column leave these rows out. Mend the file and upload it again, or, if a file "
        f"may lack it, write `required = false` beside the column in dlt_sources/datasets/{source}.toml."
    )
    is_new = open_alert(connection, environment, subject, lines[:500], {"text": text})
    return Alert(subject, text, "warning", environment) if is_new else None
