"""Whether DuckDB takes each model's SQL, asked over tables without rows: before anything is deployed or computed."""

from __future__ import annotations

from contextlib import closing

import duckdb

from lakehouse.query.engine.catalog import TableWithoutRows, catalog_of
from lakehouse.query.engine.parsing import first_line
from lakehouse_assets.defs.transformation import external_models
from lakehouse_assets.models import project
from lakehouse_assets.sqlmesh_integration.manifest import Manifest

UNKNOWN = "unknown"


def refused() -> list[str]:
    """A sentence for each checked-out model whose SQL DuckDB refuses: a column, a type or a function doesn't fit.

    Not asked: models in another language or dialect, and those above a table of which some column's type isn't known.
    """
    manifest = project().manifest()
    tables = _tables(manifest)
    found = []
    with closing(catalog_of(tables.values())) as connection:
        for model in manifest.models:
            above = {ref.name for ref in (*model.depends_on, *model.external)}
            if model.query and model.dialect == "duckdb" and above <= tables.keys():
                try:
                    connection.execute(f"EXPLAIN {model.query}")
                except duckdb.BinderException as error:
                    found.append(f"{model.path}: DuckDB can't run {model.name}: {first_line(error)}")
                except duckdb.Error:  # a function of an extension that isn't here, a file that isn't there yet
                    continue
    return found


def _tables(manifest: Manifest) -> dict[str, TableWithoutRows]:
    """Models and raw tables by name, of which every column's type is known."""
    columns = {model.name: {column.name: column.type for column in model.columns} for model in manifest.models}
    columns |= external_models.declared()
    found = {}
    for name, kinds in columns.items():
        schema, _, table = name.partition(".")
        if table and kinds and not any(UNKNOWN in kind.lower() for kind in kinds.values()):
            found[name] = TableWithoutRows(schema, table, [(column, kind, "") for column, kind in kinds.items()])
    return found
