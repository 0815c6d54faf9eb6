"""`sqlmesh_project/external_models.yaml`: the raw tables as the models see them, held to what the lake has."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from lakehouse.lake.ducklake import Lake
from lakehouse_assets.defs.ingestion.declared_types import lake_columns, readers
from lakehouse_assets.defs.ingestion.sources import raw_tables
from lakehouse_assets.models import project

Columns = Mapping[str, Mapping[str, str]]
"""The types of columns by name, by table (`raw.<table>`)."""


def file() -> Path:
    """Where SQLMesh looks for external models."""
    return project().folder / "external_models.yaml"


def declared() -> dict[str, dict[str, str]]:
    """Of every table in the file."""
    return {entry["name"]: dict(entry.get("columns", {})) for entry in _read()}


def learned() -> Columns:
    """Of the tables that were loaded from here, without asking the lake."""
    return {t.full_name: {name: kind for name, kind, _ in t.columns} for t in raw_tables() if t.is_complete}


def there(lake: Lake) -> Columns:
    """Of every raw table that the lake has."""
    with closing(lake.connect(read_only=True)) as connection:
        found = lake_columns(connection)
    return {f"raw.{table}": columns for table, columns in found.items()}


def out_of_step(columns: Columns) -> list[str]:
    """A sentence for each column that the file has and its table hasn't, or has in another type."""
    return list(_sentences(_read(), columns))


def write(columns: Columns, also: Collection[str] = ()) -> list[str]:
    """Write the columns of every table that a model reads, and of `also`; names the tables that changed.

    What else somebody wrote into the file, audits and descriptions, stays.
    """
    entries = _read()
    known = {entry["name"]: entry for entry in entries}
    tables = {table.full_name: table for table in raw_tables()}
    read = {f"{ref.schema}.{ref.table}" for model in project().manifest().models for ref in model.external}
    changed = []
    for name in sorted({*known, *read, *also} & columns.keys()):
        entry = known.get(name)
        if entry is None:
            text = tables[name].description if name in tables else ""
            entry = {"name": name, **({"description": text} if text else {}), "columns": {}}
            entries.append(entry)
        if not _same(entry["columns"], columns[name]):
            entry["columns"] = {column: kind.lower() for column, kind in columns[name].items()}
            changed.append(name)
    if changed:
        written = io.StringIO()
        _yaml().dump(entries, written)
        file().write_text(written.getvalue())
    return changed


def _sentences(entries: Any, columns: Columns) -> Iterator[str]:
    for entry in entries:
        table = columns.get(entry["name"], {})
        for column, kind in entry.get("columns", {}).items() if table else ():
            models = ", ".join(readers(entry["name"].partition(".")[2], column))
            if column not in table:
                then = f"{models} read it: correct them, then" if models else "No model reads it:"
                yield f"{entry['name']} has no column {column} any more. {then} `lakehouse model external`."
            elif not _same({column: kind}, {column: table[column]}):
                who = f" ({models} read it)" if models else ""
                yield f"{entry['name']}: {column} is {table[column]}, not {kind}{who}: `lakehouse model external`."


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    from sqlglot import exp

    def types(columns: Mapping[str, str]) -> dict[str, Any]:
        return {name: exp.DataType.build(kind, dialect="duckdb") for name, kind in columns.items()}

    return types(one) == types(other)


def _read() -> Any:
    return _yaml().load(file().read_text()) or [] if file().exists() else []


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()  # keeps comments
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=2, offset=0)
    return yaml
