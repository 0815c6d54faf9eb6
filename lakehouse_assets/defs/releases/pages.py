"""The dashboard's pages in `sqlmesh_project/pages`: read for a deploy, and checked against the models' columns."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import duckdb

from lakehouse.dashboard.page_files import LONGEST, Block, Page, PageError, parse
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.query.engine.catalog import TableWithoutRows, catalog_of
from lakehouse.query.engine.guard import check
from lakehouse.query.engine.parsing import Parser, first_line
from lakehouse.query.engine.problems import QueryError
from lakehouse.releases import pages
from lakehouse.releases.pages import Pages
from lakehouse_assets.models import PUBLISHED, project
from lakehouse_assets.sqlmesh_integration.manifest import Manifest

FOLDER = "pages"
UNKNOWN = "unknown"


def checked_out() -> Pages:
    """The text of each `pages/NAME.md`. A faulty one is among them: its readers are told what is wrong with it."""
    found = {}
    for file in sorted((project().folder / FOLDER).glob("*.md")):
        text = file.read_bytes().decode(errors="replace").replace("\0", "\ufffd")  # PostgreSQL's JSON knows no NUL
        found[file.stem] = text[: LONGEST + 1]
    return found


def changes(lake: Lake, environment: str, source: str = "") -> list[str]:
    """What deploying the checked-out pages, or promoting those of `source`, would change in the environment."""
    with closing(connect(lake.settings)) as connection:
        after = pages.deployed(connection, source) if source else checked_out()
        return pages.differences(pages.deployed(connection, environment), after)


def faults() -> list[str]:
    """A sentence for each fault of the checked-out pages, and for each name that the checked-out models don't have."""
    texts = checked_out()
    if not texts:
        return []
    found = []
    served, some_unknown = _tables(project().manifest())
    with closing(catalog_of(served)) as connection:
        for name, text in texts.items():
            try:
                page = parse(name, text)
            except PageError as error:
                found.append(str(error))
                continue
            found += _of_page(page, connection, [f"{table.schema}.{table.name}" for table in served], some_unknown)
    return found


def _of_page(page: Page, connection: duckdb.DuckDBPyConnection, served: list[str], some_unknown: set[str]) -> list[str]:
    columns: dict[str, list[str] | None] = {}
    found = []
    for block in page.blocks:
        try:
            if block.kind == "sql":
                columns[block.name] = None
                columns[block.name] = _columns(page, block, connection, served, some_unknown)
            elif (known := columns.get(block.query)) is not None:
                page.check(block, known)
        except PageError as error:
            found.append(str(error))
    return found


def _columns(
    page: Page, block: Block, connection: duckdb.DuckDBPyConnection, served: list[str], some_unknown: set[str]
) -> list[str] | None:
    """What a query answers with, asked of tables without rows. None where that can't be said."""
    try:
        statement = check(Parser(), block.text, served)
        if statement.asks_catalog:
            return None
        values = _values(page)
        connection.execute(statement.sql, {name: values[name] for name in block.parameters})
        return [name for name, *_ in connection.description or []]
    except QueryError as error:
        raise page.fault(block, error.detail, error.line or 0) from None
    except duckdb.Error as error:
        if statement.tables & some_unknown and not isinstance(error, duckdb.CatalogException):
            return None
        raise page.fault(block, first_line(error)) from None


def _values(page: Page) -> dict[str, Any]:
    """What filters may give, of the type that they give."""
    found: dict[str, Any] = {}
    for block in page.blocks:
        if block.kind == "filter" and "dates" in block.options:
            found |= {f"{block.name}_from": "2000-01-01", f"{block.name}_to": "2000-01-01"}
        elif block.kind == "filter":
            listed = block.options.get("options")
            found[block.name] = listed[0] if isinstance(listed, list) else block.options.get("min")
    return found


def _tables(manifest: Manifest) -> tuple[list[TableWithoutRows], set[str]]:
    """The tables that readers get, and the names of those of which SQLMesh doesn't know every column's type."""
    found, some_unknown = [], set()
    for model in manifest.models:
        if PUBLISHED in model.tags:
            schema, name = model.name.split(".", 1)
            kinds = [(column.name, column.type) for column in model.columns]
            if any(UNKNOWN in kind.lower() for _, kind in kinds):
                some_unknown.add(model.name)
            columns = [(column, "VARCHAR" if UNKNOWN in kind.lower() else kind, "") for column, kind in kinds]
            found.append(TableWithoutRows(schema, name, columns))
    return found, some_unknown
