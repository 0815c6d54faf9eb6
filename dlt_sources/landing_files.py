"""The dlt resource over landed files: new and changed ones only, each file's rows replaced as a whole."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow.parquet
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns
from dlt.extract import DltResource

from dlt_sources.confirmed_loads import confirmed_loads, current_load_id
from dlt_sources.landed import Dataset, LandedFile, LandedFileError, LandingReport
from dlt_sources.tables import learned_columns
from dlt_sources.typed_parquet import TypedParquet, UnusableFile, concatenate, connect

Fetch = Callable[[str, Path], None]
"""Put the content of an address at a local path."""

# The rows of a file that is loaded again go, whatever their number. The key makes rows that were staged twice
# (killed between DuckLake's commit and dlt's mark) count once, and keeps exact duplicates inside a file.
REPLACE_WHOLE_FILES: Any = {
    "disposition": "merge",
    "strategy": "delete-insert",
    "destination_scope": "source_file IN (SELECT source_file FROM {staging_table})",
}
# A load job costs 0.2 s whatever its size: small files share one.
BATCH_BYTES = 64 * 1024 * 1024


def link_local_file(uri: str, target: Path) -> None:
    """Make a local file readable at `target`: a path without the characters that DuckDB takes for a pattern."""
    target.symlink_to(Path(uri).resolve(strict=True))


def landing_resource(
    dataset: Dataset,
    files: Sequence[LandedFile] = (),
    report: LandingReport | None = None,
    fetch: Fetch = link_local_file,
) -> DltResource:
    """A resource that loads `files` into the dataset's table and tells `report` what became of each.

    A file whose etag or content was loaded before is left alone. A file that can't be read is in `report.failures`;
    the others load. Which etags are loaded is kept in dlt's state, and believed only where the
    destination's own `_dlt_loads` confirms the load.
    """
    table = dataset.table
    told = report if report is not None else LandingReport()

    def rows() -> Iterator[Any]:
        loaded: dict[str, dict[str, Any]] = dlt.current.resource_state().setdefault("files", {})
        confirmed = confirmed_loads({entry["load_id"] for entry in loaded.values()})
        arrived = []
        for file in files:
            entry = loaded.get(file.name)
            if entry and entry["etag"] == file.etag and entry["load_id"] in confirmed:
                told.unchanged.append(file.name)
            else:
                arrived.append(file)
        if not arrived:
            return
        with tempfile.TemporaryDirectory(prefix="landing_") as folder, connect(Path(folder)) as connection:
            parquet = _parquet_writer(connection, dataset)
            batch: list[Path] = []
            for number, file in enumerate(arrived):
                before = loaded.get(file.name, {})
                before = before if before.get("load_id") in confirmed else {}
                try:
                    local = _fetched(dataset, file, Path(folder) / str(number), fetch)
                    digest = _digest(local)
                    if digest == before.get("digest"):
                        loaded[file.name] = before | {"etag": file.etag}
                        told.unchanged.append(file.name)
                        continue
                    path = local.with_name("typed.out")
                    count = parquet.write(local, path, file.name)
                    if count == 0 and before.get("rows"):
                        raise UnusableFile("it holds no rows any more; its earlier rows stay: delete it instead")
                except (UnusableFile, OSError) as error:
                    told.failures.append(LandedFileError(file, str(error)))
                    continue
                loaded[file.name] = {"etag": file.etag, "digest": digest, "rows": count, "load_id": parquet.load_id}
                told.loaded[file.name] = count
                if count == 0:
                    continue
                if batch and not _fits(batch, path):
                    yield _import(connection, batch)
                    batch = []
                batch.append(path)
            if batch:
                yield _import(connection, batch)

    rows.__doc__ = dataset.description
    resource: DltResource = dlt.resource(
        rows,
        name=table.name,
        table_name=table.name,
        columns=table.dlt_columns(),
        primary_key=table.key,
        write_disposition=REPLACE_WHOLE_FILES,
    )
    return resource


def _parquet_writer(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> TypedParquet:
    schema = dlt.current.source_schema()
    declared = {column.name: column.type for column in dataset.table.columns}
    return TypedParquet(
        connection,
        dataset,
        known_columns=declared | learned_columns(schema, dataset.table),
        normalize=schema.naming.normalize_identifier,
        load_id=current_load_id(),
    )


def _fetched(dataset: Dataset, file: LandedFile, folder: Path, fetch: Fetch) -> Path:
    if refusal := dataset.refusal(file.name):
        raise UnusableFile(refusal)
    folder.mkdir()
    local = folder / f"landed{Path(file.name).suffix.lower()}"
    fetch(file.uri, local)
    return local


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _fits(batch: list[Path], path: Path) -> bool:
    same_columns = pyarrow.parquet.read_schema(batch[0]).equals(pyarrow.parquet.read_schema(path))
    return same_columns and sum(part.stat().st_size for part in (*batch, path)) <= BATCH_BYTES


def _import(connection: duckdb.DuckDBPyConnection, batch: list[Path]) -> Any:
    """Hand Parquet files to dlt as one, as they are. Without the hints dlt makes no table for it."""
    path = batch[0]
    if len(batch) > 1:
        path = path.with_name("batch.out")
        concatenate(connection, batch, path)
    columns = py_arrow_to_table_schema_columns(pyarrow.parquet.read_schema(path))
    return dlt.mark.with_file_import(
        str(path),
        "parquet",
        items_count=pyarrow.parquet.read_metadata(path).num_rows,
        hints=dlt.mark.make_hints(columns=columns),
    )
