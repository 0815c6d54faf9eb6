"""`lakehouse serve` and `lakehouse token`: the query service and who may ask it."""

from __future__ import annotations

import getpass
import re
from contextlib import closing
from datetime import timedelta
from typing import Annotated, Any

import psycopg
import typer

from lakehouse.cli.console import Commands, err, fail, folding_table, out
from lakehouse.lake.postgres import PostgresError, connect
from lakehouse.query.engine import tokens
from lakehouse.query.engine.problems import QueryError
from lakehouse.query.engine.tokens import TOKEN_NAME, Grant
from lakehouse.releases import held
from lakehouse.releases.pointer import read_pointer
from lakehouse.settings import load_settings
from lakehouse.storage import Storage, StorageError, open_storage

ENVIRONMENT = re.compile(r"[a-z][a-z0-9_]{0,39}")

app = Commands()
token_app = Commands(no_args_is_help=True, help="Who may ask the query service.")
app.add_typer(token_app, name="token")


@app.command()
def serve() -> None:
    """Answer SQL from releases, over HTTP and to PostgreSQL's clients, until Ctrl-C."""
    settings = load_settings()
    from lakehouse.query.http.server import serve as serve_queries

    try:
        serve_queries(settings)
    except StorageError as error:
        fail(error, 2)


@app.command()
def mcp() -> None:
    """Answer an agent that speaks MCP on standard input and output. Over HTTP `lakehouse serve` does, at /mcp."""
    settings = load_settings()
    from lakehouse.query.engine.service import QueryService

    service = QueryService(settings)
    service.start()
    import anyio

    from lakehouse.query.mcp.server import serve_stdio

    def waiting(environment: str) -> list[dict[str, Any]]:
        try:
            with closing(connect(settings)) as connection:
                return [one.record() for one in held.read(connection, environment)]
        except (PostgresError, psycopg.Error) as error:
            raise QueryError("unavailable", f"The lake's catalog can't be asked now: {error}") from None

    has_lake = settings.postgres_url.get_secret_value() or (settings.data_dir / "postgres").exists()
    try:
        anyio.run(serve_stdio, service, waiting if has_lake else None)
    except KeyboardInterrupt:
        pass
    finally:
        service.close()


@token_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, such as finance-dashboard.")],
    environment: Annotated[
        list[str] | None, typer.Option("--environment", "-e", help="It may ask this one; may be repeated.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="The most rows of an answer, whatever a row holds.", min=1)] = None,
    mb: Annotated[int | None, typer.Option(help="The most megabytes of an answer as it is sent.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="How long a statement may run.", min=0.1)] = None,
    at_once: Annotated[int | None, typer.Option(help="How many calls at once.", min=1)] = None,
    days: Annotated[float | None, typer.Option(help="How long it lasts. Default: until it is revoked.")] = None,
) -> None:
    """Make a token and print it, this once. Limits are the service's own unless they are given."""
    environments = environment or [load_settings().environment]
    if not TOKEN_NAME.fullmatch(name):
        fail(f"{name!r} can't name a token: letters, digits and . _ @ - are wanted, 64 at most.", 2)
    for one in environments:
        if not ENVIRONMENT.fullmatch(one):
            fail(f"{one!r} is no environment: prod, qa, dev_<name>.", 2)
    if days is not None and not 0 < days <= 36_500:
        fail("--days must be more than 0 and 36,500 at most.", 2)
    storage = open_storage(load_settings())
    _check_environments(storage, environments)
    token = tokens.create(
        storage, name, dict.fromkeys(environments), by=getpass.getuser(),
        lasts=timedelta(days=days) if days is not None else None,
        rows=rows, max_bytes=mb << 20 if mb else None, seconds=seconds, at_once=at_once,
    )  # fmt: skip
    err.print(
        f"The token of {name}, for {', '.join(dict.fromkeys(environments))}. It is not kept and can't be shown again:",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    typer.echo(token)


def _check_environments(storage: Storage, asked: list[str]) -> None:
    """Whoever mistypes a name would hand out a token for whatever is called so one day."""
    own = load_settings().environment  # before its first release, too
    if unknown := [one for one in asked if one != own and read_pointer(storage, one) is None]:
        known = {own} | {found.key.split("/")[1] for found in storage.list("published/") if found.key.count("/") > 1}
        fail(f"Nothing is published in {', '.join(unknown)}. There are: {', '.join(sorted(known))}.", 2)


@token_app.command("list")
def list_tokens() -> None:
    """Every token: its name and what it allows, never what proves it."""
    grants = tokens.read_grants(open_storage(load_settings())).values()
    if not grants:
        out.print("There is no token: `lakehouse token create NAME` makes one.", highlight=False)
        return
    table = folding_table("name", "for", "made (UTC)", "by", "until (UTC)", "limits")
    for grant in sorted(grants, key=lambda one: one.name):
        until = (grant.expires_at or "")[:16].replace("T", " ")
        whose = "" if grant.sees is None else ", a share"
        table.add_row(
            grant.name, f"{', '.join(grant.environments)}{whose}", grant.created_at[:16].replace("T", " "),
            grant.created_by, f"[red]{until}, over[/red]" if grant.is_expired else until, _limits(grant),
        )  # fmt: skip
    out.print(table)


def _limits(grant: Grant) -> str:
    found = []
    if grant.rows is not None:
        found.append(f"{grant.rows:,} rows")
    if grant.bytes is not None:
        found.append(f"{grant.bytes >> 20:,} MB")
    if grant.seconds is not None:
        found.append(f"{grant.seconds:g} s")
    if grant.at_once is not None:
        found.append(f"{grant.at_once} at once")
    return ", ".join(found) or "the service's"


@token_app.command()
def revoke(name: Annotated[str, typer.Argument(help="The name that `lakehouse token list` shows.")]) -> None:
    """Make a token worthless within a second."""
    tokens.revoke(open_storage(load_settings()), name)
    err.print(f"The token of {name} is worthless now.", highlight=False)
