"""Say what source files load, as far as their hints tell: a process of its own, since a file may hang or die.

Arguments: the folder for the answers, then the files. Each is read in a fork, so that one can't stop another.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute  # noqa: F401  so that a fork need not
from dlt.extract import DltResource
from dlt.extract.exceptions import DataItemRequiredForDynamicTableHints

from lakehouse.settings import load_settings
from lakehouse_assets.defs.ingestion.content_cache import write_atomically
from lakehouse_assets.defs.ingestion.source_files import SourceFile, incremental_of, prefixed, read
from lakehouse_assets.defs.ingestion.source_settings import missing_setting, settings_of
from lakehouse_assets.defs.ingestion.sources import is_key

SECONDS = 60
"""For one file: a database may be asked for its tables."""


def main() -> None:
    """Describe each file, one after the other."""
    folder, *paths = map(Path, sys.argv[1:])
    for path in paths:
        process = multiprocessing.get_context("fork").Process(target=describe_file, args=(folder, path))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            _answer(folder, path, {"problem": f"reading it took more than {SECONDS} seconds"})
        elif process.exitcode:
            _answer(folder, path, {"problem": f"reading it ended its process with {process.exitcode}"})


def _answer(folder: Path, path: Path, value: dict[str, Any]) -> None:
    write_atomically(folder / f"{path.stem}.json", json.dumps(value))


def describe_file(folder: Path, path: Path) -> None:
    """Write the description of one file, or its problem."""
    with settings_of(path.stem, load_settings()) as settings:
        try:
            found = read(path)
            value = {"is_source": False} if found is None else describe(path.stem, found)
        except (Exception, SystemExit) as error:
            value = {"problem": settings.without_secrets(_sentence(path.stem, error))}
    _answer(folder, path, value)


def _sentence(name: str, error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return missing_setting(name, error) or f"{type(error).__name__}: {lines[0][:500]}"


def describe(name: str, file: SourceFile) -> dict[str, Any]:
    """The file's source as JSON: its tables with their columns, and what it declares."""
    tables = [
        table for resource in file.source.selected_resources.values() for table in _tables_of(name, resource, file)
    ]
    return {
        "is_source": True,
        "tables": tables,
        "owner": file.declaration.owner,
        "schedule": file.declaration.schedule,
        "description": inspect.cleandoc(file.source.__doc__ or "") if file.source.__doc__ else "",
    }


def _tables_of(source: str, resource: DltResource, file: SourceFile) -> list[dict[str, Any]]:
    """The resource's table; one of which nothing is known yet where each row names its own."""
    try:
        table: Any = resource.compute_table_schema()
    except DataItemRequiredForDynamicTableHints:
        table = {"name": prefixed(source, resource.name), "columns": {}}
    naming = file.source.schema.naming  # a database's table may be named `Order Lines`
    columns = [
        {**column, "name": naming.normalize_identifier(column["name"])}
        for column in table["columns"].values()
        if column.get("data_type")
    ]
    name = naming.normalize_tables_path(str(table["name"]))
    return [
        {
            "source": source,
            "name": name,
            "description": table.get("description") or _docstring(resource),
            "columns": [(column["name"], duckdb_type(column), column.get("description", "")) for column in columns],
            "event_time": file.declaration.event_time.get(name),
            "fields": {column["name"]: [column["x-field"]] for column in columns if "x-field" in column},
            "resource": resource.name,
            "key": [column["name"] for column in columns if is_key(table, column)],
            "is_counted": name in file.declaration.count,
            "backfill": file.declaration.backfill if incremental_of(resource) else "",
        }
    ]


def _docstring(resource: DltResource) -> str:
    function = resource._pipe.gen
    text = inspect.getdoc(inspect.unwrap(function)) if inspect.isfunction(function) else None
    return text or ""


def duckdb_type(column: Any) -> str:
    """DuckDB's name of a dlt column's type, as DuckLake makes it."""
    kind = column["data_type"]
    if kind == "decimal":
        return f"DECIMAL({column.get('precision') or 38},{column.get('scale') or 9})"
    if kind == "timestamp":
        return "TIMESTAMP" if column.get("timezone") is False else "TIMESTAMPTZ"
    names = {"bigint": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "date": "DATE", "time": "TIME"}
    return names.get(kind) or {"json": "JSON", "binary": "BLOB", "wei": "DECIMAL(38,0)"}.get(kind, "VARCHAR")


if __name__ == "__main__":
    main()
