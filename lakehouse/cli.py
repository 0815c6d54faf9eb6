"""`lakehouse …`: ask the lake, see how it is, keep it running.

Exit codes: 0 done, 1 it failed, 2 the command line or a setting is wrong.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Annotated

import duckdb
import typer

from lakehouse.console import fail, out, settings_or_exit
from lakehouse.head import HeadError, connect_head, rewritten
from lakehouse.lake import Lake, LakeError
from lakehouse.postgres import PostgresError
from lakehouse.releases.cli import app as releases_app
from lakehouse.releases.log import ReleaseError
from lakehouse.releases.reading import connect_release
from lakehouse.storage import StorageError

TABLE_ROWS = 50

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


app.add_typer(releases_app)


class Format(StrEnum):
    """How `lakehouse query` prints."""

    table = "table"
    json = "json"
    csv = "csv"


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One statement that reads, such as a SELECT.")],
    output: Annotated[
        Format, typer.Option("--format", "-f", help="table, json (an array of records) or csv.")
    ] = Format.table,
    limit: Annotated[int, typer.Option(help="Rows that a table shows; json and csv give all.", min=1)] = TABLE_ROWS,
    environment: Annotated[str, typer.Option("--environment", "-e", help="Default: LAKEHOUSE_ENVIRONMENT.")] = "",
    release: Annotated[int | None, typer.Option(help="This release; default: the one that readers get.", min=1)] = None,
    head: Annotated[bool, typer.Option("--head", help="The lake as it is now, released or not.")] = False,
) -> None:
    """Ask a release, by default the one that readers of the environment get."""
    settings = settings_or_exit()
    environment = environment or settings.environment
    if head and release is not None:
        fail("--head and --release exclude each other.", 2)
    try:
        if head:
            connection, source = connect_head(Lake(settings), environment), f"head of {environment}"
            sql = rewritten(sql, environment)
        else:
            connection, reading = connect_release(settings, environment, release)
            source = f"release {reading.number} of {environment}" + (f", {reading.held}" if reading.held else "")
        with closing(connection):
            _answer(connection, sql, output, limit, source)
    except HeadError as error:
        fail(error, 2)
    except (LakeError, PostgresError, ReleaseError, StorageError, duckdb.Error) as error:
        fail(error)


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, output: Format, limit: int, source: str) -> None:
    from lakehouse import tables

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        fail(f"One statement is wanted, {len(statements)} were given.", 2)
    started = time.perf_counter()
    result = connection.execute(statements[0])
    if output is Format.json:
        tables.write_json(result, sys.stdout)
    elif output is Format.csv:
        tables.write_csv(result, sys.stdout)
    else:
        description = result.description or []
        rows = result.fetchmany(limit + 1)
        milliseconds = (time.perf_counter() - started) * 1000
        out.print(tables.rich_table([c[0] for c in description], [str(c[1]) for c in description], rows[:limit]))
        cut = f"the first {limit} rows; --limit shows more" if len(rows) > limit else _plural(len(rows), "row")
        out.print(f"[dim]{cut} · {milliseconds:.0f} ms · {source}[/dim]", highlight=False)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@app.command()
def status() -> None:
    """What runs, what is unfinished, what was loaded, how many rows there are."""
    from lakehouse.status import render_status

    try:
        out.print(render_status(Lake(settings_or_exit())))
    except (LakeError, PostgresError) as error:
        fail(error)


@app.command()
def up() -> None:
    """Start PostgreSQL (where it is embedded), Dagster, query service and dashboard. Ctrl-C ends them all."""
    from lakehouse.services import run_services
    from lakehouse.supervisor import ServiceError

    try:
        run_services(Lake(settings_or_exit()), out)
    except (ServiceError, PostgresError, LakeError) as error:
        fail(error)


def main() -> None:
    """The entry point: our commands, and those that installed packages add to the group `lakehouse.commands`."""
    for point in entry_points(group="lakehouse.commands"):
        app.add_typer(point.load())
    app()
