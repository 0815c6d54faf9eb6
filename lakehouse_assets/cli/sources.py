"""`lakehouse source`: the files of dlt_sources and what became of them."""

from __future__ import annotations

import getpass
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from lakehouse.cli.console import fail, folding_table, out
from lakehouse.errors import LakehouseError
from lakehouse.lake.ducklake import Lake, identifier
from lakehouse.settings import load_settings
from lakehouse.writing import loads
from lakehouse.writing.pipelines import RAW_ZONE
from lakehouse_assets.cli import GraphCommands
from lakehouse_assets.defs.ingestion import accepting, drift
from lakehouse_assets.defs.ingestion.declared_types import lake_columns
from lakehouse_assets.defs.ingestion.sources import Source, file_of, forget, sources

app = GraphCommands()
source_app = GraphCommands(no_args_is_help=True)
app.add_typer(source_app, name="source")
Name = Annotated[str, typer.Argument(help="The source: its file's name without .py.")]
SAMPLE_PAGES = 5
SAMPLE_ROWS = 5


@source_app.callback()
def source() -> None:
    """Sources of raw: add, list, show, drop, try one without the lake, accept what it changed."""


@source_app.command("list")
def list_sources() -> None:
    """Every source, its tables, and what is wrong with it."""
    lake = Lake(load_settings())
    table = folding_table("source", "tables", "", title="Sources", right=("tables",))
    for one in sources():
        changes = drift.waiting(lake, one.name) if not one.from_files else []
        problem = one.problem or "; ".join(map(str, changes)) or ("files" if one.from_files else "")
        table.add_row(one.name, str(len(one.tables)), problem)
    for name, tables in _without_file(lake).items():
        table.add_row(name, str(len(tables)), f"its file is gone, its tables are there: {', '.join(tables)}")
    out.print(table)


@source_app.command()
def add(
    name: Annotated[str, typer.Argument(help="The new source's name: its file, and its tables' prefix.")],
    address: Annotated[
        str, typer.Argument(help="postgresql://user@host/db, mysql://…, https://…, s3://bucket/orders/*.parquet.")
    ],
    tables: Annotated[list[str], typer.Option("--table", help="This table, or this path of an API.")] = [],  # noqa: B006
    keys: Annotated[list[str], typer.Option("--key", help="TABLE=COLUMN,…: what tells its rows apart.")] = [],  # noqa: B006
    cursors: Annotated[
        list[str],
        typer.Option(
            "--cursor",
            help="TABLE=COLUMN: says when a row was changed; - loads it whole. An API: TABLE=FIELD:PARAMETER.",
        ),
    ] = [],  # noqa: B006
    schema: Annotated[str, typer.Option(help="A database's schema, if not its default one.")] = "",
    auth: Annotated[str, typer.Option(help="An API's login: bearer, header:NAME, query:NAME, basic:USER, none.")] = "",
    openapi: Annotated[str, typer.Option(help="An API's OpenAPI description: a file or an address.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is suggested.")] = False,
) -> None:
    """Look at a database, an API or files, and write the file of the source."""
    load_settings()
    from lakehouse_assets.defs.ingestion.new_source import make
    from lakehouse_assets.defs.ingestion.new_source.parts import Given, one_per_table

    written = make(
        Given(
            name, address, tables, one_per_table(keys, "--key", "id"),
            one_per_table(cursors, "--cursor", "updated_at"), schema, auth, openapi,
        ),
        Prompts(yes),
    )  # fmt: skip
    told = folding_table("table", "", title=f"dlt_sources/{name}.py")
    for table, said in written.tables:
        told.add_row(f"raw.{table}", said)
    out.print(told)
    for key in written.secrets:
        out.print(
            f".dlt/secrets.toml holds its {key}; only you can read it, and git ignores it.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    out.print(
        f"Look at it: lakehouse source try {name}\n"
        f"Load it:    dagster asset materialize --select 'group:{name}'\n"
        f"Part of it: dagster asset materialize --select raw/{written.tables[0][0]}\n"
        f"A model:    lakehouse model init raw.{written.tables[0][0]}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Prompts:
    """Asks on the terminal; with `--yes` takes what is suggested."""

    yes: bool

    def ask(self, question: str, suggestion: str, option: str) -> str:
        """An answer."""
        if not self.yes:
            return str(typer.prompt(question, default=suggestion or None, err=True))
        return suggestion or fail(f"{question} Say it with {option}.", 2)

    def secret(self, question: str, variable: str) -> str:
        """What is typed is not shown; nothing with `--yes`."""
        if self.yes:
            return ""
        return str(
            typer.prompt(f"{question} (or set {variable})", default="", hide_input=True, show_default=False, err=True)
        )


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
def drop(
    name: Name,
    with_tables: Annotated[bool, typer.Option("--with-tables", help="Drop its tables too, for good.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete the file of a source; its tables stay. Names the models that read them."""
    lake = Lake(load_settings())
    from lakehouse_assets.models import project

    path = file_of(name)
    known = {one.name: one for one in sources()}
    tables = [table.name for table in known[name].tables] if name in known else _without_file(lake).get(name, [])
    if not (path.exists() or (with_tables and tables)):
        fail(f"There is no dlt_sources/{name}.py. `lakehouse source list` shows what is there.", 2)
    reading = {
        model.name: sorted(ref.table for ref in model.external if ref.schema == RAW_ZONE and ref.table in tables)
        for model in project().manifest().models
    }
    for model, read in reading.items():
        if read:
            out.print(f"{model} reads {', '.join(f'raw.{table}' for table in read)}", highlight=False, soft_wrap=True)
    if with_tables and any(reading.values()):
        fail("Its tables stay as long as models read them. Nothing was done.")
    if not yes:
        what = f"dlt_sources/{name}.py and the tables {', '.join(tables)}" if with_tables else f"dlt_sources/{name}.py"
        typer.confirm(f"Delete {what}?", abort=True, err=True)
    dropped = loads.drop(lake, name, run=f"drop by {getpass.getuser()}") if with_tables else []
    path.unlink(missing_ok=True)
    sources.cache_clear()
    if with_tables:
        forget(name)
        drift.forget(lake, name)
        out.print(f"Dropped: {', '.join(dropped) or 'no table'}. Releases keep what they hold.", highlight=False)
    elif tables:
        out.print(
            f"Deleted. The tables stay: {', '.join(tables)}. `lakehouse source drop {name} --with-tables` drops them.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


@source_app.command()
def accept(name: Name) -> None:
    """Take what stopped a source's load: give columns their new types, do without those that are gone."""
    changes = accepting.accept(Lake(load_settings()), name, run=f"accept by {getpass.getuser()}")
    for change in changes:
        out.print(f"accepted: {change}", highlight=False, markup=False, soft_wrap=True)
    if any(change.new for change in changes):
        out.print("Models see the new types after `lakehouse model external`.", highlight=False)
    if not changes:
        out.print(f"No change of {name} waits to be accepted.", highlight=False)


def _without_file(lake: Lake) -> dict[str, list[str]]:
    """Raw tables that no source loads, by what their source was named; none where there is no lake yet."""
    try:
        with closing(lake.connect(read_only=True)) as connection:
            tables = lake_columns(connection)
    except (LakehouseError, duckdb.Error):
        return {}
    known = {one.name for one in sources()}
    found: dict[str, list[str]] = {}
    for table in tables:
        source, found_prefix, _ = table.partition("__")
        if found_prefix and source not in known:
            found.setdefault(source, []).append(table)
    return found


def _source(name: str) -> Source:
    known = {one.name: one for one in sources()}
    if name in known:
        return known[name]
    return fail(f"No source is named {name}. There are: {', '.join(known)}.", 2)


def _show_rows(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    described = connection.execute(f'DESCRIBE raw."{table}"').fetchall()
    # dlt's own account would take half of a terminal, unless there is nothing else.
    own = [one for one in described if not one[0].startswith("_dlt_")] or described
    columns = ", ".join(identifier(name) for name, *_ in own)
    rows = connection.execute(f'SELECT {columns} FROM raw."{table}" LIMIT {SAMPLE_ROWS}').fetchall()
    # A title would wrap where its table is narrow.
    out.print(f"raw.{table}", style="bold", highlight=False, soft_wrap=True)
    shown = folding_table(*(f"{column}\n{kind}" for column, kind, *_ in own))
    for row in rows:
        shown.add_row(*("" if value is None else str(value)[:100].replace("[", "\\[") for value in row))
    out.print(shown)
