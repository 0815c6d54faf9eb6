"""`lakehouse source`: the files of dlt_sources and what became of them."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from lakehouse.cli.console import fail, folding_table, out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.writing.pipelines import RAW_ZONE
from lakehouse_assets.cli import GraphCommands
from lakehouse_assets.defs.ingestion import drift
from lakehouse_assets.defs.ingestion.sources import Source, file_of, sources

app = GraphCommands()
source_app = GraphCommands(no_args_is_help=True)
app.add_typer(source_app, name="source")
Name = Annotated[str, typer.Argument(help="The source: its file's name without .py.")]
SAMPLE_PAGES = 5
SAMPLE_ROWS = 5


@source_app.callback()
def source() -> None:
    """Sources of raw: list, show, try one without the lake, accept what it changed."""


@source_app.command("list")
def list_sources() -> None:
    """Every source, its tables, and what is wrong with it."""
    lake = Lake(load_settings())
    table = folding_table("source", "tables", "", title="Sources", right=("tables",))
    for one in sources():
        changes = drift.waiting(lake, one.name) if not one.from_files else []
        problem = one.problem or "; ".join(map(str, changes)) or ("files" if one.from_files else "")
        table.add_row(one.name, str(len(one.tables)), problem)
    out.print(table)


@source_app.command()
def show(name: Name) -> None:
    """A source's tables and columns."""
    load_settings()
    found = _source(name)
    if found.problem:
        out.print(f"It can't be read now: {found.problem}", highlight=False, markup=False, soft_wrap=True)
    for table in found.tables:
        columns = folding_table("column", "type", "", title=f"{table.full_name}: {table.description}".strip(": "))
        for column, kind, text in table.columns:
            columns.add_row(column, kind, text)
        out.print(columns)


@source_app.command("try")
def try_source(name: Name) -> None:
    """Load the first pages into a scratch database and show tables and rows. The lake doesn't change."""
    settings = load_settings()
    import dlt

    from lakehouse_assets.defs.ingestion.loading import innermost
    from lakehouse_assets.defs.ingestion.source_files import read
    from lakehouse_assets.defs.ingestion.source_settings import missing_setting, settings_of

    with (
        tempfile.TemporaryDirectory(prefix="try_") as folder,
        settings_of(name, settings) as secrets,
    ):
        path = Path(folder) / "scratch.duckdb"
        try:
            found = read(file_of(name)) if file_of(name).exists() else None
            if found is None:
                fail(f"There is no dlt source or resource in dlt_sources/{name}.py.")
            dlt.pipeline(
                name, destination=dlt.destinations.duckdb(str(path)), dataset_name=RAW_ZONE, pipelines_dir=folder
            ).run(found.source.add_limit(SAMPLE_PAGES)).raise_on_failed_jobs()
        except Exception as error:
            fail(secrets.without_secrets(missing_setting(name, error) or innermost(error)))
        with closing(duckdb.connect(str(path))) as connection:
            for (table,) in connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'raw' "
                "AND NOT starts_with(table_name, '_dlt_') ORDER BY 1"
            ).fetchall():
                _show_rows(connection, table)


@source_app.command()
def accept(name: Name) -> None:
    """Let the next load do without columns that are gone."""
    changes = drift.accept(Lake(load_settings()), name)
    for change in changes:
        out.print(f"accepted: {change}", highlight=False, markup=False, soft_wrap=True)
    if not changes:
        out.print(f"No column of {name} is missed.", highlight=False)


def _source(name: str) -> Source:
    known = {one.name: one for one in sources()}
    if name in known:
        return known[name]
    return fail(f"No source is named {name}. There are: {', '.join(known)}.", 2)


def _show_rows(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    rows = connection.execute(f'FROM raw."{table}" LIMIT {SAMPLE_ROWS}').fetchall()
    described = connection.execute(f'DESCRIBE raw."{table}"').fetchall()
    shown = folding_table(*(f"{column}\n{kind}" for column, kind, *_ in described), title=f"raw.{table}")
    for row in rows:
        shown.add_row(*("" if value is None else str(value)[:100].replace("[", "\\[") for value in row))
    out.print(shown)
