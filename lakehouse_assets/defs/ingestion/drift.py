"""What a source changed that its table can't follow by itself: a type, a column that is gone. Told before it loads.

New columns and tables come in. A change is kept beside what is known of the source until somebody accepts it by
`lakehouse source accept NAME`; that a column is gone is also accepted by a change of the source's file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake, identifier
from lakehouse_assets.defs.ingestion.content_cache import write_atomically
from lakehouse_assets.defs.ingestion.declared_types import readers
from lakehouse_assets.defs.ingestion.sources import file_of
from lakehouse_assets.sqlmesh_integration.reasons import ModelsError

if TYPE_CHECKING:
    from dlt import Pipeline

Columns = dict[str, dict[str, Any]]
"""dlt's columns by table, by name."""
KEPT_AS_TEXT = ("json", "wei")
"""dlt's types that its files hold as another one."""
NO_VALUE = "no value"


@dataclass(frozen=True)
class Change:
    """One column that changed: `new` is its type now, empty when the column is gone."""

    table: str
    column: str
    old: str
    new: str = ""
    example: str = ""

    def __str__(self) -> str:
        if not self.new:
            return f"raw.{self.table} has lost the column {self.column} ({self.old}), which every row had until now"
        return f"raw.{self.table}: {self.column} was {self.old} and is now {self.new}, as in {self.example}"


class DriftError(LakehouseError):
    """The source changed; the message names every table and column and says what to do."""


def columns_of(pipeline: Pipeline) -> Columns:
    """The columns that the lake's schema of the pipeline has, before a load."""
    if not pipeline.default_schema_name:
        return {}
    return {
        name: {column: dict(hints) for column, hints in table["columns"].items() if hints.get("data_type")}
        for name, table in pipeline.default_schema.tables.items()
        if not name.startswith("_dlt_")
    }


class Fields:
    """The names that a resource's rows have, whatever is in them: what is empty is there, and what is gone is not."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.are_known = True

    def note(self, item: Any) -> Any:
        """Look at a row, an Arrow table or a frame on its way."""
        if isinstance(item, dict):
            if not self.names.issuperset(item):  # a million rows know the same names
                self.names.update(map(str, item))
        else:
            found = getattr(item, "column_names", None)
            found = getattr(item, "columns", None) if found is None else found
            self.are_known &= found is not None
            self.names.update(map(str, () if found is None else found))
        return item

    def have(self, column: str, pipeline: Pipeline) -> bool:
        """Whether some row has what the lake calls so, or what it is a part of."""
        normalize = pipeline.default_schema.naming.normalize_identifier
        return not self.are_known or any(
            column == name or column.startswith(f"{name}__") for name in map(normalize, self.names)
        )


def check(lake: Lake, pipeline: Pipeline, before: Columns, fields: Mapping[str, Fields]) -> None:
    """Look at what is normalized and not loaded yet, with the fields of its rows by resource. Raises DriftError."""
    files = _files(pipeline)
    source = pipeline.pipeline_name
    found = _read(lake, source)
    accepted = found["changes"] if found and found["file"] != _digest(source) else []
    gone = [change for change in _vanished(lake, pipeline, before, files, fields) if asdict(change) not in accepted]
    changes = [*_types(pipeline, before, files), *gone]
    if changes:
        kept = {"file": _digest(source), "changes": [asdict(change) for change in changes]}
        write_atomically(_path(lake, source), json.dumps(kept))
        lines = "\n".join(f"  {change}{_read_by(change)}" for change in changes)
        raise DriftError(
            f"the source has changed:\n{lines}\nNothing was loaded. Correct dlt_sources/{source}.py: a column's old "
            f"type as a hint, say. Or `lakehouse source accept {source}`: columns get their new types, where no value "
            "that is there is lost by it, and the next load does without those that are gone."
        )


def stopped_by(lake: Lake, source: str) -> list[Change]:
    """The changes that stopped the last load."""
    found = _read(lake, source)
    return [Change(**change) for change in found["changes"]] if found else []


def note_accepted(lake: Lake, source: str) -> None:
    """Let the next load do without the columns whose loss stopped the last one."""
    found = _read(lake, source)
    if found:
        write_atomically(_path(lake, source), json.dumps({**found, "file": ""}))


def _read_by(change: Change) -> str:
    """The models that the change can break."""
    try:
        models = readers(change.table, change.column)
    except (LakehouseError, ModelsError):  # the models can't be read at all, which is told elsewhere
        return ""
    return f"; {', '.join(models)} read it" if models else ""


def forget(lake: Lake, source: str) -> None:
    """A load went through: what was accepted is done."""
    _path(lake, source).unlink(missing_ok=True)


def waiting(lake: Lake, source: str) -> list[Change]:
    """The changes that stop the source's loads."""
    found = _read(lake, source)
    return [Change(**one) for one in found["changes"]] if found and found["file"] == _digest(source) else []


def _files(pipeline: Pipeline) -> dict[str, list[str]]:
    """The Parquet files that wait to be loaded, by table."""
    found: dict[str, list[str]] = {}
    for load_id in pipeline.list_normalized_load_packages():
        for job in pipeline.get_load_package_info(load_id).jobs["new_jobs"]:
            if job.file_path.endswith(".parquet"):
                found.setdefault(job.job_file_info.table_name, []).append(job.file_path)
    return found


def _types(pipeline: Pipeline, before: Columns, files: dict[str, list[str]]) -> Iterator[Change]:
    for table, columns in before.items():
        now: Any = pipeline.default_schema.tables[table]["columns"]
        for name, hints in now.items():
            base = name.partition("__v_")[0]
            if hints.get("variant") and name not in columns and base in columns:
                example = _example(files.get(table, []), name)
                yield Change(table, base, columns[base]["data_type"], hints["data_type"], example)
        sent = _sent(files.get(table, []))
        for name, hints in columns.items():
            kind = sent.get(name) or now.get(name, hints).get("data_type")
            if kind != hints["data_type"] and hints["data_type"] not in KEPT_AS_TEXT:
                yield Change(table, name, hints["data_type"], str(kind), _example(files.get(table, []), name))


def _sent(files: list[str]) -> dict[str, str]:
    """dlt's types of the columns in files."""
    import pyarrow as pa
    import pyarrow.parquet
    from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns

    found: dict[str, str] = {}
    for file in files:
        schema = pyarrow.parquet.read_schema(file)
        known = pa.schema([field for field in schema if not pa.types.is_null(field.type)])
        found |= {name: str(hints["data_type"]) for name, hints in py_arrow_to_table_schema_columns(known).items()}
    return found


def _example(files: list[str], column: str) -> str:
    import pyarrow.parquet

    for path in files:
        with pyarrow.parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                continue
            for batch in file.iter_batches(columns=[column]):
                values = batch.column(0).drop_null()
                if len(values):
                    return repr(str(values[0].as_py()))[:100]
    return NO_VALUE


def _vanished(
    lake: Lake, pipeline: Pipeline, before: Columns, files: dict[str, list[str]], fields: Mapping[str, Fields]
) -> Iterator[Change]:
    """Columns that every row of the lake has and no row of this load knows, even as null; not those of child tables."""
    for table, paths in files.items():
        hints: Any = pipeline.default_schema.tables[table]
        known = fields.get(hints.get("resource", ""))
        if known is None or hints.get("parent"):
            continue
        columns = [name for name in before.get(table, {}) if not name.startswith("_dlt_") and "__v_" not in name]
        lacking = [name for name in columns if not known.have(name, pipeline) and _example(paths, name) == NO_VALUE]
        rows = sum(_rows(path) for path in paths)
        if not lacking or not rows:
            continue
        with closing(lake.connect(read_only=True)) as connection:
            for name in lacking:
                row = connection.execute(
                    f"SELECT count(*) > 0 AND count(*) = count({identifier(name)}) FROM raw.{identifier(table)}"
                ).fetchone()
                if row and row[0]:
                    yield Change(table, name, before[table][name]["data_type"])


def _rows(path: str) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(path).num_rows)


def _digest(source: str) -> str:
    return hashlib.sha256(file_of(source).read_bytes()).hexdigest()


def _path(lake: Lake, source: str) -> Path:
    return lake.settings.data_dir / "sources" / f"{source}.drift.json"


def _read(lake: Lake, source: str) -> Any:
    try:
        return json.loads(_path(lake, source).read_text())
    except (OSError, ValueError):
        return None
