"""`lakehouse …`: ask the lake, see how it is, keep it running.

Exit codes: 0 done, 1 it failed, 2 the command line or a setting is wrong.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, cast

import duckdb
import typer
from typer.core import TyperCommand, TyperGroup

from lakehouse.cli.access import app as access_app
from lakehouse.cli.alerts import app as alerts_app
from lakehouse.cli.answers import Format, Output
from lakehouse.cli.backup import app as backup_app
from lakehouse.cli.console import Commands, fail, out
from lakehouse.cli.doctor import app as doctor_app
from lakehouse.cli.loads import app as loads_app
from lakehouse.cli.releases import app as releases_app
from lakehouse.cli.serve import app as query_app
from lakehouse.cli.sharing import app as sharing_app
from lakehouse.garbage import collect_seldom
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.head import connect_head, rewritten
from lakehouse.query.engine.parsing import MAX_BYTES
from lakehouse.settings import Settings, load_settings
from lakehouse.wording import plural

TABLE_ROWS = 50
PANELS = {
    "Everyday": ("demo", "up", "status", "upload", "files", "dataset", "source", "model", "plan", "deploy", "query"),
    "Releases": ("releases", "release", "rollback", "docs", "export", "serve", "mcp", "share", "shares"),
    "Environments": ("env", "promote", "diff", "ci", "lint-models"),
    "Upkeep": ("doctor", "alerts", "alert-test", "load", "maintain", "verify", "backup", "backups", "restore"),
    "Set-up and access": ("bootstrap", "worker", "login", "token", "policies"),
}
"""How `lakehouse --help` groups the commands, what is used every day first."""

app = Commands(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


app.add_typer(releases_app)
app.add_typer(query_app)
for commands in (access_app, alerts_app, backup_app, doctor_app, loads_app, sharing_app):
    app.add_typer(commands)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; - reads it from standard input.")] = "",
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="json is an array of records; arrow and parquet want a file.")
    ] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Into this new file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --output names.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", help="The SQL is in this file.", exists=True, dir_okay=False)
    ] = None,
    limit: Annotated[int | None, typer.Option(help=f"Rows. Default: {TABLE_ROWS} in a table, else all.", min=1)] = None,
    environment: Annotated[str, typer.Option("--environment", "-e", help="Default: LAKEHOUSE_ENVIRONMENT.")] = "",
    release: Annotated[int | None, typer.Option(help="This release; default: the one that readers get.", min=1)] = None,
    head: Annotated[bool, typer.Option("--head", help="The lake as it is now, released or not.")] = False,
    url: Annotated[str, typer.Option(help="Ask this query service. Default: LAKEHOUSE_QUERY_URL, else none.")] = "",
    token: Annotated[str, typer.Option(help="Its token; better in LAKEHOUSE_QUERY_TOKEN, which nobody sees.")] = "",
    days: Annotated[
        str, typer.Option(help="Ask once for each day, named $day in the SQL: 2024-01-01..2024-01-31.")
    ] = "",
    combine: Annotated[str, typer.Option(help="With --days: SQL over parts, the rows of all days.")] = "",
    at_once: Annotated[int, typer.Option(help="With --days: how many calls in parallel.", min=1, max=64)] = 4,
) -> None:
    """Ask a release, by default the one that readers of the environment get."""
    settings = load_settings()
    sql = _statement(sql, file)
    _check_text(combine)
    if head and (release is not None or url or days):
        fail("--head and --release, --url or --days exclude each other.", 2)
    if combine and not days:
        fail("--combine goes with --days.", 2)
    if output_format.is_binary and output is None and sys.stdout.isatty():
        fail(f"A terminal can't show {output_format}: name a file with --output, or pipe it.", 2)
    if head:
        _ask_head(settings, sql, output_format, limit, environment or settings.environment, output)
        return
    from lakehouse.cli.query import Asked, ask

    asked = Asked(
        sql, output_format, Output(output, force), limit or (TABLE_ROWS if output_format is Format.table else None),
        environment or _own_environment(settings, url), release, url or settings.query_url,
        token or settings.query_token.get_secret_value(), days, combine, at_once,
    )  # fmt: skip
    ask(settings, asked)


def _statement(sql: str, file: Path | None) -> str:
    """The one statement, wherever it was given."""
    if bool(sql) == bool(file):
        fail("Give the SQL as an argument, with --file, or as - on standard input.", 2)
    try:
        if file:
            with file.open("rb") as given:
                text = _decoded(given.read(MAX_BYTES + 1))
        else:
            text = _decoded(sys.stdin.buffer.read(MAX_BYTES + 1)) if sql == "-" else _check_text(sql)
    except OSError as error:
        fail(f"The SQL can't be read: {error}", 2)
    if len(text.encode()) > MAX_BYTES:
        fail(f"A statement may have {MAX_BYTES:,} bytes.", 2)
    try:
        count = len(duckdb.extract_statements(text))
    except duckdb.Error:
        return text  # whoever answers it says what is wrong, and where
    if count != 1:
        fail(f"One statement is wanted, {count} were given.", 2)
    return text


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(content) > MAX_BYTES:
            fail(f"A statement may have {MAX_BYTES:,} bytes.", 2)
        fail(f"The SQL is no UTF-8 text: byte {error.start + 1} can't be read.", 2)


def _check_text(given: str) -> str:
    """An argument; Python keeps bytes that are no text as halves of characters."""
    return _decoded(given.encode(errors="surrogateescape")) if not given.isprintable() else given


def _own_environment(settings: Settings, url: str) -> str | None:
    """A service is asked for ours only where somebody has chosen it: it, or the token, may know another."""
    asks_service = bool(url or settings.query_url)
    return None if asks_service and "environment" not in settings.model_fields_set else settings.environment


def _ask_head(
    settings: Settings, sql: str, output_format: Format, limit: int | None, environment: str, output: Path | None
) -> None:
    if output or output_format.is_binary:
        fail("--head answers as a table, json or csv, on standard output.", 2)
    try:
        with closing(connect_head(Lake(settings), environment)) as connection:
            _answer(connection, rewritten(sql, environment), output_format, limit, f"head of {environment}")
    except duckdb.Error as error:  # all of it: it shows the place in the SQL
        fail(error)


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, output: Format, limit: int | None, source: str) -> None:
    from lakehouse.cli.answers import head_answer
    from lakehouse.cli.tables import rich_table

    started = time.perf_counter()
    limit = (limit or TABLE_ROWS) if output is Format.table else sys.maxsize
    answer = head_answer(connection, sql, output, limit, sys.stdout.buffer)
    milliseconds = (time.perf_counter() - started) * 1000
    if output is Format.table:
        out.print(rich_table(answer.names, answer.types, answer.rows))
        cut = f"the first {limit} rows; --limit shows more" if answer.cut else plural(len(answer.rows), "row")
        out.print(f"[dim]{cut} · {milliseconds:.0f} ms · {source}[/dim]", highlight=False)


@app.command()
def status() -> None:
    """What runs, what is unfinished, what was loaded, how many rows there are."""
    from lakehouse.cli.status import render_status

    out.print(render_status(Lake(load_settings())))


@app.command()
def up() -> None:
    """Start PostgreSQL (where it is embedded), Dagster, query service and dashboard. Ctrl-C ends them all."""
    from lakehouse.services.up import run_services

    run_services(Lake(load_settings()), out)


def grouped_commands() -> TyperGroup:
    """Our commands and those that installed packages add to the group `lakehouse.commands`, in the order of PANELS."""
    for point in entry_points(group="lakehouse.commands"):
        app.add_typer(point.load())
    group = cast(TyperGroup, typer.main.get_command(app))
    others = group.commands
    group.commands = {}
    for panel, names in PANELS.items():
        for name in names:
            command = group.commands[name] = others.pop(name)
            cast(TyperCommand, command).rich_help_panel = panel
    group.commands |= others
    for command in group.commands.values():
        command.short_help = (command.help or "").split(". ")[0].rstrip(".")  # its own --help says the rest
    return group


def main() -> None:
    """The entry point."""
    collect_seldom()
    grouped_commands()()
